#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
r"""Compares `aqlmzip calibrate` on SmolLM2-135M with the reference's statistics. Run by hand, some minutes:

	sh scripts/fetch-smollm2.sh FOLDER
	python3 tests/interop/calibration_peer.py [--only inputs|importance] [--seeds N] build/aqlmzip FOLDER \
		../shared/reference

Needs numpy and safetensors.

1. H = X^T X / n of the 32 windows of calib-smollm2-32x1024.npy against layers/*.stats.safetensors: the Frobenius norm
   of the difference and the worst entry of the diagonal, relative, below 1e-3; and exactly symmetric.
2. Row importance of the windows behind smollm2-row-importance.safetensors (the first 512 tokens of every second one)
   against it: labels are drawn, so two runs differ by sampling. The correlation of the logarithms over all rows of all
   linears must be above 0.98. With --seeds 2 or more, the same figure between seeds of ours says what sampling alone
   does.
"""
import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from safetensors import safe_open

SUFFIX = ".row_importance"


def calibrate(tool, model, ids, out, *options):
	done = subprocess.run([tool, "calibrate", model, "--ids", ids, "-o", out, "--json", *options], check=True,
		stdout=subprocess.PIPE)
	said = json.loads(done.stdout)
	print(f"{said['tokens']} tokens: {said['seconds']:.0f} s, peak memory {said['peak_memory_bytes'] / 2**20:.0f} MiB")


def compare_inputs(stats, reference):
	good = True
	with safe_open(stats, "numpy") as file:
		aliases = file.metadata()
		for path in sorted(reference.glob("layers/*.stats.safetensors")):
			with safe_open(path, "numpy") as other:
				for name in other.keys():
					found = file.get_tensor(aliases.get("alias:" + name, name)).astype(np.float64)
					expected = other.get_tensor(name).astype(np.float64)
					error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
					diagonal = np.abs(np.diag(found) / np.diag(expected) - 1).max()
					good = good and error < 1e-3 and diagonal < 1e-3 and (found == found.T).all()
					print(f"{name}: Frobenius {error:.1e}, diagonal {diagonal:.1e}")
	return good


def importances(path):
	with safe_open(path, "numpy") as file:
		return {name: np.log(file.get_tensor(name).astype(np.float64)) for name in file.keys() if name.endswith(SUFFIX)}


def compare_importances(title, found, expected):
	kinds = collections.defaultdict(list)
	for name in expected:
		kinds["all"].append(name)
		kinds[name.split(".")[-3]].append(name)
	print(f"{title}: correlation of logarithms, median ratio, median of the correlations of single linears")
	for kind, names in kinds.items():
		a, b = (np.concatenate([of[name] for name in names]) for of in (found, expected))
		single = np.median([np.corrcoef(found[name], expected[name])[0, 1] for name in names])
		print(f"  {kind:10} {np.corrcoef(a, b)[0, 1]:.4f}  {np.exp(np.median(a - b)):.3f}  {single:.3f}")
	a, b = (np.concatenate([of[name] for name in kinds["all"]]) for of in (found, expected))
	return np.corrcoef(a, b)[0, 1] > 0.98


def main():
	p = argparse.ArgumentParser()
	p.add_argument("--only", choices=("inputs", "importance"))
	p.add_argument("--seeds", type=int, default=1)
	p.add_argument("tool")
	p.add_argument("model")
	p.add_argument("reference", type=pathlib.Path)
	o = p.parse_args()
	batch = o.reference / "calib-smollm2-32x1024.npy"
	good = True
	with tempfile.TemporaryDirectory() as folder:
		out = folder + "/stats.safetensors"
		if o.only != "importance":
			calibrate(o.tool, o.model, batch, out)
			good = compare_inputs(out, o.reference) and good
		if o.only != "inputs":
			expected = importances(o.reference / "smollm2-row-importance.safetensors")
			np.save(folder + "/ids.npy", np.ascontiguousarray(np.load(batch)[::2, :512]))
			runs = []
			for seed in range(o.seeds):
				calibrate(o.tool, o.model, folder + "/ids.npy", out, "-f", "--row-importance", "--seed", str(seed))
				runs.append(importances(out))
				good = compare_importances(f"seed {seed} and the reference", runs[-1], expected) and good
				if seed > 0:
					compare_importances(f"seeds {seed - 1} and {seed}", runs[-1], runs[-2])
	print("PASS" if good else "FAIL")
	return 0 if good else 1


if __name__ == "__main__":
	sys.exit(main())
