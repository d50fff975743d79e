#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Chapters 7 and 11 of the specification show the very bytes that the library writes today.
set -eu
command -v python3 >/dev/null || {
	echo "example.sh: skipped: python3 is not installed"
	exit 77
}
new=$(mktemp)
trap 'rm -f "$new"' EXIT
sh "$AQZ_SRCDIR/spec/example.sh" "$AQZ_BUILDDIR/spec/make_example" "$AQZ_SRCDIR/spec" >"$new"
if ! diff -u "$AQZ_SRCDIR/spec/11-example.md" "$new"; then
	echo "example.sh: spec/11-example.md is out of date; make update-example"
	exit 1
fi
sh "$AQZ_SRCDIR/spec/trellis.sh" "$AQZ_BUILDDIR/spec/make_trellis" "$AQZ_SRCDIR/spec" >"$new"
if ! diff -u "$AQZ_SRCDIR/spec/07-codecs.md" "$new"; then
	echo "example.sh: spec/07-codecs.md is out of date; make update-example"
	exit 1
fi
