#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Configures and builds outside the source folders; what is up to date is used again.
#
#	sh scripts/build.sh [FOLDER [CONFIGURE_ARGUMENT...]]    FOLDER is build by default, from the root of the tree
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=build
if [ $# -gt 0 ]; then
	build=$1
	shift
fi
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)

if [ ! -f "$root/configure" ]; then
	echo "build.sh: making configure"
	(cd "$root" && sh ./autogen.sh) >"$root/autogen.log" 2>&1 || {
		cat "$root/autogen.log" >&2
		exit 1
	}
	rm -f "$root/autogen.log"
fi
mkdir -p "$root/$build"
cd "$root/$build"
# A shared library or a static one: with both, libtool compiles every file twice.
case " $* " in
*" --disable-shared "* | *" --enable-static "*) ;;
*) set -- --disable-static "$@" ;;
esac
# Changed arguments need a new configure; changed files of the build system are make's own matter.
wanted="$*"
if [ ! -f Makefile ] || [ "$(cat .configured-with 2>/dev/null || echo none)" != "$wanted" ]; then
	echo "build.sh: configuring $build ${wanted:+with $wanted}"
	rm -f .configured-with
	"$root/configure" --quiet "$@"
	printf '%s\n' "$wanted" >.configured-with
fi
make -s -j"$jobs"
