# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# What the demos have in common; sourced by them.

tool=${AQLMZIP:-build/aqlmzip}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

say() { printf '\n== %s\n' "$*"; }
# Runs the tool and shows the command as one would type it, also where its output goes to a file.
exec 3>&1
run() {
	{
		printf '$ aqlmzip'
		for word; do
			case $word in
			*[!A-Za-z0-9_./=:,-]*) printf " '%s'" "$word" ;;
			*) printf ' %s' "$word" ;;
			esac
		done
		printf '\n'
	} >&3
	"$tool" "$@" 3>&-
}
# What the build needs, and the build; nothing if AQLMZIP names a tool.
build() {
	[ -z "${AQLMZIP-}" ] || return 0
	say "What the build needs"
	sh scripts/deps.sh build
	say "Build"
	sh scripts/build.sh build
}
bytes() { wc -c <"$1" | tr -d ' '; }

# number KEY FILE: the number under a key of a JSON object
number() { tr -d '\n' <"$2" | sed -n "s/.*\"$1\": *\(-\{0,1\}[0-9][-+.0-9eE]*\).*/\1/p"; }

# The table of a model and what became of it. row NAME BYTES WEIGHTS EVALUATION.json: bits count all bytes of the file.
# An evaluation with a reference has kl and top1_agreement; without, the row is the original's.
table() { printf '%-26s %11s %7s %11s %9s %9s\n' model bytes bits/w perplexity 'KL, nats' 'same top'; }
row() {
	ppl=$(number perplexity "$4")
	kl=$(number kl "$4")
	top=$(number top1_agreement "$4")
	awk -v name="$1" -v b="$2" -v n="$3" -v ppl="$ppl" -v kl="$kl" -v top="$top" 'BEGIN {
		printf "%-26s %11d %7.2f %11.4f %9s %9s\n", name, b, 8 * b / n, ppl, \
			kl == "" ? "-" : sprintf("%.4f", kl), top == "" ? "-" : sprintf("%.1f %%", 100 * top) }'
}
