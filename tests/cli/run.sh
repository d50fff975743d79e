#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Tests of the tool: runs each tests/cli/*.test in a folder of its own and compares what it prints with the *.expected
# beside it. Arguments: names of tests, default all. With UPDATE=1 the expected outputs are written instead. With
# AQZ_SPARSE=1, for sanitizers, those are left out that encode again and again; what they do tests of the library do.
set -u
here=$(cd "$(dirname "$0")" && pwd)
: "${AQZ_SRCDIR:=$(cd "$here/../.." && pwd)}"
: "${AQZ_BUILDDIR:=$AQZ_SRCDIR}"
LC_ALL=C.UTF-8
TZ=UTC
export AQZ_SRCDIR AQZ_BUILDDIR LC_ALL TZ
umask 022

if [ ! -x "$AQZ_BUILDDIR/aqlmzip" ]; then
	echo "there is no $AQZ_BUILDDIR/aqlmzip"
	exit 1
fi
tmp=$(mktemp -d) || exit 1
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM HUP

mkdir "$tmp/bin"
# shellcheck disable=SC2016
printf '#!/bin/sh\nexec "$AQZ_BUILDDIR/aqlmzip" "$@"\n' >"$tmp/bin/aqlmzip"
chmod +x "$tmp/bin/aqlmzip"
PATH=$tmp/bin:$PATH
lib=$here/lib.sh
export PATH lib

# What most tests start from is made once: the model, and two containers of it.
shared=$tmp/shared
mkdir "$shared"
cp -R "$AQZ_SRCDIR/tests/data/stories" "$shared/model" && chmod -R u+w "$shared/model" || exit 1
aqlmzip compress -q -e 1 "$shared/model" -o "$shared/coded.aqz" || exit 1
aqlmzip compress -q -e 1 -s raw "$shared/model" -o "$shared/raw.aqz" || exit 1
export shared

checks=0
failures=0
[ $# -gt 0 ] || set -- "$here"/*.test
for test; do
	name=$(basename "$test" .test)
	case ${AQZ_SPARSE-}:$name in
	1:share | 1:checkpoint | 1:codebooks | 1:stats | 1:determinism)
		continue
		;;
	esac
	test=$here/$name.test
	mkdir "$tmp/$name" || exit 1
	status=0
	(cd "$tmp/$name" && exec sh "$test" </dev/null) >"$tmp/$name.out" 2>&1 || status=$?
	if [ $status -eq 77 ]; then
		echo "SKIP: $name: $(tail -n 1 "$tmp/$name.out")"
		continue
	fi
	checks=$((checks + 1))
	sed "s|$tmp|TMP|g; s|$AQZ_SRCDIR|SRC|g" "$tmp/$name.out" >"$tmp/$name.shown"
	if [ "${UPDATE-}" = 1 ]; then
		cp "$tmp/$name.shown" "$here/$name.expected"
	fi
	if [ $status -ne 0 ]; then
		echo "FAIL: $name: exit code $status"
		tail -n 5 "$tmp/$name.out"
		failures=$((failures + 1))
	elif ! diff -u "$here/$name.expected" "$tmp/$name.shown"; then
		echo "FAIL: $name: - expected, + printed"
		failures=$((failures + 1))
	fi
	chmod -R u+w "$tmp/$name"
	rm -rf "${tmp:?}/$name"
done

[ $checks -gt 0 ] || exit 77
echo "$(((checks - failures) * 100 / checks))%: Checks: $checks, Failures: $failures, Errors: 0"
[ $failures -eq 0 ]
