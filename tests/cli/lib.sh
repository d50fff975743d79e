# SPDX-License-Identifier: Apache-2.0
# What the tests of the tool share; each starts with `. "$lib"`.
# shellcheck shell=sh

# Shows a command, runs it, shows its exit code if that is not 0. Messages come before output: the tool prints its
# output at the end.
try() {
	echo "\$ $*"
	rc=0
	"$@" || rc=$?
	[ $rc -eq 0 ] || echo "exit $rc"
}

# Sizes and errors depend on the encoder and on the version of zstd; seconds on the machine.
numbers() { sed -E '/^(exit|\$) /!{s/[0-9]+(\.[0-9]+)?/N/g; s/ +/ /g; s/N [KMG]?i?B/N B/g}'; }

# same FILE FILE: says whether they are equal.
same() {
	if cmp -s "$1" "$2"; then
		echo "$1 = $2"
	else
		echo "$1 differs from $2"
	fi
}

# flip FILE OFFSET: changes all bits of one byte.
flip() {
	byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
	# shellcheck disable=SC2059
	printf "\\$(printf %03o $((255 - byte)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# safetensors FILE HEADER: the header with its length in front; the data are appended by the caller.
safetensors() {
	n=$(printf %s "$2" | wc -c)
	# shellcheck disable=SC2059
	printf "\\$(printf %03o $((n % 256)))\\$(printf %03o $((n / 256)))\\0\\0\\0\\0\\0\\0" >"$1"
	printf %s "$2" >>"$1"
}

# zeros N, ones N: so many bytes 0 or 255.
zeros() { head -c "$1" /dev/zero; }
ones() { head -c "$1" /dev/zero | tr '\000' '\377'; }
