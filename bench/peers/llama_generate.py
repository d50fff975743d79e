#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The peer of `aqlmzip generate`: prompt and generation speed of llama.cpp on a GGUF file, CPU, greedy.

	python3 bench/peers/llama_generate.py FILE.gguf [--prompt-json RUN.json] [--prompt-tokens 512] [--tokens 128]
		[--threads 1] [--runs 3] [--quantize Q2_K]

The prompt is that of RUN.json, the --json output of `aqlmzip generate`, or else PROMPT_TOKENS ids spread over the
vocabulary; then TOKENS are generated one by one, each chosen as the likeliest. --quantize: the file is first quantized
by llama.cpp to this type, into a temporary file. Prints one line of JSON: prompt_tokens_per_second,
generate_tokens_per_second, of the fastest run of each, after one short run to warm up; file_bytes; peak_memory_bytes of
this process. Needs llama-cpp-python (0.3.x; builds from source).
"""
import argparse
import json
import os
import resource
import tempfile
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


def quantize(path, kind, folder):
	out = os.path.join(folder, "%s.gguf" % kind)
	params = llama_cpp.llama_model_quantize_default_params()
	params.ftype = getattr(llama_cpp, "LLAMA_FTYPE_MOSTLY_" + kind)
	params.allow_requantize = True
	if llama_cpp.llama_model_quantize(path.encode(), out.encode(), params) != 0:
		raise SystemExit("llama.cpp cannot quantize %s to %s" % (path, kind))
	return out


def measure(path, a):
	prompt = json.load(open(a.prompt_json))["prompt_ids"] if a.prompt_json else None
	n_prompt = len(prompt) if prompt else a.prompt_tokens
	model = llama_cpp.Llama(path, n_ctx=n_prompt + a.tokens + 1, n_batch=512, n_threads=a.threads,
		n_threads_batch=a.threads, n_gpu_layers=0, verbose=False)
	if not prompt:
		prompt = [(i * 7919 + 100) % model.n_vocab() for i in range(n_prompt)]
	one_run(model, prompt[:16], 4)
	times = [one_run(model, prompt, a.tokens) for _ in range(a.runs)]
	print(json.dumps({"prompt_tokens_per_second": round(n_prompt / min(t[0] for t in times), 1),
		"generate_tokens_per_second": round(a.tokens / min(t[1] for t in times), 1), "prompt_tokens": n_prompt,
		"tokens": a.tokens, "threads": a.threads, "file_bytes": os.path.getsize(path),
		"peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
		"llama_cpp_python": llama_cpp.__version__}))


def main():
	p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
	p.add_argument("model")
	p.add_argument("--prompt-json")
	p.add_argument("--prompt-tokens", type=int, default=512)
	p.add_argument("--tokens", type=int, default=128)
	p.add_argument("--threads", type=int, default=1)
	p.add_argument("--runs", type=int, default=3)
	p.add_argument("--quantize")
	a = p.parse_args()
	with tempfile.TemporaryDirectory() as folder:
		measure(quantize(a.model, a.quantize, folder) if a.quantize else a.model, a)


if __name__ == "__main__":
	main()
