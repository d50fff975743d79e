#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A folder is a layer: each includes only what lies below it, by its path from the root. Below cli/ and bench/ nothing
# prints, opens files by stdio, ends the process or reads the environment.
set -eu
: "${AQZ_SRCDIR:?is set by make check}"
cd "$AQZ_SRCDIR"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
n_files=0

sources() { find "$1" \( -name '*.[ch]' -o -name '*.cu' \) | LC_ALL=C sort; }

# layer FOLDER PATTERN...: every quoted include of the folder's sources matches one of the shell patterns.
layer() {
	folder=$1
	shift
	for file in $(sources "$folder"); do
		n_files=$((n_files + 1))
		for header in $(sed -n 's/^[ \t]*#[ \t]*include[ \t]*"\([^"]*\)".*/\1/p' "$file"); do
			allowed=no
			for pattern in "$@"; do
				# shellcheck disable=SC2254
				case $header in $pattern) allowed=yes ;; esac
			done
			if [ $allowed = no ]; then
				echo "$file: may not include $header"
				failed=1
			elif [ ! -f "$header" ]; then
				echo "$file: $header is no path from the root"
				failed=1
			fi
		done
	done
}

set -f # the patterns are for case, not for file names
layer base aqlmzip.h 'base/*.h'
layer codec aqlmzip.h 'base/*.h' 'codec/*.h'
layer format aqlmzip.h 'base/*.h' codec/codec.h 'format/*.h'
layer interop aqlmzip.h 'base/*.h' 'codec/*.h' 'format/*.h' 'interop/*.h'
layer model aqlmzip.h aqlmzip_model.h 'base/*.h' 'codec/*.h' 'format/*.h' 'interop/*.h' 'model/*.h'
# Above gpu/backend.h there are files as well as codes; kernels may also be compiled for the emulator.
layer gpu aqlmzip.h aqlmzip_gpu.h 'base/*.h' 'codec/*.h' 'format/*.h' 'gpu/*.h' tests/simt/simt.h
layer cli aqlmzip.h aqlmzip_gpu.h aqlmzip_model.h 'cli/*.h'
set +f

# Comments and strings out, one line for one line.
bare() {
	awk '{
		out = ""
		for (i = 1; i <= length($0); i++) {
			two = substr($0, i, 2)
			c = substr($0, i, 1)
			if (comment) {
				if (two == "*/") { comment = 0; i++ }
			} else if (quote != "") {
				if (c == "\\") i++
				else if (c == quote) { quote = ""; out = out c }
			} else if (two == "/*") { comment = 1; i++ }
			else if (two == "//") break
			else {
				if (c == "\"" || c == "\047") quote = c
				out = out c
			}
		}
		quote = ""
		print out
	}' "$1"
}

word='(^|[^A-Za-z0-9_])'
calls="$word(v?f?printf|v?dprintf|f?puts|f?putc|putchar|perror|fopen|fdopen|freopen|fread|fwrite|scanf|fscanf"
calls="$calls|_?exit|_Exit|quick_exit|abort|getenv|secure_getenv|setenv|putenv|system|popen)[[:space:]]*\\("
names="$word(stdout|stderr|stdin|FILE|environ)([^A-Za-z0-9_]|\$)"
for folder in base codec format gpu interop model; do
	for file in $(sources "$folder"); do
		bare "$file" >"$tmp/bare"
		if grep -nE "$calls|$names" "$tmp/bare" >"$tmp/found"; then
			sed "s|^|$file:|" "$tmp/found"
			failed=1
		fi
		if grep -qE '#[[:space:]]*include[[:space:]]*<stdio\.h>' "$tmp/bare" &&
			! grep -qE "${word}v?snprintf[[:space:]]*\\(" "$tmp/bare"; then
			echo "$file: includes <stdio.h> without need of snprintf"
			failed=1
		fi
	done
done

echo "$n_files files looked at"
[ "$n_files" -gt 0 ] || failed=1
[ $failed -eq 0 ] || echo "FAIL: include order or forbidden calls"
exit $failed
