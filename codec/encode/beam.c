/* SPDX-License-Identifier: Apache-2.0 */
/* Beam search over the codebooks of one vector (Babenko and Lempitsky, CVPR 2014; the AQLM paper's
 * section 3.2 in the plain metric). A partial sum's loss, less the constant |x|^2 / 2, is built up as
 *
 *	sum over m of (|c_m|^2 / 2 - <x, c_m>) + sum over m1 < m of <c_m1, c_m>
 *
 * where the products of codewords come from a table (gram) if it is small enough, else from the
 * residual vector of each partial sum. The last codebook needs no list of the best, only the
 * minimum. */
#include <math.h>

#include "codec/encode/search.h"

/* ---- Scratch: everything that one thread needs, cut out of one piece of memory. */

/* A partial sum of codewords. */
typedef struct partial {
	float loss;
	uint16_t codes[AQZ_MAX_CODEBOOKS];
} partial;

typedef struct scratch {
	float *scores;      /* [4][AQZ_CHUNK] */
	float *minima;      /* [AQZ_CHUNK], with gram [lanes] */
	float *sums;        /* [M][lanes]: |c|^2 / 2 - <x, c>; with gram only */
	uint32_t *index;    /* [AQZ_CHUNK] */
	float *residuals;   /* [2][kept][d]: x less the partial sum; without gram only */
	partial *partials;  /* [2][kept] */
	const float **rows; /* [kept * M] */
	float *bases;       /* [kept] */

	/* Candidates for the next partial sums: all that were below the threshold when they were seen.
	 */
	float *loss;      /* [full + AQZ_CHUNK] */
	uint32_t *origin; /* [full + AQZ_CHUNK]: partial sum << 16 | code */
	size_t n;
	float threshold;
} scratch;

/* A beam of b keeps b to kept_of(b) partial sums: a threshold is found sooner than an exact count.
 */
static size_t kept_of(unsigned beam)
{
	return beam + beam / 4;
}

/* The number of candidates that makes it worth while to drop the worse ones. */
static size_t full_of(unsigned beam)
{
	return beam * 2 < 256 ? 256 : ((size_t)beam * 2 + AQZ_LANES - 1) / AQZ_LANES * AQZ_LANES;
}

/* Lays the parts out from p, or with p = NULL only adds their sizes up. */
static size_t lay_out(scratch *t, uint8_t *p, const aqz_scheme *scheme, unsigned beam)
{
	const size_t d = aqz_codeword(scheme), kept = kept_of(beam), room = full_of(beam) + AQZ_CHUNK;
	const bool gram = aqz_search_gram_bytes(scheme) != 0;
	const size_t lanes = gram ? aqz_search_lanes(scheme) : 0;
	size_t n = 0;

#define PART(member, count)                                                                        \
	do {                                                                                           \
		if (p != NULL)                                                                             \
			t->member = (void *)(p + n);                                                           \
		n += ((count) * sizeof *t->member + 63) / 64 * 64;                                         \
	} while (0)
	PART(scores, (size_t)4 * AQZ_CHUNK);
	PART(minima, lanes > AQZ_CHUNK ? lanes : AQZ_CHUNK);
	PART(sums, scheme->n_codebooks * lanes);
	PART(index, (size_t)AQZ_CHUNK);
	PART(residuals, gram ? 0 : 2 * kept * d);
	PART(partials, 2 * kept);
	PART(rows, kept * scheme->n_codebooks);
	PART(bases, kept);
	PART(loss, room);
	PART(origin, room);
#undef PART
	return n;
}

uint64_t aqz_search_scratch_bytes(const aqz_scheme *scheme, unsigned beam)
{
	scratch t;

	return lay_out(&t, NULL, scheme, beam);
}

/* ---- The list of candidates */

/* Finds by bisection a threshold that beam to kept_of(beam) of the n losses are below. If equal losses
 * stop that, more of them may be below it, and fewer than beam are below *low. n is a multiple of
 * AQZ_LANES; the losses behind the first n_real are padding. */
static float threshold_for(const aqz_search *s, float *loss, size_t n_real, size_t n, unsigned beam,
	float *low)
{
	float high;

	for (size_t i = n_real; i < n; i++)
		loss[i] = loss[0];
	s->kernels->min_max(low, &high, loss, n);
	for (size_t i = n_real; i < n; i++)
		loss[i] = INFINITY;
	high = nextafterf(high, INFINITY);
	for (int i = 0; i < 24; i++) {
		const float middle = *low + (high - *low) / 2;
		const size_t count = s->kernels->count_below(loss, middle, n);

		if (count < beam)
			*low = middle;
		else
			high = middle;
		if (count >= beam && count <= kept_of(beam))
			break;
	}
	return high;
}

/* Drops the worse candidates until at most kept_of(beam) are left, and at least beam. */
static void prune(const aqz_search *s, scratch *t, unsigned beam)
{
	const size_t most = kept_of(beam), padded = (t->n + AQZ_LANES - 1) / AQZ_LANES * AQZ_LANES;
	size_t n = 0, equals;
	float low;

	if (t->n <= most)
		return;
	t->threshold = threshold_for(s, t->loss, t->n, padded, beam, &low);
	/* Between low and the threshold may be too many, nearly equal: the first of them do. */
	equals = most - s->kernels->count_below(t->loss, low, padded);
	for (size_t i = 0; i < t->n; i++) {
		const float loss = t->loss[i];
		const bool equal = loss >= low && loss < t->threshold && equals > 0;

		t->origin[n] = t->origin[i];
		t->loss[n] = loss;
		n += loss < low || equal;
		equals -= equal;
	}
	t->n = n;
}

/* Takes up those of n scores, for codes from `first` on after partial sum q, that are below the
 * threshold. n_real of them are of codewords. */
static void offer(const aqz_search *s, scratch *t, float *scores, size_t n_real, size_t n, size_t q,
	size_t first, unsigned beam)
{
	size_t found;
	float low;

	/* The first scores make a threshold before they are taken up. */
	if (t->threshold == INFINITY && n_real > kept_of(beam))
		t->threshold = threshold_for(s, scores, n_real, n, beam, &low);
	found = s->kernels->below(t->index, scores, t->threshold, n);
	for (size_t i = 0; i < found; i++) {
		t->loss[t->n + i] = scores[t->index[i]];
		t->origin[t->n + i] = (uint32_t)(q << 16 | (first + t->index[i]));
	}
	t->n += found;
	if (t->n >= full_of(beam))
		prune(s, t, beam);
}

/* ---- All codebooks */

typedef struct beams {
	partial *now, *next;
	float *residuals, *next_residuals;
	size_t n;
} beams;

/* Losses of adding codeword k .. k + chunk of codebook m to partial sum q go to t->scores + slot *
 * AQZ_CHUNK. */
static void score_by_gram(
	const aqz_search *s, scratch *t, const partial *p, unsigned m, size_t k, size_t chunk)
{
	const float *rows[AQZ_MAX_CODEBOOKS];

	for (unsigned m1 = 0; m1 < m; m1++)
		rows[m1] = aqz_search_gram_row(s, m1, p->codes[m1], m) + k;
	s->kernels->add_rows(t->scores, t->sums + m * s->n_lanes + k, p->loss, rows, m, chunk);
}

/* Raw scores of up to 4 residuals, without the losses of their partial sums. */
static void score_residuals(const aqz_search *s, scratch *t, const float *residuals, size_t four,
	unsigned m, size_t k, size_t chunk)
{
	const float *table = aqz_search_table(s, m) + k, *norms = aqz_search_norms(s, m) + k;

	if (four == 4)
		s->kernels->dots4(t->scores, AQZ_CHUNK, residuals, s->n_values, table, s->n_lanes, norms,
			chunk, s->n_values);
	else
		for (size_t p = 0; p < four; p++)
			s->kernels->dots1(t->scores + p * AQZ_CHUNK, residuals + p * s->n_values, table,
				s->n_lanes, norms, chunk, s->n_values);
}

/* Goes on to the candidates that codebook m has left. */
static void advance(const aqz_search *s, scratch *t, beams *b, unsigned m)
{
	for (size_t i = 0; i < t->n; i++) {
		const size_t q = t->origin[i] >> 16;
		const uint16_t code = (uint16_t)t->origin[i];

		b->next[i] = b->now[q];
		b->next[i].codes[m] = code;
		b->next[i].loss = t->loss[i];
		if (s->gram == NULL)
			for (unsigned j = 0; j < s->n_values; j++)
				b->next_residuals[i * s->n_values + j] = b->residuals[q * s->n_values + j] -
					aqz_search_table(s, m)[j * s->n_lanes + code];
	}
	{
		partial *const p = b->now;
		float *const r = b->residuals;

		b->now = b->next;
		b->next = p;
		b->residuals = b->next_residuals;
		b->next_residuals = r;
	}
	b->n = t->n;
}

static void extend(const aqz_search *s, scratch *t, beams *b, unsigned m, unsigned beam)
{
	t->n = 0;
	t->threshold = INFINITY;
	for (size_t k = 0; k < s->n_lanes; k += AQZ_CHUNK) {
		const size_t chunk = aqz_min(s->n_lanes - k, AQZ_CHUNK);
		const size_t n_real = aqz_min(s->n_codewords - k, AQZ_CHUNK);

		if (s->gram != NULL) {
			for (size_t q = 0; q < b->n; q++) {
				score_by_gram(s, t, b->now + q, m, k, chunk);
				offer(s, t, t->scores, n_real, chunk, q, k, beam);
			}
			continue;
		}
		for (size_t q = 0; q < b->n; q += 4) {
			const size_t four = aqz_min(b->n - q, 4);

			score_residuals(s, t, b->residuals + q * s->n_values, four, m, k, chunk);
			for (size_t p = 0; p < four; p++) {
				float *scores = t->scores + p * AQZ_CHUNK;

				s->kernels->add_rows(scores, scores, b->now[q + p].loss, NULL, 0, chunk);
				offer(s, t, scores, n_real, chunk, q + p, k, beam);
			}
		}
	}
	prune(s, t, beam);
	advance(s, t, b, m);
}

/* The last codebook: the best code over all partial sums, then the partial sum that it belongs to.
 */
static void finish_by_gram(const aqz_search *s, scratch *t, const beams *b, uint16_t *codes)
{
	const unsigned m = s->n_codebooks - 1;
	const float *sums = t->sums + m * s->n_lanes;
	float best = INFINITY;
	size_t k, winner = 0;

	for (size_t q = 0; q < b->n; q++) {
		t->bases[q] = b->now[q].loss;
		for (unsigned m1 = 0; m1 < m; m1++)
			t->rows[q * m + m1] = aqz_search_gram_row(s, m1, b->now[q].codes[m1], m);
	}
	s->kernels->min_rows(t->minima, t->bases, t->rows, (unsigned)b->n, m, s->n_lanes);
	s->kernels->add_rows(t->minima, t->minima, 0, &sums, 1, s->n_lanes);
	k = s->kernels->find(t->minima, s->kernels->least(t->minima, s->n_lanes), s->n_lanes);
	for (size_t q = 0; q < b->n; q++) {
		float loss = t->bases[q];

		for (unsigned m1 = 0; m1 < m; m1++)
			loss += t->rows[q * m + m1][k];
		if (loss < best) {
			best = loss;
			winner = q;
		}
	}
	memcpy(codes, b->now[winner].codes, m * sizeof *codes);
	codes[m] = (uint16_t)k;
}

static void finish_by_residuals(const aqz_search *s, scratch *t, const beams *b, uint16_t *codes)
{
	const unsigned m = s->n_codebooks - 1;
	float least = INFINITY, best = INFINITY;
	size_t code = 0, winner = 0;

	for (size_t k = 0; k < s->n_lanes; k += AQZ_CHUNK) {
		const size_t chunk = aqz_min(s->n_lanes - k, AQZ_CHUNK);
		float chunk_least;

		for (size_t i = 0; i < chunk; i++)
			t->minima[i] = INFINITY;
		for (size_t q = 0; q < b->n; q += 4) {
			const size_t four = aqz_min(b->n - q, 4);

			score_residuals(s, t, b->residuals + q * s->n_values, four, m, k, chunk);
			for (size_t p = 0; p < four; p++)
				s->kernels->min_into(
					t->minima, t->scores + p * AQZ_CHUNK, b->now[q + p].loss, chunk);
		}
		chunk_least = s->kernels->least(t->minima, chunk);
		if (chunk_least < least) {
			least = chunk_least;
			code = k + s->kernels->find(t->minima, least, chunk);
		}
	}
	for (size_t q = 0; q < b->n; q++) {
		float loss = aqz_search_norms(s, m)[code];

		for (unsigned j = 0; j < s->n_values; j++)
			loss -=
				b->residuals[q * s->n_values + j] * aqz_search_table(s, m)[j * s->n_lanes + code];
		loss += b->now[q].loss;
		if (loss < best) {
			best = loss;
			winner = q;
		}
	}
	memcpy(codes, b->now[winner].codes, m * sizeof *codes);
	codes[m] = (uint16_t)code;
}

void aqz_search_beam(const aqz_search *s, uint16_t *codes, const float *x, size_t x_ld, size_t n,
	unsigned beam, void *memory)
{
	const unsigned n_codebooks = s->n_codebooks;
	scratch t;

	if (n_codebooks == 1) {
		aqz_search_nearest(s, 0, codes, 1, x, x_ld, n, memory);
		return;
	}
	lay_out(&t, memory, &s->scheme, beam);
	for (size_t i = 0; i < n; i++, x += x_ld, codes += n_codebooks) {
		const size_t kept = kept_of(beam);
		beams b = {
			.now = t.partials,
			.next = t.partials + kept,
			.residuals = t.residuals,
			.next_residuals = t.residuals + kept * s->n_values,
			.n = 1,
		};

		b.now[0].loss = 0;
		if (s->gram == NULL)
			memcpy(b.residuals, x, s->n_values * sizeof *x);
		else
			for (unsigned m = 0; m < n_codebooks; m++)
				s->kernels->dots1(t.sums + m * s->n_lanes, x, aqz_search_table(s, m), s->n_lanes,
					aqz_search_norms(s, m), s->n_lanes, s->n_values);
		for (unsigned m = 0; m + 1 < n_codebooks; m++)
			extend(s, &t, &b, m, beam);
		if (s->gram != NULL)
			finish_by_gram(s, &t, &b, codes);
		else
			finish_by_residuals(s, &t, &b, codes);
	}
}
