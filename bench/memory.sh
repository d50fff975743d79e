#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Peak resident memory of compress, decompress and verify on a synthetic model of 2 GiB; fails above 512 MiB.
#
#	sh bench/memory.sh [MEBIBYTES]
#
# AQLMZIP names the tool (build/aqlmzip); the folder for files is TMPDIR (about 2.5 times the model).
set -eu
cd "$(dirname "$0")/.."
tool=${AQLMZIP:-build/aqlmzip}
make -s -C build bench
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
sh bench/machine.sh
build/bench/make_model "$work/m.safetensors" "${1:-2048}"
limit=524288
bad=0
measure() {
	name=$1
	shift
	build/bench/rss "$@" >"$work/log" 2>"$work/err" || {
		cat "$work/err" >&2
		exit 1
	}
	line=$(tail -n 1 "$work/err")
	peak=$(echo "$line" | sed -n 's/.* \([0-9]*\) KiB peak/\1/p')
	printf '%-36s %s, %d MiB\n' "$name" "$line" $((peak / 1024))
	if [ "$peak" -gt $limit ]; then
		echo "  above 512 MiB"
		bad=1
	fi
}
echo
measure 'compress 2x8g8, effort 1' "$tool" compress -q --effort 1 --memory 512M "$work/m.safetensors" -o "$work/m.aqz"
ls -l "$work/m.aqz" | awk '{ print "  file bytes " $5 }'
measure 'verify --full' "$tool" verify -q --full "$work/m.aqz"
measure 'decompress 2x8g8' "$tool" decompress -q --memory 512M "$work/m.aqz" -o "$work/back.safetensors"
rm -f "$work/back.safetensors" "$work/m.aqz"
measure 'compress raw, effort 1' "$tool" compress -q --scheme raw --effort 1 --memory 512M "$work/m.safetensors" \
	-o "$work/r.aqz"
measure 'decompress --original' "$tool" decompress -q --original --memory 512M "$work/r.aqz" \
	-o "$work/back.safetensors"
cmp "$work/m.safetensors" "$work/back.safetensors" && echo 'the source came back byte for byte'
exit $bad
