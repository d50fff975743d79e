#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares weights of GGUF files with those of the PyPI package gguf: every bit must be the same.

	python3 tests/interop/gguf_peer.py build/aqlmzip [FILE.gguf ...]

The files are exported with --dtype f32 and compared with gguf.quants.dequantize, q and k rows put in the order of
Hugging Face. Without files: a small model that the package writes, with a tensor of every type that is read. Needs
gguf, numpy, safetensors.
"""
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy
from safetensors.numpy import load_file

TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
LAYERS, HIDDEN, HEADS, KV_HEADS, INNER, VOCABULARY = 8, 64, 4, 2, 96, 40
LINEARS = {
	"attn_q": ("self_attn.q_proj", HIDDEN, HIDDEN),
	"attn_k": ("self_attn.k_proj", HIDDEN // HEADS * KV_HEADS, HIDDEN),
	"attn_v": ("self_attn.v_proj", HIDDEN // HEADS * KV_HEADS, HIDDEN),
	"attn_output": ("self_attn.o_proj", HIDDEN, HIDDEN),
	"ffn_gate": ("mlp.gate_proj", INNER, HIDDEN),
	"ffn_up": ("mlp.up_proj", INNER, HIDDEN),
	"ffn_down": ("mlp.down_proj", HIDDEN, INNER),
	"attn_norm": ("input_layernorm", HIDDEN, 0),
	"ffn_norm": ("post_attention_layernorm", HIDDEN, 0),
}


def write_model(path):
	"""Layer i has its linears in type i, but for one linear, which turns through the types."""
	random = numpy.random.default_rng(5)
	writer = gguf.GGUFWriter(str(path), "llama")
	writer.add_block_count(LAYERS)
	writer.add_context_length(128)
	writer.add_embedding_length(HIDDEN)
	writer.add_feed_forward_length(INNER)
	writer.add_head_count(HEADS)
	writer.add_head_count_kv(KV_HEADS)
	writer.add_layer_norm_rms_eps(1e-5)
	writer.add_rope_dimension_count(HIDDEN // HEADS)
	writer.add_vocab_size(VOCABULARY)

	def add(name, shape, kind):
		kind = gguf.GGMLQuantizationType[kind]
		values = random.standard_normal(shape).astype(numpy.float32)
		if kind == gguf.GGMLQuantizationType.F32:
			writer.add_tensor(name, values)
		elif kind == gguf.GGMLQuantizationType.F16:
			writer.add_tensor(name, values.astype(numpy.float16))
		else:
			writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

	add("token_embd.weight", (VOCABULARY, HIDDEN), "Q5_1")
	for layer in range(LAYERS):
		for k, (name, (_, rows, cols)) in enumerate(LINEARS.items()):
			if cols == 0:
				add(f"blk.{layer}.{name}.weight", (rows,), "F32")
			else:
				add(f"blk.{layer}.{name}.weight", (rows, cols), TYPES[(layer + k * (k == 3)) % len(TYPES)])
	add("output_norm.weight", (HIDDEN,), "F32")
	add("output.weight", (VOCABULARY, HIDDEN), "Q5_0")
	writer.write_header_to_file()
	writer.write_kv_data_to_file()
	writer.write_tensors_to_file()
	writer.close()


def their_name(name):
	fixed = {
		"token_embd.weight": "model.embed_tokens.weight",
		"output_norm.weight": "model.norm.weight",
		"output.weight": "lm_head.weight",
	}
	if name in fixed:
		return fixed[name]
	_, layer, part, suffix = name.split(".")
	return f"model.layers.{layer}.{LINEARS[part][0]}.{suffix}"


def to_halves(w, heads):
	return w.reshape(heads, w.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)


def compare(tool, path):
	reader = gguf.GGUFReader(path)
	heads = int(reader.fields["llama.attention.head_count"].contents())
	kv_heads = int(reader.fields["llama.attention.head_count_kv"].contents())
	n_values, types = 0, set()
	with tempfile.TemporaryDirectory() as folder:
		out = pathlib.Path(folder) / "out"
		subprocess.run([tool, "export", "-q", "--dtype", "f32", str(path), "-o", str(out)], check=True)
		ours = load_file(out / "model.safetensors")
	for t in reader.tensors:
		theirs = gguf.quants.dequantize(t.data, t.tensor_type).astype(numpy.float32)
		theirs = theirs.reshape([int(n) for n in reversed(t.shape)])
		if ".attn_q." in t.name or ".attn_k." in t.name:
			theirs = to_halves(theirs, heads if ".attn_q." in t.name else kv_heads)
		found = ours.pop(their_name(t.name))
		if found.dtype != numpy.float32 or found.shape != theirs.shape:
			sys.exit(f"{path}: {t.name}: {found.dtype} {found.shape}, not float32 {theirs.shape}")
		differ = numpy.count_nonzero(found.view(numpy.uint32) != numpy.ascontiguousarray(theirs).view(numpy.uint32))
		if differ != 0:
			sys.exit(f"{path}: {t.name} ({t.tensor_type.name}): {differ} of {theirs.size} values differ")
		n_values += theirs.size
		types.add(t.tensor_type.name)
	if ours:
		sys.exit(f"{path}: {sorted(ours)} are not in the GGUF file")
	print(f"{path}: {len(reader.tensors)} tensors, {n_values} values of {', '.join(sorted(types))}: equal bits")
	return types


def main():
	if len(sys.argv) < 2:
		sys.exit(__doc__)
	tool, files = sys.argv[1], sys.argv[2:]
	for path in files:
		compare(tool, path)
	if not files:
		with tempfile.TemporaryDirectory() as folder:
			path = pathlib.Path(folder) / "every-type.gguf"
			write_model(path)
			if compare(tool, path) != set(TYPES):
				sys.exit("not every type was compared")


main()
