/* SPDX-License-Identifier: Apache-2.0 */
/* GGUF keeps Llama 3's scaling of rotary angles as a factor for each pair: the parameters are solved for, and count
 * only if they give the same factors again. */
#include "model/rope_factors.h"

#include <math.h>

#include "model/load.h"

/* Files hold binary32 that was computed in binary32 or better. */
#define TOLERANCE 1e-4

static bool near(double a, double b)
{
	return isfinite(a) && isfinite(b) && fabs(a - b) <= TOLERANCE * fabs(b);
}

/* What the scaling divides the angle of pair i by. */
static bool reproduces(const aqz_model_config *c, const float *factors)
{
	aqz_model_config plain = *c;
	double *angles = calloc(c->head_dim, sizeof *angles); /* scaled, then plain */
	const uint32_t half = c->head_dim / 2;
	bool same = angles != NULL;

	plain.rope_scaling = AQZ_ROPE_PLAIN;
	if (same) {
		aqz_rope_frequencies(angles, c);
		aqz_rope_frequencies(angles + half, &plain);
	}
	for (uint32_t i = 0; same && i < half; i++)
		same = near((double)factors[i], angles[half + i] / angles[i]);
	free(angles);
	return same;
}

/* Between the waves that stay and those that are slowed by the whole factor F, 1 / factor = (1 - s) / F + s with
 * s = (original / wave - low) / (high - low): a line in 1 / wave, so two pairs of such waves give original and high for
 * low = 1. Only their ratios can be told, and low is 1 in every model that is known. */
bool aqz_rope_from_factors(aqz_model_config *c, const float *factors)
{
	const uint32_t half = c->head_dim / 2;
	const double tau = 2 * 3.14159265358979323846, whole = (double)factors[half - 1];
	aqz_model_config scaled = *c;
	double x[2] = {0}, s[2] = {0}, slope, shift;
	uint32_t n = 0, ones = 0;

	for (uint32_t i = 0; i < half; i++) {
		const double factor = (double)factors[i];
		const double frequency = 1 / (tau * pow(c->rope_theta, 2.0 * i / c->head_dim));

		if (!isfinite(factor) || factor <= 0)
			return false;
		ones += near(factor, 1);
		if (near(factor, 1) || near(factor, whole))
			continue;
		x[n > 0] = frequency; /* the first and the last of them: the longest line */
		s[n > 0] = (1 / factor - 1 / whole) / (1 - 1 / whole);
		n++;
	}
	if (ones == half)
		return true; /* nothing is scaled */
	if (c->rope_scaling != AQZ_ROPE_PLAIN)
		return false;
	scaled.rope_scaling = AQZ_ROPE_LLAMA3;
	scaled.rope_factor = round(whole * 1e4) / 1e4;
	scaled.rope_low = 1;
	scaled.rope_high = 4; /* with less than two such waves: what Llama 3.1 and 3.2 have */
	scaled.rope_original = 8192;
	if (n >= 2) {
		slope = (s[1] - s[0]) / (x[1] - x[0]);
		shift = slope * x[0] - s[0]; /* low / (high - low) */
		if (!(shift > 1e-3 && shift < 1e3 && slope / shift >= 1 && slope / shift < 1e9))
			return false;
		scaled.rope_high = round((1 + 1 / shift) * 1e3) / 1e3;
		scaled.rope_original = (uint32_t)lround(slope / shift);
	}
	if (aqz_config_check(&scaled, NULL) != AQZ_OK || !reproduces(&scaled, factors))
		return false;
	*c = scaled;
	return true;
}
