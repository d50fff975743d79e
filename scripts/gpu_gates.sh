#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles every GPU kernel for each architecture and looks at what came out: registers, spills, stack, and the
# instructions that the kernels are built around. Needs nvcc, but no card; exit 77 without nvcc.
#
#	sh scripts/gpu_gates.sh            all architectures of AQZ_GPU_ARCHS, by default "80 86 89 90"
#	sh scripts/gpu_gates.sh -v         a line for each kernel
set -u
cd "$(dirname "$0")/.." || exit 1
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
if [ ! -x "$nvcc" ]; then
	echo "SKIP: gpu gates: there is no nvcc"
	exit 77
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)

for arch in ${AQZ_GPU_ARCHS:-80 86 89 90}; do
	for file in gpu/*.cu; do
		name=$(basename "$file" .cu)
		echo "'$nvcc' -std=c++17 -O3 -I. -arch=sm_$arch -Xptxas -v -cubin -o '$tmp/$name.$arch.cubin' '$file'" \
			">'$tmp/$name.$arch.log' 2>&1 || { cat '$tmp/$name.$arch.log'; exit 1; }"
	done
done >"$tmp/commands"
tr '\n' '\0' <"$tmp/commands" | xargs -0 -P "$jobs" -n 1 sh -c || {
	echo "FAIL: a kernel does not compile"
	exit 1
}
python3 scripts/gpu_gates.py "$@" "$tmp"/*.cubin
