/* SPDX-License-Identifier: Apache-2.0 */
/* Weight matrices with input statistics (layers.h). */
#include "tests/layers.h"

#include <check.h>
#include <math.h>

/* N(0, 1) by the sum of 12 uniform numbers, which is near enough. */
static double normal(noise *r)
{
	double sum = -6;

	for (int k = 0; k < 12; k++)
		sum += (double)(noise_next(r) >> 11) * 0x1p-53;
	return sum;
}

float *layers_gauss(uint64_t rows, uint64_t cols, float scale, uint64_t seed)
{
	float *w = sure_alloc((size_t)(rows * cols) * sizeof *w);
	noise r = {seed * 2 + 1};

	for (size_t i = 0; i < rows * cols; i++)
		w[i] = (float)normal(&r) * scale;
	return w;
}

/* n orthogonal vectors of length 1, by Gram and Schmidt. */
static double *rotation(uint64_t n, uint64_t seed)
{
	double *q = sure_alloc((size_t)(n * n) * sizeof *q);
	noise r = {seed * 2 + 1};

	for (size_t i = 0; i < n * n; i++)
		q[i] = normal(&r);
	for (size_t i = 0; i < n; i++) {
		double norm = 0;

		for (size_t k = 0; k < i; k++) {
			double along = 0;

			for (size_t c = 0; c < n; c++)
				along += q[i * n + c] * q[k * n + c];
			for (size_t c = 0; c < n; c++)
				q[i * n + c] -= along * q[k * n + c];
		}
		for (size_t c = 0; c < n; c++)
			norm += q[i * n + c] * q[i * n + c];
		for (size_t c = 0; c < n; c++)
			q[i * n + c] /= sqrt(norm);
	}
	return q;
}

float *layers_spectrum(uint64_t n, double condition, uint64_t seed)
{
	float *h = sure_alloc((size_t)(n * n) * sizeof *h);
	double *q = rotation(n, seed), *row = sure_alloc((size_t)n * sizeof *row);

	for (size_t i = 0; i < n; i++) {
		memset(row, 0, n * sizeof *row);
		for (size_t k = 0; k < n; k++) {
			const double value = n > 1 ? pow(condition, -(double)k / (double)(n - 1)) : 1;

			for (size_t c = 0; c < n; c++)
				row[c] += value * q[k * n + i] * q[k * n + c];
		}
		for (size_t c = 0; c <= i; c++)
			h[i * n + c] = h[c * n + i] = (float)row[c];
	}
	free(q);
	free(row);
	return h;
}

double layers_energy(const float *w, const float *minus, uint64_t rows, uint64_t cols, const float *h)
{
	double *d = sure_alloc((size_t)cols * sizeof *d), sum = 0;

	for (size_t i = 0; i < rows; i++) {
		for (size_t k = 0; k < cols; k++)
			d[k] = (double)w[i * cols + k] - (minus != NULL ? minus[i * cols + k] : 0);
		for (size_t k = 0; k < cols; k++) {
			double product = h != NULL ? 0 : d[k];

			for (size_t c = 0; h != NULL && c < cols; c++)
				product += h[k * cols + c] * d[c];
			sum += d[k] * product;
		}
	}
	free(d);
	return sum;
}

aqz_scheme layers_scheme(const char *text)
{
	aqz_scheme s;
	aqz_error err;

	SURE(aqz_scheme_parse(&s, text, &err) == AQZ_OK);
	return s;
}

aqz_encode_options layers_options(int effort)
{
	return (aqz_encode_options){
		.struct_size = sizeof(aqz_encode_options), .effort = effort, .n_threads = 1, .seed = 1};
}

float *layers_decoded(const aqz_additive *a)
{
	float *w = sure_alloc((size_t)(a->rows * a->cols) * sizeof *w);
	aqz_error err;

	ck_assert_msg(aqz_decode_additive(w, AQZ_F32, a, 0, a->rows, &err) == AQZ_OK, "%s", err.text);
	for (size_t i = 0; i < a->rows * a->cols; i++)
		if (!isfinite(w[i]))
			ck_abort_msg("element %zu decodes to %g", i, (double)w[i]);
	return w;
}

double layers_loss(const aqz_additive *a, const aqz_layer *layer, const float *h)
{
	const double energy = layers_energy(layer->w, NULL, layer->rows, layer->cols, h);
	float *back = layers_decoded(a);
	const double loss = layers_energy(layer->w, back, layer->rows, layer->cols, h);

	free(back);
	return energy > 0 ? loss / energy : 0;
}

double layers_encode(
	aqz_additive *out, const aqz_layer *layer, const char *scheme, const aqz_encode_options *opt)
{
	const aqz_scheme s = layers_scheme(scheme);
	aqz_encode_report told;
	aqz_additive mine;
	aqz_error err;
	double mse, loss;

	out = out != NULL ? out : &mine;
	ck_assert_msg(aqz_encode_additive(out, &told, layer, &s, opt, &err) == AQZ_OK, "%s: %s: %s",
		scheme, err.where, err.text);
	ck_assert(out->rows == layer->rows && out->cols == layer->cols);
	ck_assert_uint_eq(out->code_rows, (layer->rows + s.out_group - 1) / s.out_group);
	ck_assert_uint_eq(out->groups, (layer->cols + s.in_group - 1) / s.in_group);
	ck_assert_uint_eq(out->codes_bytes, aqz_additive_codes_bytes(&s, out->code_rows, out->groups));
	mse = layers_loss(out, layer, NULL);
	loss = layers_loss(out, layer, layer->hessian);
	/* The encoder adds up in binary32 here and there. */
	ck_assert_msg(fabs(told.rel_mse - mse) <= 1e-6 * mse + 1e-14, "%s: mse %.9g, told %.9g", scheme,
		mse, told.rel_mse);
	ck_assert_msg(fabs(told.loss_after - loss) <= 1e-4 * loss + 1e-7, "%s: loss %.9g, told %.9g",
		scheme, loss, told.loss_after);
	ck_assert_msg(isfinite(told.loss_before) && told.loss_before >= 0, "%s: before %g", scheme,
		told.loss_before);
	if (out == &mine)
		aqz_additive_free(&mine);
	return loss;
}

bool layers_same(const aqz_additive *a, const aqz_additive *b)
{
	const size_t n_values = aqz_codewords(&a->scheme) * aqz_codeword(&a->scheme);

	return a->codes_bytes == b->codes_bytes && memcmp(a->codes, b->codes, a->codes_bytes) == 0 &&
		a->codebook_dtype == b->codebook_dtype &&
		memcmp(a->codebooks, b->codebooks, n_values * aqz_dtype_bits(a->codebook_dtype) / 8) == 0 &&
		a->code_rows == b->code_rows && a->scale_dtype == b->scale_dtype &&
		memcmp(a->scales, b->scales, (size_t)a->code_rows * aqz_dtype_bits(a->scale_dtype) / 8) == 0;
}

bool layers_is_zero(const aqz_additive *a)
{
	return a->codes == NULL && a->codebooks == NULL && a->scales == NULL &&
		a->codebook_scales == NULL && a->rows == 0 && a->cols == 0 && a->codes_bytes == 0;
}

bool layers_progress(void *user, uint64_t done, uint64_t total)
{
	layers_watch *p = user;

	if (total != 1000 || done > total || done < p->last)
		ck_abort_msg("progress %lu of %lu after %lu", done, total, p->last);
	p->last = done;
	p->full += done == total;
	return ++p->calls != p->stop;
}
