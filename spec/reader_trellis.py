# SPDX-License-Identifier: Apache-2.0
"""Codec 2 of aqlmzip files, for reader.py, written from the text of section 7.3 alone."""
from struct import pack, unpack, unpack_from

CODES = {0: (0, 0), 2: (0o5, 0o2), 3: (0o13, 0o4), 4: (0o23, 0o4), 5: (0o45, 0o10), 6: (0o103, 0o24),
         7: (0o235, 0o126), 8: (0o515, 0o362)}  # 7.3.1: S: h0, h1
EIGHTHS = [unpack(">f", bytes.fromhex(word))[0] for word in
           "3F800000 3F8B95C2 3F9837F0 3FA5FED7 3FB504F3 3FC5672A 3FD744FD 3FEAC0C7".split()]
W = [round(4096 * 2 ** (-q / 8)) for q in range(97)]
ESCAPE = None

def binary32(value):
    return unpack("<f", pack("<f", value))[0]

class Bits:
    """7.3.2: a string of bits. `need(truth, what)` refuses the file."""
    def __init__(self, data, need):
        self.value, self.left, self.need = int.from_bytes(data, "little"), 8 * len(data), need

    def take(self, width):
        self.need(width <= self.left, "the bits of the entropy table are cut off")
        bits, self.value, self.left = self.value & (1 << width) - 1, self.value >> width, self.left - width
        return bits

    def rice(self, r):
        ones = 0
        while ones < 15 and self.take(1):
            ones += 1
        z = ones << r | self.take(r) if ones < 15 else self.take(9)
        self.need(ones < 15 or z >> r >= 15, "a long Rice code of a small number")
        return -(z // 2) - 1 if z & 1 else z // 2

    def array(self, n):
        centre = self.take(8)
        centre, r = centre - 256 * (centre > 127), self.take(3)
        values = [centre + self.rice(r) for _ in range(n)]
        self.need(all(-128 <= v <= 127 for v in values), "an exponent is no byte")
        return values

    def table(self, r, t):
        """The 4096 slots of a table for t, each (index, frequency, first slot)."""
        n, escape, q = self.take(7) + 1, self.take(1), []
        self.need(n <= 127, "magnitudes of a table")
        for i in range(n + escape):
            p = 12 if i == 0 else q[0] + 8 if i == 1 else 2 * q[i - 1] - q[i - 2]
            q.append(min(max(p, 0), 96) + self.rice(r))
            self.need(0 <= q[-1] <= 96, "q of a table")
        c = [2 if m or t else 1 for m in range(n)]
        total, room, carry, f = sum(a * W[b] for a, b in zip(c + [1] * escape, q)), 4096 - sum(c) - escape, 0, []
        for m in range(n):
            share, carry = divmod(c[m] * W[q[m]] * room + carry, c[m] * total)
            f.append(1 + share)
        indices = [(k, f[k if k >= 0 else -k - t]) for k in range(-n if t else 1 - n, n)]
        if escape:
            indices.append((ESCAPE, 1 + (W[q[n]] * room + carry) // total))
        elif carry:
            indices = [(k, frequency + (k == 0)) for k, frequency in indices]
        slots = []
        for k, frequency in indices:
            slots += [(k, frequency, len(slots))] * frequency
        assert len(slots) == 4096
        return slots

class Trellis:
    """What the chunks of a section share."""
    def __init__(self, data, rows, columns, S, refuse):
        def need(truth, what, status="CORRUPT"):
            refuse(truth, "entropy table", what, status)
        self.S, self.columns = S, columns
        base, self.bias, self.B, C, flags = unpack_from("<fhBBB", data)
        need(flags < 2, "flags", "UNSUPPORTED")
        need(2.0**-90 <= base <= 2.0**60, "base")
        need(1 <= self.B <= 64 and 1 <= C <= min(32, self.B, 1 + rows * columns // 256), "number of buckets or tables")
        bits, self.pair = Bits(data[9:], need), [0]
        for _ in range(self.B - 1):
            self.pair.append(self.pair[-1] + bits.take(1))
        need(self.pair[-1] == C - 1, "tables of the buckets")
        step, size, row_size = bits.array(columns), bits.array(columns), bits.array(rows)
        row_step = bits.array(rows) if flags else [0] * rows
        r = bits.take(3)
        self.tables = [[bits.table(r, t) for t in range(2 if S else 1)] for _ in range(C)]
        need(bits.left < 8 and bits.value == 0, "bits behind the last table")
        self.column_scale = [2 * m - e for m, e in zip(size, step)]
        self.row_scale = [2 * m - e for m, e in zip(row_size, row_step)]
        self.column = [binary32(base * EIGHTHS[e & 7]) * 2.0 ** (e >> 3) for e in step]  # 7.3.4
        self.row = [EIGHTHS[e & 7] * 2.0 ** (e >> 3) for e in row_step]

    def value(self, state, k):
        """7.3.1: the integer, and the next state."""
        h0, h1 = CODES[self.S]
        t = state & 1
        return 2 * k + t if self.S else k, (state >> 1 ^ t * (h0 >> 1) ^ (k & 1) * (h1 >> 1)) & (1 << self.S) - 1

    def decode(self, payload, begin, end, need):
        """7.3.3, 7.3.4: rows [begin, end), those of a chunk, as lists of binary32."""
        lanes = min(32, self.columns)
        need(len(payload) >= 4 * lanes and len(payload) % 2 == 0, "length of the payload")
        x = list(unpack_from(f"<{lanes}I", payload))
        words, at = unpack_from(f"<{len(payload) // 2 - 2 * lanes}H", payload, 4 * lanes), 0
        need(min(x) >= 2**16, "state of the coder")

        def word():
            nonlocal at
            need(at < len(words), "the words run out")
            at += 1
            return words[at - 1]

        rows = [[] for _ in range(begin, end)]
        for first in range(0, self.columns, 32):
            columns = range(first, min(first + 32, self.columns))
            states = [0] * len(columns)
            for i in range(begin, end):
                indices = []
                for l, j in enumerate(columns):  # 1
                    bucket = min(max(self.column_scale[j] + self.row_scale[i] + self.bias >> 2, 0), self.B - 1)
                    slot = x[l] & 4095
                    k, f, start = self.tables[self.pair[bucket]][states[l] & 1][slot]
                    x[l] = f * (x[l] >> 12) + slot - start
                    indices.append(k)
                for l in range(len(columns)):  # 2
                    if x[l] < 2**16:
                        x[l] = x[l] << 16 | word()
                for l, j in enumerate(columns):
                    if indices[l] is ESCAPE:  # 3
                        z = word()
                        if z == 0xFFFF:
                            z = word() + 2**16 * word()
                            need(z >= 0xFFFF, "a long escape of a small index")
                        indices[l] = -(z + 1) // 2 if z & 1 else z // 2
                        need(abs(indices[l]) < 2**22, "an index is too large")
                for l, j in enumerate(columns):
                    v, states[l] = self.value(states[l], indices[l])
                    rows[i - begin].append(binary32(v * binary32(self.column[j] * self.row[i])))
        need(at == len(words) and set(x) == {2**16}, "the coder does not end where it should")
        return rows
