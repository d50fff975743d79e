# SPDX-License-Identifier: Apache-2.0
"""Gates for compiled kernels: gpu_gates.py [-v] FILE.cubin..., each beside what ptxas -v said, FILE.log.

No kernel may keep anything in local memory: that is where arrays go that a loop does not fully unroll, and speed with
them. An instruction has 16 bytes; the low 12 bits of the first word are its opcode. The numbers are those of CUDA 13.0
for sm_80 to sm_90, found by compiling small kernels."""
import collections
import re
import struct
import sys

OPCODES = {
    0x984: "LDS", 0x388: "STS", 0x988: "STS", 0x981: "LDG", 0x986: "STG", 0x983: "LDL", 0x387: "STL", 0x987: "STL",
    0x216: "PRMT", 0x416: "PRMT", 0x816: "PRMT", 0x221: "FADD", 0x421: "FADD", 0x23c: "HMMA", 0x237: "HMMA",
    0xf89: "SHFL", 0x389: "SHFL",
}


def texts(data):
    """Code sections of an ELF file, by kernel."""
    table, = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    sections = [struct.unpack_from("<IIQQQQ", data, table + size * i) for i in range(count)]
    for name, _, _, _, offset, n in sections:
        at = sections[names][4] + name
        text = data[at:data.index(b"\0", at)].decode()
        if text.startswith(".text."):
            yield text[6:], data[offset:offset + n]


def count(code):
    ops = collections.Counter()
    for at in range(0, len(code), 16):
        ops[OPCODES.get(struct.unpack_from("<Q", code, at)[0] & 0xfff, "")] += 1
    return ops


def resources(log):
    """What ptxas says of each kernel: bytes of stack and spills, registers."""
    found = {}
    pattern = (r"Function properties for (\S+)\s+(\d+) bytes stack frame, (\d+) bytes spill stores, "
               r"(\d+) bytes spill loads\s+ptxas info\s+: Used (\d+) registers")
    for name, *numbers in re.findall(pattern, log):
        found[name] = [int(n) for n in numbers]
    return found


def faults(name, ops, stack, spills, registers):
    if stack or spills or ops["LDL"] or ops["STL"]:
        yield f"{stack} bytes of stack, {spills} bytes of spills, {ops['LDL'] + ops['STL']} accesses to local memory"
    m = re.match(r"_Z\d+aqz_(lutg|lutr|gather|mma)I", name)
    if m is None:
        return
    numbers = [int(n) for n in re.findall(r"L[ibj](\d+)E", name)]
    if m[1] == "lutg":
        # One permutation, one load and additions for each look-up of a warp: 64 in a table of one column, 32 of two.
        tables, columns, _ = numbers
        n = tables * 64 // columns
        if not n <= ops["PRMT"] <= n + 8:
            yield f"{ops['PRMT']} byte permutations for {n} look-ups"
        if ops["LDS"] < n or ops["LDS"] > n + 120:
            yield f"{ops['LDS']} loads from shared memory for {n} look-ups"
        if ops["FADD"] < n * columns:
            yield f"{ops['FADD']} additions for {n * columns}"
        if registers > 128:
            yield f"{registers} registers, at most 128"
    if m[1] == "lutr" and (ops["HMMA"] == 0 or registers > 128):
        yield f"{ops['HMMA']} multiplications on tensor cores, {registers} registers"
    if m[1] == "mma":
        tiles, _, books, shared, _ = numbers
        n = 8 * tiles * max(books, 1)
        if ops["HMMA"] < n:
            yield f"{ops['HMMA']} multiplications on tensor cores, not {n}"
        if shared and ops["LDS"] < 8 * max(books, 1) + tiles:
            yield f"{ops['LDS']} loads from shared memory"
        if registers > (168 if tiles == 4 else 128):
            yield f"{registers} registers"


def main():
    verbose = sys.argv[1:2] == ["-v"]
    n_kernels = n_failed = 0
    for path in sys.argv[2 if verbose else 1:]:
        with open(path, "rb") as f, open(path[:-5] + "log", encoding="utf-8") as log:
            used = resources(log.read())
            for name, code in texts(f.read()):
                n_kernels += 1
                label = f"{path.rsplit('/', 1)[-1][:-6]} {name}"
                if name not in used:
                    print(f"FAIL: {label}: ptxas says nothing of it")
                    n_failed += 1
                    continue
                stack, stores, loads, registers = used[name]
                ops = count(code)
                if verbose:
                    print(f"{label}: {registers} registers,", ", ".join(f"{v} {k}" for k, v in ops.items() if k))
                for fault in faults(name, ops, stack, stores + loads, registers):
                    print(f"FAIL: {label}: {fault}")
                    n_failed += 1
    print(f"gpu gates: {n_kernels} kernels, {n_failed} failures")
    return 1 if n_failed or n_kernels == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
