# SPDX-License-Identifier: Apache-2.0
"""Floating point of aqlmzip files, for reader.py: sections 1.3 and 1.4."""
import math
from struct import pack, unpack

I8, F16, BF16, F32 = 3, 16, 17, 18

def widened(data, dtype):
    """Elements as Python's floats, which are binary64 and hold each of them exactly."""
    if dtype == BF16:
        data = pack(f"<{len(data) // 2}I", *[b << 16 for b in unpack(f"<{len(data) // 2}H", data)])
    size, code = {I8: (1, "b"), F16: (2, "e")}.get(dtype, (4, "f"))
    return list(map(float, unpack(f"<{len(data) // size}{code}", data)))

def packed(code, values):
    """To binary32 (code f) or binary16 (e): nearest, ties to even. So does struct, but for what becomes infinity."""
    try:
        return pack(f"<{len(values)}{code}", *values)
    except OverflowError:
        if len(values) > 1:
            return b"".join(packed(code, [v]) for v in values)
        return pack("<" + code, math.copysign(math.inf, values[0]))

def rounded(values):
    """Sums or products of two binary32 values each, computed in binary64, to binary32. It is as if they were rounded
    once: a product of 24 by 24 bits is exact in 53, and for sums 53 >= 2 * 24 + 2 bits are enough."""
    return unpack(f"<{len(values)}f", packed("f", values))

def narrowed(values, dtype):
    values = [math.nan if v != v else v for v in values]
    data = packed("e" if dtype == F16 else "f", values)
    if dtype == BF16:
        bits = unpack(f"<{len(values)}I", data)
        data = pack(f"<{len(bits)}H", *[b + 0x7FFF + (b >> 16 & 1) >> 16 for b in bits])
    return data
