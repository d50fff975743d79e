#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Tests and measures on a GPU, in at most 8 minutes, and writes what came out to one file.
#
#	sh scripts/gpu.sh [full]             builds what is missing in build-gpu/; the result is bench/results/gpu.txt
#	sh scripts/gpu.sh bundle FOLDER      builds here for any card and copies the programs, with the libraries that they
#	                                     need, to FOLDER: for a machine with a card but without those libraries, where
#	                                     AQZ_GPU_BUNDLE=FOLDER sh scripts/gpu.sh uses them
#
# AQZ_GPU_SECONDS is the time for all (480), OUT another folder for the result, AQZ_GPU_BUILD one to build in;
# CUDA_ARCHS as configure has it. Exit status 77: there is no card.
set -u
cd "$(dirname "$0")/.." || exit 1
start=$(date +%s)
limit=${AQZ_GPU_SECONDS:-480}
build=${AQZ_GPU_BUILD:-build-gpu}
programs="tests/gpu/test_card bench/gpu/products"
left() { echo $((limit - $(date +%s) + start)); }
say() { printf '\n== %s (%s s left)\n' "$*" "$(left)"; }

tool_there=

# build CONFIGURE_ARGUMENT...
build() {
	[ -f configure ] || sh ./autogen.sh >autogen.log 2>&1 || { cat autogen.log >&2; return 1; }
	rm -f autogen.log
	mkdir -p $build
	(
		cd $build || exit 1
		if [ ! -f Makefile ] || [ "$(cat .configured-with 2>/dev/null)" != "$*" ]; then
			rm -f .configured-with
			../configure --quiet --disable-shared "$@" || exit 1
			printf '%s\n' "$*" >.configured-with
		fi
		# shellcheck disable=SC2086
		make -s -j"$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)" $programs $tool_there
	)
}

# What the programs need and a machine with a driver may lack: all but the C library's own. The tool is left out: it
# needs OpenBLAS, which is larger than all else together.
bundle() {
	build --with-cuda LDFLAGS=-Wl,--as-needed || exit 1
	mkdir -p "$1/lib" || exit 1
	for program in $programs; do
		cp "$build/$program" "$1/" || exit 1
		strip "$1/$(basename "$program")"
		ldd "$build/$program" | awk '$2 == "=>" { print $3 }'
	done | sort -u | grep -vE '/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*)\.so' | while read -r library; do
		cp -L "$library" "$1/lib/" || exit 1
	done
	ls -l "$1" "$1/lib"
	du -sh "$1"
}

# run SECONDS COMMAND...: its output goes on; 124 if it took longer.
run() {
	most=$1
	shift
	[ "$most" -le "$(left)" ] || most=$(left)
	if [ "$most" -lt 5 ]; then
		echo "no time left for: $*"
		return 124
	fi
	timeout "$most" "$@"
}

find_programs() {
	if [ -n "${AQZ_GPU_BUNDLE:-}" ]; then
		bin=$AQZ_GPU_BUNDLE
		LD_LIBRARY_PATH=$bin/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
		export LD_LIBRARY_PATH
		tool=
		test_card=$bin/test_card
		products=$bin/products
	else
		arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d '. ')
		tool_there=aqlmzip
		build --with-cuda ${arch:+CUDA_ARCHS=$arch} || return 1
		tool=$build/aqlmzip
		test_card=$build/tests/gpu/test_card
		products=$build/bench/gpu/products
	fi
	# cuBLAS is found at run time.
	for folder in /usr/local/cuda/lib64 /opt/cuda/lib64; do
		[ ! -d $folder ] || LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
	done
	export LD_LIBRARY_PATH
}

card() {
	facts=name,driver_version,memory.total,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit
	nvidia-smi --query-gpu=$facts --format=csv
}

# Under the sanitizer a few shapes are enough; each tool may be missing or refuse the device.
sanitize() {
	command -v compute-sanitizer >/dev/null 2>&1 || {
		echo "compute-sanitizer: not here"
		return 0
	}
	bad=0
	for check in memcheck racecheck initcheck; do
		[ "$(left)" -gt 20 ] || { echo "$check: no time"; continue; }
		for part in products matrices archives; do
			run 40 env CK_RUN_CASE=$part compute-sanitizer --tool $check --error-exitcode 9 "$test_card" 2 \
				>sanitizer.log 2>&1
			rc=$?
			case $rc in
			0) echo "$check $part: nothing found" ;;
			124) echo "$check $part: not done in time" ;;
			*)
				if grep -q 'Device not supported' sanitizer.log; then
					echo "$check: the device is not supported"
				else
					echo "$check $part: status $rc"
					grep -vE '^[0-9]+%|^Running' sanitizer.log | head -n 30
					bad=1
				fi
				;;
			esac
		done
	done
	rm -f sanitizer.log
	return $bad
}

all() {
	failed=0
	echo "date      $(date -u +%Y-%m-%dT%H:%MZ)"
	echo "version   $(git describe --always --dirty 2>/dev/null || echo unknown)"
	card
	say "tests"
	run 200 "$test_card"
	rc=$?
	echo "test_card: status $rc"
	[ $rc -eq 0 ] || failed=1
	if [ -n "$tool" ]; then
		say "tool"
		run 20 "$tool" info --devices || failed=1
		run 60 "$tool" bench --device cuda --shapes 4096x4096,11008x4096 || failed=1
	fi
	say "measurements"
	time_there=$(($(left) - 130))
	[ $time_there -gt 60 ] || time_there=$(($(left) - 15))
	run $((time_there + 30)) "$products" "${1:-quick}" $time_there || failed=1
	card
	say "sanitizer"
	sanitize || failed=1
	if [ $failed -eq 0 ]; then echo "PASS: all"; else echo "FAIL"; fi
	say "done"
	return $failed
}

case ${1:-} in
bundle)
	[ $# -eq 2 ] || { echo "usage: sh scripts/gpu.sh bundle FOLDER" >&2; exit 2; }
	bundle "$2"
	exit
	;;
'' | full) ;;
*)
	echo "usage: sh scripts/gpu.sh [full | bundle FOLDER]" >&2
	exit 2
	;;
esac
if ! command -v nvidia-smi >/dev/null 2>&1 || ! nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then
	echo "SKIP: there is no NVIDIA GPU here"
	exit 77
fi
find_programs || exit 1
folder=${OUT:-bench/results}
mkdir -p "$folder"
{ all "${1:-}"; echo $? >gpu.status; } 2>&1 | tee "$folder/gpu.txt"
status=$(cat gpu.status)
rm -f gpu.status
exit "$status"
