#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From a bare Debian to a compressed model and back, in a few minutes: installs what the build needs (or prints the
# command), builds, then takes the small model in tests/data/stories through all the steps and compares the results.
#
#	sh scripts/demo.sh              leaves nothing behind but the build
#	sh scripts/demo.sh OUT.aqz      keeps the compressed model there
#	sh scripts/demo.sh smollm2      the same question on a real LLM: scripts/demo_smollm2.sh says which arguments follow
set -eu
case ${1-} in
-*)
	echo "usage: sh scripts/demo.sh [OUT.aqz | smollm2 ...]" >&2
	exit 2
	;;
smollm2)
	shift
	exec sh "$(dirname "$0")/demo_smollm2.sh" "$@"
	;;
esac
keep=${1-}
if [ -n "$keep" ]; then
	keep=$(cd "$(dirname "$keep")" && pwd)/$(basename "$keep")
	[ ! -e "$keep" ] || { echo "demo.sh: $keep exists; give another name" >&2; exit 1; }
fi
cd "$(dirname "$0")/.."
model=tests/data/stories
. scripts/demo_lib.sh
build

say "Run the text it was made for through the model, and keep what each layer is fed: H = X^T X / n"
run calibrate $model --text $model/calibration.txt --bos first --length 256 -o "$tmp/stats.safetensors"

say "Compress a Llama of 918,656 weights: projections become codes, the rest stays lossless"
run compress $model --scheme 2x8g8 --share kind --codebook-bits 8 --stats "$tmp/stats.safetensors" -o "$tmp/model.aqz"

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

say "Another point: three codebooks instead of two, less effort"
run compress -q $model --scheme 3x8g8 --share kind --codebook-bits 8 --effort 3 --stats "$tmp/stats.safetensors" \
	-o "$tmp/larger.aqz"

say "How much worse they are: text that calibration has not seen, the original as the reference"
text="--text $model/evaluation.txt --bos first --length 256"
# shellcheck disable=SC2086 # options are words
{
	run eval $model $text --json >"$tmp/original.json"
	run eval "$tmp/model.aqz" $text --reference $model --json >"$tmp/model.json"
	run eval "$tmp/larger.aqz" $text --reference $model --json >"$tmp/larger.json"
}

say "What the original and the compressed model write (greedy)"
prompt='once upon a time, there was a little girl'
run generate $model --prompt "$prompt" --max-tokens 60
run generate "$tmp/model.aqz" --prompt "$prompt" --max-tokens 60

say "In figures"
# A safetensors file begins with the bytes of its header (a little-endian 64-bit number); BF16 has 2 bytes a weight.
header=$(od -An -tu4 -N4 $model/model.safetensors | tr -d ' ')
weights=$((($(bytes $model/model.safetensors) - 8 - header) / 2))
echo "(model.safetensors alone: $(bytes $model/model.safetensors) bytes; below, all files of the folder count)"
table
row "the folder, BF16" "$(cat $model/* | wc -c)" $weights "$tmp/original.json"
row "lossless .aqz" "$(bytes "$tmp/lossless.aqz")" $weights "$tmp/original.json"
row "3x8g8 .aqz" "$(bytes "$tmp/larger.aqz")" $weights "$tmp/larger.json"
row "2x8g8 .aqz" "$(bytes "$tmp/model.aqz")" $weights "$tmp/model.json"
echo "(the embedding is lossless and counts in full; the ledger above says where each byte goes)"

if [ -n "$keep" ]; then
	cp "$tmp/model.aqz" "$keep"
	say "The compressed model is $keep"
else
	say "Done; nothing is left behind but build/. To keep the compressed model: sh scripts/demo.sh OUT.aqz"
fi
