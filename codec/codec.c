/* SPDX-License-Identifier: Apache-2.0 */
/* The list of codecs, spec 7. */
#include "codec/codec.h"

const aqz_codec *aqz_codec_find(uint32_t id)
{
	static const aqz_codec *const codecs[] = {
		&aqz_codec_lossless, &aqz_codec_additive, &aqz_codec_trellis};

	for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
		if ((uint32_t)codecs[i]->id == id)
			return codecs[i];
	return NULL;
}
