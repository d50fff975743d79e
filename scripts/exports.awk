# SPDX-License-Identifier: Apache-2.0
# Lists the functions that a header marks AQZ_API, one a line, or with -v map=1 as a linker version script. A
# declaration may run over several lines; its name is the word before the first parenthesis.
BEGIN {
	if (map)
		print "{\nglobal:"
}

/^AQZ_API[ \t]/ { open = 1; text = "" }

open {
	text = text " " $0
	paren = index(text, "(")
	if (paren) {
		name = substr(text, 1, paren - 1)
		sub(/[ \t]+$/, "", name)
		sub(/.*[^A-Za-z0-9_]/, "", name)
		print map ? "\t" name ";" : name
		open = 0
		n++
	}
}

END {
	if (!n)
		exit 1
	if (map)
		print "local:\n\t*;\n};"
}
