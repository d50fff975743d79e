#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the kernels of machines that this one need not be: builds tests/test_kernel_variants without any library, runs
# it, and compares the digests of its outputs with those of a build for this machine.
#
#	sh scripts/check_kernels.sh neon           for aarch64, under qemu-user
#	sh scripts/check_kernels.sh simde          x86-64 kernels on SIMDe's emulation of their intrinsics, on any machine
#	sh scripts/check_kernels.sh simde-neon     the same for aarch64, under qemu-user
#
# Objects go to check-kernels/ in the current folder; a tests/test_kernel_variants there is this machine's, else it is
# built, too. scripts/deps.sh installs what is missing. Says nothing about speed.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
mode=${1-}
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
warnings='-Wall -Wextra -Wconversion -Wshadow -Werror'
# Emulated files are compiled for their logic; their warnings are the normal build's.
emulation="-I$root/tests/simde -include $root/tests/simde/immintrin.h -DSIMDE_NO_NATIVE -DSIMDE_ENABLE_NATIVE_ALIASES
	-O1 -w -Wno-psabi -Werror=implicit-function-declaration"
cc=${CC:-gcc}
runner=
extra=
case $mode in
neon) wanted=neon ;;
simde | simde-neon)
	extra=$emulation
	wanted=avx512bw # any variant that plain C does not make
	;;
*)
	echo "usage: sh scripts/check_kernels.sh neon|simde|simde-neon" >&2
	exit 2
	;;
esac
sh "$root/scripts/deps.sh" "$mode"
case $mode in
neon | simde-neon)
	cc=aarch64-linux-gnu-gcc
	runner='qemu-aarch64 -L /usr/aarch64-linux-gnu'
	;;
esac

# All that the kernels' files need among themselves; what else these files call is dropped with its callers.
sources=$(cd "$root" && ls base/*.c codec/additive_*.c codec/product*.c codec/scheme.c codec/t64.c codec/trellis*.c \
	codec/encode/kernels*.c codec/encode/trellis_candidates*.c codec/encode/trellis_path*.c \
	codec/encode/trellis_viterbi*.c interop/gguf_blocks.c model/kernels*.c \
	tests/kernel*.c tests/test_kernel_variants.c tests/support.c tests/trellis_case.c |
	grep -v -e '^codec/.*_api\.c' -e '^codec/.*_codec\.c' -e '^codec/.*_check\.c')

# compile FOLDER COMPILER FLAGS [FLAGS_FOR_X86]: objects of all sources, and the program. Only files that ask for x86-64
# are emulated; the headers take their time.
compile() {
	folder=check-kernels/$1
	mkdir -p "$folder"
	flags="-std=c11 -D_GNU_SOURCE -I$root -ffp-contract=off -O2 -fopenmp -ffunction-sections -fdata-sections $3"
	# shellcheck disable=SC2016,SC2086
	printf '%s\n' $sources | xargs -P "$jobs" -I FILE sh -ec '
		object=$1/$(echo "$2" | tr / _).o
		! grep -q __x86_64__ "$5/$2" || set -- "$1" "$2" "$3" "$4 $6" "$5"
		"$3" $4 -c "$5/$2" -o "$object"' compile "$folder" FILE "$2" "$flags" "$root" "${4-}"
	# shellcheck disable=SC2046
	"$2" -fopenmp -Wl,--gc-sections -o "$folder/test_kernel_variants" \
		$(for f in $sources; do echo "$folder/$(echo "$f" | tr / _).o"; done) -lm
}

compile "$mode" "$cc" "$warnings" "$extra"
here=tests/test_kernel_variants
if [ ! -x $here ]; then
	compile here "${CC:-gcc}" "$warnings"
	here=check-kernels/here/test_kernel_variants
fi
OMP_WAIT_POLICY=passive
export OMP_WAIT_POLICY
# shellcheck disable=SC2086
$runner check-kernels/$mode/test_kernel_variants --digests >check-kernels/$mode/digests 2>check-kernels/totals || {
	cat check-kernels/totals >&2
	exit 1
}
cat check-kernels/totals
if ! grep -q " $wanted" check-kernels/totals; then
	echo "check_kernels.sh: $mode: no variant is called $wanted" >&2
	exit 1
fi
$here --digests >check-kernels/digests 2>/dev/null
if ! diff check-kernels/digests check-kernels/$mode/digests; then
	echo "check_kernels.sh: $mode: outputs (>) differ from this machine's (<)" >&2
	exit 1
fi
echo "$mode: $(wc -l <check-kernels/$mode/digests) kernels give the bits of this machine, all variants alike"
