/* SPDX-License-Identifier: Apache-2.0 */
/* The one body of all variants of the kernels; kernels.c includes it once for each instruction set
 *with NAME(x)    x with the variant's suffix TARGET     the function attribute WIDTH      lanes of
 *a vector MIN(a, b)  a < b ? a : b in each lane BITS(a, b) bit i set if lane i of a is less than
 *that of b A step takes a block of AQZ_LANES codewords in 64 / WIDTH vectors, or as many as the
 *registers hold. */

typedef float NAME(vec) __attribute__((vector_size(WIDTH * 4), may_alias));
typedef float NAME(any) __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));
#define VEC NAME(vec)
#define LOAD(p) (*(const NAME(any) *)(p))
#define STORE(p, v) (*(NAME(any) *)(p) = (v))
#define SPLAT(x) ((x) - (VEC){0}) /* x - 0 is x, -0 too, so that no operation is left */

/* Four vectors against 2 * WIDTH codewords: each value of the table that is loaded serves four
 * times. */
static inline __attribute__((always_inline)) TARGET void NAME(dots4_body)(float *out, size_t out_ld,
	const float *x, size_t x_ld, const float *table, size_t n_table, const float *half_norm,
	size_t n, unsigned d)
{
	for (size_t k = 0; k < n; k += 2 * WIDTH) {
		const VEC h0 = LOAD(half_norm + k), h1 = LOAD(half_norm + k + WIDTH);
		VEC a0 = h0, a1 = h1, b0 = h0, b1 = h1, c0 = h0, c1 = h1, d0 = h0, d1 = h1;

		for (unsigned j = 0; j < d; j++) {
			const float *row = table + j * n_table + k;
			const VEC t0 = LOAD(row), t1 = LOAD(row + WIDTH);
			const VEC xa = SPLAT(x[j]), xb = SPLAT(x[x_ld + j]);
			const VEC xc = SPLAT(x[2 * x_ld + j]), xd = SPLAT(x[3 * x_ld + j]);

			a0 -= xa * t0;
			a1 -= xa * t1;
			b0 -= xb * t0;
			b1 -= xb * t1;
			c0 -= xc * t0;
			c1 -= xc * t1;
			d0 -= xd * t0;
			d1 -= xd * t1;
		}
		STORE(out + k, a0);
		STORE(out + k + WIDTH, a1);
		STORE(out + out_ld + k, b0);
		STORE(out + out_ld + k + WIDTH, b1);
		STORE(out + 2 * out_ld + k, c0);
		STORE(out + 2 * out_ld + k + WIDTH, c1);
		STORE(out + 3 * out_ld + k, d0);
		STORE(out + 3 * out_ld + k + WIDTH, d1);
	}
}

static TARGET void NAME(dots4)(float *out, size_t out_ld, const float *x, size_t x_ld,
	const float *table, size_t n_table, const float *half_norm, size_t n, unsigned d)
{
	if (d == 8)
		NAME(dots4_body)(out, out_ld, x, x_ld, table, n_table, half_norm, n, 8);
	else
		NAME(dots4_body)(out, out_ld, x, x_ld, table, n_table, half_norm, n, d);
}

static inline __attribute__((always_inline)) TARGET void NAME(dots1_body)(float *out,
	const float *x, const float *table, size_t n_table, const float *half_norm, size_t n,
	unsigned d)
{
	for (size_t k = 0; k < n; k += 4 * WIDTH) {
		VEC a = LOAD(half_norm + k), b = LOAD(half_norm + k + WIDTH);
		VEC c = LOAD(half_norm + k + 2 * WIDTH), e = LOAD(half_norm + k + 3 * WIDTH);

		for (unsigned j = 0; j < d; j++) {
			const float *row = table + j * n_table + k;
			const VEC xj = SPLAT(x[j]);

			a -= xj * LOAD(row);
			b -= xj * LOAD(row + WIDTH);
			c -= xj * LOAD(row + 2 * WIDTH);
			e -= xj * LOAD(row + 3 * WIDTH);
		}
		STORE(out + k, a);
		STORE(out + k + WIDTH, b);
		STORE(out + k + 2 * WIDTH, c);
		STORE(out + k + 3 * WIDTH, e);
	}
}

static TARGET void NAME(dots1)(float *out, const float *x, const float *table, size_t n_table,
	const float *half_norm, size_t n, unsigned d)
{
	if (d == 8)
		NAME(dots1_body)(out, x, table, n_table, half_norm, n, 8);
	else
		NAME(dots1_body)(out, x, table, n_table, half_norm, n, d);
}

static TARGET void NAME(add_rows)(
	float *out, const float *v, float base, const float *const *rows, unsigned n_rows, size_t n)
{
	const VEC s = SPLAT(base);

	for (size_t k = 0; k < n; k += 4 * WIDTH) {
		VEC a = LOAD(v + k) + s, b = LOAD(v + k + WIDTH) + s;
		VEC c = LOAD(v + k + 2 * WIDTH) + s, e = LOAD(v + k + 3 * WIDTH) + s;

		for (unsigned r = 0; r < n_rows; r++) {
			const float *row = rows[r] + k;

			a += LOAD(row);
			b += LOAD(row + WIDTH);
			c += LOAD(row + 2 * WIDTH);
			e += LOAD(row + 3 * WIDTH);
		}
		STORE(out + k, a);
		STORE(out + k + WIDTH, b);
		STORE(out + k + 2 * WIDTH, c);
		STORE(out + k + 3 * WIDTH, e);
	}
}

/* The minima stay in registers over all beams: per beam and vector a load, an addition and a
 * minimum. */
static inline __attribute__((always_inline)) TARGET void NAME(min_rows_body)(float *out,
	const float *base, const float *const *rows, unsigned n_beams, unsigned n_rows, size_t n)
{
	for (size_t k = 0; k < n; k += 4 * WIDTH) {
		VEC m0 = SPLAT(__builtin_inff()), m1 = m0, m2 = m0, m3 = m0;
		const float *const *row = rows;

		for (unsigned q = 0; q < n_beams; q++) {
			const VEC s = SPLAT(base[q]);
			VEC a = s + LOAD(*row + k), b = s + LOAD(*row + k + WIDTH);
			VEC c = s + LOAD(*row + k + 2 * WIDTH), e = s + LOAD(*row + k + 3 * WIDTH);

			row++;
			for (unsigned r = 1; r < n_rows; r++, row++) {
				a += LOAD(*row + k);
				b += LOAD(*row + k + WIDTH);
				c += LOAD(*row + k + 2 * WIDTH);
				e += LOAD(*row + k + 3 * WIDTH);
			}
			m0 = MIN(a, m0);
			m1 = MIN(b, m1);
			m2 = MIN(c, m2);
			m3 = MIN(e, m3);
		}
		STORE(out + k, m0);
		STORE(out + k + WIDTH, m1);
		STORE(out + k + 2 * WIDTH, m2);
		STORE(out + k + 3 * WIDTH, m3);
	}
}

static TARGET void NAME(min_rows)(float *out, const float *base, const float *const *rows,
	unsigned n_beams, unsigned n_rows, size_t n)
{
	if (n_rows == 1)
		NAME(min_rows_body)(out, base, rows, n_beams, 1, n);
	else
		NAME(min_rows_body)(out, base, rows, n_beams, n_rows, n);
}

static TARGET void NAME(min_into)(float *out, const float *v, float base, size_t n)
{
	const VEC s = SPLAT(base);

	for (size_t k = 0; k < n; k += WIDTH)
		STORE(out + k, MIN(LOAD(v + k) + s, LOAD(out + k)));
}

static inline __attribute__((always_inline)) TARGET uint64_t NAME(block_bits)(
	const float *v, VEC threshold)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < AQZ_LANES; i += WIDTH)
		bits |= (uint64_t)BITS(LOAD(v + i), threshold) << i;
	return bits;
}

static TARGET size_t NAME(below)(uint32_t *index, const float *v, float threshold, size_t n)
{
	const VEC t = SPLAT(threshold);
	size_t found = 0;

	for (size_t k = 0; k < n; k += AQZ_LANES)
		for (uint64_t bits = NAME(block_bits)(v + k, t); bits != 0; bits &= bits - 1)
			index[found++] = (uint32_t)(k + (unsigned)__builtin_ctzll(bits));
	return found;
}

static TARGET void NAME(min_max)(float *least, float *greatest, const float *v, size_t n)
{
	VEC low = LOAD(v), high = -low;
	float lows[WIDTH], highs[WIDTH];

	for (size_t k = WIDTH; k < n; k += WIDTH) {
		low = MIN(LOAD(v + k), low);
		high = MIN(-LOAD(v + k), high);
	}
	STORE(lows, low);
	STORE(highs, high);
	*least = lows[0];
	*greatest = -highs[0];
	for (unsigned i = 1; i < WIDTH; i++) {
		*least = lows[i] < *least ? lows[i] : *least;
		*greatest = -highs[i] > *greatest ? -highs[i] : *greatest;
	}
}

static TARGET size_t NAME(count_below)(const float *v, float threshold, size_t n)
{
	const VEC t = SPLAT(threshold);
	size_t found = 0;

	for (size_t k = 0; k < n; k += AQZ_LANES)
		found += (unsigned)__builtin_popcountll(NAME(block_bits)(v + k, t));
	return found;
}

static TARGET float NAME(least)(const float *v, size_t n)
{
	VEC m0 = LOAD(v), m1 = m0, m2 = m0, m3 = m0;
	float lanes[WIDTH], best;

	for (size_t k = 0; k < n; k += 4 * WIDTH) {
		m0 = MIN(LOAD(v + k), m0);
		m1 = MIN(LOAD(v + k + WIDTH), m1);
		m2 = MIN(LOAD(v + k + 2 * WIDTH), m2);
		m3 = MIN(LOAD(v + k + 3 * WIDTH), m3);
	}
	m0 = MIN(m0, m1);
	m2 = MIN(m2, m3);
	m0 = MIN(m0, m2);
	STORE(lanes, m0);
	best = lanes[0];
	for (unsigned i = 1; i < WIDTH; i++)
		best = lanes[i] < best ? lanes[i] : best;
	return best;
}

static TARGET size_t NAME(find)(const float *v, float value, size_t n)
{
	const VEC wanted = SPLAT(value);

	for (size_t k = 0; k < n; k += WIDTH) {
		const unsigned other = BITS(wanted, LOAD(v + k)) | BITS(LOAD(v + k), wanted);

		if (other != (unsigned)((UINT64_C(1) << WIDTH) - 1))
			return k + (unsigned)__builtin_ctz(~other);
	}
	return 0;
}

static inline __attribute__((always_inline)) TARGET void NAME(boxes_body)(float *out,
	const float *y, const float *boxes, const uint32_t *list, size_t n, unsigned n_axes)
{
	const VEC zero = {0};

	for (size_t i = 0; i < n; i++)
		for (unsigned k = 0; k < AQZ_LEAF; k += WIDTH) {
			const float *box = boxes + (size_t)list[i] * n_axes * (2 * AQZ_LEAF) + k;
			VEC sum = zero;

			UNROLL
			for (unsigned j = 0; j < n_axes; j++) {
				const VEC yj = SPLAT(y[j]);
				/* The least of the negatives: MIN is all that there is. */
				const VEC low = yj - LOAD(box + 2 * j * AQZ_LEAF);
				const VEC high = LOAD(box + (2 * j + 1) * AQZ_LEAF) - yj;
				const VEC inside = MIN(low, high), gap = MIN(inside, zero);

				sum += gap * gap;
			}
			STORE(out + i * AQZ_LEAF + k, sum);
		}
}

static TARGET void NAME(boxes)(float *out, const float *y, const float *boxes, const uint32_t *list,
	size_t n, unsigned n_axes)
{
	if (n_axes == 8)
		NAME(boxes_body)(out, y, boxes, list, n, 8);
	else
		NAME(boxes_body)(out, y, boxes, list, n, n_axes);
}

static inline __attribute__((always_inline)) TARGET size_t NAME(leaves_body)(float *scores,
	float best, const float *x, const float *leaves, const uint32_t *list, size_t n, unsigned d)
{
	const VEC limit = SPLAT(best);

	for (size_t i = 0; i < n; i++) {
		const float *leaf = leaves + (size_t)list[i] * (1 + d) * AQZ_LEAF;
		unsigned above = 0;

		for (unsigned k = 0; k < AQZ_LEAF; k += WIDTH) {
			VEC a = LOAD(leaf + k);

			UNROLL
			for (unsigned j = 0; j < d; j++)
				a -= SPLAT(x[j]) * LOAD(leaf + (1 + j) * AQZ_LEAF + k);
			STORE(scores + k, a);
			above |= BITS(limit, a) << k;
		}
		if (above != (1u << AQZ_LEAF) - 1)
			return i;
	}
	return n;
}

static TARGET size_t NAME(leaves)(float *scores, float best, const float *x, const float *leaves,
	const uint32_t *list, size_t n, unsigned d)
{
	if (d == 8)
		return NAME(leaves_body)(scores, best, x, leaves, list, n, 8);
	return NAME(leaves_body)(scores, best, x, leaves, list, n, d);
}

static const aqz_kernels NAME(kernels) = {
	.name = VARIANT,
	.dots4 = NAME(dots4),
	.dots1 = NAME(dots1),
	.add_rows = NAME(add_rows),
	.min_rows = NAME(min_rows),
	.min_into = NAME(min_into),
	.below = NAME(below),
	.min_max = NAME(min_max),
	.count_below = NAME(count_below),
	.least = NAME(least),
	.find = NAME(find),
	.boxes = NAME(boxes),
	.leaves = NAME(leaves),
};

#undef VEC
#undef LOAD
#undef STORE
#undef SPLAT
