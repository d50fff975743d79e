#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `aqlmzip decompress` of an additive model against `cp` of what it writes and `aqlmzip verify`, in turns; into a pipe,
# with its peak memory; and `verify` against `xxhsum -H3`, for which bench/verify.sh has a larger file. Fails if
# decompress takes longer than (cp + verify) / 0.7, or if the pipe takes more than 64 MiB.
#
#	sh bench/decompress.sh [MEBIBYTES [RUNS]]       default 2048 MiB of weights, 5 runs
#
# AQLMZIP names the tool (build/aqlmzip). TMPDIR holds the container, OUT (TMPDIR) what is written: 2.2 times MEBIBYTES
# while cp has run. A container that is there already is measured with AQZ=FILE.
set -eu
cd "$(dirname "$0")/.."
tool=${AQLMZIP:-build/aqlmzip}
rss=${RSS:-build/bench/rss}
size=${1:-2048}
runs=${2:-5}
work=$(mktemp -d)
out=$(mktemp -d -p "${OUT:-${TMPDIR:-/tmp}}")
trap 'rm -rf "$work" "$out"' EXIT INT TERM
sh bench/machine.sh
file=${AQZ:-$work/m.aqz}
if [ -z "${AQZ:-}" ]; then
	make -s -C build bench
	build/bench/make_model "$work/m.safetensors" "$size"
	"$tool" compress -q --effort 1 "$work/m.safetensors" -o "$file"
	rm "$work/m.safetensors"
fi
bytes=$(stat -c %s "$file")
cat "$file" >/dev/null

# run NAME COMMAND...: appends its wall seconds and KiB to NAME
run() {
	name=$1
	shift
	"$rss" "$@" 2>"$work/err" >"$work/stdout" || {
		cat "$work/err" >&2
		exit 1
	}
	sed -n 's/.*rss: \([0-9.]*\) s wall.* \([0-9]*\) KiB peak/\1 \2/p' "$work/err" >>"$work/$name"
}
# The output may hold no two files at once.
fresh() { rm -f "$out/b.safetensors"; }

"$tool" decompress -q "$file" -o "$out/a.safetensors"
decoded=$(stat -c %s "$out/a.safetensors")
for t in 1 0; do
	i=0
	while [ $i -lt "$runs" ]; do
		fresh
		run cp$t cp "$out/a.safetensors" "$out/b.safetensors"
		fresh
		run decompress$t "$tool" decompress -q --threads $t "$file" -o "$out/b.safetensors"
		run verify$t "$tool" verify -q --threads $t "$file"
		run full$t "$tool" verify -q --full --threads $t "$file"
		run xxhsum$t xxhsum -H3 "$file"
		"$rss" "$tool" decompress -q --threads $t "$file" -o - 2>"$work/err" | cat >/dev/null
		sed -n 's/.*rss: \([0-9.]*\) s wall.* \([0-9]*\) KiB peak/\1 \2/p' "$work/err" >>"$work/pipe$t"
		i=$((i + 1))
	done
done
fresh
"$tool" decompress -q "$file" -o - | cmp - "$out/a.safetensors"

least() { sort -n "$work/$1" | awk 'NR == 1 { print $1 }'; }
peak() { awk '$2 > m { m = $2 } END { print int(m / 1024) }' "$work/$1"; }
bad=0
printf '\n%-34s %9s %9s %9s\n' 'least of the runs' seconds GB/s 'peak MiB'
row() { echo "$(least "$2") $3 $(peak "$2")" | awk -v n="$1" \
	'{ printf "%-34s %9.2f %9.2f %9d\n", n, $1, $2 / ($1 + 1e-9) / 1e9, $3 }'; }
for t in 1 0; do
	threads=$([ $t = 1 ] && echo 'one thread' || echo 'all threads')
	echo "$threads"
	row '  cp of the output' cp$t "$decoded"
	row '  decompress' decompress$t "$decoded"
	row '  decompress into a pipe' pipe$t "$decoded"
	row '  verify' verify$t "$bytes"
	row '  xxhsum -H3' xxhsum$t "$bytes"
	row '  verify --full (decoded bytes)' full$t "$decoded"
	echo "$(least cp$t) $(least verify$t) $(least decompress$t) $(least xxhsum$t) $(peak pipe$t)" | awk '{
		a = ($1 + $2) / $3; b = $4 / ($2 + 1e-9)
		printf "  decompress has %.2f of the speed of cp and verify, verify %.2f of that of xxhsum\n", a, b
		exit !(a >= 0.7 && $5 <= 64) }' || bad=1
done
[ $bad = 0 ] || echo 'not as fast or as small as it should be'
exit $bad
