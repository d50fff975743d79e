#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A reader of aqlmzip files, format 0.3, written from the text of this folder alone. Numbers are sections of that text.

    python3 reader.py FILE.aqz                  verify in full (8.4), a JSON line for each section and tensor
    python3 reader.py --verify FILE.aqz         verify in full, print nothing
    python3 reader.py --extract NAME FILE.aqz   a tensor's elements, or an attached file, to standard output

Exit status 0: all is well. 1: the file is refused; one line on standard error, "STATUS where: what", says why, with a
status of 1.8, or MEMLIMIT if the process may not have the memory that it needs (ulimit -v). 2: anything else.

It needs Python 3.8, with chapter 14, reader_float.py and reader_trellis.py beside it, and for zstd frames the program
zstd or the module zstandard (or anything that decodes RFC 8878, in the function inflate); the module xxhash makes it
faster. It is meant to be read, and to work when all else is gone: it is plain where it could be fast, and it holds a
whole section in memory.
"""
import argparse, json, math, os, subprocess, sys, tempfile
from collections import namedtuple
from importlib import import_module, util
from struct import Struct, calcsize, pack, unpack, unpack_from
from unicodedata import category
from reader_float import BF16, F16, F32, I8, narrowed, rounded, widened
from reader_trellis import Trellis

xxhash, zstandard = (util.find_spec(name) and import_module(name) for name in ("xxhash", "zstandard"))

class Refused(Exception):
    """The file is refused: "STATUS where: what"."""

def need(truth, where, what, status="CORRUPT"):
    if not truth:
        raise Refused(f"{status} {where}: {what}")

# ---- 1.6, 14: hashes
if xxhash:
    xxh3_64 = xxhash.xxh3_64_intdigest
    def xxh3_128(data):
        return divmod(xxhash.xxh3_128_intdigest(data), 2**64)[::-1]
else:  # the program that stands in chapter 14 defines both
    names = {}
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "14-xxh3.md"), encoding="utf-8") as chapter:
        exec(chapter.read().split("```python\n")[1].split("```")[0], names)
    xxh3_64, xxh3_128 = names["xxh3_64"], names["xxh3_128"]

# ---- 1.7: zstd frames
def inflate(frame, size, where):
    """Exactly one zstd frame of exactly `size` bytes, whose header is as 1.7 wants it."""
    def check(truth, what):
        need(truth, where, "zstd frame: " + what)

    check(len(frame) >= 9 and frame[:4] == b"\x28\xB5\x2F\xFD", "magic")
    flags, window, single = frame[4], frame[5], frame[4] >> 5 & 1
    check(flags & 0x1F == 0 and flags & 0xE0, "descriptor")
    check(single or 8 + (window & 7) << 7 + (window >> 3) <= 2**27, "window")
    at, width = 6 - single, (1, 2, 4, 8)[flags >> 6]
    check(int.from_bytes(frame[at:at + width], "little") + 256 * (width == 2) == size, "content size")
    at, last = at + width, 0
    while not last:  # from block to block, to see where the frame ends
        check(at + 3 <= len(frame), "cut")
        block = int.from_bytes(frame[at:at + 3], "little")
        last, kind = block & 1, block >> 1 & 3
        check(kind != 3, "block type")
        at += 3 + (1 if kind == 1 else block >> 3)
    check(at == len(frame), "length")
    if zstandard:
        try:
            data = zstandard.ZstdDecompressor().decompress(frame)
        except zstandard.ZstdError:
            data = b""
    else:
        with tempfile.TemporaryFile() as source:
            source.write(frame)
            source.seek(0)
            with subprocess.Popen(["zstd", "-dcq", "--long=28"], stdin=source, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL) as program:
                data = program.stdout.read(size + 1)  # and no more, whatever it would give
        data = data if program.returncode == 0 else b""
    check(len(data) == size, "contents")
    return data

# ---- 1.3 to 1.5: elements, numbers, names
DTYPES = {  # number: name, bits
    1: ("BOOL", 8), 2: ("U8", 8), 3: ("I8", 8), 4: ("U16", 16), 5: ("I16", 16), 6: ("U32", 32), 7: ("I32", 32),
    8: ("U64", 64), 9: ("I64", 64), 16: ("F16", 16), 17: ("BF16", 16), 18: ("F32", 32), 19: ("F64", 64),
    20: ("C64", 64), 32: ("F8_E5M2", 8), 33: ("F8_E4M3", 8), 34: ("F8_E8M0", 8), 35: ("F8_E4M3FNUZ", 8),
    36: ("F8_E5M2FNUZ", 8), 40: ("F6_E2M3", 6), 41: ("F6_E3M2", 6), 42: ("F4", 4)}
U8, U16, C64 = 2, 4, 20

def check_flags(flags, known, where, what):
    """10.1: something unknown must be ancillary, and what is known is not."""
    need(flags < 2, where, "flags", "UNSUPPORTED")
    need(known or flags, where, what, "UNSUPPORTED")
    need(not known or not flags, where, what + " is ancillary")

def pad(n, unit):
    return -(-n // unit) * unit

def check_size(dimensions, dtype, where):
    bits, n = DTYPES[dtype][1], math.prod(d for d in dimensions if d)
    need(n < 2**64 and -(-n * bits // 8) < 2**64, where, "dimensions too large")
    need(math.prod(dimensions) * bits % 8 == 0, where, "elements do not fill whole bytes")

def name_in(body, at, size, where):
    """1.5: the name at the end of a record, and after it zeros up to a multiple of 8."""
    need(len(body) == pad(at + size, 8), where, "body bytes")
    need(not any(body[at + size:]), where, "padding")
    name = body[at:at + size].decode("utf-8", "surrogateescape")  # what is not UTF-8 becomes surrogates
    need(not any(category(c) in ("Cc", "Cs") for c in name), where, "not a name")
    return name

# ---- 5: records
TENSOR, CODEBOOK, CODEBOOK_SCALES, ROW_SCALES, ENTROPY_TABLE, FILE, METADATA = 1, 16, 17, 18, 21, 32, 34
KINDS = {TENSOR: "TENSOR", 16: "CODEBOOK", 17: "CODEBOOK_SCALES", 18: "ROW_SCALES", 19: "COLUMN_SCALES",
         20: "GROUP_SCALES", 21: "ENTROPY_TABLE", 22: "SIGNS", 23: "BIAS", 24: "PERMUTATION",
         32: "FILE", 33: "SOURCE_HEADER", 34: "METADATA"}
RECORD, SECTION, REFERENCE = Struct("<HHI"), Struct("<IHHHHIQQ8sHHI"), Struct("<HHIIIQQ")
TENSOR_RECORD, ATTRIBUTE = Struct("<IIHBBHHII"), Struct("<HHI")
ATTRIBUTES = {1: ("<d", 0, sys.float_info.max), 2: ("<2d", 0, sys.float_info.max), 3: ("<Q", 1, 4), 4: ("<Q", 1, 9)}

Reference = namedtuple("Reference", "kind first count begin end")
Tensor = namedtuple("Tensor", "number section dtype shape transposed name")

class Section:
    """What a section record says; `frames`, its chunks, and `tensors`, its names."""
    def rows_of(self, chunk):  # code rows, begin and end
        return chunk * self.chunk_rows, min((chunk + 1) * self.chunk_rows, self.code_rows)

    def bytes_of(self, chunk):
        begin, end = self.rows_of(chunk)
        return (min(end * self.O, self.rows) - begin * self.O) * self.columns * DTYPES[self.dtype][1] // 8

class Catalog:
    """The sections and tensors, as record after record declares them."""
    def __init__(self):
        self.sections, self.tensors, self.names = [], [], set()

    def take(self, payload):  # 5.1
        at, unnamed = 0, None
        need(payload, "RECS frame", "no records")
        while at < len(payload):
            where = f"record after section {len(self.sections) - 1}, tensor {len(self.tensors) - 1}"
            need(at + 8 <= len(payload), where, "cut")
            kind, flags, size = RECORD.unpack_from(payload, at)
            check_flags(flags, kind in (1, 2), where, f"type {kind}")
            need(size % 8 == 0 and at + 8 + size <= len(payload), where, "body bytes")
            body, at = payload[at + 8:at + 8 + size], at + 8 + size
            if kind == 1:
                need(unnamed is None, where, f"no tensor for section {unnamed}")
                self.sections.append(self.section(body, f"section {len(self.sections)}"))
                unnamed = len(self.sections) - 1 if self.sections[-1].kind == TENSOR else None
            if kind == 2:
                self.tensors.append(self.tensor(body, f"tensor {len(self.tensors)}"))
                unnamed = None if self.tensors[-1].section == unnamed else unnamed
        need(unnamed is None, "RECS frame", f"no tensor for section {unnamed}")

    def section(self, body, where):  # 5.2
        s = Section()
        need(len(body) >= 48, where, "record too short")
        (s.number, s.kind, s.codec, s.dtype, reserved, s.chunk_rows, s.rows, s.columns, parameters, name_bytes,
         n_references, reserved2) = SECTION.unpack_from(body)
        need(s.number == len(self.sections) < 2**22, where, "number")
        need(s.kind in KINDS, where, f"kind {s.kind}", "UNSUPPORTED")
        need(s.codec in (0, 1, 2), where, f"codec {s.codec}", "UNSUPPORTED")
        need(s.dtype in DTYPES, where, f"dtype {s.dtype}", "UNSUPPORTED")
        rest = parameters[(0, 4, 1)[s.codec]:]
        need(not (reserved or reserved2 or any(rest)), where, "reserved field", "UNSUPPORTED")
        need(s.kind == TENSOR or s.codec == 0, where, "codec of this kind")
        need(s.chunk_rows in [64 << k for k in range(26)], where, "chunk rows")
        check_size([s.rows, s.columns], s.dtype, where)
        s.M, s.B, s.G, s.O = parameters[:4] if s.codec == 1 else (1, 1, 1, 1)
        need(s.codec or n_references == 0, where, "references")
        if s.codec:  # 7.2.1, 7.3.1
            need(s.dtype in (F32, F16, BF16), where, "dtype of this codec", "UNSUPPORTED")
            need(1 <= s.M <= 8 and 1 <= s.B <= 16 and 1 <= s.G * s.O <= 64, where, "scheme")
            s.S = parameters[0]
            need(s.codec == 1 or s.S in (0, 2, 3, 4, 5, 6, 7, 8), where, "scheme")
            need(s.rows * s.columns, where, "no elements")
        s.code_rows, s.frames, s.tensors = -(-s.rows // s.O), [], []
        s.n_chunks = -(-s.code_rows // s.chunk_rows) if s.columns else 0
        need(s.n_chunks <= 2**24, where, "number of chunks")
        need(s.n_chunks == 0 or s.bytes_of(0) <= 2**26, where, "bytes of a chunk")
        end = 48 + 32 * n_references
        s.name = name_in(body, end, name_bytes, where) or None
        need(1 <= name_bytes <= 255 if s.kind >= FILE else name_bytes == 0, where, "name bytes")
        if s.kind >= FILE:  # 5.2.2, 5.2.4
            need(s.dtype == U8 and s.columns == 1, where, "dtype or columns of a file")
            need(s.name not in (".", "..") and not {"/", "\\"} & set(s.name), where, "name of a file")
            self.take_name(s.kind == METADATA, s.name, where)
        s.references = [self.reference(body, at, s, where) for at in range(48, end, 32)]
        need(sum(r.count for r in s.references) <= s.number + n_references, where, "sum of counts")
        need(all(part.kind == r.kind and part.rows * part.columns > 0 for r in s.references for part in self.parts(r)),
             where, "kind of a reference, or nothing in it")
        if s.codec:
            (self.check_parameters if s.codec == 1 else self.check_entropy_table)(s, where)
        return s

    def take_name(self, space, name, where):
        need((space, name) not in self.names, where, "the name is taken")
        self.names.add((space, name))

    def parts(self, reference):
        return self.sections[reference.first:reference.first + reference.count]

    def reference(self, body, at, section, where):  # 5.2.3
        kind, reserved, first, count, reserved2, begin, end = REFERENCE.unpack_from(body, at)
        where += f", reference {(at - 48) // 32}"
        need(16 <= kind <= 24, where, f"kind {kind}", "UNSUPPORTED")
        need(reserved == reserved2 == 0, where, "reserved field", "UNSUPPORTED")
        need(count >= 1 and first + count <= section.number, where, "first or count")
        need(begin % 64 == 0 and begin < end <= section.code_rows, where, "row range")
        return Reference(kind, first, count, begin, end)

    def check_parameters(self, s, where):  # 7.2.3
        def matrix(r, rows, columns, dtypes):
            need(sum(p.rows for p in self.parts(r)) == rows and {p.columns for p in self.parts(r)} == {columns}
                 and {p.dtype for p in self.parts(r)} in dtypes, where, f"shape or dtype of {KINDS[r.kind]}")

        def cover(references):
            ends = [0] + [r.end for r in references]
            need([r.begin for r in references] + [s.code_rows] == ends, where, "code rows are not covered")

        books, scales, row_scales = ([r for r in s.references if r.kind == kind]
                                     for kind in (CODEBOOK, CODEBOOK_SCALES, ROW_SCALES))
        need(len(books + scales + row_scales) == len(s.references), where, "kind of a reference", "UNSUPPORTED")
        need(len(books) <= 1024, where, "more than 1024 references to codebooks", "UNSUPPORTED")
        need(len(books) * (s.M << s.B) * s.O * s.G < 2**20 + 64 * (s.rows * s.columns + 1), where, "size of codebooks")
        cover(books)
        for r in books:
            matrix(r, s.M << s.B, s.O * s.G, [{F32}, {F16}, {BF16}, {I8}])
        need([(r.begin, r.end, 1) for r in books if self.sections[r.first].dtype == I8]
             == [(r.begin, r.end, r.count) for r in scales], where, "CODEBOOK_SCALES do not fit")
        for r in scales:
            matrix(r, s.M, s.O * s.G, [{F32}, {F16}, {BF16}])
        for r in row_scales:
            need(len(row_scales) == r.count == 1, where, "several ROW_SCALES")
            cover([r])
            matrix(r, s.code_rows, 1, [{F32}, {F16}, {BF16}])

    def check_entropy_table(self, s, where):  # 7.3.2
        need(all(r.kind == ENTROPY_TABLE for r in s.references), where, "kind of a reference", "UNSUPPORTED")
        need([(r.count, r.begin, r.end) for r in s.references] == [(1, 0, s.rows)], where, "references")
        part = self.sections[s.references[0].first]
        need((part.dtype, part.rows) == (U8, 1) and part.columns >= 9
             and 8 * (part.columns - 9) >= s.rows + 2 * s.columns, where, "ENTROPY_TABLE")

    def tensor(self, body, where):  # 5.3
        need(len(body) >= 24, where, "record too short")
        (number, section, dtype, rank, leading, transposed, name_bytes, attribute_bytes,
         reserved) = TENSOR_RECORD.unpack_from(body)
        need(number == len(self.tensors) < 2**20, where, "number")
        need(dtype in DTYPES, where, f"dtype {dtype}", "UNSUPPORTED")
        need(transposed < 2 and reserved == 0, where, "flags or reserved field", "UNSUPPORTED")
        need(section < len(self.sections) and self.sections[section].kind == TENSOR, where, "section")
        s = self.sections[section]
        need(dtype == s.dtype, where, "dtype is not the section's")
        need(rank <= 8 and 1 <= name_bytes <= 1024 and attribute_bytes % 8 == 0, where, "rank, name or attribute bytes")
        end = 24 + 8 * rank + attribute_bytes
        name = name_in(body, end, name_bytes, where)
        self.take_name("tensor", name, where)
        shape = unpack_from(f"<{rank}Q", body, 24)
        check_size(shape, dtype, where)
        whole = DTYPES[dtype][1] >= 8
        need(leading == 0 and rank >= 2 and whole if transposed else leading < max(rank, 1), where, "leading or rank")
        cut = rank - 1 if transposed else leading + 1
        view = math.prod(shape[:cut]), math.prod(shape[cut:])
        need(view == ((s.columns, s.rows) if transposed else (s.rows, s.columns)), where, "shape")
        self.check_attributes(body[24 + 8 * rank:end], where)
        s.tensors.append(Tensor(number, section, dtype, shape, transposed, name))
        return s.tensors[-1]

    def check_attributes(self, data, where):  # 5.3.3
        at, last = 0, 0
        while at < len(data):
            key, size, reserved = ATTRIBUTE.unpack_from(data, at)
            begin, end, at = at + 8, at + 8 + size, at + 8 + pad(size, 8)
            need(reserved == 0, where, "reserved field of an attribute", "UNSUPPORTED")
            need(at <= len(data) and not any(data[end:at]), where, "attribute bytes or padding")
            need(key > last, where, "attribute keys do not ascend")
            need(key in ATTRIBUTES or key >= 0x8000, where, f"attribute {key}", "UNSUPPORTED")
            last, (layout, least, most) = key, ATTRIBUTES.get(key, (f"{size}x", 0, 0))
            need(calcsize(layout) == size and all(least <= v <= most for v in unpack(layout, data[begin:end])),
                 where, f"attribute {key}")

# ---- 7: codecs
def planes(payload, size, dtype, where):
    """7.1.2. In a rotated dtype a byte of an element is the upper seven bits of the byte in its plane and, above them,
    the lowest bit of that in the next plane; after the last plane comes the first."""
    width, rotated = 4 if dtype == C64 else DTYPES[dtype][1] // 8, dtype >= F16
    need(len(payload) >= 4 * width, where, "planes")
    at, plane, elements = 4 * width, [], bytearray(size)
    for length in unpack_from(f"<{width}I", payload):
        begin, at = at, at + length % 2**31
        data = payload[begin:at]
        plane.append(inflate(data, size // width, where) if length >> 31 else data)
        need(len(plane[-1]) == size // width, where, "length of a plane")
    need(at == len(payload), where, "bytes behind the planes")
    for p in range(width):
        above = plane[(p + 1) % width]
        elements[p::width] = bytes(b >> 1 | (c & 1) << 7 for b, c in zip(plane[p], above)) if rotated else plane[p]
    return bytes(elements)

def codes_of(line, B):
    """7.2.2: the 64 codes of a line."""
    f, t = divmod(B, 8)
    bits = int.from_bytes(line[64 * f:], "little")
    return [(bits >> k * t & (1 << t) - 1) << 8 * f | sum(line[64 * p + k] << 8 * p for p in range(f))
            for k in range(64)]

def additive(s, chunk, payload, codebook, scales, where):
    """7.2.4: the rows of a chunk. codebook(i)[m][a][code] is row a of a codeword, for code row i."""
    n_lines, size, elements = -(-s.columns // s.G) * s.M, 8 * s.B, []
    begin, end = s.rows_of(chunk)
    for x, block in enumerate(range(begin, end, 64)):
        lines = [codes_of(payload[i * size:(i + 1) * size], s.B) for i in range(x * n_lines, (x + 1) * n_lines)]
        book = codebook(block)  # ranges of code rows begin at multiples of 64
        for i, codes in enumerate(zip(*lines), block):
            if i >= end:
                need(not any(codes), where, "a code behind the last row")
                continue
            for a in range(min(s.O, s.rows - i * s.O)):
                values = [[v for code in codes[m::s.M] for v in book[m][a][code]][:s.columns] for m in range(s.M)]
                acc = values[0]
                for value in values[1:]:
                    acc = rounded([v + w for v, w in zip(acc, value)])
                if scales:
                    acc = rounded([v * scales[i] for v in acc])
                elements.append(narrowed(acc, s.dtype))
    return b"".join(elements)

# ---- 3, 4, 6: the file
SUPERBLOCK, HEADER = Struct("<8sHHIQQQ16sB3sIII48sQ"), Struct("<4s4sIIHHIQQQQQ")
FOOTER, INDEX, ENTRY = Struct("<QQQQ16s64sQ8s"), Struct("<IIIIQQ"), Struct("<4sHHIIQQ")
MAGIC = b"\x89AQZ\r\n\x1A\n"
RECS, CHNK, PADD, INDX, FOOT = b"RECS", b"CHNK", b"PADD", b"INDX", b"FOOT"
Frame = namedtuple("Frame", "at type section chunk coding flags stored decoded payload_hash decoded_hash")

def check_frame(f, where):
    """4.1, 4.3, 4.4: a header, or an entry of the index, without the place where it stands."""
    check_flags(f.flags, f.type in (RECS, CHNK, PADD, INDX, FOOT), where, f"type {f.type}")
    need(max(f.stored, f.decoded) <= (2**28 if f.type == INDX else 2**26), where, "stored or decoded bytes")
    need(f.type not in (RECS, PADD, FOOT) or f.coding == 0, where, f"coding {f.coding}")
    need(f.coding or f.stored == f.decoded, where, "stored bytes are not decoded bytes")

class Reader:
    """An open file: superblock, footer, index, root and records are checked (2.3.1, but always with step 3, first)."""
    def __init__(self, path):
        self.file = open(path, "rb")
        self.size = self.file.seek(0, os.SEEK_END)
        self.catalog, self.frames, self.records, self.kept, self.book = Catalog(), [], {}, {}, (None, None)
        self.sections = self.catalog.sections
        self.superblock()
        self.walk(self.index(*self.footer()))

    def read(self, at, n, where):
        self.file.seek(at)
        data = self.file.read(n) if at + n <= self.size else b""
        need(len(data) == n, where, "the file ends before it does", "TRUNCATED")
        return data

    def superblock(self):  # 3
        where = "superblock"
        need(self.read(0, min(4, self.size), where) == MAGIC[:4], where, "not an aqlmzip file", "FORMAT")
        block = self.read(0, 128, where)
        need(block[:8] == MAGIC, where, "magic: the file was transferred as text")
        (_, major, minor, size, features_read, _, _, self.id, alignment, reserved, shard, shards, generation,
         reserved2, header_hash) = SUPERBLOCK.unpack(block)
        need(header_hash == xxh3_64(block[:120]), where, "header hash", "CHECKSUM")
        need((major, minor) == (0, 3), where, f"version {major}.{minor}", "UNSUPPORTED")
        need(features_read == 0, where, f"features {features_read:#x}", "UNSUPPORTED")
        need(size == 128 and alignment in (6, 12) and (shard, shards, generation) == (0, 1, 0)
             and not any(reserved + reserved2), where, "size, alignment, shards or reserved field", "UNSUPPORTED")
        self.start, self.alignment = block, 1 << alignment

    def header(self, at):
        """4.5, steps 1 to 5. The seed comes with the frame."""
        where, data = f"frame at {at}", self.read(at, 64, f"frame at {at}")
        sync, kind, section, chunk, coding, flags, reserved, *rest, header_hash = HEADER.unpack(data)
        seed = xxh3_64(self.id + data[4:16])
        need(sync == b"\xF5qz\n", where, "sync")
        need(header_hash == xxh3_64(data[:56], seed), where, "header hash", "CHECKSUM")
        need(reserved == 0, where, "reserved field", "UNSUPPORTED")
        frame = Frame(at, kind, section, chunk, coding, flags, *rest)
        check_frame(frame, where)
        return frame, seed

    def payload(self, entry):
        """4.5: the payload of a frame whose header must be as the entry says. With coding 0 it is decoded, too."""
        where, (frame, seed) = f"frame at {entry.at}", self.header(entry.at)
        if entry.section is None:  # ancillary: its numbers mean nothing
            entry = entry._replace(section=frame.section, chunk=frame.chunk)
        need(frame == entry, where, "header is not that of the frame that belongs here")
        data = self.read(frame.at + 64, pad(frame.stored, 64), where)
        need(frame.payload_hash == xxh3_64(data, seed), where, "payload hash", "CHECKSUM")
        need(not any(data[frame.stored:]), where, "padding")
        return self.confirmed(frame, data[:frame.stored]) if frame.coding == 0 else data[:frame.stored]

    def confirmed(self, frame, decoded):
        need(frame.decoded_hash == xxh3_64(decoded), f"frame at {frame.at}", "decoded hash", "CHECKSUM")
        return decoded

    def footer(self):  # 6.3
        where, at = "footer", self.size - 192
        need(self.size >= 384 and self.read(self.size - 8, 8, where) == MAGIC[::-1], where, "end magic", "TRUNCATED")
        frame, _ = self.header(at)
        need(frame[:8] == (at, FOOT, 0, 0, 0, 0, 128, 128), where, "header")
        offset, stored, decoded, size, self.root, copy, reserved, _ = FOOTER.unpack(self.payload(frame))
        need(reserved == 0, where, "reserved field", "UNSUPPORTED")
        need(copy == self.start[8:72], where, "copy of the superblock")
        need(size == self.size and size % 64 == 0, where, "file bytes")
        need(max(stored, decoded) <= 2**28 and offset % 64 == 0 and 128 <= offset <= at - 64 - pad(stored, 64),
             where, "offset or bytes of the index")
        return offset, stored, decoded

    def index(self, at, stored, decoded):  # 6.2, 8.3
        where, (frame, _) = "index", self.header(at)
        need(frame.type == INDX and (frame.stored, frame.decoded) == (stored, decoded), where, "header")
        need(frame.coding in (0, 1), where, f"coding {frame.coding}", "UNSUPPORTED")
        need(1 <= stored <= decoded >= 32, where, "stored or decoded bytes")
        index, self.index_frame = self.payload(frame), frame
        if frame.coding == 1:
            index = self.confirmed(frame, inflate(index, decoded, where))
        need(unpack("<QQ", self.root) == xxh3_128(self.start + index), where, "root", "CHECKSUM")
        return index

    def walk(self, index):
        """6.1: the frame table and the records tell all that stands before the index. Here 2.2 and 4.6 are checked."""
        where, sections, tensors = "index", self.sections, self.catalog.tensors
        n_frames, n_sections, n_tensors, reserved, n_chunks, record_bytes = INDEX.unpack_from(index)
        digests, records = 32 + 32 * n_frames, 32 + 32 * n_frames + 16 * n_sections
        need(reserved == 0, where, "reserved field", "UNSUPPORTED")
        need(records + record_bytes == len(index) and n_frames <= 2**24, where, "counts")
        at, chunks, due, padded, n_seen = 128, iter(()), None, False, 0  # due: the next chunk, (section, number)
        for number in range(n_frames):
            where = f"index, frame {number} at {at}"
            kind, coding, flags, *rest = ENTRY.unpack_from(index, 32 + 32 * number)
            f = Frame(at, kind, None, None, coding, flags, *rest)
            check_frame(f, where)
            need(kind == CHNK or not padded, where, "no chunk behind PADD")
            aligned, padded = (at + 64) % self.alignment == 0, kind == PADD
            if kind == RECS:
                need(due is None, where, "a chunk is missing")
                f = f._replace(section=len(sections), chunk=len(tensors))
                piece, records = index[records:records + f.stored], records + f.stored
                need(records <= len(index), where, "bytes of records")
                self.records[at] = self.confirmed(f, piece)
                self.catalog.take(piece)
                chunks = ((s, c) for s in sections[f.section:] for c in range(s.n_chunks))
                due = next(chunks, None)
            elif kind == CHNK:
                need(due is not None, where, "no chunk is due")
                section, chunk = due
                f, due, n_seen = f._replace(section=section.number, chunk=chunk), next(chunks, None), n_seen + 1
                need(aligned, where, "alignment")
                self.check_chunk(f, section, where)
                section.frames.append(f)
            elif kind == PADD:
                f = f._replace(section=0, chunk=0)
                need(due is not None and not aligned, where, "no padding is due")
                need(f.stored == -(at + 128) % self.alignment, where, "length of the padding")
            need(kind not in (INDX, FOOT), where, "type")
            self.frames.append(f)
            at += 64 + pad(f.stored, 64)
        need(due is None and at == self.index_frame.at, "index", "frames do not end where it begins")
        need(records == len(index) and n_seen == n_chunks
             and (len(sections), len(tensors)) == (n_sections, n_tensors) == self.index_frame[2:4],
             "index", "number of sections, tensors, chunks, or bytes of records")
        self.digests = [unpack_from("<QQ", index, digests + 16 * s.number) for s in sections]
        need(all(digest == (0, 0) for digest, s in zip(self.digests, sections) if s.kind == TENSOR),
             "index", "digest of a tensor")

    def check_chunk(self, f, s, where):
        """4.4, 5.2.1, 7.2.2, 7.3.3: coding and lengths."""
        need(f.coding in ((0, 1, 2), (16,), (17,))[s.codec], where, f"coding {f.coding}", "UNSUPPORTED")
        need(f.decoded == s.bytes_of(f.chunk), where, "decoded bytes")
        need(f.coding != 2 or U16 <= s.dtype <= C64, where, "planes of this dtype")
        begin, end = s.rows_of(f.chunk)
        exact, states = -(-(end - begin) // 64) * -(-s.columns // s.G) * s.M * 8 * s.B, 4 * min(32, s.columns)
        least, most = ((1, f.decoded), (exact, exact), (states, states + 8 * (end - begin) * s.columns))[s.codec]
        need(least <= f.stored <= most, where, "stored bytes")

    def elements(self, number):
        """The decoded bytes of a section. Parameters are kept, as others refer to them."""
        if number in self.kept:
            return self.kept[number]
        s = self.sections[number]
        data = b"".join(self.chunk(s, frame) for frame in s.frames)
        need(s.kind == TENSOR or self.digests[number] == xxh3_128(data), f"section {number}", "digest", "CHECKSUM")
        if CODEBOOK <= s.kind < FILE:
            self.kept[number] = data
        return data

    def chunk(self, s, frame):
        data, where = self.payload(frame), f"frame at {frame.at}"
        if frame.coding == 1:
            data = inflate(data, frame.decoded, where)
        if frame.coding == 2:
            data = planes(data, frame.decoded, s.dtype, where)
        if frame.coding == 16:
            scales = [self.matrix(r) for r in s.references if r.kind == ROW_SCALES] or [None]
            data = additive(s, frame.chunk, data, lambda i: self.codebook(s, i), scales[0], where)
        if frame.coding == 17:
            rows = self.trellis(s).decode(data, *s.rows_of(frame.chunk), lambda truth, what: need(truth, where, what))
            data = b"".join(narrowed(row, s.dtype) for row in rows)
        return self.confirmed(frame, data) if frame.coding else data

    def trellis(self, s):
        if self.book[0] != s.number:
            self.book = s.number, Trellis(self.elements(s.references[0].first), s.rows, s.columns, s.S, need)
        return self.book[1]

    def matrix(self, r):
        data = b"".join(self.elements(part.number) for part in self.catalog.parts(r))
        return widened(data, self.sections[r.first].dtype)

    def codebook(self, s, i):
        """7.2.3: the codewords for code row i, as [m][a][code]. The last codebook is kept."""
        of = {r.kind: r for r in s.references if r.begin <= i < r.end}
        if self.book[0] != (s.number, of[CODEBOOK]):
            values, size, n = self.matrix(of[CODEBOOK]), s.O * s.G, 1 << s.B
            if CODEBOOK_SCALES in of:
                scale = self.matrix(of[CODEBOOK_SCALES])
                values = rounded([v * scale[at // (n * size) * size + at % size] for at, v in enumerate(values)])
            self.book = (s.number, of[CODEBOOK]), [
                [[values[at:at + s.G] for at in range(m * n * size + a * s.G, (m + 1) * n * size, size)]
                 for a in range(s.O)] for m in range(s.M)]
        return self.book[1]

    def in_shape(self, tensor, view):
        """5.3.2: the elements in the order of the tensor's own shape."""
        if not tensor.transposed:
            return view
        bits, columns = DTYPES[tensor.dtype][1], self.sections[tensor.section].columns
        elements = memoryview(view).cast({8: "B", 16: "H", 32: "I", 64: "Q"}[bits])
        return b"".join(elements[c::columns].tobytes() for c in range(columns))

    def verified(self):
        """8.4, full: every frame and every hash. Gives each section with its decoded bytes."""
        for frame in self.frames:
            if frame.type != CHNK:
                data, where = self.payload(frame), f"frame at {frame.at}"
                need(frame.type != RECS or data == self.records[frame.at], where, "records")
                need(frame.type != PADD or not any(data), where, "padding")
        at = self.index_frame.at + 64 + pad(self.index_frame.stored, 64)
        while at < self.size - 192:
            frame, _ = self.header(at)
            need(frame.flags, f"frame at {at}", "stands behind the index")
            self.payload(frame)
            at += 64 + pad(frame.stored, 64)
        need(at == self.size - 192, "footer", "does not stand where the frames end")
        for section in self.sections:
            yield section, self.elements(section.number)

    def extract(self, name):
        """The tensor, else the file, else the metadata of this name."""
        for tensor in self.catalog.tensors:
            if tensor.name == name:
                return self.in_shape(tensor, self.elements(tensor.section))
        for section in sorted(self.sections, key=lambda s: s.kind):
            if section.name == name:
                return self.elements(section.number)
        raise OSError(f"no tensor or file has the name {name!r}")

def report(reader, s, data):
    for t in s.tensors or [Tensor(None, s.number, s.dtype, (s.rows, s.columns), 0, s.name)]:
        print(json.dumps({
            "section": s.number, "kind": KINDS[s.kind], "name": t.name, "dtype": DTYPES[s.dtype][0], "shape": t.shape,
            "codec": ("raw", f"{s.M}x{s.B}g{s.G}" + f"o{s.O}" * (s.O > 1),
                      f"trellis{1 << s.S}" if s.codec == 2 else "")[s.codec],
            "xxh3_128": "%016x%016x" % xxh3_128(reader.in_shape(t, data))[::-1]}))

def main():
    parser = argparse.ArgumentParser(description="Reads aqlmzip files, format 0.3.")
    parser.add_argument("file", metavar="FILE.aqz")
    parser.add_argument("--verify", action="store_true", help="check everything, print nothing")
    parser.add_argument("--extract", metavar="NAME", help="write this tensor or attached file to standard output")
    options = parser.parse_args()
    try:
        reader = Reader(options.file)
        if options.extract is not None:
            sys.stdout.buffer.write(reader.extract(options.extract))
            return 0
        for section, data in reader.verified():
            if not options.verify:
                report(reader, section, data)
        return 0
    except (Refused, MemoryError) as error:
        print(error if isinstance(error, Refused) else "MEMLIMIT file: more memory is needed", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"reader.py: {error}", file=sys.stderr)
        return 2

if __name__ == "__main__":
    sys.exit(main())
