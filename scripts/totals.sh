#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Adds up the results of `make check` in build folders: the checks that Check counted, and one for every test that is
# a script. Prints Check's own lines, what failed or was skipped, and as the last line
#
#	N passed, N failed, N skipped
#
# Exits 1 if a test failed or none ran. Options: --plus PASSED FAILED adds tests that ran elsewhere.
set -eu
plus_passed=0
plus_failed=0
if [ "${1-}" = --plus ]; then
	plus_passed=$2
	plus_failed=$3
	shift 3
fi

for dir in "$@"; do
	find "$dir" -name '*.trs' | LC_ALL=C sort
done | {
	while read -r trs; do
		echo "@test ${trs%.trs} $(sed -n 's/^:global-test-result: //p' "$trs")"
		log=${trs%.trs}.log
		if [ -f "$log" ]; then
			cat "$log"
			echo
		fi
	done
	echo "@end"
} | awk -v passed="$plus_passed" -v failed="$plus_failed" '
function close_test() {
	if (name == "")
		return
	if (suites) {
		passed += checks - bad
		failed += bad
		# A program that failed beside its checks: it crashed, or a later one of its suites did.
		if (result != "PASS" && result != "SKIP" && !bad)
			failed++
	} else if (result == "PASS") {
		passed++
	} else if (result == "SKIP") {
		skipped++
	} else {
		failed++
	}
	if (result != "PASS")
		print name ": " result
	name = ""
}
/^@test / { close_test(); name = $2; result = $3; suites = checks = bad = 0; next }
/^@end$/ { close_test(); next }
/^[0-9]+%: Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+/ {
	n = split($0, part, /[^0-9]+/)
	suites++
	checks += part[2]
	bad += part[3] + part[4]
	print name ": " $0
}
END {
	printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
	exit failed > 0 || passed == 0
}'
