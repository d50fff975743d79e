#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Speed of prompts and of generation, `aqlmzip generate` and llama.cpp, greedy: tokens/s.
#
#	sh bench/generate.sh MODEL.gguf [MODEL...]      the GGUF file goes through both, other forms of it through ours
#
# AQLMZIP names the tool (build/aqlmzip), PYTHON a python with llama-cpp-python (python3; without, ours alone), THREADS
# a list ("1 2"), RUNS how often each is run (3; the fastest counts), PROMPT a text for the prompt of about 512 tokens
# (tests/data/stories/evaluation.txt, of which the beginning is taken).
set -eu
cd "$(dirname "$0")/.."
tool=${AQLMZIP:-build/aqlmzip}
python=${PYTHON:-python3}
gguf=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
head -c 2048 "${PROMPT:-tests/data/stories/evaluation.txt}" >"$work/prompt.txt"
sh bench/machine.sh

number() { tr -d '\n' <"$2" | sed -n "s/.*\"$1\": *\(-\{0,1\}[0-9][-+.0-9eE]*\).*/\1/p"; }
largest() { sort -g | tail -n 1; }
printf '\n%-48s %7s %8s %12s %12s %10s\n' model threads prompt 'prompt tok/s' 'new tok/s' resident
for threads in ${THREADS:-1 2}; do
	for model; do
		: >"$work/prompt" >"$work/new"
		run=0
		while [ $run -lt "${RUNS:-3}" ]; do
			OMP_WAIT_POLICY=passive "$tool" generate "$model" --prompt-file "$work/prompt.txt" --max-tokens 128 \
				--ignore-end --threads "$threads" --json >"$work/run.json"
			number prompt_tokens_per_second "$work/run.json" >>"$work/prompt"
			number generated_tokens_per_second "$work/run.json" >>"$work/new"
			run=$((run + 1))
		done
		printf '%-48s %7d %8d %12.1f %12.1f %6d MiB\n' "$(basename "$model")" "$threads" \
			"$(number prompt_tokens "$work/run.json")" "$(largest <"$work/prompt")" "$(largest <"$work/new")" \
			$(($(number peak_memory_bytes "$work/run.json") / 1048576))
	done
	"$python" -c 'import llama_cpp' 2>/dev/null || continue
	"$python" bench/peers/llama_generate.py "$gguf" --threads "$threads" --runs "${RUNS:-3}" >"$work/peer.json"
	printf '%-48s %7d %8d %12.1f %12.1f\n' "llama.cpp $(basename "$gguf")" "$threads" \
		"$(number prompt_tokens "$work/peer.json")" "$(number prompt_tokens_per_second "$work/peer.json")" \
		"$(number generate_tokens_per_second "$work/peer.json")"
done
