#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `aqlmzip verify` against `xxhsum -H3` on the same file, in turns, file in the page cache; and lossless decoding.
#
#	sh bench/verify.sh [MEBIBYTES [RUNS]]       default 1024 MiB, 7 runs
#
# AQLMZIP names the tool (build/aqlmzip); the folder for files is TMPDIR.
set -eu
cd "$(dirname "$0")/.."
tool=${AQLMZIP:-build/aqlmzip}
size=${1:-1024}
runs=${2:-7}
make -s -C build bench
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
sh bench/machine.sh
build/bench/make_model "$work/m.safetensors" "$size"
"$tool" compress -q --scheme raw --effort 1 "$work/m.safetensors" -o "$work/m.aqz"
bytes=$(stat -c %s "$work/m.aqz")
plain=$(stat -c %s "$work/m.safetensors")
cat "$work/m.aqz" >/dev/null

# seconds COMMAND...: wall seconds of one run
seconds() {
	{ build/bench/rss "$@" >/dev/null; } 2>&1 | sed -n 's/.*rss: \([0-9.]*\) s wall.*/\1/p'
}
median() { sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'; }

i=0
while [ $i -lt "$runs" ]; do
	seconds "$tool" verify -q --threads 1 "$work/m.aqz" >>"$work/one"
	seconds xxhsum -H3 "$work/m.aqz" >>"$work/peer"
	seconds "$tool" verify -q "$work/m.aqz" >>"$work/all"
	seconds "$tool" verify -q --full --threads 1 "$work/m.aqz" >>"$work/full"
	i=$((i + 1))
done
peer=$(median <"$work/peer")
printf '\n%-44s %10s %10s %10s\n' command seconds GB/s 'x xxhsum'
row() {
	echo "$2 $3 $peer" | awk -v name="$1" '{ printf "%-44s %10.3f %10.2f %10.2f\n", name, $1, $2 / $1 / 1e9, $3 / $1 }'
}
row 'xxhsum -H3' "$peer" "$bytes"
row 'aqlmzip verify --threads 1' "$(median <"$work/one")" "$bytes"
row 'aqlmzip verify' "$(median <"$work/all")" "$bytes"
row 'aqlmzip verify --full --threads 1 (decoded)' "$(median <"$work/full")" "$plain"
