#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The trellis codec: losses at the bytes of additive files, the error on N(0, 1), speed, and what its parts are worth.
# Losses by bench/layer_loss.py (numpy, apart from our arithmetic) from decompressed weights; bytes as ls says them.
#
#	sh bench/trellis.sh            all of it, a few minutes
#	PARTS='layers gauss' LAYERS=14.self_attn.q_proj STATES=8 sh bench/trellis.sh
#
# PARTS: layers gauss speed ablation. AQLMZIP names the tool (build/aqlmzip), PYTHON a python with numpy. Needs the
# layers in ../shared/reference/layers.
set -eu
cd "$(dirname "$0")/.."
tool=${AQLMZIP:-build/aqlmzip}
python=${PYTHON:-python3}
folder=${FOLDER:-../shared/reference/layers}
layers=${LAYERS-14.self_attn.q_proj 14.mlp.gate_proj 14.mlp.down_proj 0.mlp.gate_proj}
parts=${PARTS-layers gauss speed ablation}
states=${STATES-8 32 64 256}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
sh bench/machine.sh
echo "load      $(cut -d' ' -f1 /proc/loadavg) before"

bytes() { stat -c %s "$1"; }
weights() { "$tool" info --json "$1" | "$python" -c 'import json, sys
print(json.load(sys.stdin)["weights"])'; }
loss() { # LAYER FILE: column 2 the loss, column 3 the plain error
	"$tool" decompress -q -f "$2" -o "$work/d.safetensors"
	"$python" bench/layer_loss.py "$folder/$1.safetensors" "$work/d.safetensors" "$folder/$1.stats.safetensors" |
		tail -n 1
}

# fit LAYER BYTES OPTION...: the file $work/t.aqz of at most so many bytes, as near as the search comes.
fit() {
	layer=$1 most=$2
	shift 2
	n=$(cat "$work/weights")
	bits=$(awk -v b="$most" -v n="$n" 'BEGIN { printf "%.6f", 8 * (b - 1400) / n }')
	for i in 1 2 3 4; do
		"$tool" compress -q -f -s "ectcq@$bits" --stats "$folder/$layer.stats.safetensors" "$@" \
			"$folder/$layer.safetensors" -o "$work/t.aqz"
		got=$(bytes "$work/t.aqz")
		[ "$got" -le "$most" ] && [ $((most - got)) -lt $((most / 2000 + 64)) ] && break
		bits=$(awk -v b="$bits" -v want="$most" -v got="$got" -v n="$n" \
			'BEGIN { printf "%.6f", b + 8 * (want - 40 - got) / n }')
	done
}

published() { # what the reference implementation comes to at these bytes
	case $1 in
	14.self_attn.q_proj) echo 0.01205 ;;
	14.mlp.gate_proj) echo 0.02665 ;;
	14.mlp.down_proj) echo 0.05437 ;;
	0.mlp.gate_proj) echo 0.03379 ;;
	*) echo - ;;
	esac
}

additive() { # LAYER: $work/a.aqz, $work/weights
	"$tool" compress -q -f -s 2x8g8 -e "${ADDITIVE_EFFORT:-5}" --share none --codebook-bits 16 \
		--stats "$folder/$1.stats.safetensors" "$folder/$1.safetensors" -o "$work/a.aqz"
	weights "$work/a.aqz" >"$work/weights"
}

if echo " $parts " | grep -q ' layers '; then
	echo
	echo "losses tr(E H E^T) / tr(W H W^T) at the bytes of the 2x8g8 file"
	printf '%-20s %-12s %9s %9s %9s %9s %9s\n' layer codec bytes bits loss seconds "by AQLM's"
	for layer in $layers; do
		additive "$layer"
		most=$(bytes "$work/a.aqz")
		loss "$layer" "$work/a.aqz" >"$work/loss"
		show() { # CODEC BYTES SECONDS
			awk -v l="$layer" -v c="$1" -v b="$2" -v n="$(cat "$work/weights")" -v s="$3" \
				-v r="$(published "$layer")" '{
				printf "%-20s %-12s %9d %9.4f %9.5f %9s %9s\n", l, c, b, 8 * b / n, $2, s,
					r == "-" ? "" : sprintf("%+.1f %%", 100 * ($2 / r - 1)) }' "$work/loss"
		}
		show 2x8g8 "$most" -
		for s in $states; do
			fit "$layer" "$most" --trellis "$s"
			start=$(date +%s.%N)
			"$tool" compress -q -f -T 1 -s "ectcq@$bits" --stats "$folder/$layer.stats.safetensors" --trellis "$s" \
				"$folder/$layer.safetensors" -o "$work/t.aqz"
			end=$(date +%s.%N)
			loss "$layer" "$work/t.aqz" >"$work/loss"
			show "ectcq, $s" "$(bytes "$work/t.aqz")" \
				"$(awk -v a="$start" -v b="$end" 'BEGIN { printf "%.2f", b - a }')"
		done
	done
fi

gauss() { # FILE ROWS COLS: N(0, 1) in F32 under a projection's name
	"$python" - "$@" <<'END'
import json, struct, sys
import numpy
rows, cols = int(sys.argv[2]), int(sys.argv[3])
data = numpy.random.default_rng(1).standard_normal((rows, cols)).astype("<f4").tobytes()
header = json.dumps({"layers.0.q_proj.weight": {"dtype": "F32", "shape": [rows, cols], "data_offsets": [0, len(data)]}})
header += " " * (-len(header) % 8)
with open(sys.argv[1], "wb") as f:
	f.write(struct.pack("<Q", len(header)) + header.encode() + data)
END
}

if echo " $parts " | grep -q ' gauss '; then
	echo
	echo "N(0, 1), H = I, 2048 x 2048: mean squared error at bits of the whole file (Shannon 2^-2R)"
	printf '%5s %7s %10s %10s %10s %8s\n' bits states file error Shannon over
	gauss "$work/n.safetensors" 2048 2048
	for bits in 1 2 3 4; do
		for s in $states; do
			"$tool" compress -q -f -s "ectcq@$(awk -v b=$bits 'BEGIN { printf "%.6f", b - 8 * 700 / 2048 / 2048 }')" \
				--trellis "$s" "$work/n.safetensors" -o "$work/n.aqz"
			"$tool" decompress -q -f "$work/n.aqz" -o "$work/d.safetensors"
			"$python" - "$work/n.safetensors" "$work/d.safetensors" "$bits" "$s" "$(bytes "$work/n.aqz")" <<'END'
import math, sys
import numpy
a, b = (numpy.fromfile(f, dtype="<f4")[-2048 * 2048:].astype("f8") for f in sys.argv[1:3])
bits, error = int(sys.argv[3]), numpy.mean((a - b) ** 2)
print("%5d %7s %10.4f %10.5f %10.5f %5.2f dB" % (bits, sys.argv[4], 8 * int(sys.argv[5]) / a.size, error, 4.0 ** -bits,
	10 * math.log10(error * 4 ** bits)))
END
		done
	done
fi

if echo " $parts " | grep -q ' speed '; then
	echo
	echo "4096 x 4096, a constant given (three passes): weights a second and core, all of a command counted"
	gauss "$work/n.safetensors" 4096 4096
	for stats in no yes; do
		set --
		if [ $stats = yes ]; then
			"$python" - "$work/h.safetensors" <<'END'
import json, struct, sys
import numpy
x = numpy.random.default_rng(2).standard_normal((8192, 4096)).astype("f4") * numpy.linspace(0.2, 3, 4096, dtype="f4")
data = (x.T @ x / 8192).astype("<f4").tobytes()
header = json.dumps({"layers.0.q_proj.weight": {"dtype": "F32", "shape": [4096, 4096], "data_offsets": [0, len(data)]}})
header += " " * (-len(header) % 8)
with open(sys.argv[1], "wb") as f:
	f.write(struct.pack("<Q", len(header)) + header.encode() + data)
END
			set -- --stats "$work/h.safetensors"
		fi
		for s in $states; do
			for t in 1 2; do
				start=$(date +%s.%N)
				"$tool" compress -q -f -T $t -s ectcq@slope=0.45 --trellis "$s" "$@" "$work/n.safetensors" \
					-o "$work/n.aqz"
				middle=$(date +%s.%N)
				"$tool" decompress -q -f -T $t "$work/n.aqz" -o "$work/d.safetensors"
				end=$(date +%s.%N)
				awk -v a="$start" -v m="$middle" -v e="$end" -v t=$t -v s="$s" -v h=$stats \
					-v b="$(bytes "$work/n.aqz")" 'BEGIN {
					n = 4096 * 4096
					printf "statistics %-3s states %3d threads %d: %.3f bits, ", h, s, t, 8 * b / n
					printf "encode %.2f s %.2e, decode with all I/O %.2f s %.2e\n", m - a, n / (m - a) / t,
						e - m, n / (e - m) / t }'
			done
		done
	done
	[ ! -x build/bench/trellis_decode ] || build/bench/trellis_decode
fi

if echo " $parts " | grep -q ' ablation '; then
	echo
	echo "ablation at the bytes of the 2x8g8 file: losses"
	printf '%-20s %10s %12s %14s %14s %10s\n' layer full "no trellis" "no waterfill" "no rate term" none
	for layer in $layers; do
		additive "$layer"
		most=$(bytes "$work/a.aqz")
		line=$(printf '%-20s' "$layer")
		for options in '--trellis 8' '--trellis 1' '--trellis 8 --no-waterfill' '--trellis 8 --no-rate-term' \
			'--trellis 1 --no-waterfill --no-rate-term'; do
			# shellcheck disable=SC2086
			fit "$layer" "$most" $options
			line="$line $(loss "$layer" "$work/t.aqz" | awk '{ printf "%12.5f", $2 }')"
		done
		echo "$line"
	done
fi
