#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints chapter 11 with the dump of the tiny file: example.sh MAKE_EXAMPLE SPEC_FOLDER
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$1" >"$work/tiny.aqz"
sed '/<!-- HEXDUMP -->/q' "$2/11-example.md"
echo
python3 "$2/hexdump.py" "$work/tiny.aqz"
