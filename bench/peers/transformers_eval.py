#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The peer of `aqlmzip eval`: perplexity of a Hugging Face folder in transformers on torch, binary32, CPU.

	python3 bench/peers/transformers_eval.py FOLDER --text FILE [--length 2048] [--windows 10] [--threads 1]
		[--bos none|first|each] [--documents SEPARATOR] [--attention sdpa|eager]

The windows are those of `aqlmzip eval` with the same options: the whole text is tokenised at once without special
tokens and cut into windows of LENGTH, each from position 0; with --documents each document, stripped, is one window cut
at LENGTH. Prints one line of JSON: perplexity, n_predictions, tokens, seconds (of the forward passes and the losses,
after one short pass to warm up; without loading and tokenising), tokens_per_second. Needs torch and transformers.
"""
import argparse
import json
import math
import time

import torch
import transformers


def cut(tokenizer, text, a):
	def encode(t):
		return tokenizer(t, add_special_tokens=False)["input_ids"]

	begin = {"none": [], "first": [tokenizer.bos_token_id], "each": [tokenizer.bos_token_id]}[a.bos]
	if a.documents is not None:
		documents = [d.strip() for d in text.split(a.documents)]
		windows = [(begin + encode(d))[:a.length] for d in documents if d]
		return [w for w in windows if len(w) > 1][:a.windows or None]
	each = begin if a.bos == "each" else []
	ids = (begin if a.bos == "first" else []) + encode(text)
	step = a.length - len(each)
	windows = [each + ids[i:i + step] for i in range(0, len(ids) - step + 1, step)] or [each + ids]
	return windows[:a.windows or None]


@torch.inference_mode()
def losses(model, window):
	"""Sum of -ln p(next) over a window."""
	ids = torch.tensor(window)[None]
	logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
	return torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").item()


def main():
	p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
	p.add_argument("model")
	p.add_argument("--text", required=True)
	p.add_argument("--length", type=int, default=2048)
	p.add_argument("--windows", type=int, default=0)
	p.add_argument("--threads", type=int, default=1)
	p.add_argument("--bos", choices=("none", "first", "each"), default="none")
	p.add_argument("--documents")
	p.add_argument("--attention", default="sdpa")
	a = p.parse_args()
	transformers.utils.logging.set_verbosity_error()
	transformers.utils.logging.disable_progress_bar()
	torch.set_num_threads(a.threads)

	model = transformers.AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32,
		attn_implementation=a.attention).eval()
	tokenizer = transformers.AutoTokenizer.from_pretrained(a.model)
	with open(a.text, encoding="utf-8", newline="") as f:
		windows = cut(tokenizer, f.read(), a)

	losses(model, windows[0][:64])
	start = time.perf_counter()
	total = sum(losses(model, w) for w in windows)
	seconds = time.perf_counter() - start
	n_predictions = sum(len(w) - 1 for w in windows)
	n_tokens = sum(len(w) for w in windows)
	print(json.dumps({"perplexity": math.exp(total / n_predictions), "n_predictions": n_predictions, "tokens": n_tokens,
		"seconds": round(seconds, 3), "tokens_per_second": round(n_tokens / seconds, 1), "threads": a.threads,
		"transformers": transformers.__version__, "torch": torch.__version__}))


if __name__ == "__main__":
	main()
