#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `aqlmzip eval` and transformers on the same model, text, windows and threads, in turns: perplexity and tokens/s.
#
#	sh bench/eval.sh [FOLDER [TEXT [WINDOWS [LENGTH]]]]
#		/tmp/smollm2, ../shared/data/text/wikitext-2/test.txt, 10, 2048
#
# AQLMZIP names the tool (build/aqlmzip), PYTHON a python with torch and transformers (python3), THREADS a list ("1 2"),
# RUNS how often each is run; the fastest counts. Seconds are of the passes over all windows, without loading.
set -eu
cd "$(dirname "$0")/.."
tool=${AQLMZIP:-build/aqlmzip}
python=${PYTHON:-python3}
model=${1:-/tmp/smollm2}
text=${2:-../shared/data/text/wikitext-2/test.txt}
windows=${3:-10}
length=${4:-2048}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
sh bench/machine.sh
echo "model     $model"
echo "text      $text, $windows windows of $length"

number() { tr -d '\n' <"$2" | sed -n "s/.*\"$1\": *\(-\{0,1\}[0-9][-+.0-9eE]*\).*/\1/p"; }
# best NAME COMMAND...: the fastest of the runs
best() {
	name=$1
	shift
	run=0
	while [ $run -lt "${RUNS:-1}" ]; do
		OMP_WAIT_POLICY=passive "$@" >"$work/run.json"
		seconds=$(number seconds "$work/run.json")
		if [ ! -f "$work/$name.json" ] ||
			awk -v a="$seconds" -v b="$(number seconds "$work/$name.json")" 'BEGIN { exit !(a < b) }'; then
			mv "$work/run.json" "$work/$name.json"
		fi
		run=$((run + 1))
	done
}

printf '\n%7s %-14s %12s %12s %10s %10s %8s\n' threads program perplexity predictions seconds tokens/s ratio
for threads in ${THREADS:-1 2}; do
	best "theirs$threads" "$python" bench/peers/transformers_eval.py "$model" --text "$text" --length "$length" \
		--windows "$windows" --threads "$threads"
	best "ours$threads" "$tool" eval "$model" --text "$text" --length "$length" --windows "$windows" \
		--threads "$threads" --json
	theirs=$(number seconds "$work/theirs$threads.json")
	for program in theirs ours; do
		file=$work/$program$threads.json
		awk -v threads="$threads" -v program="$program" -v ppl="$(number perplexity "$file")" \
			-v n="$(number n_predictions "$file")" -v tokens="$(number tokens "$file")" \
			-v s="$(number seconds "$file")" -v peer="$theirs" 'BEGIN {
				printf "%7d %-14s %12.4f %12d %10.2f %10.1f %8.2f\n", threads,
					program == "ours" ? "aqlmzip" : "transformers", ppl, n, s, tokens / s, peer / s }'
	done
done
"$python" -c 'import torch, transformers; print("\ntransformers", transformers.__version__, "torch", torch.__version__)'
