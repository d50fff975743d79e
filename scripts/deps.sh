#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes sure that what a build or the tests need is there. As root it installs missing Debian packages; as anybody else
# it prints the one command that does. Asks nothing of the network if all is there.
#
#	sh scripts/deps.sh build    compiler, autotools, libzstd, libxxhash, jansson, OpenBLAS, LAPACKE,
#	                            PCRE2, utf8proc
#	sh scripts/deps.sh test     also Check and clang with sanitizers, libFuzzer and OpenMP
#	sh scripts/deps.sh neon     for make check-neon: a compiler for aarch64, qemu-user
#	sh scripts/deps.sh simde    for make check-simde: SIMDe
#	sh scripts/deps.sh simde-neon    both
set -u

missing=

have() { command -v "$1" >/dev/null 2>&1; }

# need PACKAGE COMMAND...: the package is missing unless the command succeeds.
need() {
	package=$1
	shift
	"$@" >/dev/null 2>&1 || missing="$missing $package"
}

need_library() {
	{ have pkg-config && pkg-config --exists "$2"; } || missing="$missing $1"
}

# links COMPILER FLAGS...: a program with these flags can be built.
links() {
	dir=$(mktemp -d) || return 1
	printf '%s\n' '#include <stdint.h>' '#include <stddef.h>' \
		'int LLVMFuzzerTestOneInput(const uint8_t *d, size_t n) { (void)d; (void)n; return 0; }' \
		'#ifdef WITH_MAIN' 'int main(void) { return 0; }' '#endif' >"$dir/t.c"
	"$@" -o "$dir/t" "$dir/t.c"
	links_rc=$?
	rm -rf "$dir"
	return $links_rc
}

need_build() {
	need gcc links gcc -DWITH_MAIN
	need libc6-dev links gcc -DWITH_MAIN
	need make have make
	need autoconf have autoconf
	need automake have automake
	need libtool have libtoolize
	need pkg-config have pkg-config
	need_library libzstd-dev libzstd
	need_library libxxhash-dev libxxhash
	need_library libjansson-dev jansson
	need_library libopenblas-dev openblas
	need_library liblapacke-dev lapacke
	need_library libpcre2-dev libpcre2-8
	need_library libutf8proc-dev libutf8proc
}

need_test() {
	need_build
	need_library check check
	need g++ have g++
	need clang links clang -DWITH_MAIN
	need libclang-rt-dev links clang -fsanitize=fuzzer,address,undefined
	need libomp-dev links clang -DWITH_MAIN -fopenmp
	need zstd have zstd
	need xxhash have xxhsum
	need python3 have python3
}

need_neon() {
	need gcc have gcc
	need gcc-aarch64-linux-gnu have aarch64-linux-gnu-gcc
	need libc6-dev-arm64-cross links aarch64-linux-gnu-gcc -DWITH_MAIN
	need qemu-user have qemu-aarch64
}

need_simde() {
	need gcc have gcc
	need libsimde-dev test -f /usr/include/simde/x86/avx512.h
}

case ${1-} in
build) need_build ;;
test) need_test ;;
neon) need_neon ;;
simde) need_simde ;;
simde-neon)
	need_neon
	need_simde
	;;
*)
	echo "usage: sh scripts/deps.sh build|test|neon|simde|simde-neon" >&2
	exit 2
	;;
esac
[ -n "$missing" ] || exit 0

missing=${missing# }
command="apt-get update && apt-get install -y --no-install-recommends $missing"
if ! have apt-get; then
	echo "deps.sh: missing (by their Debian names): $missing" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "Packages are missing. Install them with this command, then try again:" >&2
	echo "  sudo sh -c '$command'" >&2
	exit 1
fi
echo "deps.sh: installing $missing"
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
# A mirror that is half updated should not stop an installation that would succeed.
apt-get update -qq || echo "deps.sh: apt-get update failed; trying with the lists at hand" >&2
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing
