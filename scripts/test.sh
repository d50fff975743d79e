#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds and runs all tests; the last line is the total.
#
#	sh scripts/test.sh          the normal build; ASan and UBSan (clang); every fuzz target from its seeds
#	sh scripts/test.sh quick    the normal build only
#
# AQZ_FUZZ_SECONDS is how long each fuzz target runs (4). Exit status 1 if anything failed.
set -u
cd "$(dirname "$0")/.." || exit 1
mode=${1:-all}
case $mode in
all | quick) ;;
*)
	echo "usage: sh scripts/test.sh [quick]" >&2
	exit 2
	;;
esac
seconds=${AQZ_FUZZ_SECONDS:-4}
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
passed=0
failed=0

# Tests share the processors: a thread that waits should not spin, and a slow machine is no failure.
OMP_WAIT_POLICY=passive
CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-10}
ASAN_OPTIONS=${ASAN_OPTIONS:-allocator_may_return_null=1:detect_stack_use_after_return=1:quarantine_size_mb=64}
UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export OMP_WAIT_POLICY CK_TIMEOUT_MULTIPLIER ASAN_OPTIONS UBSAN_OPTIONS

say() { printf '\n== %s\n' "$*"; }

count() {
	if [ "$1" -eq 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL: $2"
	fi
}

# check FOLDER CONFIGURE_ARGUMENT...: builds, runs make check; totals.sh reads what it leaves.
check() {
	folder=$1
	say "$@"
	[ ! -d "$folder" ] || find "$folder" -name '*.trs' -exec rm -f {} +
	if ! sh scripts/build.sh "$@"; then
		count 1 "$folder does not build"
		return
	fi
	make -s -C "$folder" -j"$jobs" check VERBOSE=1 || {
		# Failed tests are counted from their results; this is for a make that ran none.
		[ -n "$(find "$folder" -name '*.trs')" ] || count 1 "$folder: make check"
	}
	# Without a C++ compiler the emulator of the GPU's kernels is left out, but here is one.
	[ -f "$folder/tests/simt/test_simt.trs" ] || count 1 "$folder: the GPU's kernels were not emulated"
}

# Each target first replays past findings, then searches from generated seeds. It ends with status 0 or has found
# something, which then lies in build-fuzz/findings/.
fuzz() {
	folder=build-fuzz
	say "$folder: $seconds s for each target"
	if ! sh scripts/build.sh $folder CC=clang CFLAGS='-O1 -gline-tables-only' --enable-fuzzing --disable-shared; then
		count 1 "$folder does not build"
		return
	fi
	rm -rf $folder/seeds $folder/work
	mkdir -p $folder/seeds $folder/work $folder/findings
	$folder/fuzz/make_seeds $folder/seeds
	count $? "fuzz/make_seeds"
	# One target for each processor at a time.
	for source in fuzz/fuzz_*.c; do
		basename "$source" .c
	done | xargs -P "$jobs" -I NAME sh scripts/fuzz_one.sh $folder NAME "$seconds"
	for source in fuzz/fuzz_*.c; do
		name=$(basename "$source" .c)
		for part in replay search; do
			result=$folder/work/$name.$part.rc
			[ -f "$result" ] || [ $part = search ] || continue
			rc=$(cat "$result" 2>/dev/null || echo 1)
			[ "$rc" -eq 0 ] || tail -n 40 "$folder/work/$name.$part"
			count "$rc" "$name: $part"
		done
		grep -h 'number_of_executed_units' "$folder/work/$name.search" | sed "s|^|$name: |"
	done
}

# What nvcc makes of the GPU's kernels, where there is one; needs no card.
gates() {
	say "GPU kernels for each architecture"
	sh scripts/gpu_gates.sh
	rc=$?
	[ $rc -eq 77 ] || count $rc scripts/gpu_gates.sh
}

sh scripts/deps.sh test || exit 1
check build
gates
if [ "$mode" = all ]; then
	AQZ_SPARSE=1
	export AQZ_SPARSE
	check build-asan CC=clang CXX=clang++ CFLAGS='-O1 -gline-tables-only' CXXFLAGS='-O1 -gline-tables-only' \
		--enable-sanitizers --disable-shared
	fuzz
	say totals
	sh scripts/totals.sh --plus $passed $failed build build-asan
else
	say totals
	sh scripts/totals.sh --plus $passed $failed build
fi
