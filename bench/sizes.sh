#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Lossless size against `zstd -19` of the same safetensors file, then proof that the source comes back byte for byte.
#
#	sh bench/sizes.sh [FILE.safetensors...]     default: the embedded model and what is found in ../shared
#
# AQLMZIP names the tool (build/aqlmzip).
set -eu
cd "$(dirname "$0")/.."
tool=${AQLMZIP:-build/aqlmzip}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
sh bench/machine.sh
[ $# -gt 0 ] || set -- tests/data/stories/model.safetensors $(find ../shared/data/real-llm-slices \
	../shared/data/quant-fixtures-vllm-gaudi ../shared/reference/layers ../shared/reference/aqlm-stories-2x8g8/hf \
	-name '*.safetensors' ! -name '*.stats.safetensors' 2>/dev/null | sort)
printf '\n%-58s %12s %12s %12s %8s\n' file bytes 'zstd -19' aqlmzip ratio
for f; do
	"$tool" compress -q -f --scheme raw "$f" -o "$work/a.aqz"
	"$tool" decompress -q -f --original "$work/a.aqz" -o "$work/back.safetensors"
	cmp "$f" "$work/back.safetensors"
	zstd -19 -q -f "$f" -o "$work/a.zst"
	plain=$(stat -Lc %s "$f") peer=$(stat -c %s "$work/a.zst") ours=$(stat -c %s "$work/a.aqz")
	name=$(echo "$f" | tail -c 58)
	ratio=$(echo "$ours $peer" | awk '{ print $1 / $2 }')
	printf '%-58s %12d %12d %12d %8.4f\n' "$name" "$plain" "$peer" "$ours" "$ratio"
	[ "$ours" -le "$peer" ] || echo "  larger than zstd -19"
done
