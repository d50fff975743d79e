#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Losses of a decompressed model, apart from aqlmzip's own arithmetic.

	python3 bench/layer_loss.py ORIGINAL.safetensors DECOMPRESSED.safetensors STATS.safetensors

For each matrix W that both models hold and that has statistics H, with E the difference of the two: its name,
tr(E H E^T) / tr(W H W^T) in binary64, and the plain relative error |E|^2 / |W|^2. STATS holds H, F32 [in, in], under
the weight's name, or an entry "alias:NAME": "OWNER" in its __metadata__ says that NAME has OWNER's H. Needs numpy.
"""
import json
import struct
import sys

import numpy


class File:
	"""The tensors of a safetensors file, as float64 arrays. Bytes are mapped, so a large file is no trouble."""

	def __init__(self, path):
		self.bytes = numpy.memmap(path, dtype=numpy.uint8, mode="r")
		self.begin = 8 + struct.unpack("<Q", self.bytes[:8].tobytes())[0]
		self.tensors = json.loads(self.bytes[8:self.begin].tobytes())
		self.metadata = self.tensors.pop("__metadata__", {})

	def __getitem__(self, name):
		tensor = self.tensors[name]
		first, end = tensor["data_offsets"]
		raw = self.bytes[self.begin + first:self.begin + end]
		if tensor["dtype"] == "BF16":  # the upper half of an F32
			values = (raw.view("<u2").astype("<u4") << 16).view("<f4")
		else:
			values = raw.view({"F16": "<f2", "F32": "<f4", "F64": "<f8"}[tensor["dtype"]])
		return values.astype(numpy.float64).reshape(tensor["shape"])


def main(original, decompressed, stats):
	original, decompressed, stats = File(original), File(decompressed), File(stats)
	n_compared = 0
	print(f"{'tensor':<48} {'loss':>11} {'MSE':>11}")
	for name in original.tensors:
		owner = name if name in stats.tensors else stats.metadata.get("alias:" + name)
		if owner is None or name not in decompressed.tensors:
			continue
		weight, hessian = original[name], stats[owner]
		restored = decompressed[name]
		if restored.shape != weight.shape or hessian.shape != weight.shape[-1:] * 2:
			sys.exit(f"{name}: shapes {weight.shape}, {restored.shape} and {hessian.shape} do not go together")
		error = weight - restored
		loss = ((error @ hessian) * error).sum() / ((weight @ hessian) * weight).sum()
		print(f"{name:<48} {loss:11.4e} {(error**2).sum() / (weight**2).sum():11.4e}")
		n_compared += 1
	if n_compared == 0:
		sys.exit("no tensor is in both models and has statistics")


if __name__ == "__main__":
	if len(sys.argv) != 4:
		sys.exit(__doc__)
	main(*sys.argv[1:])
