#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From a bare Debian to a compressed model and back, in a few minutes: installs what the build needs (or prints the
# command), builds, then takes the small model in tests/data/stories through all the steps and compares the results.
#
#	sh scripts/demo.sh              leaves nothing behind but the build
#	sh scripts/demo.sh OUT.aqz      keeps the compressed model there
set -eu
case ${1-} in
-*)
	echo "usage: sh scripts/demo.sh [OUT.aqz]" >&2
	exit 2
	;;
esac
keep=${1-}
if [ -n "$keep" ]; then
	keep=$(cd "$(dirname "$keep")" && pwd)/$(basename "$keep")
	[ ! -e "$keep" ] || { echo "demo.sh: $keep exists; give another name" >&2; exit 1; }
fi
cd "$(dirname "$0")/.."
model=tests/data/stories
tool=build/aqlmzip

say() { printf '\n== %s\n' "$*"; }
run() {
	printf '$ aqlmzip %s\n' "$*"
	"$tool" "$@"
}
bytes() { wc -c <"$1" | tr -d ' '; }

say "What the build needs"
sh scripts/deps.sh build
say "Build"
sh scripts/build.sh build

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

say "Compress a Llama of 918,656 weights: attention and MLP by additive quantization, the rest losslessly"
run compress $model -o "$tmp/model.aqz"

say "What is in it"
run info "$tmp/model.aqz" >"$tmp/info"
cat "$tmp/info"

say "Verify every stored byte, decode all, compare with the source"
run verify --full "$tmp/model.aqz"
run verify --against $model "$tmp/model.aqz"

say "Compress it without loss, and get every file back"
run compress $model --scheme raw -o "$tmp/lossless.aqz"
run decompress --original "$tmp/lossless.aqz" -o "$tmp/original"
n=0
for file in "$model"/*; do
	cmp "$file" "$tmp/original/$(basename "$file")"
	n=$((n + 1))
done
[ "$(find "$tmp/original" -type f | wc -l)" -eq $n ]
echo "$n files, equal byte for byte"

say "Decompress the quantized model; its lossless tensors have the source's bits"
run decompress "$tmp/model.aqz" -o "$tmp/restored"
[ "$(bytes "$tmp/restored/model.safetensors")" -eq "$(bytes $model/model.safetensors)" ]
awk '/^tensor /{ table = 1; next } !NF { table = 0 } table && / raw /{ print $1 }' "$tmp/info" >"$tmp/names"
n=0
while read -r name; do
	"$tool" decompress -q -f "$tmp/model.aqz" --tensor "$name" -o "$tmp/a.raw" </dev/null
	"$tool" decompress -q -f "$tmp/lossless.aqz" --tensor "$name" -o "$tmp/b.raw" </dev/null
	cmp "$tmp/a.raw" "$tmp/b.raw"
	n=$((n + 1))
done <"$tmp/names"
[ $n -gt 0 ]
echo "$n lossless tensors, equal byte for byte"

say "Sizes"
# A safetensors file begins with the bytes of its header (a little-endian 64-bit number); BF16 has 2 bytes a weight.
header=$(od -An -tu4 -N4 $model/model.safetensors | tr -d ' ')
weights=$((($(bytes $model/model.safetensors) - 8 - header) / 2))
size() { printf '%-38s %8d bytes\n' "$1" "$2"; }
size "model.safetensors alone, BF16" "$(bytes $model/model.safetensors)"
size "the folder's files" "$(cat $model/* | wc -c)"
size "the folder without loss, .aqz" "$(bytes "$tmp/lossless.aqz")"
size "the folder quantized, .aqz" "$(bytes "$tmp/model.aqz")"
for file in lossless model; do
	bytes "$tmp/$file.aqz"
done | awk -v n="$weights" '{ b[NR] = 8 * $1 / n }
	END { printf "%d weights: the whole file is %.2f bits a weight without loss, %.2f quantized\n", n, b[1], b[2] }'
echo "(the embedding, lossless, and the files count in full; the ledger above says where each byte goes)"

if [ -n "$keep" ]; then
	cp "$tmp/model.aqz" "$keep"
	say "The compressed model is $keep"
else
	say "Done; nothing is left behind but build/. To keep the compressed model: sh scripts/demo.sh OUT.aqz"
fi
