#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""y = W x on the CPU: our codes, AQLM's numba kernel and llama.cpp's quantized types, on this machine, taking turns.

	python3 bench/peers/cpu_products.py [--tool build/aqlmzip] [--aqlm PYTHON] [--llama PYTHON] [--shape 11008x4096]
		[--scheme 2x8g8] [--threads 1,2] [--rounds 3] [--seconds 0.5] [--json]

AQLM is the PyPI package of the Vahe1994/AQLM project (1.1.x; its numba_gemm_lut as users call it, with tables), and in
the same process torch's product in binary32. llama.cpp is ggml_mul_mat of llama-cpp-python's library with rows of
Q4_0, Q2_K and IQ2_XXS, which quantizes x first. Each PYTHON is one that has the package; without it the peer is left
out:

	python3 -m venv /tmp/aqlm && /tmp/aqlm/bin/pip install 'aqlm[cpu]==1.1.7' numba scipy torch
	python3 -m venv /tmp/llama && /tmp/llama/bin/pip install llama-cpp-python        # builds from source

Several copies of the codes or weights take turns, at least twice the last-level cache together, so that they come from
memory. Each round runs ours, AQLM and llama.cpp one after the other; the best run of all rounds counts. The relative
error is that of y: for ours and AQLM from the weights as coded, for llama.cpp with what its types lose of random
weights. numba's threads race for the elements of y, which may show there.
"""
import argparse
import ctypes
import json
import os
import pathlib
import re
import subprocess
import sys
import time


def cache_bytes():
	"""Last-level caches together; each is counted with the first processor that shares it."""
	total = 0
	for folder in pathlib.Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cache/index3"):
		first = re.split("[,-]", (folder / "shared_cpu_list").read_text().strip())[0]
		if f"cpu{first}" == folder.parent.parent.name:
			total += int((folder / "size").read_text().strip().rstrip("K")) * 1024
	return total or 32 << 20


def copies(n_bytes):
	return min(256, max(1, -(-2 * cache_bytes() // n_bytes)))


def best(run, seconds):
	"""Seconds of the fastest of at least five runs, after one to warm up. run(i) is given the number of the run."""
	run(0)
	taken, begin, i = [], time.perf_counter(), 0
	while len(taken) < 5 or time.perf_counter() - begin < seconds:
		i += 1
		start = time.perf_counter()
		run(i)
		taken.append(time.perf_counter() - start)
	return min(taken)


def measure_aqlm(a):
	import numba
	import torch
	from aqlm.inference_kernels.numba_kernel import numba_gemm_lut

	n_codebooks, bits, g = map(int, re.fullmatch(r"(\d+)x(\d+)g(\d+)", a.scheme).groups())
	if bits != 8:
		return {}
	torch.set_num_threads(a.threads)
	numba.set_num_threads(a.threads)
	torch.manual_seed(0)
	x = torch.randn(1, a.cols)
	codebooks = torch.randn(n_codebooks, 256, 1, g)
	scales = torch.rand(a.rows, 1, 1, 1) + 0.5
	shape = (a.cols // g, a.rows, n_codebooks)
	n_codes = copies(a.cols // g * a.rows * n_codebooks)
	codes = [torch.randint(-128, 128, shape, dtype=torch.int8) for _ in range(n_codes)]

	groups = torch.zeros(a.rows, a.cols // g, g)
	for m in range(n_codebooks):
		groups += codebooks[m, :, 0][codes[0][:, :, m].view(torch.uint8).long().T]
	weight = groups.view(a.rows, a.cols) * scales.view(-1, 1)
	wanted = weight.double() @ x[0].double()
	result = {}
	seconds = best(lambda i: numba_gemm_lut(x, codes[i % len(codes)], codebooks, scales, None), a.seconds)
	y = numba_gemm_lut(x, codes[0], codebooks, scales, None)[0].double()
	result["AQLM numba"] = {"seconds": seconds, "relative_error": ((y - wanted).norm() / wanted.norm()).item()}
	weights = [weight] + [weight.clone() for _ in range(copies(4 * a.rows * a.cols) - 1)]
	result["torch binary32"] = {"seconds": best(lambda i: torch.mv(weights[i % len(weights)], x[0]), a.seconds)}
	return result


class InitParams(ctypes.Structure):
	_fields_ = [("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]


def ggml_functions(folder):
	"""The few functions of ggml that are needed, with their types."""
	base = ctypes.CDLL(str(folder / "libggml-base.so"), mode=ctypes.RTLD_GLOBAL)
	cpu = ctypes.CDLL(str(folder / "libggml-cpu.so"), mode=ctypes.RTLD_GLOBAL)
	pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64
	types = {"ggml_init": (pointer, [InitParams]), "ggml_free": (None, [pointer]),
		"ggml_new_tensor_2d": (pointer, [pointer, ctypes.c_int, number, number]), "ggml_get_data": (pointer, [pointer]),
		"ggml_row_size": (size, [ctypes.c_int, number]), "ggml_new_graph": (pointer, [pointer]),
		"ggml_mul_mat": (pointer, [pointer, pointer, pointer]), "ggml_build_forward_expand": (None, [pointer, pointer]),
		"ggml_quantize_chunk": (size, [ctypes.c_int, pointer, pointer, number, number, number, pointer])}
	for name, (result, arguments) in types.items():
		getattr(base, name).restype, getattr(base, name).argtypes = result, arguments
	cpu.ggml_graph_compute_with_ctx.restype = ctypes.c_int
	cpu.ggml_graph_compute_with_ctx.argtypes = [pointer, pointer, ctypes.c_int]
	cpu.ggml_cpu_init()
	return base, cpu


def measure_llama(a):
	import llama_cpp
	import numpy

	base, cpu = ggml_functions(pathlib.Path(llama_cpp.__file__).parent / "lib")
	rng = numpy.random.default_rng(0)
	some = rng.standard_normal((64, a.cols), dtype=numpy.float32) # rows repeat: speed does not depend on values
	x = rng.standard_normal(a.cols, dtype=numpy.float32)
	ones = numpy.ones(a.cols, numpy.float32)
	result = {}
	for name in ("Q4_0", "Q2_K", "IQ2_XXS"):
		kind = getattr(llama_cpp, f"GGML_TYPE_{name}")
		if a.cols % (32 if name == "Q4_0" else 256):
			continue
		row_bytes = base.ggml_row_size(kind, a.cols)
		n = copies(row_bytes * a.rows)
		rows = numpy.empty((64, row_bytes), numpy.uint8)
		base.ggml_quantize_chunk(kind, some.ctypes.data, rows.ctypes.data, 0, 64, a.cols, ones.ctypes.data)
		data = numpy.resize(rows, (a.rows, row_bytes)).tobytes()
		# Each run takes its work buffer from the context anew.
		ctx = base.ggml_init(InitParams(n * (len(data) + 8 * a.rows) + (256 << 20), None, False))
		vector = base.ggml_new_tensor_2d(ctx, llama_cpp.GGML_TYPE_F32, a.cols, 1)
		ctypes.memmove(base.ggml_get_data(vector), x.ctypes.data, x.nbytes)
		graph, first = base.ggml_new_graph(ctx), None
		for _ in range(n):
			weight = base.ggml_new_tensor_2d(ctx, kind, a.cols, a.rows)
			ctypes.memmove(base.ggml_get_data(weight), data, len(data))
			product = base.ggml_mul_mat(ctx, weight, vector)
			first = first or product
			base.ggml_build_forward_expand(graph, product)

		def run(_):
			if cpu.ggml_graph_compute_with_ctx(ctx, graph, a.threads) != 0:
				raise RuntimeError(f"{name}: ggml_graph_compute failed")

		seconds = best(run, a.seconds) / n
		y = numpy.ctypeslib.as_array(ctypes.cast(base.ggml_get_data(first), ctypes.POINTER(ctypes.c_float)), (a.rows,))
		wanted = numpy.resize(some @ x, a.rows)
		result[f"llama.cpp {name}"] = {"seconds": seconds, "bits": 8 * row_bytes / a.cols,
			"relative_error": float(numpy.linalg.norm(y - wanted) / numpy.linalg.norm(wanted))}
		base.ggml_free(ctx)
	return result


def measure_ours(a, threads):
	out = subprocess.run([a.tool, "bench", "--only", "kernels", "--shapes", a.shape, "--scheme", a.scheme, "--threads",
		str(threads), "--seconds", str(a.seconds), "--json", "--quiet"], check=True, capture_output=True,
		text=True).stdout
	shape = json.loads(out)["kernels"]["shapes"][0]
	names = {"product": f"aqlmzip {a.scheme}", "sgemv": "OpenBLAS sgemv", "bf16": "bfloat16 product",
		"scalar_tables": "scalar tables in C", "memory_read": "memory"}
	result = {}
	for key, name in names.items():
		if key in shape:
			at = next(t for t in shape[key] if t["threads"] == threads)
			result[name] = {"seconds": at["seconds"], "relative_error": shape["relative_errors"].get(key)}
			if key == "memory_read":
				result[name]["bytes_per_second"] = at["bytes_per_second"]
			if key == "product":
				result[name]["bits"] = 8 * shape["code_bytes"] / a.rows / a.cols
	return result


def measure_peer(a, python, worker, threads):
	"""Runs this file in a python that has the package; nothing if there is none."""
	have = subprocess.run([python, "-c", f"import {'aqlm, numba' if worker == 'aqlm' else 'llama_cpp'}"],
		capture_output=True, check=False).returncode == 0
	if not have:
		package = "aqlm and numba" if worker == "aqlm" else "llama-cpp-python"
		print(f"{python} has no {package}: left out", file=sys.stderr)
		return {}
	environment = dict(os.environ, NUMBA_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
	out = subprocess.run([python, os.path.abspath(__file__), "--worker", worker, "--shape", a.shape, "--scheme",
		a.scheme, "--threads", str(threads), "--seconds", str(a.seconds)], check=True, capture_output=True, text=True,
		env=environment).stdout
	return json.loads(out.strip().splitlines()[-1])


def print_table(a, threads, found):
	ours = found[f"aqlmzip {a.scheme}"]["seconds"]
	sgemv = found["OpenBLAS sgemv"]["seconds"]
	memory = found.pop("memory")
	print(f"\n{a.shape}, {threads} thread{'s' * (threads != 1)}, "
		f"memory is read at {memory['bytes_per_second'] * 1e-9:.1f} GB/s")
	print(f"{'':24} {'ms':>9} {'x sgemv':>8} {'x ours':>9} {'bits':>6} {'rel. error':>11}")
	for name, f in sorted(found.items(), key=lambda item: item[1]["seconds"]):
		bits = f"{f['bits']:.2f}" if f.get("bits") else ""
		error = f"{f['relative_error']:.1e}" if f.get("relative_error") is not None else ""
		print(f"{name:24} {1e3 * f['seconds']:9.3f} {sgemv / f['seconds']:7.2f}x {f['seconds'] / ours:8.2f}x "
			f"{bits:>6} {error:>11}")


def main():
	p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
	p.add_argument("--tool", default="build/aqlmzip")
	p.add_argument("--aqlm", default=sys.executable, metavar="PYTHON")
	p.add_argument("--llama", default=sys.executable, metavar="PYTHON")
	p.add_argument("--shape", default="11008x4096", help="rows x columns")
	p.add_argument("--scheme", default="2x8g8")
	p.add_argument("--threads", default=None, help="a list with commas between (1 and all)")
	p.add_argument("--rounds", type=int, default=3)
	p.add_argument("--seconds", type=float, default=0.5, help="for each measurement")
	p.add_argument("--json", action="store_true")
	p.add_argument("--worker", choices=("aqlm", "llama"), help=argparse.SUPPRESS)
	a = p.parse_args()
	a.rows, a.cols = map(int, a.shape.split("x"))
	if a.worker:
		a.threads = int(a.threads)
		print(json.dumps(measure_aqlm(a) if a.worker == "aqlm" else measure_llama(a)))
		return
	n = len(os.sched_getaffinity(0))
	results = {}
	for threads in sorted({int(t) for t in a.threads.split(",")} if a.threads else {1, n}):
		found = {}
		for _ in range(a.rounds):
			one = measure_ours(a, threads)
			one.update(measure_peer(a, a.aqlm, "aqlm", threads))
			one.update(measure_peer(a, a.llama, "llama", threads))
			for name, f in one.items():
				if name not in found or f["seconds"] < found[name]["seconds"]:
					found[name] = f
		results[threads] = found
		if not a.json:
			print_table(a, threads, dict(found))
	if a.json:
		print(json.dumps({"shape": a.shape, "scheme": a.scheme, "threads": results}, indent=2))


if __name__ == "__main__":
	main()
