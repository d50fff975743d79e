/* SPDX-License-Identifier: Apache-2.0 */
/* The body of one variant of the loops over rows; trellis_path.c includes it once for each instruction set with
 * NAME(x)    x with the variant's suffix
 * TARGET     the function attribute
 * WIDTH      floats in a vector */

typedef float NAME(lanes) __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

static TARGET void NAME(feedback)(float *restrict x, const float *restrict f, const float *restrict error,
	size_t n_before, size_t n)
{
	size_t i = 0;

	for (; i + 4 * WIDTH <= n; i += 4 * WIDTH) {
		NAME(lanes) *at = (NAME(lanes) *)(x + i);
		NAME(lanes) a = at[0], b = at[1], c = at[2], d = at[3];

		for (size_t j = 0; j < n_before; j++) {
			const NAME(lanes) *e = (const NAME(lanes) *)(error + j * n + i);

			a += f[j] * e[0];
			b += f[j] * e[1];
			c += f[j] * e[2];
			d += f[j] * e[3];
		}
		at[0] = a;
		at[1] = b;
		at[2] = c;
		at[3] = d;
	}
	for (; i < n; i++)
		for (size_t j = 0; j < n_before; j++)
			x[i] += f[j] * error[j * n + i];
}

static TARGET double NAME(settle)(float *restrict error, uint16_t *restrict count, const aqz_path_column *c)
{
	const float step = c->step;
	const int32_t scale = c->state_bits != 0 ? 2 : 1;
	double parts[PARTS] = {0}, sum = 0;

	for (size_t i = 0; i < c->n; i += PARTS) {
		const size_t n = c->n - i < PARTS ? c->n - i : PARTS;

		AQZ_SIMD
		for (size_t l = 0; l < n; l++) {
			const int32_t k = c->index[i + l], t = c->choice[i + l] >> 1;
			const float q = (float)(scale * k + t) * step, e = c->x[i + l] - q;
			int32_t m = k < 0 ? -k - t : k;

			m = m > AQZ_TRELLIS_MAX_MAGNITUDE ? AQZ_TRELLIS_MAX_MAGNITUDE : m;
			error[i + l] = c->w[i + l] - q;
			count[i + l] = (uint16_t)((c->bucket[i + l] * 2 + t) * (AQZ_TRELLIS_MAX_MAGNITUDE + 1) + m);
			parts[l] += (double)(c->weight[i + l] * (e * e));
		}
	}
	for (size_t l = 0; l < PARTS; l++)
		sum += parts[l];
	return sum;
}
