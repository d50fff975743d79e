#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Codebook bytes on small layers: private or shared codebooks, 16 or 8 bits, schemes of about equal file bytes.
#
#	sh bench/share.sh       the embedded model, and where ../shared is there one layer of 576 x 576 with its
#	                        input statistics
#
# AQLMZIP names the tool (build/aqlmzip), PYTHON a python with numpy for the layer's loss.
set -eu
cd "$(dirname "$0")/.."
tool=${AQLMZIP:-build/aqlmzip}
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
sh bench/machine.sh

printf '\nembedded model, effort 5; error: mean of |W - W_hat|^2 / |W|^2 over all projections, 0 where lossless\n'
printf '%-8s %-6s %5s %12s %14s %12s %9s %9s\n' scheme share bits file codebooks bits/coded error seconds
for line in '2x8g8 none 16' '2x8g8 none 8' '2x8g8 block 8' '2x8g8 kind 8' '2x8g8 all 16' '2x8g8 all 8' '3x8g8 all 8' \
	'4x8g8 kind 8' '4x8g8 all 8'; do
	set -- $line
	start=$(date +%s.%N)
	"$tool" compress -q -f -s "$1" --share "$2" --codebook-bits "$3" tests/data/stories -o "$work/a.aqz"
	end=$(date +%s.%N)
	"$tool" info --json "$work/a.aqz" | "$python" -c '
import json, sys
d = json.load(sys.stdin)
linear = [t for t in d["tensors"] if t["name"].endswith("_proj.weight")]
error = sum(t["weights"] * t.get("rel_mse", 0) for t in linear) / sum(t["weights"] for t in linear)
scheme, share, bits, start, end = sys.argv[1:]
print("%-8s %-6s %5s %12d %14d %12.3f %9.5f %9.2f" % (scheme, share, bits, d["bytes"], d["codebooks"]["bytes"],
	d["coded"]["bits_per_weight"], error, float(end) - float(start)))' "$1" "$2" "$3" "$start" "$end"
done

layer=../shared/reference/layers/14.self_attn.q_proj
[ -f $layer.safetensors ] || exit 0
printf '\n14.self_attn.q_proj of SmolLM2-135M (576 x 576) with its statistics, effort 5, one thread\n'
printf '%-8s %5s %10s %9s\n' scheme bits bits/w loss
for line in '2x8g8 16' '2x8g8 8' '5x5g12 8' '6x6g18 8' '4x7g14 8' '3x8g12 8' '4x8g16 8' '4x8g16 16'; do
	set -- $line
	"$tool" compress -q -f -T 1 -s "$1" --codebook-bits "$2" --stats $layer.stats.safetensors $layer.safetensors \
		-o "$work/a.aqz"
	"$tool" decompress -q -f "$work/a.aqz" -o "$work/a.safetensors"
	"$python" bench/layer_loss.py $layer.safetensors "$work/a.safetensors" $layer.stats.safetensors | tail -n 1 |
		awk -v scheme="$1" -v bits="$2" -v bytes="$(stat -c %s "$work/a.aqz")" \
			'{ printf "%-8s %5s %10.3f %9.5f\n", scheme, bits, 8 * bytes / 331776, $2 }'
done
