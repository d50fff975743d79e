#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A whole language model in additive codes (shared 8-bit codebooks) and in the archive codec at the same bits of file
# for each weight of the linear layers: perplexity, and KL divergence from the original.
#
#	sh bench/archive.sh FOLDER STATS.safetensors [TEXT [WINDOWS]]
#		../shared/data/text/wikitext-2/test.txt, 5 (of 2048 tokens)
#
# AQLMZIP names the tool (build/aqlmzip), SCHEMES the additive ones ("2x8g8 5x8g16 3x8g8 4x8g8"), EFFORT that of their
# encoder (1), SHARE what shares codebooks (kind), STATES the archive's (64), WORK a folder that keeps the files: what
# is there is not made again.
# STATS come from `aqlmzip calibrate --row-importance`; the archive makes use of the importance.
set -eu
cd "$(dirname "$0")/.."
tool=${AQLMZIP:-build/aqlmzip}
model=$1
stats=$2
text=${3:-../shared/data/text/wikitext-2/test.txt}
windows=${4:-5}
effort=${EFFORT:-1}
states=${STATES:-64}
if [ -n "${WORK:-}" ]; then
	work=$WORK
	mkdir -p "$work"
else
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT INT TERM
fi
sh bench/machine.sh
echo "model     $model"
echo "text      $text, $windows windows of 2048"
echo "additive  --share ${SHARE:-kind} --codebook-bits 8 --effort $effort; archive: --profile archive --trellis $states"

number() { tr -d '\n' <"$2" | sed -n "s/.*\"$1\": *\(-\{0,1\}[0-9][-+.0-9eE]*\).*/\1/p"; }
coded_bytes() { echo "$(number bits_per_weight "$1") $(number weights "$1")" | awk '{ printf "%.0f", $1 * $2 / 8 }'; }
# make NAME OPTION...: NAME.aqz, NAME.json of `info`, NAME.seconds, and NAME.eval
make_one() {
	name=$1
	shift
	if [ ! -s "$work/$name.seconds" ]; then
		start=$(date +%s.%N)
		"$tool" compress -q -f "$@" --stats "$stats" "$model" -o "$work/$name.aqz"
		end=$(date +%s.%N)
		echo "$start $end" | awk '{ printf "%.0f\n", $2 - $1 }' >"$work/$name.seconds"
	fi
	"$tool" info --json "$work/$name.aqz" | tr -d '\n' | sed 's/.*"coded": *{\([^}]*\)}.*/\1/' >"$work/$name.json"
	[ -s "$work/$name.eval" ] || {
		"$tool" eval "$work/$name.aqz" --text "$text" --windows "$windows" --reference "$model" --json -q >"$work/eval"
		mv "$work/eval" "$work/$name.eval"
	}
	printf '%-9s %7.3f %10d %11.3f %8.4f %8d\n' "$name" "$(number bits_per_weight "$work/$name.json")" \
		"$(coded_bytes "$work/$name.json")" "$(number perplexity "$work/$name.eval")" \
		"$(number kl "$work/$name.eval")" \
		"$(cat "$work/$name.seconds")"
}

"$tool" eval "$model" --text "$text" --windows "$windows" --json -q >"$work/original"
printf 'original perplexity %.3f\n' "$(number perplexity "$work/original")"
printf '%-9s %7s %10s %11s %8s %8s\n' file 'bits/w' bytes perplexity KL seconds
for scheme in ${SCHEMES:-2x8g8 5x8g16 3x8g8 4x8g8}; do
	make_one "$scheme" --scheme "$scheme" --share "${SHARE:-kind}" --codebook-bits 8 --effort "$effort"
	bits=$(number bits_per_weight "$work/$scheme.json")
	make_one "a-$scheme" --profile archive --bits "$bits" --trellis "$states"
done
