#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Encoding real layers with their input statistics against the AQLM reference: loss by bench/layer_loss.py (numpy, apart
# from our arithmetic) from the decompressed weights, seconds, bits a weight of the whole file.
#
#	sh bench/layers.sh             every effort on four layers at 2x8g8, one thread, then other schemes at effort 5
#	PEER=1 sh bench/layers.sh      the peer (bench/peer_aqlm.py, torch) first, in the same run, one thread as well
#	EFFORTS='1 5' LAYERS='14.mlp.gate_proj' SCHEMES= sh bench/layers.sh
#
# AQLMZIP names the tool (build/aqlmzip), PYTHON a python with numpy (and torch for the peer). Needs the layers in
# ../shared/reference/layers.
set -eu
cd "$(dirname "$0")/.."
tool=${AQLMZIP:-build/aqlmzip}
python=${PYTHON:-python3}
folder=${FOLDER:-../shared/reference/layers}
layers=${LAYERS-14.self_attn.q_proj 14.mlp.gate_proj 14.mlp.down_proj 0.mlp.gate_proj}
efforts=${EFFORTS-1 2 3 4 5 6 7 8}
schemes=${SCHEMES-1x8g8 4x8g8 1x12g8 4x8g16 8x8g32}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
sh bench/machine.sh
echo "threads   1; load before $(cut -d' ' -f1 /proc/loadavg)"

published() {
	case $1:$2 in
	14.self_attn.q_proj:2x8g8) echo 0.01205 ;;
	14.mlp.gate_proj:2x8g8) echo 0.02665 ;;
	14.mlp.down_proj:2x8g8) echo 0.05437 ;;
	0.mlp.gate_proj:2x8g8) echo 0.03379 ;;
	14.self_attn.q_proj:4x8g8) echo 0.00114 ;;
	14.self_attn.q_proj:1x8g8) echo 0.03934 ;;
	14.self_attn.q_proj:1x12g8) echo 0.01356 ;;
	14.mlp.gate_proj:1x8g8) echo 0.08349 ;;
	*) echo - ;;
	esac
}

# one LAYER SCHEME EFFORT [OPTION...]
one() {
	layer=$1 scheme=$2 effort=$3
	shift 3
	start=$(date +%s.%N)
	"$tool" compress -q -f -T 1 -s "$scheme" -e "$effort" --stats "$folder/$layer.stats.safetensors" "$@" \
		"$folder/$layer.safetensors" -o "$work/a.aqz"
	end=$(date +%s.%N)
	"$tool" decompress -q -f "$work/a.aqz" -o "$work/a.safetensors"
	"$python" bench/layer_loss.py "$folder/$layer.safetensors" "$work/a.safetensors" \
		"$folder/$layer.stats.safetensors" >"$work/loss"
	weights=$("$tool" info --json "$work/a.aqz" | "$python" -c 'import json, sys
print(json.load(sys.stdin)["weights"])')
	tail -n 1 "$work/loss" | awk -v layer="$layer" -v scheme="$scheme" -v effort="$effort" -v start="$start" \
		-v end="$end" -v ref="$(published "$layer" "$scheme")" -v bytes="$(stat -c %s "$work/a.aqz")" \
		-v weights="$weights" -v options="$*" '{
			change = ref == "-" ? "" : sprintf("%+.1f %%", 100 * ($2 / ref - 1))
			printf "%-20s %-7s %6s %9.5f %9s %9s %8.3f %9.2f %s\n", layer, scheme, effort, $2, ref, change,
				8 * bytes / weights, end - start, options }'
}

if [ "${PEER:-0}" = 1 ]; then
	printf '\npeer: the reference schedule in torch (bench/peer_aqlm.py)\n'
	for layer in $layers; do
		"$python" bench/peer_aqlm.py "$folder/$layer.safetensors" "$folder/$layer.stats.safetensors" \
			--scheme 2x8g8 --threads 1 --seed 0
	done
fi
printf '\n%-20s %-7s %6s %9s %9s %9s %8s %9s\n' layer scheme effort loss AQLM change bits/w seconds
for layer in $layers; do
	for effort in $efforts; do
		one "$layer" 2x8g8 "$effort"
	done
done
for scheme in $schemes; do
	one 14.self_attn.q_proj "$scheme" 5
done
[ -z "$schemes" ] || for layer in $layers; do
	one "$layer" 2x8g8 5 --codebook-bits 8
done
