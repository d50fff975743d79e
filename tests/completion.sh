#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The completion of bash offers the commands and options that --help lists, no more and no less, and that of zsh names
# every one of them.
set -eu
: "${AQZ_SRCDIR:?is set by make check}" "${AQZ_BUILDDIR:?}"
if ! command -v bash >/dev/null 2>&1; then
	echo "SKIP: no bash"
	exit 77
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
LC_ALL=C
export LC_ALL
failed=0
aqlmzip() { "$AQZ_BUILDDIR/aqlmzip" "$@"; }

# offered WORD...: what bash offers where the last word is being typed.
offered() {
	bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _aqlmzip; printf "%s\n" "${COMPREPLY[@]}"' \
		bash "$AQZ_SRCDIR/completion/aqlmzip.bash" aqlmzip "$@" | sort
}

# zsh_case COMMAND: its part of the completion of zsh, with the shared options spelled out.
zsh_case() {
	sed -nE "/^[[:space:]]*([a-z]+ \\| )?$1( \\| [a-z]+)?\\)/,/;;/p" "$AQZ_SRCDIR/completion/_aqlmzip" >"$tmp/case"
	cat "$tmp/case"
	grep -o '\$[a-z]*' "$tmp/case" | tr -d '$' | while read -r shared; do
		grep "^[[:space:]]*$shared=(" "$AQZ_SRCDIR/completion/_aqlmzip" || true
	done
}

aqlmzip --help | awk '/^Commands:/ { on = 1; next } !NF { on = 0 } on { print $1 }' | sort >"$tmp/commands"
[ -s "$tmp/commands" ] || failed=1
offered '' | grep -v '^-' >"$tmp/offered"
if ! diff "$tmp/commands" "$tmp/offered"; then
	echo "FAIL: < a command of --help, > of the completion"
	failed=1
fi

while read -r command; do
	aqlmzip "$command" --help </dev/null | grep -E '^ +(-[a-zA-Z], )?--' | grep -oE '^ +(-[a-zA-Z], )?--[a-z-]+' |
		tr -d ',' | tr -s ' ' '\n' | grep . | sort >"$tmp/options"
	offered "$command" - >"$tmp/offered"
	# help takes a command; its one option may go unsaid
	if ! diff "$tmp/options" "$tmp/offered" >"$tmp/diff" && [ "$command" != help ]; then
		cat "$tmp/diff"
		echo "FAIL: $command: < an option of --help, > of bash completion"
		failed=1
	fi
	zsh_case "$command" >"$tmp/zsh"
	grep -q "'$command:" "$AQZ_SRCDIR/completion/_aqlmzip" || {
		echo "FAIL: zsh completion lacks $command"
		failed=1
	}
	[ "$command" != help ] || continue
	while read -r option; do
		grep -qE -- "['{,)]${option}[]['}:,]" "$tmp/zsh" || {
			echo "FAIL: zsh completion of $command lacks $option"
			failed=1
		}
	done <"$tmp/options"
done <"$tmp/commands"

echo "$(wc -l <"$tmp/commands") commands compared"
exit $failed
