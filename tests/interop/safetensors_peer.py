#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the safetensors reader and writer with the package safetensors of PyPI. Run by hand:

	python3 -m venv /tmp/peer && /tmp/peer/bin/pip install safetensors numpy
	/tmp/peer/bin/python tests/interop/safetensors_peer.py build/aqlmzip [FILE.safetensors ...]

1. Files that the package writes (and the FILEs) come back bit for bit by compress --scheme raw and
   decompress, and the package reads what decompress writes: same names, dtypes, shapes, bytes, metadata.
2. Damaged files: what the package refuses, the tool refuses. What it accepts and the tool refuses must be
   one of the classes below, where the tool is stricter by intent.
"""
import ctypes
import json
import os
import struct
import subprocess
import sys
import tempfile

import safetensors
from safetensors import SafetensorError, deserialize, safe_open

# The names that the package's serialize() takes, and the bits of an element.
DTYPES = {"bool": 8, "uint8": 8, "int8": 8, "uint16": 16, "int16": 16, "uint32": 32, "int32": 32, "uint64": 64,
	"int64": 64, "float16": 16, "bfloat16": 16, "float32": 32, "float64": 64, "float8_e5m2": 8, "float8_e4m3fn": 8,
	"complex64": 64, "float8_e8m0fnu": 8, "float8_e4m3fnuz": 8, "float8_e5m2fnuz": 8}
STRICTER = ("space-before", "metadata-nul", "name-empty", "name-control", "name-long", "entry-unknown-key", "key-twice",
	"metadata-twice", "name-twice", "rank-9", "zero-times-huge")


def tool(aqlmzip, *arguments):
	return subprocess.run([aqlmzip, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def serialize(tensors, notes):
	"""The package's serialize(); since 0.8 it takes addresses instead of bytes."""
	if not hasattr(safetensors, "TensorSpec"):
		return safetensors.serialize(tensors, notes)
	specs, kept = {}, []
	for name, t in tensors.items():
		kept.append(ctypes.create_string_buffer(t["data"], max(1, len(t["data"]))))
		specs[name] = safetensors.TensorSpec(dtype=t["dtype"], shape=t["shape"], data_ptr=ctypes.addressof(kept[-1]),
			data_len=len(t["data"]))
	return bytes(safetensors.serialize(specs, notes))


def write(path, data):
	with open(path, "wb") as file:
		file.write(data)


def read(path):
	with open(path, "rb") as file:
		return file.read()


def table(data):
	"""What the package sees: {name: (dtype, shape, bytes)}."""
	return {name: (t["dtype"], tuple(t["shape"]), bytes(t["data"])) for name, t in deserialize(data)}


def metadata(path):
	with safe_open(path, framework="np") as file:
		return file.metadata()


def round_trip(aqlmzip, folder, label, data):
	source, packed, back = (os.path.join(folder, name) for name in ("in.safetensors", "x.aqz", "out.safetensors"))
	write(source, data)
	for extra in (["--original"], []):
		for path in (packed, back):
			if os.path.exists(path):
				os.unlink(path)
		for arguments in (["compress", source, "--scheme", "raw", "-o", packed],
			["decompress", packed, "-o", back, *extra]):
			result = tool(aqlmzip, *arguments)
			if result.returncode != 0:
				return "%s: %s: %s" % (label, " ".join(arguments), result.stderr.decode(errors="replace").strip())
		got = read(back)
		if extra and got != data:
			return "%s: --original gives other bytes" % label
		if table(got) != table(data):
			return "%s: tensors differ" % label
		if (metadata(back) or {}) != (metadata(source) or {}):
			return "%s: metadata differ" % label
	return None


def sound_files():
	yield "no tensors", serialize({}, None)
	everything = {}
	for i, (dtype, bits) in enumerate(DTYPES.items()):
		shape = [4] + [1 + (i + k) % 3 for k in range(i % 5)]
		n_bytes = bits // 8
		for size in shape:
			n_bytes *= size
		data = bytes((7 * k + i) % 2 if dtype == "bool" else (37 * k + i) % 251 for k in range(n_bytes))
		everything[dtype] = {"dtype": dtype, "shape": shape, "data": data}
	yield "every dtype", serialize(everything, {"format": "pt", "note": "tab\t \"quoted\" \u00e9 \U0001f600"})
	yield "odd names", serialize({name: {"dtype": "uint8", "shape": [2], "data": b"ab"} for name in (
		"a.b", "\u00e9\u4e2d\U0001f600", 'quote"back\\slash/', " ", "x" * 1024)}, None)
	yield "empty and scalar", serialize({"e": {"dtype": "float32", "shape": [0, 3], "data": b""},
		"s": {"dtype": "float32", "shape": [], "data": b"1234"}}, None)


def header(text, data=b""):
	text = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
	return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape="[2]", offsets="[0,8]", more=""):
	return '{"dtype":%s,"shape":%s,"data_offsets":%s%s}' % (json.dumps(dtype), shape, offsets, more)


def damaged_files():
	eight = b"12345678"
	one = '{"x":%s}'
	yield "space-before", header(" " + one % entry(), eight)
	yield "byte-order-mark", header("\ufeff" + one % entry(), eight)
	yield "text-after", header(one % entry() + "x", eight)
	yield "nul-after", header(one % entry() + "\0", eight)
	yield "name-empty", header('{"":%s}' % entry(), eight)
	yield "name-control", header('{"a\\u001b":%s}' % entry(), eight)
	yield "name-long", header('{"%s":%s}' % ("n" * 1025, entry()), eight)
	yield "name-surrogate", header('{"\\ud800":%s}' % entry(), eight)
	yield "name-twice", header('{"x":%s,"x":%s}' % (entry(), entry()), eight)
	yield "metadata-nul", header('{"__metadata__":{"a":"\\u0000"},"x":%s}' % entry(), eight)
	yield "metadata-number", header('{"__metadata__":{"a":1},"x":%s}' % entry(), eight)
	yield "metadata-twice", header('{"__metadata__":{"a":"","a":""},"x":%s}' % entry(), eight)
	yield "entry-unknown-key", header(one % entry(more=',"more":1'), eight)
	yield "key-twice", header(one % entry(more=',"dtype":"F32"'), eight)
	yield "dtype-unknown", header(one % entry("F13"), eight)
	yield "dtype-small", header(one % entry("f32"), eight)
	for name, shape in (("float", "[2.0]"), ("exponent", "[2e0]"), ("negative", "[-2]"), ("minus-zero", "[2,-0]"),
		("string", '["2"]'), ("huge", "[18446744073709551618]"), ("overflow", "[2,18446744073709551614]"),
		("leading-zero", "[02]")):
		yield "shape-" + name, header(one % entry(shape=shape), eight)
	yield "rank-9", header(one % entry(shape="[1,1,1,1,1,1,1,1,2]"), eight)
	yield "zero-times-huge", header(one % entry(shape="[0,18446744073709551615]", offsets="[0,0]"))
	yield "half-byte", header(one % entry("F4", "[3]", "[0,2]"), b"12")
	for name, offsets, n in (("hole", "[1,9]", 9), ("short", "[0,7]", 7), ("reversed", "[8,0]", 8), ("one", "[8]", 8),
		("beyond", "[0,8]", 7), ("trailing", "[0,8]", 9)):
		yield "offsets-" + name, header(one % entry(offsets=offsets), b"1" * n)
	yield "overlap", header('{"x":%s,"y":%s}' % (entry(), entry(offsets="[4,12]")), b"1" * 12)
	whole = header(one % entry(), eight)
	for cut in range(len(whole)):
		yield "cut-%d" % cut, whole[:cut]
	yield "length-0", struct.pack("<Q", 0) + whole[8:]
	yield "length-huge", struct.pack("<Q", 2**63) + whole[8:]


def main():
	if len(sys.argv) < 2:
		sys.exit(__doc__)
	aqlmzip, files = sys.argv[1], sys.argv[2:]
	failures, same, stricter = [], 0, []
	with tempfile.TemporaryDirectory() as folder:
		for label, data in list(sound_files()) + [(path, read(path)) for path in files]:
			failure = round_trip(aqlmzip, folder, label, data)
			same += failure is None
			failures += [failure] if failure else []
		path = os.path.join(folder, "damaged.safetensors")
		for label, data in damaged_files():
			write(path, data)
			try:
				deserialize(data)
				theirs = True
			except SafetensorError:
				theirs = False
			result = tool(aqlmzip, "compress", path, "--scheme", "raw", "-f", "-o", os.path.join(folder, "x.aqz"))
			ours = result.returncode == 0
			if result.returncode not in (0, 1):
				failures.append("%s: exit status %d" % (label, result.returncode))
			elif ours and not theirs:
				failures.append("%s: the package refuses it, the tool does not" % label)
			elif theirs and not ours and label not in STRICTER:
				why = result.stderr.decode(errors="replace").strip()
				failures.append("%s: the package accepts it: %s" % (label, why))
			elif theirs and not ours:
				stricter.append(label)
			else:
				same += 1
	print("\n".join(failures))
	print("%d agree, stricter by intent: %s; %d differ" % (same, ", ".join(stricter) or "none", len(failures)))
	sys.exit(1 if failures else 0)


if __name__ == "__main__":
	main()
