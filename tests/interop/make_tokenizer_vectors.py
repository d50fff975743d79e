#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/tokenizers: a small byte-level tokenizer, and what the packages tokenizers and sentencepiece
of PyPI make of short texts with it and with others. Run by hand, from the root of the tree:

	python3 tests/interop/make_tokenizer_vectors.py SHARED
"""
import json
import os
import sys

import sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SHARED = sys.argv[1]
OUT = "tests/data/tokenizers"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
	r"\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
TEXTS = ["", " ", "a", "Once upon a time, there was a little girl.", "  two  spaces \n\n\tand  tabs ",
	"don't I'LL we'Ve it's", "1234567 3.14 x1y", "naïve café e\u0301 \u212b", "日本語のテキスト",
	"emoji 👩\u200d👧 🎉!", "<|end|>the<|end|> Tim<x>", " tool <tool> tools the<tool>", "\u00a0\u3000nbsp\u200b",
	"a\r\nb\n c", "The THE the", "(parens) [x] {y} ...", "\u2581a \u2581", "\u017fs 'S \u2160\u00bd", "a" * 64,
	"<s>one</s><unk>"]


def dump(name, data):
	with open(os.path.join(OUT, name), "w", encoding="utf-8") as file:
		json.dump(data, file, ensure_ascii=True, separators=(",", ":"))
		file.write("\n")


def train():
	with open("tests/data/stories/calibration.txt", encoding="utf-8") as file:
		text = file.read()
	t = Tokenizer(models.BPE())
	t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
	t.decoder = decoders.ByteLevel()
	t.train_from_iterator([text, "naïve café 日本語 1234 " * 20], trainers.BpeTrainer(vocab_size=400,
		show_progress=False,
		special_tokens=["<|end|>"],
		initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
	data = json.loads(t.to_str())
	top = len(data["model"]["vocab"])
	flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
	data["added_tokens"].append({"id": top, "content": "<tool>", **flags, "single_word": True, "lstrip": True})
	data["added_tokens"].append({"id": top + 1, "content": "<x>", **flags, "normalized": True, "rstrip": True})
	dump("byte-level.json", data)
	return data


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
	return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def byte_level(*before, regex=False, prefix=False):
	last = {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}
	return {"type": "Sequence", "pretokenizers": [*before, last]}


def metaspace(scheme, cut):
	return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": cut}


def normal(*steps):
	return {"type": "Sequence", "normalizers": list(steps)}


BYTES = {
	"gpt-2": {},
	"gpt-2 prefix": {"pre_tokenizer": byte_level(regex=True, prefix=True)},
	"llama-3": {"pre_tokenizer": byte_level(split(LLAMA3)), "model": {"ignore_merges": True}},
	"qwen2": {"pre_tokenizer": byte_level(split(QWEN2)), "normalizer": {"type": "NFC"}},
	"smollm": {"pre_tokenizer": byte_level({"type": "Digits", "individual_digits": True}, regex=True)},
	"digits": {"pre_tokenizer": byte_level({"type": "Digits", "individual_digits": False})},
	"no split": {"pre_tokenizer": byte_level()},
	"removed": {"pre_tokenizer": byte_level(split(r"\s", "Removed"))},
	"previous": {"pre_tokenizer": byte_level(split("a", "MergedWithPrevious", kind="String"))},
	"next": {"pre_tokenizer": byte_level(split("[ae]", "MergedWithNext"))},
	"next inverted": {"pre_tokenizer": byte_level(split("[ae]", "MergedWithNext", True))},
	"contiguous": {"pre_tokenizer": byte_level(split(r"[\w']", "Contiguous"))},
	"empty matches": {"pre_tokenizer": byte_level(split("t*", "Isolated"))},
	"punctuation": {"pre_tokenizer": byte_level({"type": "Punctuation", "behavior": "Isolated"})},
	"whitespace": {"pre_tokenizer": byte_level({"type": "Whitespace"})},
	"normal": {"normalizer": normal({"type": "NFKC"}, {"type": "Lowercase"},
		{"type": "Strip", "strip_left": True, "strip_right": True})},
	"decomposed": {"normalizer": normal({"type": "NFD"},
		{"type": "Replace", "pattern": {"Regex": r"\p{M}"}, "content": ""})},
}
PIECES = {
	"stories": {},
	"metaspace": {"normalizer": None, "pre_tokenizer": metaspace("always", True)},
	"metaspace first": {"normalizer": None, "pre_tokenizer": metaspace("first", False)},
	"metaspace never": {"normalizer": None, "pre_tokenizer": metaspace("never", True)},
	"no fallback": {"model": {"byte_fallback": False, "fuse_unk": True}},
	"no fusing": {"model": {"byte_fallback": False, "fuse_unk": False}},
}


def variants(file, kinds):
	with open(file, encoding="utf-8") as source:
		base = json.load(source)
	for name, change in kinds.items():
		data = json.loads(json.dumps(base))
		data["model"].update(change.get("model", {}))
		data.update({key: value for key, value in change.items() if key != "model"})
		t = Tokenizer.from_str(json.dumps(data))
		ids = []
		for special in (True, False):
			t.encode_special_tokens = not special
			ids.append([t.encode(text, add_special_tokens=False).ids for text in TEXTS])
		row = {"name": name, "file": os.path.relpath(file, "tests/data"), "change": change, "special": ids[0]}
		row["plain"] = [None if a == b else b for a, b in zip(*ids)]  # None: the same
		yield row


def models_of_others():
	for name in ("llama2c-tokenizer/tokenizer.model", "stories260K/tok512.model"):
		t = sentencepiece.SentencePieceProcessor(model_file=os.path.join(SHARED, "data", name))
		yield {"name": name, "shared": "data/" + name, "plain": [t.encode(text) for text in TEXTS]}


train()
dump("vectors.json", {"texts": TEXTS, "vectors": [*variants(OUT + "/byte-level.json", BYTES),
	*variants("tests/data/stories/tokenizer.json", PIECES), *models_of_others()]})
