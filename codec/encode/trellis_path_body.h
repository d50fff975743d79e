/* SPDX-License-Identifier: Apache-2.0 */
/* The body of one variant of the candidates; trellis_path.c includes it once for each instruction set with
 * NAME(x)    x with the variant's suffix
 * TARGET     the function attribute */

static inline __attribute__((always_inline)) TARGET float NAME(rate)(const float *rates, int32_t k)
{
	k = k < -AQZ_RATES / 2 ? -AQZ_RATES / 2 : k;
	k = k > AQZ_RATES / 2 - 1 ? AQZ_RATES / 2 - 1 : k;
	return rates[k + AQZ_RATES / 2];
}

/* The index nearest to u and the cheaper of its neighbours, which have the other parity. width: what v changes by when
 * k does by 1. */
static inline __attribute__((always_inline)) TARGET void NAME(pair)(
	float *restrict cost, int32_t *restrict k, float u, float width, const float *restrict rates)
{
	const float r = (u + ROUND) - ROUND, e = (u - r) * width;
	const int32_t k0 = (int32_t)r;
	const float at = e * e + NAME(rate)(rates, k0);
	const float below = (e + width) * (e + width) + NAME(rate)(rates, k0 - 1);
	const float above = (e - width) * (e - width) + NAME(rate)(rates, k0 + 1);
	const float beside = above < below ? above : below;
	const int32_t k1 = above < below ? k0 + 1 : k0 - 1;
	const int32_t odd = k0 & 1;

	cost[0] = odd ? beside : at;
	cost[1] = odd ? at : beside;
	k[0] = odd ? k1 : k0;
	k[1] = odd ? k0 : k1;
}

static TARGET void NAME(candidates)(float *restrict cost, int32_t *restrict k, const float *restrict x, float inverse,
	const float *restrict rates, const uint8_t *restrict bucket, size_t n, unsigned state_bits)
{
	if (state_bits == 0) {
		AQZ_SIMD
		for (size_t i = 0; i < n; i++) {
			float y = x[i] * inverse;

			y = y < -LIMIT ? -LIMIT : y;
			y = y > LIMIT ? LIMIT : y;
			NAME(pair)(cost + 4 * i, k + 4 * i, y, 1, rates + (size_t)bucket[i] * 2 * AQZ_RATES);
		}
		return;
	}
	AQZ_SIMD
	for (size_t i = 0; i < n; i++) {
		const float *bits = rates + (size_t)bucket[i] * 2 * AQZ_RATES;
		float y = x[i] * inverse;

		y = y < -LIMIT ? -LIMIT : y;
		y = y > LIMIT ? LIMIT : y;
		NAME(pair)(cost + 4 * i, k + 4 * i, y * 0.5f, 2, bits);
		NAME(pair)(cost + 4 * i + 2, k + 4 * i + 2, (y - 1) * 0.5f, 2, bits + AQZ_RATES);
	}
}
