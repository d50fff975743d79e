#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every source says its licence at the top, has at most 600 lines and no line beyond column 120 (tabs of 4). aqlmzip.h
# may be longer: the whole public API in one file is its job.
set -eu
: "${AQZ_SRCDIR:?is set by make check}"
cd "$AQZ_SRCDIR"
failed=0
n_files=0

for file in aqlmzip.h aqlmzip_gpu.h aqlmzip_model.h configure.ac Makefile.am autogen.sh \
	completion/aqlmzip.bash completion/_aqlmzip $(
	find base codec format gpu interop model cli bench tests fuzz spec man scripts \
		\( -name '*.[ch]' -o -name '*.cu' -o -name '*.cc' -o -name '*.sh' -o -name '*.inc' -o -name '*.awk' \
		-o -name '*.py' \) -type f | LC_ALL=C sort
); do
	n_files=$((n_files + 1))
	if ! sed 2q "$file" | grep -q 'SPDX-License-Identifier: Apache-2\.0'; then
		echo "$file: no SPDX line at the top"
		failed=1
	fi
	if [ "$file" != aqlmzip.h ] && [ "$(wc -l <"$file")" -gt 600 ]; then
		echo "$file: more than 600 lines; split it"
		failed=1
	fi
	long=$(expand -t 4 "$file" | awk 'length($0) > 120 { printf " %d", NR }')
	if [ -n "$long" ]; then
		echo "$file: longer than 120 columns: line$long"
		failed=1
	fi
done

echo "$n_files files looked at"
[ $failed -eq 0 ] || echo "FAIL: style"
exit $failed
