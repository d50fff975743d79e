#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The peer of `aqlmzip generate`: prompt and generation speed of llama.cpp on a GGUF file, CPU, greedy.

	python3 bench/peers/llama_generate.py FILE.gguf [--prompt-tokens 512] [--tokens 128] [--threads 1] [--runs 3]

The prompt is PROMPT_TOKENS ids spread over the vocabulary (speed does not depend on which), then TOKENS are generated
one by one, each chosen as the likeliest. Prints one line of JSON: prompt_tokens_per_second, generate_tokens_per_second,
of the fastest run of each, after one short run to warm up. Needs llama-cpp-python (0.3.x; builds from source).
"""
import argparse
import json
import time

import llama_cpp
import numpy


def one_run(model, prompt, n):
	model.reset()
	start = time.perf_counter()
	model.eval(prompt)
	read = time.perf_counter()
	for _ in range(n):
		logits = numpy.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(model.ctx, -1), shape=(model.n_vocab(),))
		model.eval([int(logits.argmax())])
	return read - start, time.perf_counter() - read


def main():
	p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
	p.add_argument("model")
	p.add_argument("--prompt-tokens", type=int, default=512)
	p.add_argument("--tokens", type=int, default=128)
	p.add_argument("--threads", type=int, default=1)
	p.add_argument("--runs", type=int, default=3)
	a = p.parse_args()
	model = llama_cpp.Llama(a.model, n_ctx=a.prompt_tokens + a.tokens + 1, n_batch=512, n_threads=a.threads,
		n_threads_batch=a.threads, n_gpu_layers=0, verbose=False)
	prompt = [(i * 7919 + 100) % model.n_vocab() for i in range(a.prompt_tokens)]
	one_run(model, prompt[:16], 4)
	times = [one_run(model, prompt, a.tokens) for _ in range(a.runs)]
	print(json.dumps({"prompt_tokens_per_second": round(a.prompt_tokens / min(t[0] for t in times), 1),
		"generate_tokens_per_second": round(a.tokens / min(t[1] for t in times), 1), "prompt_tokens": a.prompt_tokens,
		"tokens": a.tokens, "threads": a.threads, "llama_cpp_python": llama_cpp.__version__}))


if __name__ == "__main__":
	main()
