/* SPDX-License-Identifier: Apache-2.0 */
/* Values of GGUF metadata as integers, doubles and strings. */
#include "interop/gguf_walk.h"

size_t aqz_gguf_kind_bytes(uint32_t kind)
{
	static const uint8_t bytes[] = {
		[AQZ_GGUF_U8] = 1,
		[AQZ_GGUF_I8] = 1,
		[AQZ_GGUF_U16] = 2,
		[AQZ_GGUF_I16] = 2,
		[AQZ_GGUF_U32] = 4,
		[AQZ_GGUF_I32] = 4,
		[AQZ_GGUF_F32] = 4,
		[AQZ_GGUF_BOOL] = 1,
		[AQZ_GGUF_U64] = 8,
		[AQZ_GGUF_I64] = 8,
		[AQZ_GGUF_F64] = 8,
	};

	return kind < sizeof bytes / sizeof *bytes ? bytes[kind] : 0;
}

const char *aqz_gguf_string(const aqz_gguf *g, const aqz_gguf_value *v, uint64_t i, size_t *n)
{
	*n = 0;
	if (v->strings == NULL || i >= v->n)
		return NULL;
	*n = (size_t)aqz_get64(g->header + v->strings[i]);
	return (const char *)g->header + v->strings[i] + 8;
}

bool aqz_gguf_integer(const aqz_gguf_value *v, uint64_t i, int64_t *out)
{
	const uint8_t *p;
	double d;

	if (v->strings != NULL || v->data == NULL || i >= v->n)
		return false;
	p = v->data + i * aqz_gguf_kind_bytes(v->kind);
	switch (v->kind) {
	case AQZ_GGUF_U8:
	case AQZ_GGUF_BOOL:
		*out = *p;
		return true;
	case AQZ_GGUF_I8:
		*out = (int8_t)*p;
		return true;
	case AQZ_GGUF_U16:
		*out = aqz_get16(p);
		return true;
	case AQZ_GGUF_I16:
		*out = (int16_t)aqz_get16(p);
		return true;
	case AQZ_GGUF_U32:
		*out = aqz_get32(p);
		return true;
	case AQZ_GGUF_I32:
		*out = (int32_t)aqz_get32(p);
		return true;
	case AQZ_GGUF_U64:
	case AQZ_GGUF_I64:
		*out = (int64_t)aqz_get64(p);
		return v->kind == AQZ_GGUF_I64 || *out >= 0;
	default:
		/* Both ends are exact in binary64; NaN fails the comparisons. */
		if (!aqz_gguf_double(v, i, &d) || !(d >= -0x1p63 && d < 0x1p63))
			return false;
		*out = (int64_t)d;
		return (double)*out == d;
	}
}

bool aqz_gguf_double(const aqz_gguf_value *v, uint64_t i, double *out)
{
	int64_t integer;
	float f;

	if (v->strings != NULL || v->data == NULL || i >= v->n)
		return false;
	switch (v->kind) {
	case AQZ_GGUF_F32:
		memcpy(&f, v->data + i * 4, sizeof f);
		*out = (double)f;
		return true;
	case AQZ_GGUF_F64:
		memcpy(out, v->data + i * 8, sizeof *out);
		return true;
	case AQZ_GGUF_U64:
		*out = (double)aqz_get64(v->data + i * 8);
		return true;
	default:
		if (!aqz_gguf_integer(v, i, &integer))
			return false;
		*out = (double)integer;
		return true;
	}
}
