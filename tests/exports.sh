#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The shared library exports exactly the functions that the public headers mark AQZ_API, the static one defines them
# all, and no object has writable global data (but the lock of an OpenMP critical section, and what nvcc
# registers kernels by).
set -eu
: "${AQZ_SRCDIR:?is set by make check}" "${AQZ_BUILDDIR:?}"
library=$AQZ_BUILDDIR/.libs/libaqlmzip.so
archive=$AQZ_BUILDDIR/.libs/libaqlmzip.a
nm=${AQZ_NM:-nm}
nm=${nm%% *}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
LC_ALL=C
export LC_ALL

if [ ! -e "$library" ]; then
	echo "SKIP: this build has no shared library"
	exit 77
fi

# Read in another way than scripts/exports.awk does, from which the version script is made.
headers="$AQZ_SRCDIR/aqlmzip.h $AQZ_SRCDIR/aqlmzip_model.h $AQZ_SRCDIR/aqlmzip_gpu.h"
# shellcheck disable=SC2086
sed 's/^#.*//' $headers | tr '\n' ' ' | tr ';' '\n' | grep 'AQZ_API' |
	sed 's/.*AQZ_API//; s/(.*//; s/ *$//; s/.*[ *]//' | sort >"$tmp/header"
if [ "$(wc -l <"$tmp/header")" -ne "$(cat $headers | grep -c '^AQZ_API')" ]; then
	echo "FAIL: an AQZ_API of a header does not begin a line, or was not understood"
	exit 1
fi

failed=0
"$nm" -D --defined-only "$library" | awk '{ sub(/@.*/, "", $NF); print $NF }' | sort >"$tmp/exported"
if ! diff "$tmp/header" "$tmp/exported"; then
	echo "FAIL: < is in the headers only, > is exported only"
	failed=1
fi

if [ -e "$archive" ]; then
	"$nm" --defined-only "$archive" 2>/dev/null | awk '$2 == "T" { print $3 }' | sort -u >"$tmp/archive"
	if [ -n "$(comm -23 "$tmp/header" "$tmp/archive")" ]; then
		comm -23 "$tmp/header" "$tmp/archive"
		echo "FAIL: these are in the headers, not in the static library"
		failed=1
	fi
	"$nm" -A "$archive" 2>/dev/null |
		awk '$(NF - 1) ~ /^[bBC]$/ && $NF !~ /^\.gomp_critical_/ && $NF !~ /__device_stub__|__cudaFatCubin|__nv_/' \
			>"$tmp/state"
	if [ -s "$tmp/state" ]; then
		cat "$tmp/state"
		echo "FAIL: writable global data"
		failed=1
	fi
fi

echo "$(wc -l <"$tmp/header") functions in the headers, $(wc -l <"$tmp/exported") exported"
exit $failed
