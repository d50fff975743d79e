/* SPDX-License-Identifier: Apache-2.0 */
/* Bad files: records of tensors, their names, views and attributes. Checks of format/records.c and
 * catalog.c.
 *
 * No file here reaches
 * - catalog.c, more than 2^20 tensors: takes 42 MB of records;
 * - names.c, names with one hash: see names_that_collide in test_bad_files.c;
 * - records.c, an attribute is cut short: attribute bytes and values are multiples of 8, so 8 bytes
 *   are left or none. */
#include "tests/bad_files.h"

static void tensor_short(edit *e)
{
	resize_body(e, tensor_body(e, 3), 0, 32, 0);
	edit_put(e);
}

static void tensor_long(edit *e)
{
	resize_body(e, tensor_body(e, 3), 24, 0, 8);
	edit_put(e);
}

static void name_padding(edit *e)
{
	uint8_t *body = tensor_body(e, 3);

	body[aqz_get32(record_of(body) + 4) - 1] = 1;
	edit_put(e);
}

static void new_name(edit *e, const void *name, size_t n)
{
	uint8_t *body = tensor_body(e, 3);

	body = resize_body(e, body, 40, 8, (n + 7) / 8 * 8);
	aqz_put16(body + 14, (uint16_t)n);
	memcpy(body + 40, name, n);
	edit_put(e);
}

static void name_empty(edit *e)
{
	new_name(e, "", 0);
}

static void name_twice(edit *e)
{
	new_name(e, "i", 1);
}

static void name_nul(edit *e)
{
	new_name(e, "i\0", 2);
}

static void name_control(edit *e)
{
	new_name(e, "a\nb", 3);
}

static void name_surrogate(edit *e)
{
	new_name(e, "\xed\xa0\x80", 3);
}

static void name_cut(edit *e)
{
	new_name(e, "\xe7\xa9", 2);
}

static void good_name_utf8(edit *e)
{
	new_name(e, "\xe7\xa9\xba\xf0\x9f\x98\x80", 7);
}

static void good_name_long(edit *e)
{
	char name[1024];

	memset(name, 'n', sizeof name);
	new_name(e, name, sizeof name);
}

static void name_long(edit *e)
{
	char name[1025];

	memset(name, 'n', sizeof name);
	new_name(e, name, sizeof name);
}

/* The alias gets another rank and shape, whose product fits or not. */
static void new_shape(edit *e, uint8_t leading, uint16_t flags, uint8_t rank, const uint64_t *shape)
{
	uint8_t *body = resize_body(e, tensor_body(e, 3), 24, 16, 8 * (size_t)rank);

	body[10] = rank;
	body[11] = leading;
	aqz_put16(body + 12, flags);
	if (rank > 0)
		memcpy(body + 24, shape, 8 * (size_t)rank);
	edit_put(e);
}

static void good_shape_of_alias(edit *e)
{
	new_shape(e, 2, 0, 4, (uint64_t[]){1, 3, 1, 3});
}

static void good_transposed_alias(edit *e)
{
	new_shape(e, 0, 1, 3, (uint64_t[]){3, 1, 3});
}

static void shape_other(edit *e)
{
	new_shape(e, 0, 0, 2, (uint64_t[]){9, 1});
}

static void shape_overflow(edit *e)
{
	new_shape(e, 0, 0, 2, (uint64_t[]){UINT64_C(1) << 32, UINT64_C(1) << 32});
}

/* 2^64 + 9 elements are 9 modulo 2^64. */
static void shape_wraps(edit *e)
{
	new_shape(e, 0, 0, 3, (uint64_t[]){3, 3, UINT64_C(0x1c71c71c71c71c72)});
}

static void shape_overflow_of_nothing(edit *e)
{
	new_shape(e, 0, 0, 3, (uint64_t[]){0, UINT64_MAX, 3});
}

static void leading_of_a_scalar(edit *e)
{
	new_shape(e, 1, 0, 0, NULL);
}

static void leading_as_rank(edit *e)
{
	new_shape(e, 2, 0, 2, (uint64_t[]){3, 3});
}

static void leading_255(edit *e)
{
	new_shape(e, 255, 0, 2, (uint64_t[]){3, 3});
}

static void transposed_vector(edit *e)
{
	new_shape(e, 0, 1, 1, (uint64_t[]){9});
}

static void transposed_leading(edit *e)
{
	new_shape(e, 1, 1, 2, (uint64_t[]){3, 3});
}

/* The raw tensor, its section and its alias get elements of fewer than 8 bits, in as many bytes: a
 * matrix of 3 x cols. */
static void sub_byte(edit *e, uint16_t dtype, uint64_t cols, bool transposed)
{
	uint8_t *section = section_body(e, 8), *t = tensor_body(e, 2), *alias = tensor_body(e, 3);

	SURE(3 * cols * aqz_dtype_bits((aqz_dtype)dtype) == 9 * 8);
	aqz_put16(section + 8, dtype);
	aqz_put64(section + 24, cols);
	aqz_put16(t + 8, dtype);
	aqz_put64(t + 32, cols);
	aqz_put16(alias + 8, dtype);
	aqz_put16(alias + 12, transposed);
	aqz_put64(alias + 24, transposed ? cols : 3);
	aqz_put64(alias + 32, transposed ? 3 : cols);
	edit_put(e);
}

static void good_alias_of_4_bits(edit *e)
{
	sub_byte(e, AQZ_F4, 6, false);
}

static void good_alias_of_6_bits(edit *e)
{
	sub_byte(e, AQZ_F6_E3M2, 4, false);
}

static void transposed_4_bits(edit *e)
{
	sub_byte(e, AQZ_F4, 6, true);
}

static void transposed_6_bits(edit *e)
{
	sub_byte(e, AQZ_F6_E3M2, 4, true);
}

/* ---- Attributes of tensor 0: at 40 key 1 (8 bytes), at 56 key 2 (16 bytes), at 80 key 4 (8
 * bytes); 56 in all. */

static void attribute_bytes_odd(edit *e)
{
	uint8_t *body = tensor_body(e, 0);

	aqz_put32(body + 16, 55);
	aqz_put16(body + 14, 2);
	edit_put(e);
}

static void attribute_padding(edit *e)
{
	uint8_t *body = tensor_body(e, 0);

	aqz_put16(body + 80, 0x8001); /* ancillary: of any value */
	aqz_put16(body + 82, 3);
	body[88 + 3] = 1;
	edit_put(e);
}

static void attribute_unknown(edit *e)
{
	aqz_put16(tensor_body(e, 0) + 80, 5);
	edit_put(e);
}

static void attribute_ancillary(edit *e)
{
	aqz_put16(tensor_body(e, 0) + 80, 0x8005);
	edit_put(e);
}

static void attribute_of_nothing(edit *e)
{
	uint8_t *body = tensor_body(e, 0);

	aqz_put16(body + 80, 0xffff);
	aqz_put16(body + 82, 0);
	body = resize_body(e, body, 88, 8, 0);
	aqz_put32(body + 16, 48);
	edit_put(e);
}

static void put_effort(edit *e, uint64_t effort)
{
	aqz_put64(tensor_body(e, 0) + 88, effort);
	edit_put(e);
}

static void effort_0(edit *e)
{
	put_effort(e, 0);
}

static void effort_10(edit *e)
{
	put_effort(e, 10);
}

static void effort_261(edit *e)
{
	put_effort(e, 261); /* 5 in a byte */
}

static void put_reason(edit *e, uint64_t reason)
{
	aqz_put16(tensor_body(e, 0) + 80, 3);
	put_effort(e, reason);
}

static void reason_0(edit *e)
{
	put_reason(e, 0);
}

static void reason_5(edit *e)
{
	put_reason(e, 5);
}

static void good_reason(edit *e)
{
	put_reason(e, 4);
}

#define C AQZ_E_CORRUPT
#define U AQZ_E_UNSUPPORTED
#define INFINITE 0x7ff0000000000000
#define NAN_BITS 0x7ff8000000000000
#define NEGATIVE 0xbff0000000000000
#define ATTRIBUTE C, "tensor.attribute", 0, 0

const bad_file bad_tensors[] = {
	MAKE("bad-tensor-short", tensor_short, C, "tensor", 0, 0),
	MAKE("bad-tensor-long", tensor_long, C, "tensor.name_bytes", 0, 0),
	POKE("bad-tensor-name-bytes", TENSOR, 3, 14, 2, 300, C, "tensor.name_bytes", 0, 0),
	POKE("bad-tensor-attribute-bytes", TENSOR, 3, 16, 4, UINT32_MAX, C, "tensor.name_bytes", 0, 0),
	POKE("bad-tensor-attribute-bytes-8", TENSOR, 3, 16, 4, 8, C, "tensor.name_bytes", 0, 0),
	MAKE("bad-tensor-attribute-bytes-odd", attribute_bytes_odd, C, "tensor.name_bytes", 0, 0),
	MAKE("bad-tensor-name-padding", name_padding, C, "tensor.name_bytes", 0, 0),
	POKE("bad-tensor-number", TENSOR, 3, 0, 4, 2, C, "tensor.number", 0, 0),
	POKE("bad-tensor-section-late", TENSOR, 3, 4, 4, 9, C, "tensor.section", 0, 0),
	POKE("bad-tensor-section-last", TENSOR, 3, 4, 4, UINT32_MAX, C, "tensor.section", 0, 0),
	POKE("bad-tensor-section-kind", TENSOR, 3, 4, 4, 0, C, "tensor.section", 0, 0),
	POKE("unsupported-tensor-dtype", TENSOR, 3, 8, 2, 0, U, "tensor.dtype", 0, 0),
	POKE("bad-tensor-dtype", TENSOR, 3, 8, 2, AQZ_I8, C, "tensor.dtype", 0, 0),
	POKE("bad-tensor-rank", TENSOR, 3, 10, 1, 9, C, "tensor.rank", 0, 0),
	POKE("bad-tensor-rank-255", TENSOR, 3, 10, 1, 255, C, "tensor.rank", 0, 0),
	POKE("unsupported-tensor-flags", TENSOR, 3, 12, 2, 2, U, "tensor.flags", 0, 0),
	POKE("unsupported-tensor-reserved", TENSOR, 3, 20, 4, 1, U, "tensor.flags", 0, 0),
	/* Names */
	MAKE("bad-tensor-name-empty", name_empty, C, "tensor.name", 0, 0),
	MAKE("bad-tensor-name-twice", name_twice, C, "tensor.name", 0, 0),
	MAKE("bad-tensor-name-nul", name_nul, C, "tensor.name", 0, 0),
	MAKE("bad-tensor-name-control", name_control, C, "tensor.name", 0, 0),
	MAKE("bad-tensor-name-surrogate", name_surrogate, C, "tensor.name", 0, 0),
	MAKE("bad-tensor-name-cut", name_cut, C, "tensor.name", 0, 0),
	MAKE("bad-tensor-name-long", name_long, C, "tensor.name", 0, 0),
	MAKE("good-tensor-name-long", good_name_long, AQZ_OK, "", 0, 0),
	MAKE("good-tensor-name-utf8", good_name_utf8, AQZ_OK, "", 0, 0),
	/* Views */
	MAKE("good-alias-shape", good_shape_of_alias, AQZ_OK, "", 0, 0),
	MAKE("good-alias-transposed", good_transposed_alias, AQZ_OK, "", 0, 0),
	MAKE("bad-tensor-shape", shape_other, C, "tensor.shape", 0, 0),
	MAKE("bad-tensor-shape-overflow", shape_overflow, C, "tensor.shape", 0, 0),
	MAKE("bad-tensor-shape-wraps", shape_wraps, C, "tensor.shape", 0, 0),
	MAKE("bad-tensor-shape-of-nothing", shape_overflow_of_nothing, C, "tensor.shape", 0, 0),
	MAKE("bad-tensor-leading-scalar", leading_of_a_scalar, C, "tensor.shape", 0, 0),
	MAKE("bad-tensor-leading", leading_as_rank, C, "tensor.shape", 0, 0),
	MAKE("bad-tensor-leading-255", leading_255, C, "tensor.shape", 0, 0),
	MAKE("bad-tensor-transposed-vector", transposed_vector, C, "tensor.shape", 0, 0),
	MAKE("bad-tensor-transposed-leading", transposed_leading, C, "tensor.shape", 0, 0),
	MAKE("good-alias-4-bits", good_alias_of_4_bits, AQZ_OK, "", 0, 0),
	MAKE("good-alias-6-bits", good_alias_of_6_bits, AQZ_OK, "", 0, 0),
	MAKE("bad-tensor-transposed-4-bits", transposed_4_bits, C, "tensor.shape", 0, 0),
	MAKE("bad-tensor-transposed-6-bits", transposed_6_bits, C, "tensor.shape", 0, 0),
	/* Attributes */
	POKE("bad-attribute-key-0", TENSOR, 0, 40, 2, 0, ATTRIBUTE),
	POKE("bad-attribute-order", TENSOR, 0, 80, 2, 1, ATTRIBUTE),
	POKE("bad-attribute-twice", TENSOR, 0, 80, 2, 2, ATTRIBUTE),
	POKE("bad-attribute-cut", TENSOR, 0, 82, 2, 9, ATTRIBUTE),
	POKE("bad-attribute-cut-65535", TENSOR, 0, 42, 2, 65535, ATTRIBUTE),
	MAKE("bad-attribute-padding", attribute_padding, ATTRIBUTE),
	POKE("unsupported-attribute-reserved", TENSOR, 0, 44, 4, 1, U, "tensor.attribute", 0, 0),
	MAKE("unsupported-attribute-key", attribute_unknown, U, "tensor.attribute", 0, 0),
	MAKE("good-attribute-ancillary", attribute_ancillary, AQZ_OK, "", 0, 0),
	MAKE("good-attribute-of-nothing", attribute_of_nothing, AQZ_OK, "", 0, 0),
	POKE("bad-rel-mse-bytes", TENSOR, 0, 42, 2, 7, ATTRIBUTE),
	POKE("bad-rel-mse-negative", TENSOR, 0, 48, 8, NEGATIVE, ATTRIBUTE),
	POKE("bad-rel-mse-nan", TENSOR, 0, 48, 8, NAN_BITS, ATTRIBUTE),
	POKE("bad-rel-mse-infinite", TENSOR, 0, 48, 8, INFINITE, ATTRIBUTE),
	POKE("good-rel-mse-largest", TENSOR, 0, 48, 8, INFINITE - 1, AQZ_OK, "", 0, 0),
	POKE("bad-loss-bytes", TENSOR, 0, 58, 2, 15, ATTRIBUTE),
	POKE("bad-loss-before", TENSOR, 0, 64, 8, NEGATIVE, ATTRIBUTE),
	POKE("bad-loss-after", TENSOR, 0, 72, 8, NAN_BITS, ATTRIBUTE),
	POKE("bad-effort-bytes", TENSOR, 0, 82, 2, 1, ATTRIBUTE),
	MAKE("bad-effort-0", effort_0, ATTRIBUTE),
	MAKE("bad-effort-10", effort_10, ATTRIBUTE),
	MAKE("bad-effort-261", effort_261, ATTRIBUTE),
	MAKE("bad-raw-reason-0", reason_0, ATTRIBUTE),
	MAKE("bad-raw-reason-5", reason_5, ATTRIBUTE),
	MAKE("good-raw-reason", good_reason, AQZ_OK, "", 0, 0),
};
const size_t n_bad_tensors = sizeof bad_tensors / sizeof *bad_tensors;
