#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/families: tiny random models of each family with what transformers makes of them.

	python3 tests/interop/make_families.py [--check] [FOLDER]

Needs torch, transformers 5 and safetensors. For each model a folder NAME with config.json and
model.safetensors, and NAME.vectors.safetensors beside it (all computed in binary32, eager attention):

	ids                 I64 [2, T]       two sequences, each from position 0
	logits              F32 [2, T, V]
	prompt              I64 [6]          and what greedy choice goes on with:
	greedy              I64 [8]
	greedy_margin       F32 [8]          by how much the first choice was ahead of the second
	labels              I64 [T]          of sequence 0: the next tokens; -1 at the last place, where there is no loss
	losses              F32 [T]
	grad.inputs_embeds  F32 [T, hidden]  gradients of the sum of losses of sequence 0
	grad.NAME           F32              by parameter; of a tied embedding the head's part alone, as grad.lm_head.weight

Biases and norms have their gradients everywhere, matrices those of layer 0 and the head in the models marked full, else
k of layer 0 (to keep the files small). --check makes everything again and compares it with the files.
"""
import argparse
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

TOKENS, PROMPT, GREEDY = 24, 6, 8
SHAPE = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
	max_position_embeddings=64, bos_token_id=1, eos_token_id=2, attention_dropout=0.0)


def family(kind, dtype="bfloat16", full=False, config_form="new", **fields):
	return dict(kind=kind, dtype=dtype, full=full, config_form=config_form, fields={**SHAPE, **fields})


def rope(theta, **scaling):
	return {"rope_type": "default", "rope_theta": theta, **scaling}


# config_form old: rope_theta and rope_scaling, as transformers wrote them before version 5.
FAMILIES = {
	"llama": family("llama", full=True, config_form="old", intermediate_size=52, vocab_size=64, rms_norm_eps=1e-5,
		rope_parameters=rope(10000.0), tie_word_embeddings=False),
	"llama-linear-tied": family("llama", intermediate_size=40, vocab_size=72, rms_norm_eps=1e-6, config_form="old",
		rope_parameters=rope(500.0, rope_type="linear", factor=4.0), tie_word_embeddings=True),
	"llama3": family("llama", intermediate_size=40, vocab_size=64, rms_norm_eps=1e-5, eos_token_id=[2, 3],
		rope_parameters=rope(50.0, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
			original_max_position_embeddings=16), tie_word_embeddings=False),
	"llama-bias": family("llama", intermediate_size=44, vocab_size=64, head_dim=12, attention_bias=True, mlp_bias=True,
		rms_norm_eps=1e-3, rope_parameters=rope(100.0), tie_word_embeddings=False),
	"mistral": family("mistral", dtype="float16", intermediate_size=36, vocab_size=64, sliding_window=7,
		rms_norm_eps=1e-5, rope_parameters=rope(1000.0), tie_word_embeddings=False),
	"qwen2": family("qwen2", config_form="old", intermediate_size=40, vocab_size=68, rms_norm_eps=1e-6,
		rope_parameters=rope(1000000.0), use_sliding_window=False, sliding_window=8, max_window_layers=1,
		tie_word_embeddings=True),
	"qwen2-window": family("qwen2", intermediate_size=40, vocab_size=64, rms_norm_eps=1e-6,
		rope_parameters=rope(1000.0), use_sliding_window=True, sliding_window=5, max_window_layers=1,
		tie_word_embeddings=False),
	"qwen3": family("qwen3", full=True, intermediate_size=40, vocab_size=64, head_dim=16, rms_norm_eps=1e-6,
		rope_parameters=rope(10000.0), attention_bias=False, tie_word_embeddings=False),
}


def make_model(spec, seed):
	"""Weights that matter: logits are not flat, norms not 1, biases not 0. Rounded to the dtype of the file."""
	config = transformers.AutoConfig.for_model(spec["kind"], **spec["fields"])
	config._attn_implementation = "eager"
	model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
	g = torch.Generator().manual_seed(seed)
	dtype = getattr(torch, spec["dtype"])
	with torch.no_grad():
		for name, p in sorted(model.named_parameters()):
			if name.endswith("norm.weight"):
				v = 0.5 + torch.rand(p.shape, generator=g)
			elif name.endswith(".bias"):
				v = 0.4 * torch.randn(p.shape, generator=g)
			elif name.endswith("embed_tokens.weight"):
				v = 0.5 * torch.randn(p.shape, generator=g)
			else:
				v = 1.5 * p.shape[1] ** -0.5 * torch.randn(p.shape, generator=g)
			p.copy_(v.to(dtype).to(torch.float32))
	return model


def greedy(model, prompt):
	ids, margins = prompt.clone()[None], []
	for _ in range(GREEDY):
		top = model(input_ids=ids, use_cache=False).logits[0, -1].topk(2)
		margins.append((top.values[0] - top.values[1]).item())
		ids = torch.cat([ids, top.indices[:1][None]], 1)
	return ids[0, PROMPT:], torch.tensor(margins)


def make_vectors(spec, model, seed):
	g = torch.Generator().manual_seed(seed + 1)
	vocabulary = spec["fields"]["vocab_size"]
	ids = torch.randint(0, vocabulary, (2, TOKENS), generator=g)
	prompt = torch.randint(0, vocabulary, (PROMPT,), generator=g)
	with torch.no_grad():
		logits = model(input_ids=ids, use_cache=False).logits
		after, margin = greedy(model, prompt)

	embeds = model.get_input_embeddings()(ids[:1]).detach().requires_grad_()  # a leaf: none of it goes to the embedding
	labels = torch.cat([ids[0, 1:], torch.tensor([-1])])
	model.zero_grad()
	out = model(inputs_embeds=embeds, use_cache=False).logits[0]
	losses = torch.nn.functional.cross_entropy(out, labels, ignore_index=-1, reduction="none")
	losses.sum().backward()
	vectors = {"ids": ids, "logits": logits, "prompt": prompt, "greedy": after, "greedy_margin": margin,
		"labels": labels, "losses": losses.detach(), "grad.inputs_embeds": embeds.grad[0]}
	tied = spec["fields"]["tie_word_embeddings"]
	for name, p in model.named_parameters():
		if name.endswith("embed_tokens.weight"):
			if tied:
				vectors["grad.lm_head.weight"] = p.grad
			continue
		full = spec["full"] and ".layers.1." not in name
		if p.dim() == 1 or full or ".layers.0.self_attn.k_proj" in name:
			vectors["grad." + name] = p.grad
	return {k: v.detach().clone().contiguous() for k, v in vectors.items()}


def config_json(spec, model):
	c = model.config.to_dict()
	for key in ("_name_or_path", "attn_implementation", "_attn_implementation", "chunk_size_feed_forward"):
		c.pop(key, None)
	c["architectures"] = [type(model).__name__]
	if spec["config_form"] == "old":
		rope_parameters = c.pop("rope_parameters")
		c["rope_theta"] = rope_parameters.pop("rope_theta")
		c["rope_scaling"] = None if rope_parameters["rope_type"] == "default" else rope_parameters
		c.pop("dtype", None)
		c["torch_dtype"] = spec["dtype"]
		c.pop("layer_types", None)
		if spec["kind"] == "qwen2":
			c["sliding_window"] = spec["fields"]["sliding_window"]  # published files have one that is not in use
	else:
		c["dtype"] = spec["dtype"]
	return json.dumps(c, indent=2, sort_keys=True) + "\n"


def make(spec):
	"""The first seed with which no greedy choice is near, so that rounding does not decide."""
	for seed in range(1000, 2000):
		model = make_model(spec, seed)
		vectors = make_vectors(spec, model, seed)
		if vectors["greedy_margin"].min() > 0.05 and vectors["greedy"].unique().numel() >= 4:
			return seed, model, vectors
	raise SystemExit("no seed will do")


def vectors_of(folder):
	return folder.with_name(folder.name + ".vectors.safetensors")


def compare(folder, weights, vectors):
	wrong = 0
	for file, mine in ((folder / "model.safetensors", weights), (vectors_of(folder), vectors)):
		theirs = load_file(file)
		if theirs.keys() != mine.keys():
			print(f"{file}: other tensors")
			wrong += 1
			continue
		for k in mine:
			difference = (mine[k].double() - theirs[k].double()).abs().max().item()
			if difference > 2e-4 * (1 + mine[k].double().abs().max().item()):
				print(f"{file}: {k} differs by {difference:.3g}")
				wrong += 1
	# What transformers reads from the folder must be what the vectors were made with.
	model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
	model.eval()
	with torch.no_grad():
		difference = (model(input_ids=vectors["ids"], use_cache=False).logits - vectors["logits"]).abs().max().item()
	if difference > 1e-4:
		print(f"{folder.name}: logits of the folder as transformers loads it differ by {difference:.3g}")
		wrong += 1
	return wrong


def main():
	transformers.utils.logging.disable_progress_bar()
	a = argparse.ArgumentParser()
	a.add_argument("--check", action="store_true")
	a.add_argument("folder", nargs="?", default=pathlib.Path(__file__).resolve().parent.parent / "data" / "families",
		type=pathlib.Path)
	a = a.parse_args()
	torch.set_num_threads(1)
	torch.use_deterministic_algorithms(True)
	wrong = 0
	for name, spec in FAMILIES.items():
		seed, model, vectors = make(spec)
		dtype = getattr(torch, spec["dtype"])
		weights = {k: p.detach().to(dtype).contiguous() for k, p in model.named_parameters()}
		folder = a.folder / name
		if not a.check:
			folder.mkdir(parents=True, exist_ok=True)
			(folder / "config.json").write_text(config_json(spec, model))
			save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
			save_file(vectors, vectors_of(folder),
				metadata={"made_with": "transformers " + transformers.__version__, "seed": str(seed)})
			for file in (*folder.iterdir(), vectors_of(folder)):
				file.chmod(0o644)
		wrong += compare(folder, weights, vectors)
		print(f"{name}: seed {seed}, {sum(p.numel() for p in model.parameters())} parameters, "
			f""
			f"{sum(f.stat().st_size for f in (*folder.iterdir(), vectors_of(folder)))} bytes, "
			f"logits' deviation {vectors['logits'].std():.2f}, "
			f"least margin {vectors['greedy_margin'].min():.3f}, loss {vectors['losses'].sum() / (TOKENS - 1):.2f}")
	return 1 if wrong else 0


if __name__ == "__main__":
	sys.exit(main())
