/* SPDX-License-Identifier: Apache-2.0 */
/* Factors of rotary angles, as GGUF keeps them, to Llama 3's scaling. */
#ifndef AQZ_MODEL_ROPE_FACTORS_H
#define AQZ_MODEL_ROPE_FACTORS_H

#include "model/model.h"

/* Finds the parameters of the scaling that divides the angles by these factors [head_dim / 2] and sets them in *c,
 * whose theta and head_dim are known. False, and *c as it was, if there are none. */
bool aqz_rope_from_factors(aqz_model_config *c, const float *factors);

#endif
