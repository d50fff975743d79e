#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints chapter 7 with the example of the trellis codec: trellis.sh MAKE_TRELLIS SPEC_FOLDER
set -eu
sed '/<!-- TRELLIS -->/q' "$2/07-codecs.md"
"$1"
