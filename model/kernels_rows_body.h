/* SPDX-License-Identifier: Apache-2.0 */
/* The one body of all variants of kernels_rows.h; kernels_rows.c includes it for each instruction set with
 *	NAME(x)       x with the variant's suffix
 *	TARGET        the function attribute
 *	WIDTH         lanes of a vector
 *	SUM(v)        of the lanes
 *	MADD(a, b, c) a * b + c, fused where the machine can
 *	BF16(p)       WIDTH 16-bit floats at any alignment, widened
 *	F16(p)
 *	U8(p), S8(p)  WIDTH bytes at any alignment as 32-bit integers
 *	HALF(p)       one 16-bit float, widened
 *	LOOK_UP(t, i) where vectors have 16 lanes: lane i[k] & 15 of t */

typedef float NAME(vec) __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));
typedef float NAME(any) __attribute__((vector_size(WIDTH * 4), aligned(1), may_alias));
typedef int32_t NAME(ints) __attribute__((vector_size(WIDTH * 4), may_alias));
#define VEC NAME(vec)
#define INTS NAME(ints)
#define LOAD(p) (*(const VEC *)(const void *)(p))
#define SPLAT(x) ((x) - (VEC){0})
#define FLOATS(v) __builtin_convertvector(v, VEC)
#define INLINE static inline __attribute__((always_inline)) TARGET
#define VECTORS (STEP / WIDTH)
/* Rows at a time for one or two vectors; half of them for four. */
#define ROWS (WIDTH == 4 ? 2 : 4)
/* Vectors of a row that are added at a time: 12 or 16 sums, or as many as there are registers for. */
#define ACROSS (WIDTH == 16 ? 4 : 2)

/* d q + m, q being bits 0 to 3. */
INLINE VEC NAME(four)(INTS q, float d, float m)
{
#if WIDTH == 16
	const VEC count = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

	return LOOK_UP(MADD(count, SPLAT(d), SPLAT(m)), q);
#else
	return MADD(FLOATS(q & 15), SPLAT(d), SPLAT(m));
#endif
}

/* d (q - 8), q being bits 0 to 3. */
INLINE VEC NAME(symbol)(INTS q, float d)
{
#if WIDTH == 16
	const VEC count = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};

	return LOOK_UP(count * SPLAT(d), q);
#else
	return FLOATS((q & 15) - 8) * SPLAT(d);
#endif
}

INLINE void NAME(symbols)(VEC w[VECTORS], const uint8_t *p, float d)
{
	UNROLL
	for (int k = 0; k < VECTORS / 2; k++) {
		const INTS q = U8(p + k * WIDTH);

		w[k] = NAME(symbol)(q, d);
		w[k + VECTORS / 2] = NAME(symbol)(q >> 4, d);
	}
}

/* 16 bytes of nibbles, the low ones first. */
INLINE void NAME(fours)(VEC w[VECTORS], const uint8_t *p, float d, float m)
{
	UNROLL
	for (int k = 0; k < VECTORS / 2; k++) {
		const INTS q = U8(p + k * WIDTH);

		w[k] = NAME(four)(q, d, m);
		w[k + VECTORS / 2] = NAME(four)(q >> 4, d, m);
	}
}

/* The same with fifth bits: bit i is that of value i. offset: is taken off first, and there is no m. */
INLINE void NAME(fives)(VEC w[VECTORS], const uint8_t *p, uint32_t high, int offset, float d, float m)
{
	INTS lane;

	UNROLL
	for (int i = 0; i < WIDTH; i++)
		lane[i] = i;
	UNROLL
	for (int k = 0; k < VECTORS; k++) {
		const INTS bits = (INTS){0} + (int32_t)(high >> k * WIDTH);
		const INTS q = U8(p + k % (VECTORS / 2) * WIDTH) >> (k < VECTORS / 2 ? 0 : 4) & 15;

		w[k] = FLOATS((q | (bits >> lane & 1) << 4) - offset);
		if (offset != 0)
			w[k] = w[k] * SPLAT(d);
		else
			w[k] = MADD(w[k], SPLAT(d), SPLAT(m));
	}
}

/* 32 values of a block of 256: scales and minima of 6 bits for each 32 of them. */
INLINE void NAME(q4_k)(VEC w[VECTORS], const uint8_t *block, size_t part)
{
	const uint8_t *p = block + 16 + part / 2 * 32;
	float d, m;

	aqz_q4_k_scale(&d, &m, block + 4, part);
	d *= HALF(block);
	m *= -HALF(block + 2);
	UNROLL
	for (int k = 0; k < VECTORS; k++)
		w[k] = NAME(four)(U8(p + k * WIDTH) >> (int)(part % 2 * 4), d, m);
}

/* The same of 6-bit values: nibbles, pairs of bits, a signed scale for each 16 values. */
INLINE void NAME(q6_k)(VEC w[VECTORS], const uint8_t *block, size_t part)
{
	const uint8_t *low = block + part / 4 * 64 + part % 2 * 32, *high = block + 128 + part / 4 * 32;
	const int low_at = (int)(part / 2 % 2 * 4), high_at = (int)(part % 4 * 2);
	const float all = HALF(block + 208);

	UNROLL
	for (int k = 0; k < VECTORS; k++) {
		const INTS q = (U8(low + k * WIDTH) >> low_at & 15) | (U8(high + k * WIDTH) >> high_at & 3) << 4;
		const float d = all * (float)(int8_t)block[192 + 2 * part + (size_t)(k * WIDTH / 16)];

		w[k] = FLOATS(q - 32) * SPLAT(d);
	}
}

/* Values i to i + 31 of a row; i is a multiple of 32. */
INLINE void NAME(get)(VEC w[VECTORS], const uint8_t *row, size_t i, const format f)
{
	const uint8_t *p = row;

	switch (f) {
	case FORMAT_F32:
		UNROLL
		for (size_t k = 0; k < VECTORS; k++)
			w[k] = *(const NAME(any) *)(const void *)(p + 4 * (i + k * WIDTH));
		break;
	case FORMAT_F16:
		UNROLL
		for (size_t k = 0; k < VECTORS; k++)
			w[k] = F16(p + 2 * (i + k * WIDTH));
		break;
	case FORMAT_BF16:
		UNROLL
		for (size_t k = 0; k < VECTORS; k++)
			w[k] = BF16(p + 2 * (i + k * WIDTH));
		break;
	case FORMAT_I8:
		UNROLL
		for (size_t k = 0; k < VECTORS; k++)
			w[k] = FLOATS(S8(p + i + k * WIDTH));
		break;
	case FORMAT_I4:
		NAME(symbols)(w, p + i / 2, 1);
		break;
	case FORMAT_Q8_0:
		p += i / 32 * 34;
		UNROLL
		for (size_t k = 0; k < VECTORS; k++)
			w[k] = FLOATS(S8(p + 2 + k * WIDTH)) * SPLAT(HALF(p));
		break;
	case FORMAT_Q4_0:
		p += i / 32 * 18;
		NAME(symbols)(w, p + 2, HALF(p));
		break;
	case FORMAT_Q4_1:
		p += i / 32 * 20;
		NAME(fours)(w, p + 4, HALF(p), HALF(p + 2));
		break;
	case FORMAT_Q5_0:
		p += i / 32 * 22;
		NAME(fives)(w, p + 6, aqz_get32(p + 2), 16, HALF(p), 0);
		break;
	case FORMAT_Q5_1:
		p += i / 32 * 24;
		NAME(fives)(w, p + 8, aqz_get32(p + 4), 0, HALF(p), HALF(p + 2));
		break;
	case FORMAT_Q4_K:
		NAME(q4_k)(w, p + i / 256 * 144, i / 32 % 8);
		break;
	case FORMAT_Q6_K:
		NAME(q6_k)(w, p + i / 256 * 210, i / 32 % 8);
		break;
	}
}

/* The sum of the last n - i values of a row of elements. */
static TARGET float NAME(rest)(const uint8_t *row, const float *x, size_t i, size_t n, format f)
{
	float sum = 0;

	for (; i < n; i++) {
		float v = 0;

		if (f == FORMAT_F32)
			memcpy(&v, row + 4 * i, sizeof v);
		else if (f == FORMAT_F16)
			v = HALF(row + 2 * i);
		else if (f == FORMAT_BF16)
			v = aqz_bf16_to_f32(aqz_get16(row + 2 * i));
		else if (f == FORMAT_I8)
			v = (float)(int8_t)row[i];
		else if (f == FORMAT_I4)
			v = (float)((row[aqz_i4_byte(i)] >> aqz_i4_bit(i) & 15) - 8);
		sum += v * x[i];
	}
	return sum;
}

/* Rows by vectors, at most 4 each and 8 products. */
INLINE void NAME(tile)(float *y, size_t y_ld, const uint8_t *rows, size_t row_bytes, const int n_rows,
	const float *x, size_t x_ld, const int n_x, size_t n, const format f)
{
	VEC acc[4][4], w[VECTORS];
	const uint8_t *ahead = rows + AHEAD_BYTES;
	size_t i = 0;

	UNROLL
	for (int r = 0; r < n_rows; r++)
		UNROLL
		for (int t = 0; t < n_x; t++)
			acc[r][t] = (VEC){0};
	for (; i + STEP <= n; i += STEP) {
		UNROLL
		for (size_t b = 0; b < (size_t)n_rows * step_bytes(f); b += 64)
			__builtin_prefetch(ahead + b);
		ahead += (size_t)n_rows * step_bytes(f);
		UNROLL
		for (int r = 0; r < n_rows; r++) {
			NAME(get)(w, rows + (size_t)r * row_bytes, i, f);
			UNROLL
			for (int t = 0; t < n_x; t++)
				UNROLL
				for (size_t k = 0; k < VECTORS; k++)
					acc[r][t] = MADD(w[k], LOAD(x + (size_t)t * x_ld + i + k * WIDTH), acc[r][t]);
		}
	}
	UNROLL
	for (int r = 0; r < n_rows; r++)
		UNROLL
		for (int t = 0; t < n_x; t++)
			y[(size_t)t * y_ld + (size_t)r] = SUM(acc[r][t]);
	for (int r = 0; i < n && r < n_rows; r++)
		for (int t = 0; t < n_x; t++)
			y[(size_t)t * y_ld + (size_t)r] += NAME(rest)(rows + (size_t)r * row_bytes, x + (size_t)t * x_ld, i, n, f);
}

/* n_x vectors with all rows: as many rows at a time as make 8 products at most; the last ones are made again with some
 * before them, which gives the same. */
INLINE void NAME(strip)(float *y, size_t y_ld, const uint8_t *rows, size_t row_bytes, size_t n_rows,
	const int at_a_time, const float *x, size_t x_ld, const int n_x, size_t n, const format f)
{
	for (size_t r = 0, step = (size_t)at_a_time; r < n_rows; r += step) {
		if (r + step > n_rows)
			r = n_rows - step;
		NAME(tile)(y + r, y_ld, rows + r * row_bytes, row_bytes, at_a_time, x, x_ld, n_x, n, f);
	}
}

INLINE void NAME(product)(float *y, size_t y_ld, const uint8_t *rows, size_t row_bytes, size_t n_rows, const float *x,
	size_t x_ld, size_t n_x, size_t n, const format f)
{
	while (n_x > 0) {
		const size_t few = f == FORMAT_F32 && n_x == 3 ? 3 : 2; /* three heads often share one of keys */
		const size_t here = n_rows < ROWS || n_x == 1 ? 1 : n_x < 4 ? few : 4;

		if (n_rows < ROWS)
			NAME(strip)(y, y_ld, rows, row_bytes, n_rows, 1, x, x_ld, 1, n, f);
		else if (here == 1)
			NAME(strip)(y, y_ld, rows, row_bytes, n_rows, ROWS, x, x_ld, 1, n, f);
		else if (here == 2)
			NAME(strip)(y, y_ld, rows, row_bytes, n_rows, ROWS, x, x_ld, 2, n, f);
		else if (f == FORMAT_F32 && here == 3)
			NAME(strip)(y, y_ld, rows, row_bytes, n_rows, ROWS / 2, x, x_ld, 3, n, f);
		else
			NAME(strip)(y, y_ld, rows, row_bytes, n_rows, ROWS / 2, x, x_ld, 4, n, f);
		n_x -= here;
		x += here * x_ld;
		y += here * y_ld;
	}
}

#define PRODUCT(name, f)                                                                                             \
	static TARGET void NAME(name)(float *y, size_t y_ld, const uint8_t *rows, size_t row_bytes, size_t n_rows,       \
		const float *x, size_t x_ld, size_t n_x, size_t n)                                                           \
	{                                                                                                                \
		NAME(product)(y, y_ld, rows, row_bytes, n_rows, x, x_ld, n_x, n, f);                                         \
	}
PRODUCT(rows_f32, FORMAT_F32)
PRODUCT(rows_f16, FORMAT_F16)
PRODUCT(rows_bf16, FORMAT_BF16)
PRODUCT(rows_i8, FORMAT_I8)
PRODUCT(rows_i4, FORMAT_I4)
PRODUCT(rows_q4_0, FORMAT_Q4_0)
PRODUCT(rows_q4_1, FORMAT_Q4_1)
PRODUCT(rows_q5_0, FORMAT_Q5_0)
PRODUCT(rows_q5_1, FORMAT_Q5_1)
PRODUCT(rows_q8_0, FORMAT_Q8_0)
PRODUCT(rows_q4_k, FORMAT_Q4_K)
PRODUCT(rows_q6_k, FORMAT_Q6_K)
#undef PRODUCT

/* ---- Blocks to elements */

INLINE void NAME(widen)(float *dst, const uint8_t *row, size_t n, const format f)
{
	VEC w[VECTORS];

	for (size_t i = 0; i < n; i += STEP) {
		NAME(get)(w, row, i, f);
		UNROLL
		for (size_t k = 0; k < VECTORS; k++)
			*(VEC *)(dst + i + k * WIDTH) = w[k];
	}
}

#define WIDEN(name, f)                                                    \
	static TARGET void NAME(name)(float *dst, const uint8_t *row, size_t n) \
	{                                                                     \
		NAME(widen)(dst, row, n, f);                                      \
	}
WIDEN(widen_q4_0, FORMAT_Q4_0)
WIDEN(widen_q4_1, FORMAT_Q4_1)
WIDEN(widen_q5_0, FORMAT_Q5_0)
WIDEN(widen_q5_1, FORMAT_Q5_1)
WIDEN(widen_q8_0, FORMAT_Q8_0)
WIDEN(widen_q4_k, FORMAT_Q4_K)
WIDEN(widen_q6_k, FORMAT_Q6_K)
#undef WIDEN

/* ---- Sums of rows */

/* Some columns of all rows, for up to 4 vectors. */
INLINE void NAME(add_columns)(float *y, size_t y_ld, const float *a, size_t a_ld, const int n_x, const float *rows,
	size_t ld, size_t n_rows, const int vectors)
{
	VEC acc[4][ACROSS];

	UNROLL
	for (int t = 0; t < n_x; t++)
		UNROLL
		for (int v = 0; v < vectors; v++)
			acc[t][v] = LOAD(y + (size_t)t * y_ld + (size_t)v * WIDTH);
	for (size_t j = 0; j < n_rows; j++, rows += ld)
		UNROLL
		for (int v = 0; v < vectors; v++) {
			const VEC row = LOAD(rows + (size_t)v * WIDTH);

			__builtin_prefetch((const uint8_t *)(rows + (size_t)v * WIDTH) + AHEAD_BYTES);
			UNROLL
			for (int t = 0; t < n_x; t++)
				acc[t][v] = MADD(SPLAT(a[(size_t)t * a_ld + j]), row, acc[t][v]);
		}
	UNROLL
	for (int t = 0; t < n_x; t++)
		UNROLL
		for (int v = 0; v < vectors; v++)
			*(VEC *)(y + (size_t)t * y_ld + (size_t)v * WIDTH) = acc[t][v];
}

INLINE void NAME(add_some)(float *y, size_t y_ld, const float *a, size_t a_ld, const int n_x, const float *rows,
	size_t ld, size_t n_rows, size_t n)
{
	size_t i = 0;

	for (; i + ACROSS * WIDTH <= n; i += ACROSS * WIDTH)
		NAME(add_columns)(y + i, y_ld, a, a_ld, n_x, rows + i, ld, n_rows, ACROSS);
	for (; i + WIDTH <= n; i += WIDTH)
		NAME(add_columns)(y + i, y_ld, a, a_ld, n_x, rows + i, ld, n_rows, 1);
	for (; i < n; i++)
		for (size_t t = 0; t < (size_t)n_x; t++)
			for (size_t j = 0; j < n_rows; j++)
				y[t * y_ld + i] += a[t * a_ld + j] * rows[j * ld + i];
}

static TARGET void NAME(add_f32)(float *y, size_t y_ld, const float *a, size_t a_ld, size_t n_x, const float *rows,
	size_t ld, size_t n_rows, size_t n)
{
	while (n_x > 0) {
		const size_t here = n_x < 4 ? n_x : 4;

		if (here == 1)
			NAME(add_some)(y, y_ld, a, a_ld, 1, rows, ld, n_rows, n);
		else if (here == 2)
			NAME(add_some)(y, y_ld, a, a_ld, 2, rows, ld, n_rows, n);
		else if (here == 3)
			NAME(add_some)(y, y_ld, a, a_ld, 3, rows, ld, n_rows, n);
		else
			NAME(add_some)(y, y_ld, a, a_ld, 4, rows, ld, n_rows, n);
		n_x -= here;
		a += here * a_ld;
		y += here * y_ld;
	}
}

/* ---- Symbols to elements */

static TARGET void NAME(widen_i8)(float *dst, const uint8_t *src, const float *column_step, float row_step, size_t n)
{
	const VEC s = SPLAT(row_step);
	size_t i = 0;

	for (; i + WIDTH <= n; i += WIDTH)
		*(VEC *)(dst + i) = FLOATS(S8(src + i)) * (LOAD(column_step + i) * s);
	for (; i < n; i++)
		dst[i] = (float)(int8_t)src[i] * (column_step[i] * row_step);
}

static TARGET void NAME(widen_i4)(float *dst, const uint8_t *src, const float *column_step, float row_step, size_t n)
{
	const VEC s = SPLAT(row_step);
	VEC w[VECTORS];
	size_t i = 0;

	for (; i + STEP <= n; i += STEP) {
		NAME(get)(w, src, i, FORMAT_I4);
		UNROLL
		for (size_t k = 0; k < VECTORS; k++)
			*(VEC *)(dst + i + k * WIDTH) = w[k] * (LOAD(column_step + i + k * WIDTH) * s);
	}
	for (; i < n; i++)
		dst[i] = (float)((src[aqz_i4_byte(i)] >> aqz_i4_bit(i) & 15) - 8) * (column_step[i] * row_step);
}

const aqz_row_kernels NAME(aqz_rows) = {
	.f32 = NAME(rows_f32),
	.f16 = NAME(rows_f16),
	.bf16 = NAME(rows_bf16),
	.i8 = NAME(rows_i8),
	.i4 = NAME(rows_i4),
	.q4_0 = {NAME(rows_q4_0), NAME(widen_q4_0)},
	.q4_1 = {NAME(rows_q4_1), NAME(widen_q4_1)},
	.q5_0 = {NAME(rows_q5_0), NAME(widen_q5_0)},
	.q5_1 = {NAME(rows_q5_1), NAME(widen_q5_1)},
	.q8_0 = {NAME(rows_q8_0), NAME(widen_q8_0)},
	.q4_k = {NAME(rows_q4_k), NAME(widen_q4_k)},
	.q6_k = {NAME(rows_q6_k), NAME(widen_q6_k)},
	.add_f32 = NAME(add_f32),
	.widen_i8 = NAME(widen_i8),
	.widen_i4 = NAME(widen_i4),
};

#undef VEC
#undef INTS
#undef LOAD
#undef SPLAT
#undef FLOATS
#undef INLINE
#undef VECTORS
#undef ROWS
#undef ACROSS
