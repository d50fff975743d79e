/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels of the lossless codec: elements to byte planes and back, spec 7.1.2. Bound by memory:
 * what a compiler makes of these loops with SSE2 runs several times faster than the zstd decoder
 * that feeds them. */
#include "codec/lossless.h"
#include "codec/simd.h"

/* Elements in a caller's buffer have any alignment. */
typedef uint16_t __attribute__((aligned(1), may_alias)) any16;
typedef uint32_t __attribute__((aligned(1), may_alias)) any32;
typedef uint64_t __attribute__((aligned(1), may_alias)) any64;

/* turn is 0 or 1 and a constant in each call below, so that no loop holds a variable shift. */
#define KERNEL static inline __attribute__((always_inline)) void

KERNEL merge16(any16 *restrict dst, const uint8_t *const *planes, size_t n, unsigned turn)
{
	const uint8_t *restrict a = planes[0], *restrict b = planes[1];

	AQZ_SIMD
	for (size_t i = 0; i < n; i++) {
		const uint32_t v = (uint32_t)(a[i] | b[i] << 8);

		dst[i] = (uint16_t)(v >> turn | v << (16 - turn));
	}
}

KERNEL merge32(any32 *restrict dst, const uint8_t *const *planes, size_t n, unsigned turn)
{
	const uint8_t *restrict a = planes[0], *restrict b = planes[1], *restrict c = planes[2],
							*restrict d = planes[3];

	AQZ_SIMD
	for (size_t i = 0; i < n; i++) {
		const uint16_t low = (uint16_t)(a[i] | b[i] << 8), high = (uint16_t)(c[i] | d[i] << 8);
		const uint32_t v = low | (uint32_t)high << 16;

		dst[i] = v >> turn | v << (32 - turn) % 32;
	}
}

KERNEL merge64(any64 *restrict dst, const uint8_t *const *planes, size_t n, unsigned turn)
{
	const uint8_t *restrict a = planes[0], *restrict b = planes[1], *restrict c = planes[2],
							*restrict d = planes[3], *restrict e = planes[4],
							*restrict f = planes[5], *restrict g = planes[6], *restrict h = planes[7];

	AQZ_SIMD
	for (size_t i = 0; i < n; i++) {
		const uint16_t ab = (uint16_t)(a[i] | b[i] << 8), cd = (uint16_t)(c[i] | d[i] << 8);
		const uint16_t ef = (uint16_t)(e[i] | f[i] << 8), gh = (uint16_t)(g[i] | h[i] << 8);
		const uint32_t low = ab | (uint32_t)cd << 16, high = ef | (uint32_t)gh << 16;
		const uint64_t v = low | (uint64_t)high << 32;

		dst[i] = v >> turn | v << (64 - turn) % 64;
	}
}

void aqz_planes_merge(void *dst, const uint8_t *const *planes, size_t n, unsigned width, bool rotated)
{
	switch (width) {
	case 2:
		if (rotated)
			merge16(dst, planes, n, 1);
		else
			merge16(dst, planes, n, 0);
		break;
	case 4:
		if (rotated)
			merge32(dst, planes, n, 1);
		else
			merge32(dst, planes, n, 0);
		break;
	default:
		if (rotated)
			merge64(dst, planes, n, 1);
		else
			merge64(dst, planes, n, 0);
		break;
	}
}

KERNEL split16(uint8_t *restrict planes, const any16 *restrict src, size_t n, unsigned turn)
{
	uint8_t *restrict a = planes, *restrict b = planes + n;

	AQZ_SIMD
	for (size_t i = 0; i < n; i++) {
		const uint16_t v = (uint16_t)(src[i] << turn | src[i] >> (16 - turn));

		a[i] = (uint8_t)v;
		b[i] = (uint8_t)(v >> 8);
	}
}

/* One plane at a time: the source stays in cache for blocks of this many units. */
#define SPLIT_BLOCK 1024

KERNEL split32(uint8_t *restrict planes, const any32 *restrict src, size_t n, unsigned turn)
{
	for (size_t at = 0; at < n; at += SPLIT_BLOCK) {
		const size_t end = aqz_min(n, at + SPLIT_BLOCK);

		for (unsigned k = 0; k < 4; k++) {
			uint8_t *restrict plane = planes + k * n;

			AQZ_SIMD
			for (size_t i = at; i < end; i++)
				plane[i] = (uint8_t)((src[i] << turn | src[i] >> (32 - turn) % 32) >> 8 * k);
		}
	}
}

KERNEL split64(uint8_t *restrict planes, const any64 *restrict src, size_t n, unsigned turn)
{
	for (size_t at = 0; at < n; at += SPLIT_BLOCK) {
		const size_t end = aqz_min(n, at + SPLIT_BLOCK);

		for (unsigned k = 0; k < 8; k++) {
			uint8_t *restrict plane = planes + k * n;

			AQZ_SIMD
			for (size_t i = at; i < end; i++)
				plane[i] = (uint8_t)((src[i] << turn | src[i] >> (64 - turn) % 64) >> 8 * k);
		}
	}
}

void aqz_planes_split(uint8_t *planes, const void *src, size_t n, unsigned width, bool rotated)
{
	switch (width) {
	case 2:
		if (rotated)
			split16(planes, src, n, 1);
		else
			split16(planes, src, n, 0);
		break;
	case 4:
		if (rotated)
			split32(planes, src, n, 1);
		else
			split32(planes, src, n, 0);
		break;
	default:
		if (rotated)
			split64(planes, src, n, 1);
		else
			split64(planes, src, n, 0);
		break;
	}
}
