/* SPDX-License-Identifier: Apache-2.0 */
/* The lossless codec: how chunks are decoded, and its entry in the codec table. Spec 7.1. */
#include <inttypes.h>
#include <zstd.h>

#include "codec/lossless.h"

static aqz_status corrupt(aqz_error *err, const char *text)
{
	return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "payload", "%s", text);
}

/* ---- zstd frames, spec 7.1.1 */

/* True if the n bytes start with the header of a frame that a writer makes: content size given and
 * right, window within bounds, no checksum, no dictionary, reserved bits zero (RFC 8878, 3.1.1.1).
 */
static bool frame_header_ok(const uint8_t *p, size_t n, uint64_t content_bytes)
{
	const bool single = n > 4 && (p[4] & 0x20) != 0;

	if (n < AQZ_ZSTD_MIN_BYTES || aqz_get32(p) != ZSTD_MAGICNUMBER || (p[4] & 0x1f) != 0)
		return false;
	if (!single) {
		const uint64_t base = UINT64_C(1024) << (p[5] >> 3);

		if ((p[4] & 0xc0) == 0 || base + base / 8 * (p[5] & 7) > AQZ_ZSTD_MAX_WINDOW)
			return false;
	}
	return ZSTD_getFrameContentSize(p, n) == content_bytes;
}

/* Decodes the one frame that fills src to exactly dst_bytes. */
static aqz_status unzstd(void *dst, size_t dst_bytes, const uint8_t *src, size_t src_bytes,
	ZSTD_DCtx *context, aqz_error *err)
{
	if (!frame_header_ok(src, src_bytes, dst_bytes))
		return corrupt(err, "the zstd frame's header is not as the format wants it");
	/* Bytes behind the frame would go unread, or as a second frame into the result. */
	if (ZSTD_findFrameCompressedSize(src, src_bytes) != src_bytes)
		return corrupt(err, "the zstd frame does not fill its payload");
	if (ZSTD_decompressDCtx(context, dst, dst_bytes, src, src_bytes) != dst_bytes)
		return corrupt(err, "the zstd frame does not decode");
	return AQZ_OK;
}

/* ---- Byte planes, spec 7.1.2 */

/* Decodes units [begin, end) of the n that the payload holds. scratch: n * width bytes. */
static aqz_status unplane(void *dst, size_t begin, size_t end, size_t n, aqz_dtype dtype,
	const uint8_t *payload, size_t payload_bytes, uint8_t *scratch, ZSTD_DCtx *context,
	aqz_error *err)
{
	const unsigned width = aqz_planes(dtype);
	const uint8_t *planes[AQZ_MAX_PLANES];
	size_t used = 4 * (size_t)width;
	aqz_status status = AQZ_OK;

	if (width == 0)
		return corrupt(err, "elements of one byte or less have no planes");
	if (payload_bytes < used)
		return corrupt(err, "the planes' lengths are cut off");
	for (unsigned k = 0; k < width; k++) {
		const uint32_t field = aqz_get32(payload + 4 * (size_t)k);
		const size_t length = field & ~AQZ_PLANE_ZSTD;

		if (length > payload_bytes - used)
			return corrupt(err, "a plane is longer than the payload");
		planes[k] = payload + used;
		if (field & AQZ_PLANE_ZSTD) {
			AQZ_TRY(unzstd(scratch + k * n, n, payload + used, length, context, err));
			planes[k] = scratch + k * n;
		} else if (length != n) {
			return corrupt(err, "a stored plane has not one byte per element");
		}
		planes[k] += begin;
		used += length;
	}
	if (used != payload_bytes)
		return corrupt(err, "bytes follow the last plane");
	aqz_planes_merge(dst, planes, end - begin, width, aqz_planes_rotated(dtype));
out:
	return status;
}

/* ---- The codec table */

static aqz_status params_read(
	aqz_scheme *out, const uint8_t params[AQZ_CODEC_PARAMS_BYTES], aqz_error *err)
{
	for (int i = 0; i < AQZ_CODEC_PARAMS_BYTES; i++)
		if (params[i] != 0)
			return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "params",
				"the lossless codec has no parameters");
	/* One row and one column to a code: what divides by groups needs no case for this codec. */
	*out = (aqz_scheme){.codec = AQZ_CODEC_LOSSLESS, .in_group = 1, .out_group = 1};
	return AQZ_OK;
}

static void params_write(uint8_t params[AQZ_CODEC_PARAMS_BYTES], const aqz_scheme *scheme)
{
	(void)scheme;
	memset(params, 0, AQZ_CODEC_PARAMS_BYTES);
}

static aqz_status check(
	const aqz_view *view, const aqz_param_view *params, uint32_t n_params, aqz_error *err)
{
	const uint64_t shape[2] = {view->rows, view->cols};
	uint64_t n_elements, n_bytes;

	(void)params;
	if (view->n_refs != 0 || n_params != 0)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "refs",
			"a lossless section refers to other sections");
	if (aqz_dtype_bits(view->dtype) == 0)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, AQZ_NO_OFFSET, "dtype", "dtype %u is unknown",
			(unsigned)view->dtype);
	if (!aqz_shape_size(&n_elements, &n_bytes, shape, 2, view->dtype) || n_bytes > SIZE_MAX / 2)
		return aqz_fail(err, AQZ_E_CORRUPT, AQZ_NO_OFFSET, "shape",
			"%" PRIu64 " x %" PRIu64 " elements are too many, or no whole bytes", view->rows,
			view->cols);
	return AQZ_OK;
}

/* Decoded bytes of n_rows rows: check() has shown that all of them together fit. */
static uint64_t rows_bytes(const aqz_view *view, uint64_t n_rows)
{
	/* Elements times bits may not fit where bytes do. */
	const uint64_t elements = n_rows * view->cols, bits = aqz_dtype_bits(view->dtype);

	return elements / 8 * bits + (elements % 8 * bits + 7) / 8;
}

/* The shortest zstd frame of n bytes: a header, and of each block of at most 128 KiB one byte that is
 * repeated and its header. */
static uint64_t least_zstd(uint64_t n)
{
	return n == 0 ? AQZ_ZSTD_MIN_BYTES : 6 + 4 * aqz_ceil_div(n, UINT64_C(1) << 17);
}

static void payload_bounds(const aqz_view *view, uint64_t n_rows, uint64_t n_code_rows,
	uint16_t coding, uint64_t *min_bytes, uint64_t *max_bytes)
{
	const uint64_t n_bytes = rows_bytes(view, n_rows), width = aqz_planes(view->dtype);

	(void)n_code_rows;
	*max_bytes = n_bytes;
	if (coding == AQZ_CODING_STORED)
		*min_bytes = n_bytes;
	else if (coding == AQZ_CODING_ZSTD)
		*min_bytes = least_zstd(n_bytes);
	else if (width != 0)
		*min_bytes = width * (4 + aqz_min(n_bytes / width, least_zstd(n_bytes / width)));
	else
		*min_bytes = UINT64_MAX; /* nothing fits: these dtypes have no planes */
}

static bool coding_ok(uint16_t coding)
{
	return coding == AQZ_CODING_STORED || coding == AQZ_CODING_ZSTD || coding == AQZ_CODING_PLANES;
}

static uint64_t decoder_bytes(const aqz_view *view)
{
	(void)view;
	return 0;
}

static aqz_status decoder_create(void **out, const aqz_view *view, const aqz_param_view *params,
	uint32_t n_params, aqz_error *err)
{
	(void)view, (void)params, (void)n_params, (void)err;
	*out = NULL; /* there is nothing to keep */
	return AQZ_OK;
}

static void decoder_free(void *decoder)
{
	(void)decoder;
}

static uint64_t scratch_bytes(const aqz_view *view)
{
	return rows_bytes(view, aqz_min(view->rows, view->chunk_rows));
}

static aqz_status decode(const void *decoder, const aqz_view *view, uint64_t chunk_row,
	uint64_t n_code_rows, uint16_t coding, const uint8_t *payload, size_t payload_bytes,
	uint64_t row_begin, uint64_t row_end, void *dst, void *scratch, aqz_error *err)
{
	const size_t n_bytes = (size_t)rows_bytes(view, n_code_rows);
	const size_t begin = (size_t)rows_bytes(view, row_begin - chunk_row);
	const size_t end = (size_t)rows_bytes(view, row_end - chunk_row);
	const unsigned width = aqz_planes(view->dtype), bits = aqz_dtype_bits(view->dtype);
	ZSTD_DCtx *context = NULL;
	aqz_status status = AQZ_OK;

	(void)decoder;
	if ((row_begin - chunk_row) * view->cols * bits % 8 != 0 ||
		(row_end - chunk_row) * view->cols * bits % 8 != 0)
		return aqz_fail(err, AQZ_E_ARGUMENT, AQZ_NO_OFFSET, "rows",
			"rows %" PRIu64 "..%" PRIu64 " are no whole bytes", row_begin, row_end);
	if (coding == AQZ_CODING_STORED) {
		if (payload_bytes != n_bytes)
			return corrupt(err, "the stored elements have the wrong length");
		if (end > begin)
			memcpy(dst, payload + begin, end - begin);
		return AQZ_OK;
	}
	context = ZSTD_createDCtx();
	if (context == NULL)
		return aqz_fail_nomem(err, 1 << 18);
	if (coding == AQZ_CODING_PLANES) {
		const size_t unit = width > 0 ? width : 1;

		status = unplane(dst, begin / unit, end / unit, n_bytes / unit, view->dtype, payload,
			payload_bytes, scratch, context, err);
	} else if (coding == AQZ_CODING_ZSTD) {
		const bool whole = begin == 0 && end == n_bytes;

		AQZ_TRY(unzstd(whole ? dst : scratch, n_bytes, payload, payload_bytes, context, err));
		if (!whole && end > begin)
			memcpy(dst, (const uint8_t *)scratch + begin, end - begin);
	} else {
		status = corrupt(err, "the chunk's coding is none of the lossless codec's");
	}
out:
	ZSTD_freeDCtx(context);
	return status;
}

const aqz_codec aqz_codec_lossless = {
	.id = AQZ_CODEC_LOSSLESS,
	.name = "lossless",
	.params_read = params_read,
	.params_write = params_write,
	.check = check,
	.payload_bounds = payload_bounds,
	.coding_ok = coding_ok,
	.decoder_bytes = decoder_bytes,
	.decoder_create = decoder_create,
	.decoder_free = decoder_free,
	.scratch_bytes = scratch_bytes,
	.decode = decode,
};
