#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints an annotated dump of an .aqz file in Markdown, as chapter 11 of the specification has it.

    python3 hexdump.py FILE.aqz > dump.md

It names fields by the specification's text and checks only what it needs to find them: no hashes, no values.
"""
import struct
import sys

DTYPES = {1: "BOOL", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "U32", 7: "I32", 8: "U64", 9: "I64", 16: "F16",
          17: "BF16", 18: "F32", 19: "F64", 20: "C64", 32: "F8_E5M2", 33: "F8_E4M3", 34: "F8_E8M0",
          35: "F8_E4M3FNUZ", 36: "F8_E5M2FNUZ", 40: "F6_E2M3", 41: "F6_E3M2", 42: "F4"}
KINDS = {1: "TENSOR", 16: "CODEBOOK", 17: "CODEBOOK_SCALES", 18: "ROW_SCALES", 19: "COLUMN_SCALES", 20: "GROUP_SCALES",
         21: "ENTROPY_TABLE", 22: "SIGNS", 23: "BIAS", 24: "PERMUTATION", 32: "FILE",
         33: "SOURCE_HEADER", 34: "METADATA"}
CODECS = {0: "lossless", 1: "additive", 2: "trellis"}
CODINGS = {0: "stored", 1: "zstd", 2: "planes", 16: "T64", 17: "rANS"}
RECORDS = {1: "section", 2: "tensor"}
ATTRIBUTES = {1: "relative squared error", 2: "loss before and after", 3: "raw reason", 4: "effort"}
ROW = 16         # bytes in a line
LONG = 8 * ROW   # what is longer is shortened


class Broken(Exception):
    pass


class Dump:
    """Walks over bytes [at, end) of data and prints each field with its meaning."""

    def __init__(self, data, at, end, out):
        self.data, self.at, self.end, self.out = data, at, end, out

    def take(self, n):
        if n > self.end - self.at:
            raise Broken("at %d: %d bytes are wanted, %d are left" % (self.at, n, self.end - self.at))
        self.at += n
        return self.data[self.at - n:self.at]

    def bytes(self, n, what):
        """Prints n bytes and returns them."""
        start, b = self.at, self.take(n)
        for i in range(0, n, ROW):
            if n > LONG and ROW * 3 <= i < n - ROW:
                if i == ROW * 3:
                    self.out.append("          ...  (%d bytes in all)" % n)
                continue
            text = b[i:i + ROW].hex(" ").upper()
            self.out.append(("%08X  %-*s  %s" % (start + i, 3 * ROW - 1, text, what if i == 0 else "")).rstrip())
        return b

    def number(self, n, what, names=None, form="%d"):
        """A field of n bytes; its value is printed after the text, by name if it has one."""
        value = int.from_bytes(self.data[self.at:self.at + n], "little")
        said = form % value
        if names is not None:
            said += " " + names.get(value, "?")
        self.bytes(n, "%s = %s" % (what, said))
        return value

    def zeros(self, n, what):
        if n > 0:
            self.bytes(n, what)

    def text(self, n, what):
        if n > 0:
            self.bytes(n, "%s \"%s\"" % (what, printable(self.data[self.at:self.at + n])))


def printable(b):
    return b.decode("utf-8", "replace").encode("unicode_escape").decode("ascii")


def block(title, lines):
    return "### %s\n\n```\n%s\n```\n" % (title, "\n".join(lines)) if lines else "### %s\n" % title


def superblock(d):
    d.bytes(8, "magic")
    d.number(2, "major")
    d.number(2, "minor")
    d.number(4, "size")
    superblock_fields(d)
    d.zeros(48, "reserved")
    d.bytes(8, "header hash")


def superblock_fields(d):
    for what in ("features_read", "features_write", "features_optional"):
        d.number(8, what, form="%#x")
    d.bytes(16, "file id")
    d.number(1, "log2 of the alignment")
    d.zeros(3, "reserved")
    for what in ("shard number", "shard count", "generation"):
        d.number(4, what)


def header(d):
    """Returns type, section, chunk, coding, stored bytes."""
    d.bytes(4, "sync")
    kind = d.data[d.at:d.at + 4].decode("latin-1")
    d.bytes(4, "type \"%s\"" % printable(kind.encode("utf-8")))
    section = d.number(4, "section")
    chunk = d.number(4, "chunk")
    coding = d.number(2, "coding", CODINGS)
    d.number(2, "flags")
    d.zeros(4, "reserved")
    stored = d.number(8, "stored bytes")
    d.number(8, "decoded bytes")
    d.bytes(8, "payload hash")
    d.bytes(8, "decoded hash")
    d.bytes(8, "header hash")
    return kind, section, chunk, coding, stored


def section_record(d, end, sections):
    number = d.number(4, "section number")
    kind = d.number(2, "kind", KINDS)
    codec = d.number(2, "codec", CODECS)
    dtype = d.number(2, "dtype", DTYPES)
    d.zeros(2, "reserved")
    d.number(4, "chunk rows")
    d.number(8, "rows")
    d.number(8, "columns")
    p = d.data[d.at:d.at + 8]
    d.bytes(8, "codec parameters: %dx%dg%do%d" % tuple(p[:4]) if codec == 1 else "codec parameters")
    name_bytes = d.number(2, "name bytes")
    n_refs = d.number(2, "references")
    d.zeros(4, "reserved")
    for _ in range(n_refs):
        d.number(2, "reference to kind", KINDS)
        d.zeros(2, "reserved")
        d.number(4, "first section")
        d.number(4, "sections")
        d.zeros(4, "reserved")
        d.number(8, "from code row")
        d.number(8, "to code row")
    d.text(name_bytes, "name")
    d.zeros(end - d.at, "zeros")
    sections[number] = (KINDS.get(kind, "?"), codec, DTYPES.get(dtype, "?"))


def tensor_record(d, end):
    d.number(4, "tensor number")
    d.number(4, "section")
    d.number(2, "dtype", DTYPES)
    rank = d.number(1, "rank")
    d.number(1, "leading")
    d.number(2, "flags")
    name_bytes = d.number(2, "name bytes")
    attribute_end = d.number(4, "attribute bytes")
    d.zeros(4, "reserved")
    for i in range(rank):
        d.number(8, "dimension %d" % i)
    attribute_end += d.at
    while d.at < attribute_end:
        key = d.number(2, "attribute", ATTRIBUTES)
        n = d.number(2, "value bytes")
        d.zeros(4, "reserved")
        value = d.data[d.at:d.at + n]
        if key in (1, 2) and n % 8 == 0:
            d.bytes(n, "value %s" % ", ".join("%.6g" % v for v in struct.unpack("<%dd" % (n // 8), value)))
        elif n <= 8:
            d.number(n, "value")
        else:
            d.bytes(n, "value")
        d.zeros(-n % 8, "zeros")
    d.text(name_bytes, "name")
    d.zeros(end - d.at, "zeros")


def records(d, end, sections):
    while d.at < end:
        kind = d.number(2, "record", RECORDS)
        d.number(2, "flags")
        body = d.number(4, "body bytes")
        if body > end - d.at:
            raise Broken("at %d: a record is longer than its frame" % d.at)
        body_end = d.at + body
        if kind == 1:
            section_record(d, body_end, sections)
        elif kind == 2:
            tensor_record(d, body_end)
        else:
            d.bytes(body, "body")
        d.out.append("")


def index(d, end):
    n_frames = d.number(4, "frames")
    n_sections = d.number(4, "sections")
    d.number(4, "tensors")
    d.zeros(4, "reserved")
    d.number(8, "chunks")
    d.number(8, "records bytes")
    for i in range(n_frames):
        d.out.append("")
        d.bytes(4, "frame %d: type \"%s\"" % (i, printable(d.data[d.at:d.at + 4])))
        d.number(2, "coding", CODINGS)
        d.number(2, "flags")
        d.number(4, "stored bytes")
        d.number(4, "decoded bytes")
        d.bytes(8, "payload hash")
        d.bytes(8, "decoded hash")
    d.out.append("")
    for i in range(n_sections):
        d.bytes(16, "digest of section %d" % i)
    d.out.append("")
    if end > d.at:
        d.bytes(end - d.at, "the records once more, as in the RECS frames")


def footer(d):
    for what in ("index offset", "index stored bytes", "index decoded bytes", "file bytes"):
        d.number(8, what)
    d.bytes(16, "root, low and high")
    d.out.append("")
    d.number(2, "superblock again: major")
    d.number(2, "minor")
    d.number(4, "size")
    superblock_fields(d)
    d.zeros(8, "reserved")
    d.bytes(8, "end magic")


def chunk(d, end, section, coding, sections):
    kind, codec, dtype = sections.get(section, ("?", 0, "?"))
    if coding == 2:
        width = {"F16": 2, "BF16": 2, "U16": 2, "I16": 2, "F64": 8, "U64": 8, "I64": 8}.get(dtype, 4)
        lengths = []
        for p in range(width):
            value = int.from_bytes(d.data[d.at:d.at + 4], "little")
            lengths.append(value & 0x7FFFFFFF)
            d.bytes(4, "length of plane %d = %d%s" % (p, lengths[-1], " zstd" if value >> 31 else " stored"))
        for p, n in enumerate(lengths):
            d.bytes(min(n, end - d.at), "plane %d" % p)
    what = {0: "elements in %s" % dtype, 1: "zstd frame", 16: "T64 lines of codes",
            17: "states and words"}.get(coding, "payload")
    if coding == 0 and kind in ("FILE", "SOURCE_HEADER", "METADATA"):
        shown = d.data[d.at:min(end, d.at + 60)]
        what = "\"%s\"%s" % (printable(shown), "..." if end - d.at > 60 else "")
    if end > d.at:
        d.bytes(end - d.at, what)


def dump(data):
    out, sections, titles = [], {}, {"INDX": "INDX, the index", "FOOT": "FOOT, the footer"}
    lines = []
    superblock(Dump(data, 0, len(data), lines))
    out.append(block("Superblock", lines))
    at = 128
    while at < len(data):
        lines = []
        d = Dump(data, at, len(data), lines)
        kind, section, number, coding, stored = header(d)
        end = d.at + stored
        if end + -stored % 64 > len(data):
            raise Broken("at %d: the file ends within a frame" % at)
        d.end = end
        lines.append("")
        if kind == "RECS":
            records(d, end, sections)
        elif kind == "CHNK":
            chunk(d, end, section, coding, sections)
        elif kind == "INDX" and coding == 0:
            index(d, end)
        elif kind == "FOOT" and stored == 128:
            footer(d)
        elif stored > 0:
            d.bytes(stored, "zstd frame: the index" if kind == "INDX" else "payload")
        d.end = len(data)
        d.zeros(-stored % 64, "padding")
        while lines and lines[-1] == "":
            lines.pop()
        title = titles.get(kind, printable(kind.encode("utf-8")))
        if kind == "CHNK":
            kind, _, dtype = sections.get(section, ("?", 0, "?"))
            title = "CHNK, section %d (%s, %s), chunk %d" % (section, kind, dtype, number)
        elif kind == "RECS":
            title = "RECS, records"
        out.append(block(title, lines))
        at = d.at
    return "\n".join(out)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: hexdump.py FILE.aqz")
    with open(sys.argv[1], "rb") as f:
        data = f.read()
    if data[:4] != b"\x89AQZ":
        sys.exit("hexdump.py: %s: not an aqlmzip file" % sys.argv[1])
    try:
        print(dump(data))
    except Broken as e:
        sys.exit("hexdump.py: %s: %s" % (sys.argv[1], e))


if __name__ == "__main__":
    main()
