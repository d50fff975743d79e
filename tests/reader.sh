#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# spec/reader.py, which was written from the specification alone, decodes what the tool writes to the bytes to which the
# tool decodes it, tensor by tensor; and it refuses, with the status of the specification, what is cut or changed.
set -eu
: "${AQZ_SRCDIR:?is set by make check}" "${AQZ_BUILDDIR:?}"
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null; then
	echo "SKIP: no python3 of version 3.8 or later"
	exit 77
fi
if ! python3 -c 'import zstandard' 2>/dev/null && ! command -v zstd >/dev/null 2>&1; then
	echo "SKIP: neither the program zstd nor Python's module zstandard"
	exit 77
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
n_files=0
aqlmzip() { "$AQZ_BUILDDIR/aqlmzip" "$@"; }
reader() { python3 "$AQZ_SRCDIR/spec/reader.py" "$@"; }

# A model of every dtype, and of matrices whose rows and columns are multiples of nothing.
python3 - "$tmp/odd.safetensors" <<'END'
import json, random, struct, sys
random.seed(1)
bits = {"BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64, "F64": 64,
        "C64": 64, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
header, data = {}, b""

def tensor(name, dtype, shape, elements):
    global data
    header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(elements)]}
    data += elements

for dtype, width in bits.items():
    tensor(f"t.{dtype}", dtype, [70, 24], bytes(random.choice(b"\0\0\0\1\2\x40\xFF") for _ in range(70 * 3 * width)))
tensor("scalar", "F32", [], struct.pack("<f", -0.0))
tensor("empty", "BF16", [3, 0, 1 << 40], b"")
for name, dtype, code, rows, columns in (
        ("a.self_attn.q_proj", "F16", "e", 129, 93), ("a.self_attn.o_proj", "F32", "f", 67, 200),
        ("a.mlp.up_proj", "BF16", "f", 190, 77), ("a.norm.\u00FC", "BF16", "f", 1, 64)):
    values = struct.pack(f"<{rows * columns}{code}", *[random.gauss(0, 0.02) for _ in range(rows * columns)])
    if dtype == "BF16":
        values = b"".join(values[i + 2:i + 4] for i in range(0, len(values), 4))
    tensor(f"{name}.weight", dtype, [rows, columns], values)
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
END

# same NAME: the tensors that reader.py finds in NAME.aqz are those of NAME.safetensors, which the tool made of it.
same() {
	python3 -B - "$AQZ_SRCDIR/spec" "$1.aqz" "$1.safetensors" <<'END'
import json, subprocess, sys
spec, compressed, restored = sys.argv[1:]
sys.path.insert(0, spec)
import reader
with open(restored, "rb") as file:
    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    data = file.read()
header.pop("__metadata__", None)
command = [sys.executable, spec + "/reader.py", compressed]
lines = map(json.loads, subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines())
found = {line["name"]: line for line in lines if line["kind"] == "TENSOR"}
different = {name for name in header.keys() ^ found.keys()}
for name in header.keys() & found.keys():
    begin, end = header[name]["data_offsets"]
    low, high = reader.xxh3_128(data[begin:end])
    if (found[name]["dtype"], found[name]["shape"], found[name]["xxh3_128"]) != (
            header[name]["dtype"], header[name]["shape"], f"{high:016x}{low:016x}"):
        different.add(name)
for name in sorted(different):
    print(f"FAIL: {name}: reader.py and the tool see another tensor")
coded = sorted({line["codec"] for line in found.values()})
n_records = sum(frame.type == reader.RECS for frame in reader.Reader(compressed).frames)
if n_records > len(found) // 2:
    print(f"FAIL: {n_records} frames of records for {len(found)} tensors, most of which are small")
    different.add(compressed)
print(f"{len(found)} tensors, frames of records: {n_records}; {' '.join(coded)}")
sys.exit(bool(different or not found))
END
}

# check MODEL SCHEME [OPTION...]
check() {
	model=$1
	scheme=$2
	shift 2
	n_files=$((n_files + 1))
	name=$tmp/$n_files
	aqlmzip compress "$model" -o "$name.aqz" --scheme "$scheme" --effort 1 --quiet "$@"
	aqlmzip decompress "$name.aqz" -o "$name.safetensors" --quiet
	if ! same "$name" >"$tmp/said"; then
		echo "FAIL: $scheme of $model"
		failed=1
	fi
	cat "$tmp/said"
	case $(tail -n 1 "$tmp/said") in
	*"$scheme"*) ;;
	*)
		echo "FAIL: no tensor of $model is $scheme"
		failed=1
		;;
	esac
}

# refused STATUS: both readers refuse broken.aqz.
refused() {
	if reader --verify "$tmp/broken.aqz" 2>"$tmp/why" || ! grep -q "^$1 " "$tmp/why"; then
		cat "$tmp/why"
		echo "FAIL: reader.py does not say $1"
		failed=1
	fi
	if aqlmzip verify --full "$tmp/broken.aqz" >/dev/null 2>&1; then
		echo "FAIL: the tool accepts what is $1"
		failed=1
	fi
}

check "$AQZ_SRCDIR/tests/data/stories" 2x8g8
check "$tmp/odd.safetensors" 2x9g7 --codebook-dtype bf16
check "$tmp/odd.safetensors" raw
check "$tmp/odd.safetensors" 2x3g5o3 --align 4096 --scale-dtype f32
check "$tmp/odd.safetensors" 1x6g8 --codebook-dtype f32 --scale-dtype bf16

# Trellis tensors: each, NAME, is what stands beside it without loss as NAME.due.
"$AQZ_BUILDDIR/tests/make_trellis" >"$tmp/trellis.aqz"
n_files=$((n_files + 1))
reader "$tmp/trellis.aqz" >"$tmp/said" || failed=1
python3 -B - "$tmp/said" <<'END' || failed=1
import json, sys
with open(sys.argv[1]) as file:
    found = {line["name"]: line for line in map(json.loads, file) if line["kind"] == "TENSOR"}
coded = sorted(name for name in found if not name.endswith(".due"))
for name in coded:
    if not found[name]["codec"].startswith("trellis") or found[name]["xxh3_128"] != found[name + ".due"]["xxh3_128"]:
        sys.exit(f"FAIL: {name}: reader.py sees another trellis tensor")
print(f"{len(coded)} trellis tensors: {' '.join(sorted({found[name]['codec'] for name in coded}))}")
END
aqlmzip verify --full "$tmp/trellis.aqz" >/dev/null || failed=1

reader --verify "$tmp/4.aqz" || failed=1
if ! reader --extract config.json "$tmp/1.aqz" | cmp - "$AQZ_SRCDIR/tests/data/stories/config.json"; then
	echo "FAIL: config.json is another"
	failed=1
fi

head -c 4096 "$tmp/4.aqz" >"$tmp/broken.aqz"
refused TRUNCATED
{ head -c 5000 "$tmp/4.aqz"; printf '\377\000\125\252'; tail -c +5005 "$tmp/4.aqz"; } >"$tmp/broken.aqz"
refused CHECKSUM
tail -c +2 "$tmp/4.aqz" >"$tmp/broken.aqz"
refused FORMAT
tr '\032' '\033' <"$tmp/4.aqz" >"$tmp/broken.aqz"
refused CORRUPT

echo "$n_files files compared"
exit $failed
