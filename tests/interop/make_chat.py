#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/chat: what transformers makes of the first turn of conversations, in the forms of model/chat.c.

	python3 tests/interop/make_chat.py [--check] [FOLDER]

Needs transformers 5 and tokenizers.

	byte.json   a small byte-level tokenizer with the special tokens of all forms
	chats.json  {"configs": {NAME: tokenizer_config.json with a chat template},
	             "cases": [{"config", "tokenizer", "form", "system", "message", "text", "ids"}]}
	            tokenizer is "byte" or "stories", that of tests/data/stories

--check makes them again and compares them with the files. The templates are written after those of the models that
their names say, shortened to a system's and a user's message.
"""
import argparse
import json
import pathlib
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).resolve().parent.parent / "data"

CHATML_LOOP = ("{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
	"{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
TEMPLATES = {
	# SmolLM2: a system message in store, line feeds as they are
	"smollm2": ("byte", "chatml", "<|im_start|>", "<|im_end|>",
		"{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
		"{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
		"{% endif %}" + CHATML_LOOP),
	# Qwen2.5: escaped line feeds, a place before that goes on with a variable
	"qwen2.5": ("byte", "chatml", None, "<|im_end|>",
		r"""{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
{%- else %}
    {{- '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""),
	# Qwen3: nothing in store
	"chatml": ("byte", "chatml", None, "<|im_end|>", "{% for message in messages %}" + CHATML_LOOP),
	"chatml-bos": ("byte", "chatml", "<|begin_of_text|>", "<|im_end|>",
		"{{ bos_token }}{% for message in messages %}" + CHATML_LOOP),
	"llama2": ("stories", "llama2", "<s>", "</s>",
		"{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
		"{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
		"{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
		"{% if loop.index0 == 0 and system_message != false %}"
		r"{% set content = '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' + message['content'] %}"
		"{% else %}{% set content = message['content'] %}{% endif %}"
		"{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% endif %}"
		"{% endfor %}"),
	"llama3": ("byte", "llama3", "<|begin_of_text|>", "<|eot_id|>",
		"{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + "
		r"'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}"
		"{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
		r"{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
		r"{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"),
}
MISTRAL = ("{%%- if messages[0]['role'] == 'system' %%}{%%- set system_message = messages[0]['content'] %%}"
	"{%%- set loop_messages = messages[1:] %%}{%%- else %%}{%%- set loop_messages = messages %%}{%%- endif %%}"
	"{{- bos_token }}{%%- for message in loop_messages %%}{%%- if loop.last and system_message is defined %%}"
	r"{{- '%s' + system_message + '\n\n' + message['content'] + '%s' }}{%%- else %%}"
	"{{- '%s' + message['content'] + '%s' }}{%%- endif %%}{%%- endfor %%}")
for name, tokenizer, begin, end in (("mistral-v1", "stories", "[INST] ", " [/INST]"),
		("mistral-v2", "stories", " [INST] ", " [/INST]"), ("mistral-v3", "byte", "[INST] ", "[/INST]"),
		("mistral-tekken", "byte", "[INST]", "[/INST]")):
	TEMPLATES[name] = (tokenizer, "mistral", "<s>", "</s>", MISTRAL % (begin, end, begin, end))
TEMPLATES["mistral-v7"] = ("byte", "mistral", "<s>", "</s>",
	"{{- bos_token }}{%- for message in messages %}{%- if message['role'] == 'system' %}"
	"{{- '[SYSTEM_PROMPT] ' + message['content'] + '[/SYSTEM_PROMPT]' }}{%- else %}"
	"{{- '[INST] ' + message['content'] + '[/INST]' }}{%- endif %}{%- endfor %}")

SPECIAL = ["<s>", "</s>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>",
	"<|end_header_id|>", "<|eot_id|>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"]
MESSAGES = [(None, "once upon a time"), ("Be brief.", "hello, lily!"), (None, "  two\nlines, caf\u00e9 \u6f22 \n"),
	(" \tbe kind \n", " what is 2 + 2?\n\n"), ("", "the end")]


def byte_level():
	t = Tokenizer(models.BPE())
	t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
	t.decoder = decoders.ByteLevel()
	text = (HERE / "stories" / "evaluation.txt").read_text()
	trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
		special_tokens=[AddedToken(s, special=True, normalized=False) for s in SPECIAL], show_progress=False)
	t.train_from_iterator([text], trainer)
	return t


def make():
	byte = byte_level()
	tokenizers = {"byte": byte, "stories": Tokenizer.from_file(str(HERE / "stories" / "tokenizer.json"))}
	configs, cases = {}, []
	for name, (tokenizer, form, bos, eos, template) in TEMPLATES.items():
		config = {"bos_token": bos, "eos_token": eos, "chat_template": template}
		if bos is None:
			del config["bos_token"]
		configs[name] = config
		t = PreTrainedTokenizerFast(tokenizer_object=tokenizers[tokenizer], **config)
		for system, message in MESSAGES:
			turns = [] if system is None else [{"role": "system", "content": system}]
			turns.append({"role": "user", "content": message})
			text = t.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
			ids = t.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
			cases.append({"config": name, "tokenizer": tokenizer, "form": form, "system": system, "message": message,
				"text": text, "ids": [int(i) for i in ids]})
	lines = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases)
	return {"byte.json": byte.to_str() + "\n",
		"chats.json": '{"configs": %s,\n"cases": [\n%s\n]}\n' % (json.dumps(configs, ensure_ascii=False), lines)}


def main():
	parser = argparse.ArgumentParser()
	parser.add_argument("--check", action="store_true")
	parser.add_argument("folder", nargs="?", default=HERE / "chat", type=pathlib.Path)
	args = parser.parse_args()
	bad = 0
	for name, text in make().items():
		if args.check:
			same = json.loads((args.folder / name).read_text()) == json.loads(text)
			print(f"{name}: {'the same' if same else 'DIFFERS'}")
			bad += not same
		else:
			args.folder.mkdir(parents=True, exist_ok=True)
			(args.folder / name).write_text(text)
	return 1 if bad else 0


if __name__ == "__main__":
	sys.exit(main())
