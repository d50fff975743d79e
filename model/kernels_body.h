/* SPDX-License-Identifier: Apache-2.0 */
/* The one body of all variants of the model's inner loops; kernels.c includes it for each instruction set with
 *	NAME(x)       x with the variant's suffix
 *	VARIANT       its name
 *	TARGET        the function attribute
 *	WIDTH         lanes of a vector
 *	SUM(v)        of the lanes
 *	MADD(a, b, c) a * b + c, fused where the machine can
 *	MAX(a, b)     the greater one of each lane, b where either is none
 *	MIN(a, b)
 *	BF16(p)       WIDTH 16-bit floats at any alignment, widened
 *	F16(p)
 *	ROUND_F16(v)  v rounded to 16 bits and widened */

typedef float NAME(vec) __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));
typedef int32_t NAME(ints) __attribute__((vector_size(WIDTH * 4), may_alias));
typedef uint32_t NAME(words) __attribute__((vector_size(WIDTH * 4), may_alias));
#define VEC NAME(vec)
#define INTS NAME(ints)
#define LOAD(p) (*(const VEC *)(p))
#define STORE(p, v) (*(VEC *)(p) = (v))
#define SPLAT(x) ((x) - (VEC){0})
#define INLINE static inline __attribute__((always_inline)) TARGET

/* The last n < WIDTH values, the others being fill. */
INLINE VEC NAME(some)(const float *p, size_t n, float fill)
{
	float lanes[WIDTH];

	for (size_t i = 0; i < WIDTH; i++)
		lanes[i] = i < n ? p[i] : fill;
	return LOAD(lanes);
}

INLINE void NAME(put_some)(float *p, VEC v, size_t n)
{
	float lanes[WIDTH];

	STORE(lanes, v);
	memcpy(p, lanes, n * sizeof *p);
}

/* ---- Sums of products: 4 sums that do not wait for each other. */

static TARGET float NAME(dot)(const float *w, const float *x, size_t n)
{
	VEC a = {0}, b = a, c = a, d = a;
	size_t i = 0;

	for (; i + 4 * WIDTH <= n; i += 4 * WIDTH) {
		a = MADD(LOAD(w + i), LOAD(x + i), a);
		b = MADD(LOAD(w + i + WIDTH), LOAD(x + i + WIDTH), b);
		c = MADD(LOAD(w + i + 2 * WIDTH), LOAD(x + i + 2 * WIDTH), c);
		d = MADD(LOAD(w + i + 3 * WIDTH), LOAD(x + i + 3 * WIDTH), d);
	}
	for (; i + WIDTH <= n; i += WIDTH)
		a = MADD(LOAD(w + i), LOAD(x + i), a);
	if (i < n)
		b = MADD(NAME(some)(w + i, n - i, 0), NAME(some)(x + i, n - i, 0), b);
	return SUM((a + b) + (c + d));
}

static TARGET float NAME(dot_bf16)(const uint16_t *w, const float *x, size_t n)
{
	VEC a = {0}, b = a, c = a, d = a;
	size_t i = 0;
	float rest = 0;

	for (; i + 4 * WIDTH <= n; i += 4 * WIDTH) {
		a = MADD(BF16(w + i), LOAD(x + i), a);
		b = MADD(BF16(w + i + WIDTH), LOAD(x + i + WIDTH), b);
		c = MADD(BF16(w + i + 2 * WIDTH), LOAD(x + i + 2 * WIDTH), c);
		d = MADD(BF16(w + i + 3 * WIDTH), LOAD(x + i + 3 * WIDTH), d);
	}
	for (; i + WIDTH <= n; i += WIDTH)
		a = MADD(BF16(w + i), LOAD(x + i), a);
	for (; i < n; i++)
		rest += aqz_bf16_to_f32(w[i]) * x[i];
	return SUM((a + b) + (c + d)) + rest;
}

static TARGET float NAME(dot_f16)(const uint16_t *w, const float *x, size_t n)
{
	VEC a = {0}, b = a, c = a, d = a;
	size_t i = 0;
	float rest = 0;

	for (; i + 4 * WIDTH <= n; i += 4 * WIDTH) {
		a = MADD(F16(w + i), LOAD(x + i), a);
		b = MADD(F16(w + i + WIDTH), LOAD(x + i + WIDTH), b);
		c = MADD(F16(w + i + 2 * WIDTH), LOAD(x + i + 2 * WIDTH), c);
		d = MADD(F16(w + i + 3 * WIDTH), LOAD(x + i + 3 * WIDTH), d);
	}
	for (; i + WIDTH <= n; i += WIDTH)
		a = MADD(F16(w + i), LOAD(x + i), a);
	for (; i < n; i++)
		rest += aqz_f16_to_f32(w[i]) * x[i];
	return SUM((a + b) + (c + d)) + rest;
}

static TARGET void NAME(axpy)(float *y, float a, const float *x, size_t n)
{
	const VEC s = SPLAT(a);
	size_t i = 0;

	for (; i + WIDTH <= n; i += WIDTH)
		STORE(y + i, MADD(s, LOAD(x + i), LOAD(y + i)));
	if (i < n)
		NAME(put_some)(y + i, MADD(s, NAME(some)(x + i, n - i, 0), NAME(some)(y + i, n - i, 0)), n - i);
}

static TARGET void NAME(scale)(float *y, float a, size_t n)
{
	const VEC s = SPLAT(a);
	size_t i = 0;

	for (; i + WIDTH <= n; i += WIDTH)
		STORE(y + i, s * LOAD(y + i));
	for (; i < n; i++)
		y[i] *= a;
}

/* ---- Rows of binary32, 4 at a time: each part of x or y that is loaded serves all of them. */

static TARGET void NAME(dots)(float *y, const float *x, const float *rows, size_t ld, size_t n_rows, size_t n)
{
	size_t j = 0;

	for (; j + 4 <= n_rows; j += 4, rows += 4 * ld) {
		VEC a = {0}, b = a, c = a, d = a;
		size_t i = 0;

		for (; i + WIDTH <= n; i += WIDTH) {
			const VEC v = LOAD(x + i);

			a = MADD(LOAD(rows + i), v, a);
			b = MADD(LOAD(rows + ld + i), v, b);
			c = MADD(LOAD(rows + 2 * ld + i), v, c);
			d = MADD(LOAD(rows + 3 * ld + i), v, d);
		}
		if (i < n) {
			const VEC v = NAME(some)(x + i, n - i, 0);

			a = MADD(NAME(some)(rows + i, n - i, 0), v, a);
			b = MADD(NAME(some)(rows + ld + i, n - i, 0), v, b);
			c = MADD(NAME(some)(rows + 2 * ld + i, n - i, 0), v, c);
			d = MADD(NAME(some)(rows + 3 * ld + i, n - i, 0), v, d);
		}
		y[j] = SUM(a);
		y[j + 1] = SUM(b);
		y[j + 2] = SUM(c);
		y[j + 3] = SUM(d);
	}
	for (; j < n_rows; j++, rows += ld)
		y[j] = NAME(dot)(rows, x, n);
}

static TARGET void NAME(add_rows)(float *y, const float *a, const float *rows, size_t ld, size_t n_rows, size_t n)
{
	size_t i = 0;

	for (; i + 4 * WIDTH <= n; i += 4 * WIDTH) {
		const float *row = rows + i;
		VEC s0 = LOAD(y + i), s1 = LOAD(y + i + WIDTH), s2 = LOAD(y + i + 2 * WIDTH), s3 = LOAD(y + i + 3 * WIDTH);

		for (size_t j = 0; j < n_rows; j++, row += ld) {
			const VEC v = SPLAT(a[j]);

			s0 = MADD(v, LOAD(row), s0);
			s1 = MADD(v, LOAD(row + WIDTH), s1);
			s2 = MADD(v, LOAD(row + 2 * WIDTH), s2);
			s3 = MADD(v, LOAD(row + 3 * WIDTH), s3);
		}
		STORE(y + i, s0);
		STORE(y + i + WIDTH, s1);
		STORE(y + i + 2 * WIDTH, s2);
		STORE(y + i + 3 * WIDTH, s3);
	}
	if (i < n)
		for (size_t j = 0; j < n_rows; j++)
			NAME(axpy)(y + i, a[j], rows + j * ld + i, n - i);
}

/* ---- 16-bit floats */

static TARGET void NAME(widen_bf16)(float *dst, const uint16_t *src, size_t n)
{
	size_t i = 0;

	for (; i + WIDTH <= n; i += WIDTH)
		STORE(dst + i, BF16(src + i));
	for (; i < n; i++)
		dst[i] = aqz_bf16_to_f32(src[i]);
}

static TARGET void NAME(widen_f16)(float *dst, const uint16_t *src, size_t n)
{
	size_t i = 0;

	for (; i + WIDTH <= n; i += WIDTH)
		STORE(dst + i, F16(src + i));
	for (; i < n; i++)
		dst[i] = aqz_f16_to_f32(src[i]);
}

static TARGET void NAME(round_bf16)(float *x, size_t n)
{
	size_t i = 0;

	/* As aqz_f32_to_bf16; the carry out of the mantissa is right, and quiet NaN without payload stays what it is. */
	for (; i + WIDTH <= n; i += WIDTH) {
		const NAME(words) u = (NAME(words))LOAD(x + i);

		STORE(x + i, (VEC)((u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u));
	}
	for (; i < n; i++)
		x[i] = aqz_bf16_to_f32(aqz_f32_to_bf16(x[i]));
}

static TARGET void NAME(round_f16)(float *x, size_t n)
{
	size_t i = 0;

	for (; i + WIDTH <= n; i += WIDTH)
		STORE(x + i, ROUND_F16(LOAD(x + i)));
	for (; i < n; i++)
		x[i] = aqz_f16_to_f32(aqz_f32_to_f16(x[i]));
}

/* ---- exp(x) = 2^k exp(r), |r| <= ln 2 / 2, r = x - k ln 2 with ln 2 in two pieces of which the first has 9
 * significant bits, so that k times it is exact. The polynomial is Cephes' expf (S. Moshier). 2^k is multiplied in two
 * halves, so that results below the least normal value are rounded once more and those beyond the greatest become
 * infinity. At most 2 ulp for normal results, tests/test_model_kernels.c. */
INLINE VEC NAME(exp)(VEC x)
{
	const VEC shift = SPLAT(0x1.8p23f);
	/* Least and greatest, in this order of operands, let NaN through. */
	const VEC t = MIN(SPLAT(90.0f), MAX(SPLAT(-110.0f), x));
	const VEC k = MADD(t, SPLAT(0x1.715476p0f), shift) - shift;
	const VEC r = MADD(k, SPLAT(2.12194440e-4f), MADD(k, SPLAT(-0.693359375f), t));
	VEC p = SPLAT(1.9875691500e-4f);
	INTS n, half;

	p = MADD(p, r, SPLAT(1.3981999507e-3f));
	p = MADD(p, r, SPLAT(8.3334519073e-3f));
	p = MADD(p, r, SPLAT(4.1665795894e-2f));
	p = MADD(p, r, SPLAT(1.6666665459e-1f));
	p = MADD(p, r, SPLAT(5.0000001201e-1f));
	p = MADD(p, r * r, r) + SPLAT(1.0f);
	/* k as an integer: the low bits of k + 1.5 * 2^23. NaN gives some number in range, and NaN times it. */
	n = ((INTS)(k + shift) & 0x7fffff) - 0x400000;
	n = n & ~(INTS)(k != k);
	half = n >> 1;
	return p * (VEC)((half + 127) << 23) * (VEC)((n - half + 127) << 23);
}

static TARGET float NAME(exp_shift)(float *y, const float *x, float shift, size_t n)
{
	const VEC s = SPLAT(shift);
	VEC sum = {0};
	size_t i = 0;

	for (; i + WIDTH <= n; i += WIDTH) {
		const VEC e = NAME(exp)(LOAD(x + i) - s);

		STORE(y + i, e);
		sum += e;
	}
	if (i < n) {
		const VEC e = NAME(exp)(NAME(some)(x + i, n - i, -INFINITY) - s);

		NAME(put_some)(y + i, e, n - i);
		sum += NAME(some)((const float *)&e, n - i, 0);
	}
	return SUM(sum);
}

static TARGET double NAME(sum_exp)(const float *x, float shift, size_t n)
{
	const VEC s = SPLAT(shift);
	double total = 0;
	size_t i = 0;

	while (i + WIDTH <= n) {
		VEC sum = {0};

		for (unsigned k = 0; k < 32 && i + WIDTH <= n; k++, i += WIDTH)
			sum += NAME(exp)(LOAD(x + i) - s);
		total += SUM(sum);
	}
	if (i < n) {
		const VEC e = NAME(exp)(NAME(some)(x + i, n - i, shift) - s);

		total += SUM(NAME(some)((const float *)&e, n - i, 0));
	}
	return total;
}

static TARGET float NAME(max)(const float *x, size_t n)
{
	VEC a = SPLAT(-INFINITY), b = a;
	float lanes[WIDTH];
	size_t i = 0;

	for (; i + 2 * WIDTH <= n; i += 2 * WIDTH) {
		a = MAX(LOAD(x + i), a);
		b = MAX(LOAD(x + i + WIDTH), b);
	}
	for (; i < n; i += WIDTH)
		a = MAX(n - i < WIDTH ? NAME(some)(x + i, n - i, -INFINITY) : LOAD(x + i), a);
	STORE(lanes, MAX(a, b));
	for (unsigned k = 1; k < WIDTH; k++)
		lanes[0] = lanes[k] > lanes[0] ? lanes[k] : lanes[0];
	return lanes[0];
}

/* ---- The parts of a block */

static TARGET float NAME(rms_norm)(float *y, const float *x, const float *weight, size_t n, float eps)
{
	const float rstd = 1 / sqrtf(NAME(dot)(x, x, n) / (float)n + eps);
	const VEC s = SPLAT(rstd);
	size_t i = 0;

	for (; i + WIDTH <= n; i += WIDTH)
		STORE(y + i, LOAD(weight + i) * (LOAD(x + i) * s));
	for (; i < n; i++)
		y[i] = weight[i] * (x[i] * rstd);
	return rstd;
}

INLINE VEC NAME(silu)(VEC gate, VEC up)
{
	return gate / (SPLAT(1.0f) + NAME(exp)(-gate)) * up;
}

static TARGET void NAME(silu_mul)(float *y, const float *gate, const float *up, size_t n)
{
	size_t i = 0;

	for (; i + WIDTH <= n; i += WIDTH)
		STORE(y + i, NAME(silu)(LOAD(gate + i), LOAD(up + i)));
	if (i < n)
		NAME(put_some)(y + i, NAME(silu)(NAME(some)(gate + i, n - i, 0), NAME(some)(up + i, n - i, 0)), n - i);
}

static TARGET void NAME(rotate)(float *x, const float *cosine, const float *sine, size_t half)
{
	size_t i = 0;

	for (; i + WIDTH <= half; i += WIDTH) {
		const VEC a = LOAD(x + i), b = LOAD(x + half + i), c = LOAD(cosine + i), s = LOAD(sine + i);

		STORE(x + i, a * c - b * s);
		STORE(x + half + i, b * c + a * s);
	}
	for (; i < half; i++) {
		const float a = x[i], b = x[half + i];

		x[i] = a * cosine[i] - b * sine[i];
		x[half + i] = b * cosine[i] + a * sine[i];
	}
}

static const aqz_math NAME(math) = {
	.name = VARIANT,
	.rows = &NAME(aqz_rows),
	.dot = NAME(dot),
	.dot_bf16 = NAME(dot_bf16),
	.dot_f16 = NAME(dot_f16),
	.axpy = NAME(axpy),
	.dots = NAME(dots),
	.add_rows = NAME(add_rows),
	.scale = NAME(scale),
	.widen_bf16 = NAME(widen_bf16),
	.widen_f16 = NAME(widen_f16),
	.round_bf16 = NAME(round_bf16),
	.round_f16 = NAME(round_f16),
	.rms_norm = NAME(rms_norm),
	.silu_mul = NAME(silu_mul),
	.max = NAME(max),
	.exp_shift = NAME(exp_shift),
	.sum_exp = NAME(sum_exp),
	.rotate = NAME(rotate),
};

#undef VEC
#undef INTS
#undef LOAD
#undef STORE
#undef SPLAT
#undef INLINE
