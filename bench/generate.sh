#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Speed of prompts and of generation, `aqlmzip generate` and llama.cpp, greedy: tokens/s. Both get the same prompt, by
# its ids, and the same number of threads.
#
#	sh bench/generate.sh MODEL.gguf [MODEL...]      the GGUF file goes through both, other forms of it through ours
#
# AQLMZIP names the tool (build/aqlmzip), PYTHON a python with llama-cpp-python (python3; without, ours alone), QUANTS
# the types to which llama.cpp quantizes the GGUF file besides ("Q4_0 Q2_K": its fastest and its smallest), THREADS a
# list ("1 2"), RUNS how often each is run (3; the fastest counts), PROMPT a text of which the first 2048 bytes, about
# 512 tokens, are the prompt (tests/data/stories/evaluation.txt). Resident: the most memory of the process; a library
# and an interpreter are part of llama.cpp's.
set -eu
cd "$(dirname "$0")/.."
tool=${AQLMZIP:-build/aqlmzip}
python=${PYTHON:-python3}
gguf=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
head -c 2048 "${PROMPT:-tests/data/stories/evaluation.txt}" >"$work/prompt.txt"
sh bench/machine.sh

number() { tr '\n' ' ' <"$2" | sed -n "s/.*\"$1\": *\(-\{0,1\}[0-9][-+.0-9eE]*\).*/\1/p" | awk 1; }
largest() { sort -g | tail -n 1; }
mebibytes() { awk -v n="$1" 'BEGIN { printf "%.1f MiB", n / 1048576 }'; }
row() { printf '%-48s %7s %11s %8s %12s %10s %11s\n' "$@"; }

# name file_bytes prompt_tokens prompt_speed new_speed resident_bytes
figures() { row "$1" "$threads" "$(mebibytes "$2")" "$3" "$4" "$5" "$(mebibytes "$6")"; }

ours() {
	: >"$work/prompt" >"$work/new"
	run=0
	while [ $run -lt "${RUNS:-3}" ]; do
		"$tool" generate "$1" --prompt-file "$work/prompt.txt" --max-tokens 128 --ignore-end --threads "$threads" \
			--json >"$work/run.json" 2>/dev/null
		number prompt_tokens_per_second "$work/run.json" >>"$work/prompt"
		number generated_tokens_per_second "$work/run.json" >>"$work/new"
		run=$((run + 1))
	done
	figures "$(basename "$1")" "$(du -sbL "$1" | cut -f 1)" "$(number prompt_tokens "$work/run.json")" \
		"$(largest <"$work/prompt" | xargs printf %.1f)" "$(largest <"$work/new" | xargs printf %.1f)" \
		"$(number peak_memory_bytes "$work/run.json")"
}

theirs() { # name [option...]
	name=$1
	shift
	"$python" bench/peers/llama_generate.py "$gguf" --prompt-json "$work/run.json" --threads "$threads" \
		--runs "${RUNS:-3}" "$@" >"$work/peer.json" 2>/dev/null
	figures "llama.cpp $name" "$(number file_bytes "$work/peer.json")" "$(number prompt_tokens "$work/peer.json")" \
		"$(number prompt_tokens_per_second "$work/peer.json")" \
		"$(number generate_tokens_per_second "$work/peer.json")" "$(number peak_memory_bytes "$work/peer.json")"
}

echo
row model threads file prompt 'prompt tok/s' 'new tok/s' resident
for threads in ${THREADS:-1 2}; do
	for model; do
		ours "$model"
	done
	"$python" -c 'import llama_cpp' 2>/dev/null || continue
	theirs "$(basename "$gguf")"
	for quant in ${QUANTS-Q4_0 Q2_K}; do
		theirs "requantized to $quant" --quantize "$quant"
	done
done
