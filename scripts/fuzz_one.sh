#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One fuzz target of a folder that scripts/test.sh built: replays past findings, then searches from the seeds.
#
#	sh scripts/fuzz_one.sh FOLDER NAME SECONDS
#
# Leaves FOLDER/work/NAME.replay and NAME.search, and their exit statuses in .rc beside them.
set -u
folder=$1
name=$2
seconds=$3
kind=${name#fuzz_}
target=$folder/fuzz/$name
log=$folder/work/$name
mkdir -p "$log"
if [ -d "fuzz/corpus/$kind" ]; then
	"$target" -rss_limit_mb=1024 -timeout=10 fuzz/corpus/"$kind"/* >"$log.replay" 2>&1
	echo $? >"$log.replay.rc"
fi
"$target" -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 -dict="fuzz/$name.dict" \
	-artifact_prefix="$folder/findings/$name-" -print_final_stats=1 \
	"$log" "$folder/seeds/$kind" >"$log.search" 2>&1
echo $? >"$log.search.rc"
