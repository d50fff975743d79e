#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A peer for timing: one layer through the schedule of the AQLM reference implementation, written from its description.

	python3 bench/peer_aqlm.py LAYER.safetensors STATS.safetensors [--scheme 2x8g8] [--threads 1] [--seed 0]

This is not the reference (Vahe1994/AQLM, AQEngine with the paper's settings), but does the same work in torch: rows
divided by their norm, residual k-means, then in turns 100 Adam steps on codebooks and scales and one beam search (beam
1) over all codes, until an epoch gains less than 1 %. LAYER holds the weight W [out, in], STATS under the same name
H = X^T X / n [in, in].

Its figures count only if its losses, tr(E H E^T) / tr(W H W^T), are within 5 % of those published for the reference on
the four layers of ../shared/reference/layers at 2x8g8: 14.self_attn.q_proj 0.01205, 14.mlp.gate_proj 0.02665,
14.mlp.down_proj 0.05437, 0.mlp.gate_proj 0.03379.

Steps are the reference's, and none is made slower. Some are faster with the same result: k-means in blocks that stay
in cache, sums for the means by index_add, and in the search an error matrix that is updated, not computed anew.
So the peer is ahead of the reference: 14.self_attn.q_proj takes 30 to 35 s here, 43 s there (one core, others busy).
The seconds are those of quantize() below, without start and reading. Needs torch and safetensors.
"""
import argparse
import random
import re
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

KMEANS_ITERATIONS = 100
STEPS_PER_EPOCH = 100
MAX_EPOCHS = 1000
RELATIVE_MSE_TOLERANCE = 0.01


def nearest(points, centroids):
	"""Index of the centroid nearest to each point: the least |c|^2 / 2 - x.c. In blocks that stay in cache."""
	half_norms = centroids.square().sum(1)
	block = max(1, 2**20 // len(centroids))
	return torch.cat([torch.addmm(half_norms, part, centroids.T, beta=-0.5).argmax(1) for part in points.split(block)])


def kmeans(points, n_centroids):
	"""Lloyd's algorithm from random points. An empty cluster stays. Convergence is tested every ten rounds."""
	centroids = points[torch.randperm(len(points))[:n_centroids]]
	for i in range(KMEANS_ITERATIONS):
		indices = nearest(points, centroids)
		sums = torch.zeros_like(centroids).index_add_(0, indices, points)
		counts = torch.bincount(indices, minlength=len(centroids)).unsqueeze(1)
		means = torch.where(counts > 0, sums / counts, centroids)
		if i % 10 == 0 and torch.allclose(means, centroids, rtol=1e-6, atol=1e-8):
			break
		centroids = means
	return centroids


def residual_kmeans(points, n_codebooks, n_codewords):
	"""Codes [points, M] and codebooks [M, K, g]: each codebook is fitted to what the ones before it leave."""
	rest, codes, codebooks = points.clone(), [], []
	for _ in range(n_codebooks):
		codebook = kmeans(rest, n_codewords)
		indices = nearest(rest, codebook)
		rest -= codebook[indices]
		codes.append(indices)
		codebooks.append(codebook)
	return torch.stack(codes, 1), torch.stack(codebooks)


def dequantize(codes, codebooks, scales):
	"""codes [out * groups, M], codebooks [M, K, g], scales [out, 1] -> weights [out, in]."""
	n_codebooks, n_codewords, _ = codebooks.shape
	offsets = torch.arange(n_codebooks) * n_codewords
	groups = F.embedding_bag(codes + offsets, codebooks.flatten(0, 1), mode="sum")
	return groups.view(len(scales), -1) * scales


@torch.no_grad()
def search(codes, codebooks, scales, weight, xtx, rng):
	"""One pass with beam 1: groups in random order, in each the codebooks in random order, all rows at once. In place.

	With D the error without the part s c_old, a codeword c costs s^2 c^T H_jj c - 2 s c.(D H_j) + constant; all is
	divided by s^2 here. binary32, as in the reference.
	"""
	n_codebooks, _, g = codebooks.shape
	codes = codes.view(len(scales), -1, n_codebooks)
	error = weight - dequantize(codes.flatten(0, 1), codebooks, scales)
	for j in rng.sample(range(codes.shape[1]), codes.shape[1]):
		at = slice(j * g, (j + 1) * g)
		columns = xtx[:, at].contiguous()
		for m in rng.sample(range(n_codebooks), n_codebooks):
			book = codebooks[m]
			error[:, at] += scales * book[codes[:, j, m]]
			norms = ((book @ columns[at]) * book).sum(1)
			costs = torch.addmm(norms, (error @ columns) / scales, book.T, alpha=-2)
			codes[:, j, m] = costs.min(1).indices
			error[:, at] -= scales * book[codes[:, j, m]]


def quantize(weight, xtx, n_codebooks, bits, g, rng):
	"""Returns the weights as they decode and the number of epochs, each 100 Adam steps and a search.

	The objective <(What - W) XTX, What - W> / out is computed in binary64, parameters are binary32. An epoch's first
	loss decides on stopping: it is what the search before it left, compared with the best of the first losses so far.
	"""
	scales = weight.norm(dim=1, keepdim=True) + 1e-9
	codes, codebooks = residual_kmeans((weight / scales).view(-1, g), n_codebooks, 2**bits)
	codebooks, scales = codebooks.requires_grad_(), scales.requires_grad_()
	optimizer = torch.optim.Adam([codebooks, scales], lr=1e-4, betas=(0.0, 0.95), amsgrad=True)
	xtx64, best = xtx.double(), float("inf")
	for epoch in range(MAX_EPOCHS):
		for step in range(STEPS_PER_EPOCH):
			delta = (dequantize(codes, codebooks, scales) - weight).double()
			loss = (delta @ xtx64).flatten() @ delta.flatten() / len(weight)
			if step == 0:
				if loss.item() / best > 1 - RELATIVE_MSE_TOLERANCE:
					return dequantize(codes, codebooks, scales).detach(), epoch
				best = min(best, loss.item())
			optimizer.zero_grad()
			loss.backward()
			optimizer.step()
		search(codes, codebooks, scales, weight, xtx, rng)
	return dequantize(codes, codebooks, scales).detach(), MAX_EPOCHS


def main():
	parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
	parser.add_argument("layer")
	parser.add_argument("stats")
	parser.add_argument("--scheme", default="2x8g8", help="codebooks x bits g group size (2x8g8)")
	parser.add_argument("--threads", type=int, default=1)
	parser.add_argument("--seed", type=int, default=0)
	args = parser.parse_args()
	scheme = re.fullmatch(r"(\d+)x(\d+)g(\d+)", args.scheme) or parser.error("--scheme is not of the form 2x8g8")
	n_codebooks, bits, g = map(int, scheme.groups())
	layer, stats = load_file(args.layer), load_file(args.stats)
	if len(layer) != 1:
		parser.error(f"{args.layer} holds {len(layer)} tensors instead of one")
	name, weight = next((name, tensor.float()) for name, tensor in layer.items())
	if name not in stats or stats[name].shape != (weight.shape[1], weight.shape[1]):
		parser.error(f"{args.stats} has no matrix of [in, in] for {name}")
	if weight.shape[1] % g:
		parser.error(f"{name}: rows of {weight.shape[1]} are not whole groups of {g}")
	xtx = stats[name].float()
	torch.set_num_threads(args.threads)
	torch.manual_seed(args.seed)

	start = time.perf_counter()
	decoded, epochs = quantize(weight, xtx, n_codebooks, bits, g, random.Random(args.seed))
	seconds = time.perf_counter() - start

	weight, xtx = weight.double(), xtx.double()
	error = weight - decoded.double()
	loss = (((error @ xtx) * error).sum() / ((weight @ xtx) * weight).sum()).item()
	print(f"{name:<40} {args.scheme:>8} {loss:10.5f} {seconds:8.1f} s {epochs:4d} epochs, "
		f"threads {args.threads}, torch {torch.__version__}", flush=True)


if __name__ == "__main__":
	main()
