/* SPDX-License-Identifier: Apache-2.0 */
/* The search of the trellis encoder for the constant c that meets a number of bytes, or a loss. */
#include <math.h>

#include "codec/encode/trellis_job.h"

/* A rate in bits is about log2(RATE / c) for c in units of the columns' typical size: what the first try goes by. */
#define RATE_CONSTANT 1.9
/* What a coder takes beyond the bits of its indices: 4 bytes of state, about one of which is worth some of these. */
#define STATE_BYTES 3.0
/* And what an escape of three words takes beyond one of a word. */
#define LONG_BYTES 4
#define MAX_TRIES 16
/* How near bytes or the loss must come. */
#define NEAR_BYTES 5e-4
#define NEAR_LOSS 2e-3
/* Less is noise on small matrices, whose tables change with every try, and less than the padding of a chunk. */
#define LEAST_BYTES 12
/* c over the typical size: nothing but zeros at one end, more bits than a weight has at the other. */
#define MOST 64.0
#define LEAST 0x1p-26
/* Half an octave of c that changes the rate by less than this is beyond what there is to gain. */
#define FLAT 1e-3
/* Where most indices are escapes bits change by more than 1 with an octave. */
#define STEEPEST (-3.0)
/* Tries nearer than this say nothing of the slope. */
#define LEAST_OCTAVES 0.02

static double state_bytes(uint64_t rows, uint64_t cols, uint32_t chunk_rows)
{
	return STATE_BYTES * (double)(aqz_ceil_div(rows, chunk_rows) * aqz_min(cols, AQZ_TRELLIS_LANES));
}

double aqz_trellis_whole_bytes(const aqz_trellis_matrix *m, uint64_t rows, uint32_t chunk_rows)
{
	const aqz_trellis_params *p = &m->params;
	const double more = (double)rows / (double)p->rows - 1;

	return m->bytes + more * (m->index_bytes + (double)aqz_trellis_row_bits(p) / 8) +
		state_bytes(rows, p->cols, chunk_rows) - state_bytes(p->rows, p->cols, chunk_rows);
}

/* Bytes of the parameters and of the payloads by their tables; the tables are made new. */
static aqz_status count_bytes(aqz_trellis_job *j, aqz_buffer *coded, aqz_error *err)
{
	aqz_status status;

	coded->n = 0;
	(void)aqz_trellis_make_tables(&j->work.params, j->work.counts);
	AQZ_TRY(aqz_trellis_params_write(coded, &j->work.params, err));
	j->index_bytes =
		aqz_trellis_bits(&j->work.params, j->work.counts) / 8 + LONG_BYTES * (double)j->work.n_long;
	j->bytes = (double)coded->n + j->index_bytes +
		state_bytes(j->work.params.rows, j->work.params.cols, j->work.chunk_rows);
out:
	return status;
}

/* Sizes as the last pass has them. Buckets begin where the smallest of them is: those of the tables move along, or all
 * columns would be searched by the rates of other sizes. */
static void set_sizes(aqz_trellis_job *j)
{
	aqz_trellis_params *p = &j->work.params;
	const int bias = p->bias, n = p->n_buckets;
	uint8_t tables[AQZ_TRELLIS_MAX_BUCKETS];

	memcpy(tables, p->bucket_table, sizeof tables);
	aqz_trellis_sides_sizes(j);
	for (int b = 0; j->has_tables && b < p->n_buckets; b++) {
		const int was = b + (int)lrint((bias - p->bias) / 4.0);

		p->bucket_table[b] = tables[was < 0 ? 0 : was < n ? was : n - 1];
	}
}

/* Passes with c: the first without rates, if there are none yet; each later one with those of the one before. */
static aqz_status encode_with(aqz_trellis_job *j, double c, aqz_buffer *coded, aqz_error *err)
{
	unsigned passes = 2;
	aqz_status status = AQZ_OK;

	if (!j->has_tables)
		aqz_trellis_sides_first(j);
	aqz_trellis_sides_steps(j, c);
	if (!j->has_tables) {
		memset(j->work.rates, 0,
			(size_t)AQZ_TRELLIS_MAX_BUCKETS * 2 * AQZ_RATES * sizeof *j->work.rates);
		passes = 3;
	}
	for (unsigned i = 0; i < passes; i++) {
		set_sizes(j);
		if (j->has_tables)
			aqz_trellis_rates(j->work.rates, &j->work.params, j->work.mu);
		aqz_trellis_pass(&j->work);
		if (atomic_load(&j->watch.stopped))
			AQZ_TRY(aqz_fail(err, AQZ_E_CANCELLED, AQZ_NO_OFFSET, NULL, "stopped"));
		AQZ_TRY(count_bytes(j, coded, err));
		j->has_tables = true;
	}
out:
	return status;
}

/* The loss by H as it is: the passes have it with damping. */
static aqz_status measure(aqz_trellis_job *j, double *loss, aqz_error *err)
{
	const aqz_trellis_work *w = &j->work;
	const uint64_t rows = w->params.rows, cols = w->params.cols;
	const aqz_layer rest = {j->rest, rows, cols, j->layer->hessian};
	double error;
	aqz_status status;

	aqz_trellis_dequantize(j->rest, &w->params, w->index, w->chunk_rows, 0, rows);
	for (uint64_t i = 0; i < rows * cols; i++)
		j->rest[i] = j->layer->w[i] - j->rest[i];
	AQZ_TRY(aqz_layer_energy(&error, &rest, w->n_threads, err));
	*loss = j->energy > 0 ? fmax(error, 0) / j->energy : 0;
out:
	return status;
}

/* What falls by about 1 with an octave of c: bits a weight, or halves of the loss's logarithm. */
static aqz_status look(aqz_trellis_job *j, double c, double *y, aqz_buffer *coded, aqz_error *err)
{
	const double n = (double)j->work.params.rows * (double)j->work.params.cols;
	double loss;
	aqz_status status;

	AQZ_TRY(encode_with(j, c, coded, err));
	*y = 8 * j->bytes / n;
	if (j->opt->loss > 0) {
		AQZ_TRY(measure(j, &loss, err));
		*y = -0.5 * log2(fmax(loss, 1e-30));
	}
out:
	return status;
}

static double within(double c, double low, double high)
{
	return c < low ? low : c > high ? high : c;
}

/* By the secant method on log2 c, between what was too large and too small; ends with the best that there is where the
 * goal is out of reach. */
aqz_status aqz_trellis_search(aqz_trellis_job *j, aqz_trellis_matrix *out, aqz_error *err)
{
	const double n = (double)j->work.params.rows * (double)j->work.params.cols;
	const bool by_loss = j->opt->loss > 0;
	const double goal = by_loss ? -0.5 * log2(j->opt->loss) : 8 * j->opt->bytes / n;
	/* Of y: a share of the bits; of the loss, in halves of its logarithm. */
	const double near =
		by_loss ? 0.5 * NEAR_LOSS / log(2) : fmax(NEAR_BYTES * goal, 8 * LEAST_BYTES / n);
	const double least = j->typical * LEAST, most = j->typical * MOST;
	double c = j->opt->c * j->unit, low = 0, high = 0, last_c = 0, last_y = 0, slope = -1, y;
	aqz_buffer coded = {0};
	aqz_status status = AQZ_OK;

	if (!(j->typical > 0))
		c = c > 0 ? c : 1; /* nothing but zeros: any step will do */
	out->c = c;
	if (c > 0) {
		AQZ_TRY(encode_with(j, c, &coded, err));
		goto out;
	}
	c = within(j->typical * RATE_CONSTANT * (j->work.params.state_bits == 0 ? 2 : 1) * exp2(-goal),
		least, most);
	for (unsigned i = 0;; i++) {
		AQZ_TRY(look(j, c, &y, &coded, err));
		out->c = c;
		if (fabs(y - goal) < near || i + 1 == MAX_TRIES)
			break;
		if (last_c > 0 && fabs(log2(c / last_c)) > 0.5 && fabs(y - last_y) < FLAT)
			break;
		if (y > goal)
			low = c;
		else
			high = c;
		if (last_c > 0 && fabs(log2(c / last_c)) > LEAST_OCTAVES)
			slope = within((y - last_y) / log2(c / last_c), STEEPEST, -0.4);
		last_c = c;
		last_y = y;
		c *= exp2(within((goal - y) / slope, -8, 8));
		if (low > 0 && high > 0 && (c <= low || c >= high)) {
			/* Tables still settle: what an earlier try gave may not hold any more. */
			if (log2(high / low) > LEAST_OCTAVES)
				c = sqrt(low * high);
			else
				low = high = 0;
		}
		c = within(c, least, most);
		if (c == last_c)
			break;
	}
out:
	out->bytes = j->bytes;
	out->index_bytes = j->index_bytes;
	aqz_buffer_free(&coded);
	return status;
}
