/* SPDX-License-Identifier: Apache-2.0 */
/* Weight matrices with input statistics, and their losses by plain double arithmetic: for the tests of the encoder in
 * the metric of the inputs. */
#ifndef AQZ_TESTS_LAYERS_H
#define AQZ_TESTS_LAYERS_H

#include "codec/encode/tune.h"
#include "tests/support.h"

/* n rows of N(0, 1) times scale. Free with free(), as everything here. */
float *layers_gauss(uint64_t rows, uint64_t cols, float scale, uint64_t seed);

/* A symmetric matrix whose eigenvectors are random and whose eigenvalues go from 1 down to 1 / condition in equal
 * factors. */
float *layers_spectrum(uint64_t n, double condition, uint64_t seed);

/* tr(D H D^T) of D = w - minus; minus NULL = 0, h NULL = the identity. */
double layers_energy(const float *w, const float *minus, uint64_t rows, uint64_t cols, const float *h);

aqz_scheme layers_scheme(const char *text);
aqz_encode_options layers_options(int effort);

/* All elements, which must be finite. */
float *layers_decoded(const aqz_additive *a);

/* Relative loss of the codes, in the metric of h. */
double layers_loss(const aqz_additive *a, const aqz_layer *layer, const float *h);

/* Encodes, and returns the loss in the layer's metric as it is found from what is decoded. The report must tell the
 * same. out: NULL, or free with aqz_additive_free(). */
double layers_encode(aqz_additive *out, const aqz_layer *layer, const char *scheme, const aqz_encode_options *opt);

bool layers_same(const aqz_additive *a, const aqz_additive *b);
bool layers_is_zero(const aqz_additive *a);

/* A progress callback: thousandths must not fall. */
typedef struct layers_watch {
	unsigned calls, stop; /* false from call stop on; 0 = never */
	unsigned full;        /* calls with all done */
	uint64_t last;
} layers_watch;
bool layers_progress(void *user, uint64_t done, uint64_t total);

#endif
