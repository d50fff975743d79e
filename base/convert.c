/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays from one float type to another by one rounding, spec 1.4. */
#include "base/base.h"
#include "base/float.h"

/* Rounds a binary64 to the binary format with so many exponent and stored mantissa bits (at most 8
 * and 10), in integers because going by binary32 would round twice. */
static uint16_t narrow(uint64_t bits, unsigned exponent_bits, unsigned mantissa_bits)
{
	const int bias = (1 << (exponent_bits - 1)) - 1;
	const uint64_t magnitude = bits & (UINT64_MAX >> 1);
	const uint32_t sign = (uint32_t)(bits >> 63) << (exponent_bits + mantissa_bits);
	const uint32_t infinity = ((1u << exponent_bits) - 1) << mantissa_bits;
	const uint64_t mantissa = (magnitude & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
	int exponent = (int)(magnitude >> 52) - 1023 + bias; /* as the result stores it, if normal */
	unsigned shift = 52 - mantissa_bits;
	uint64_t half, result;

	if (magnitude > UINT64_C(0x7ff) << 52)
		return (uint16_t)(infinity | 1u << (mantissa_bits - 1));
	if (exponent < 1) {
		/* Subnormal: bits go. At 54 the whole mantissa is below half a step, so more need not be
		 * told apart. */
		const unsigned deeper = exponent < -60 ? 61 : (unsigned)(1 - exponent);

		shift = shift + deeper > 54 ? 54 : shift + deeper;
		exponent = 1;
	}
	half = UINT64_C(1) << (shift - 1);
	result = (mantissa + half - 1 + (mantissa >> shift & 1)) >> shift;
	/* The mantissa's leading one adds itself to the exponent field; a carry of the rounding goes
	 * the same way. */
	result += (uint64_t)(exponent - 1) << mantissa_bits;
	return (uint16_t)(sign | (result > infinity ? infinity : (uint32_t)result));
}

static aqz_status from_f32(void *dst, aqz_dtype dst_dtype, const float *src, size_t n)
{
	uint16_t *out = dst;

	if (dst_dtype == AQZ_F16)
		for (size_t i = 0; i < n; i++)
			out[i] = aqz_f32_to_f16(src[i]);
	else if (dst_dtype == AQZ_BF16)
		for (size_t i = 0; i < n; i++)
			out[i] = aqz_f32_to_bf16(src[i]);
	else
		return AQZ_E_UNSUPPORTED;
	return AQZ_OK;
}

static aqz_status from_f64(void *dst, aqz_dtype dst_dtype, const double *src, size_t n)
{
	uint16_t *out = dst;
	float *out32 = dst;

	if (dst_dtype != AQZ_F32 && dst_dtype != AQZ_F16 && dst_dtype != AQZ_BF16)
		return AQZ_E_UNSUPPORTED;
	for (size_t i = 0; i < n; i++) {
		uint64_t bits;

		memcpy(&bits, src + i, sizeof bits);
		if (dst_dtype == AQZ_F32)
			out32[i] = aqz_f32_canonical((float)src[i]);
		else
			out[i] = dst_dtype == AQZ_F16 ? narrow(bits, 5, 10) : narrow(bits, 8, 7);
	}
	return AQZ_OK;
}

static aqz_status from_16(
	void *dst, aqz_dtype dst_dtype, const uint16_t *src, aqz_dtype src_dtype, size_t n)
{
	float *out32 = dst;
	uint16_t *out = dst;

	if (dst_dtype == AQZ_F32 && src_dtype == AQZ_F16)
		for (size_t i = 0; i < n; i++)
			out32[i] = aqz_f16_to_f32(src[i]);
	else if (dst_dtype == AQZ_F32)
		for (size_t i = 0; i < n; i++)
			out32[i] = aqz_bf16_to_f32(src[i]);
	/* Binary32 holds every value of both 16-bit types, so the second step is the only rounding. */
	else if (dst_dtype == AQZ_F16)
		for (size_t i = 0; i < n; i++)
			out[i] = aqz_f32_to_f16(aqz_bf16_to_f32(src[i]));
	else if (dst_dtype == AQZ_BF16)
		for (size_t i = 0; i < n; i++)
			out[i] = aqz_f32_to_bf16(aqz_f16_to_f32(src[i]));
	else
		return AQZ_E_UNSUPPORTED;
	return AQZ_OK;
}

aqz_status aqz_convert(
	void *dst, aqz_dtype dst_dtype, const void *src, aqz_dtype src_dtype, size_t n, aqz_error *err)
{
	const char *to = aqz_dtype_name(dst_dtype), *from = aqz_dtype_name(src_dtype);
	aqz_status status = AQZ_E_UNSUPPORTED;

	if (n > SIZE_MAX / 8)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "n", "%zu elements are too many", n);
	switch (src_dtype) {
	case AQZ_F32:
	case AQZ_F16:
	case AQZ_BF16:
		if (dst_dtype == src_dtype) {
			if (n > 0)
				memcpy(dst, src, n * (aqz_dtype_bits(src_dtype) / 8));
			status = AQZ_OK;
		} else if (src_dtype == AQZ_F32)
			status = from_f32(dst, dst_dtype, src, n);
		else
			status = from_16(dst, dst_dtype, src, src_dtype, n);
		break;
	case AQZ_F64:
		status = from_f64(dst, dst_dtype, src, n);
		break;
	default:
		break;
	}
	if (status != AQZ_OK)
		return aqz_fail(err, status, AQZ_NO_OFFSET, NULL, "no conversion from %s to %s",
			from != NULL ? from : "?", to != NULL ? to : "?");
	return AQZ_OK;
}
