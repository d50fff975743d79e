#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Says what a figure was measured on; sourced or run by the other scripts of this folder.
set -u
echo "date      $(date -u +%Y-%m-%d)"
field() { sed -n "s/^$1[[:space:]]*: //p" /proc/cpuinfo | head -n 1; }
echo "processor $(field 'model name'), $(getconf _NPROCESSORS_ONLN) cores, \
family $(field 'cpu family') model $(field model)"
echo "vectors   $(grep -o -w -e avx2 -e avx512f -e avx512bw -e avx512vbmi /proc/cpuinfo | sort -u | tr '\n' ' ')"
echo "memory    $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)"
echo "system    $(. /etc/os-release && echo "$PRETTY_NAME"), $(uname -r), $(${CC:-cc} --version | head -1)"
