/* SPDX-License-Identifier: Apache-2.0 */
/* From counts of indices to tables, and from tables to the rates that the search goes by. */
#include <math.h>

#include "codec/encode/trellis.h"

#define TOTAL (1u << AQZ_RANS_BITS)
/* Bits that an escape takes beside its symbol. */
#define ESCAPE_BITS 16
/* About what a table pair and a magnitude in it take in the file. */
#define TABLE_BITS 24.0
#define MAGNITUDE_BITS 4.5
/* A price for indices that no table has, when no bucket met any. */
#define FAR_BITS 30.0f

/* How often each magnitude came, for both t. */
typedef struct histogram {
	double n[2][AQZ_COUNTS];
} histogram;

/* True if k and its mirror are one value: k = 0 where zero is its own mirror. */
static bool single(unsigned t, unsigned m)
{
	return m == 0 && t == 0;
}

/* Magnitudes that get a frequency of their own: up to the last that is likely enough not to be an escape. */
static unsigned magnitudes(const double *n, double sum)
{
	unsigned last = 0;

	if (sum == 0)
		return 1;
	for (unsigned m = 1; m < AQZ_COUNTS - 1; m++)
		if (n[m] * TOTAL >= sum)
			last = m;
	return last + 1;
}

static double entropy(const histogram *h, const aqz_trellis_params *p)
{
	double bits = TABLE_BITS;

	for (unsigned t = 0; t < (p->state_bits == 0 ? 1u : 2u); t++) {
		double sum = 0, rest = 0;
		unsigned n_magnitudes;

		for (unsigned m = 0; m < AQZ_COUNTS; m++)
			sum += h->n[t][m];
		if (sum == 0)
			continue;
		n_magnitudes = magnitudes(h->n[t], sum);
		for (unsigned m = 0; m < AQZ_COUNTS; m++) {
			const double n = h->n[t][m];

			if (m >= n_magnitudes)
				rest += n;
			else if (n > 0)
				bits += n * (log2(sum / n) + (single(t, m) ? 0 : 1));
		}
		if (rest > 0)
			bits += rest * (log2(sum / rest < TOTAL ? sum / rest : TOTAL) + ESCAPE_BITS);
		bits += MAGNITUDE_BITS * n_magnitudes;
	}
	return bits;
}

/* Frequencies that sum to 2^12, each at least 1, in proportion to the counts. */
static void make_table(aqz_trellis_table *table, const double *n, unsigned t)
{
	double sum = 0, rest = 0;
	unsigned used = 0;

	memset(table, 0, sizeof *table);
	for (unsigned m = 0; m < AQZ_COUNTS; m++)
		sum += n[m];
	table->n_magnitudes = (uint8_t)magnitudes(n, sum);
	for (unsigned m = table->n_magnitudes; m < AQZ_COUNTS; m++)
		rest += n[m];
	if (rest > 0) {
		const double share = rest / sum * TOTAL;

		table->escape = (uint16_t)(share < 1 ? 1
				: share > TOTAL / 2			 ? TOTAL / 2
											 : (unsigned)lrint(share));
	}
	used = table->escape;
	for (unsigned m = table->n_magnitudes; m-- > 1;) {
		const double share = sum > 0 ? n[m] / sum * TOTAL / 2 : 1;

		table->frequency[m] = (uint16_t)(share < 1 ? 1 : (unsigned)lrint(share));
		used += 2u * table->frequency[m];
	}
	/* What the others leave; if all were rounded up, the next ones give. */
	for (unsigned m = 1; used + 2 > TOTAL && m < table->n_magnitudes; m++)
		while (table->frequency[m] > 1 && used + 2 > TOTAL) {
			table->frequency[m]--;
			used -= 2;
		}
	if (single(t, 0)) {
		table->frequency[0] = (uint16_t)(TOTAL - used);
	} else {
		table->frequency[0] = (uint16_t)((TOTAL - used) / 2);
		table->escape = (uint16_t)(table->escape + (TOTAL - used) % 2);
	}
}

double aqz_trellis_make_tables(aqz_trellis_params *p, const uint32_t *counts)
{
	histogram clusters[AQZ_TRELLIS_MAX_BUCKETS];
	double cost[AQZ_TRELLIS_MAX_BUCKETS], bits = 0;
	unsigned first[AQZ_TRELLIS_MAX_BUCKETS], n = 0, n_types = p->state_bits == 0 ? 1 : 2;

	for (unsigned b = 0; b < p->n_buckets; b++) {
		histogram h = {{{0}}};
		double sum = 0;

		for (unsigned t = 0; t < n_types; t++)
			for (unsigned m = 0; m < AQZ_COUNTS; m++)
				sum += h.n[t][m] = counts[((size_t)b * 2 + t) * AQZ_COUNTS + m];
		/* Buckets that nothing fell into go with the one before them. */
		if (sum == 0 && n > 0)
			continue;
		clusters[n] = h;
		cost[n] = entropy(&h, p);
		first[n++] = b;
	}
	for (;;) {
		double best = n > aqz_trellis_max_tables(p->rows, p->cols) ? -INFINITY : 0, best_cost = 0;
		unsigned at = n;

		for (unsigned i = 0; i + 1 < n; i++) {
			histogram both = clusters[i];
			double merged, gain;

			for (unsigned t = 0; t < n_types; t++)
				for (unsigned m = 0; m < AQZ_COUNTS; m++)
					both.n[t][m] += clusters[i + 1].n[t][m];
			merged = entropy(&both, p);
			gain = cost[i] + cost[i + 1] - merged;
			if (gain > best) {
				best = gain;
				best_cost = merged;
				at = i;
			}
		}
		if (at == n)
			break;
		for (unsigned t = 0; t < n_types; t++)
			for (unsigned m = 0; m < AQZ_COUNTS; m++)
				clusters[at].n[t][m] += clusters[at + 1].n[t][m];
		cost[at] = best_cost;
		n--;
		for (unsigned i = at + 1; i < n; i++) {
			clusters[i] = clusters[i + 1];
			cost[i] = cost[i + 1];
			first[i] = first[i + 1];
		}
	}
	p->n_tables = (uint8_t)n;
	for (unsigned b = 0, c = 0; b < p->n_buckets; b++) {
		while (c + 1 < n && first[c + 1] <= b)
			c++;
		p->bucket_table[b] = (uint8_t)c;
	}
	for (unsigned c = 0; c < n; c++) {
		for (unsigned t = 0; t < 2; t++)
			make_table(&p->tables[c][t], clusters[c].n[t < n_types ? t : 0], t);
		bits += cost[c];
	}
	return bits;
}

/* Bits of an index of magnitude m. */
static double magnitude_bits(const aqz_trellis_table *table, unsigned m)
{
	if (m < table->n_magnitudes)
		return AQZ_RANS_BITS - log2(table->frequency[m]);
	return table->escape > 0 ? AQZ_RANS_BITS - log2(table->escape) + ESCAPE_BITS : (double)FAR_BITS;
}

void aqz_trellis_rates(float *rates, const aqz_trellis_params *p, float mu)
{
	for (unsigned b = 0; b < p->n_buckets; b++)
		for (unsigned t = 0; t < 2; t++) {
			const aqz_trellis_table *table = &p->tables[p->bucket_table[b]][t];
			float *row = rates + ((size_t)b * 2 + t) * AQZ_RATES;

			for (int i = 0; i < AQZ_RATES; i++) {
				const int k = i - AQZ_RATES / 2;

				row[i] = mu * (float)magnitude_bits(table, aqz_trellis_magnitude(t, k));
			}
		}
}

double aqz_trellis_bits(const aqz_trellis_params *p, const uint32_t *counts)
{
	double bits = 0;

	for (unsigned b = 0; b < p->n_buckets; b++)
		for (unsigned t = 0; t < 2; t++)
			for (unsigned m = 0; m < AQZ_COUNTS; m++) {
				const uint32_t n = counts[((size_t)b * 2 + t) * AQZ_COUNTS + m];

				if (n > 0)
					bits += n * magnitude_bits(&p->tables[p->bucket_table[b]][t], m);
			}
	return bits;
}
