/* SPDX-License-Identifier: Apache-2.0 */
/* Reads .npy files of integers: magic, version, the length of the header, a Python literal
 * {'descr': '<u2', 'fortran_order': False, 'shape': (32, 1024), }, data. */
#include "interop/npy.h"

#include <inttypes.h>

/* NumPy writes 128 bytes for all that is taken here. */
#define MAX_HEADER_BYTES 65536
#define PIECE_BYTES 65536

enum { DESCR = 1, ORDER = 2, SHAPE = 4, ALL = 7 };

typedef struct literal {
	const char *text;
	size_t n, at;
	uint64_t offset; /* of text in the file */
	aqz_npy *out;
	aqz_error *err;
} literal;

static aqz_status corrupt(const literal *l, const char *text)
{
	return aqz_fail(l->err, AQZ_E_CORRUPT, l->offset + l->at, "header", "%s", text);
}

static void skip_space(literal *l)
{
	while (l->at < l->n && (l->text[l->at] == ' ' || l->text[l->at] == '\n'))
		l->at++;
}

/* Steps over one character, and what space is before it; false if another one stands there. */
static bool take(literal *l, char c)
{
	skip_space(l);
	if (l->at == l->n || l->text[l->at] != c)
		return false;
	l->at++;
	return true;
}

static bool take_word(literal *l, const char *word)
{
	const size_t n = strlen(word);

	skip_space(l);
	if (l->n - l->at < n || memcmp(l->text + l->at, word, n) != 0)
		return false;
	l->at += n;
	return true;
}

/* A string in either kind of quotes, without escapes. */
static bool take_string(literal *l, const char **text, size_t *n)
{
	size_t end;

	skip_space(l);
	if (l->at == l->n || (l->text[l->at] != '\'' && l->text[l->at] != '"'))
		return false;
	for (end = l->at + 1; end < l->n && l->text[end] != l->text[l->at]; end++)
		if (l->text[end] == '\\' || (unsigned char)l->text[end] < 0x20)
			return false;
	if (end == l->n)
		return false;
	*text = l->text + l->at + 1;
	*n = end - l->at - 1;
	l->at = end + 1;
	return true;
}

/* '<', '>' or '|', 'i' or 'u', bytes. */
static aqz_status take_descr(literal *l)
{
	const char *text;
	size_t n;

	if (!take_string(l, &text, &n))
		return aqz_fail(l->err, AQZ_E_UNSUPPORTED, l->offset + l->at, "header.descr",
			"only arrays of integers are supported, no structures");
	if (n == 3 && strchr("<>|", text[0]) != NULL && strchr("iu", text[1]) != NULL &&
		strchr("1248", text[2]) != NULL && (text[0] != '|' || text[2] == '1')) {
		l->out->is_signed = text[1] == 'i';
		l->out->item_bytes = (unsigned)(text[2] - '0');
		l->out->swapped = text[0] == '>' && text[2] != '1';
		return AQZ_OK;
	}
	/* Anything may stand there, but texts of errors are UTF-8. */
	if (n > 32 || !aqz_text_ok(text, n)) {
		text = "...";
		n = 3;
	}
	return aqz_fail(l->err, AQZ_E_UNSUPPORTED, l->offset + l->at, "header.descr",
		"elements of type '%.*s' are not supported, only integers of 1 to 8 bytes", (int)n, text);
}

static aqz_status take_order(literal *l, bool *columns_first)
{
	*columns_first = take_word(l, "True");
	if (*columns_first || take_word(l, "False"))
		return AQZ_OK;
	return aqz_fail(l->err, AQZ_E_CORRUPT, l->offset + l->at, "header.fortran_order",
		"is neither True nor False");
}

static bool take_number(literal *l, uint64_t *out)
{
	const size_t begin = l->at;

	for (*out = 0; l->at < l->n && l->text[l->at] >= '0' && l->text[l->at] <= '9'; l->at++)
		if (!aqz_mul(out, *out, 10) || !aqz_add(out, *out, (uint64_t)(l->text[l->at] - '0')))
			return false;
	return l->at > begin && (l->text[begin] != '0' || l->at == begin + 1);
}

/* (), (n,), (n, m) or (n, m,) */
static aqz_status take_shape(literal *l)
{
	aqz_npy *out = l->out;
	bool comma = true;

	if (!take(l, '('))
		return aqz_fail(
			l->err, AQZ_E_CORRUPT, l->offset + l->at, "header.shape", "the shape is no tuple");
	out->n_elements = 1;
	out->rank = 0;
	while (!take(l, ')')) {
		uint64_t size;

		if (!comma || !take_number(l, &size) || size > INT64_MAX)
			return aqz_fail(l->err, AQZ_E_CORRUPT, l->offset + l->at, "header.shape",
				"the shape is no tuple of sizes");
		if (out->rank == AQZ_MAX_RANK)
			return aqz_fail(l->err, AQZ_E_UNSUPPORTED, l->offset + l->at, "header.shape",
				"more than %d dimensions are not supported", AQZ_MAX_RANK);
		out->shape[out->rank++] = size;
		if (!aqz_mul(&out->n_elements, out->n_elements, size))
			return aqz_fail(
				l->err, AQZ_E_CORRUPT, l->offset + l->at, "header.shape", "the shape overflows");
		comma = take(l, ',');
	}
	if (out->rank == 1 && !comma)
		return aqz_fail(l->err, AQZ_E_CORRUPT, l->offset + l->at, "header.shape",
			"the shape is a number, no tuple");
	return AQZ_OK;
}

static aqz_status take_member(literal *l, unsigned *seen, bool *columns_first)
{
	static const struct {
		const char *name;
		unsigned bit;
	} keys[] = {{"descr", DESCR}, {"fortran_order", ORDER}, {"shape", SHAPE}};
	unsigned bit = 0;
	const char *key;
	size_t n;

	if (!take_string(l, &key, &n))
		return corrupt(l, "a key is missing");
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (n == strlen(keys[i].name) && memcmp(key, keys[i].name, n) == 0)
			bit = keys[i].bit;
	if (bit == 0)
		return corrupt(l, "a key is none of descr, fortran_order and shape");
	if ((*seen & bit) != 0)
		return corrupt(l, "a key occurs twice");
	*seen |= bit;
	if (!take(l, ':'))
		return corrupt(l, "a colon is missing after a key");
	skip_space(l);
	return bit == DESCR ? take_descr(l)
		: bit == ORDER	? take_order(l, columns_first)
						: take_shape(l);
}

static aqz_status read_literal(literal *l)
{
	bool columns_first = false, comma = true;
	unsigned seen = 0;
	aqz_status status;

	if (!take(l, '{'))
		return corrupt(l, "the header is no dictionary");
	while (!take(l, '}')) {
		if (!comma)
			return corrupt(l, "a comma or the closing bracket is missing");
		AQZ_TRY(take_member(l, &seen, &columns_first));
		comma = take(l, ',');
	}
	skip_space(l);
	if (l->at != l->n)
		return corrupt(l, "text follows the dictionary");
	if (seen != ALL)
		return corrupt(l, "descr, fortran_order or shape is missing");
	if (columns_first && l->out->rank > 1)
		return aqz_fail(l->err, AQZ_E_UNSUPPORTED, l->offset, "header.fortran_order",
			"columns first are not supported; save numpy.ascontiguousarray(a)");
	status = AQZ_OK;
out:
	return status;
}

static aqz_status check_data(const aqz_npy *npy, uint64_t file_bytes, aqz_error *err)
{
	uint64_t n_bytes;

	if (!aqz_mul(&n_bytes, npy->n_elements, npy->item_bytes) || n_bytes > INT64_MAX)
		return aqz_fail(err, AQZ_E_CORRUPT, npy->offset, "header.shape", "the shape overflows");
	if (n_bytes > file_bytes - npy->offset)
		return aqz_fail(err, AQZ_E_TRUNCATED, file_bytes, "data",
			"the array has %" PRIu64 " bytes, but the file only %" PRIu64 " of them", n_bytes,
			file_bytes - npy->offset);
	if (n_bytes < file_bytes - npy->offset)
		return aqz_fail(err, AQZ_E_CORRUPT, npy->offset + n_bytes, "data",
			"%" PRIu64 " bytes follow the array", file_bytes - npy->offset - n_bytes);
	return AQZ_OK;
}

static aqz_status fail_read(aqz_error *err, aqz_status status, uint64_t offset)
{
	return aqz_fail(err, status, offset, NULL,
		status == AQZ_E_TRUNCATED ? "the file became shorter while it was read"
								  : "the file could not be read");
}

aqz_status aqz_npy_open(aqz_npy *out, const aqz_io *io, aqz_error *err)
{
	literal l = {.out = out, .err = err};
	uint8_t head[12];
	uint64_t file_bytes, length;
	char *text = NULL;
	aqz_status status;

	*out = (aqz_npy){0};
	status = io->size(io->user, &file_bytes);
	if (status != AQZ_OK)
		return aqz_fail(err, status, AQZ_NO_OFFSET, NULL, "the length of the file is not known");
	if (file_bytes < sizeof head)
		return aqz_fail(err, AQZ_E_FORMAT, 0, "header", "the file is too short for a .npy file");
	status = io->pread(io->user, head, sizeof head, 0);
	if (status != AQZ_OK)
		return fail_read(err, status, 0);
	if (memcmp(head, "\x93NUMPY", 6) != 0)
		return aqz_fail(err, AQZ_E_FORMAT, 0, "header", "the file does not begin as a .npy file");
	if (head[6] < 1 || head[6] > 3 || head[7] != 0)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, 6, "header.version",
			"version %u.%u is not supported, only 1.0, 2.0 and 3.0", head[6], head[7]);
	l.offset = head[6] == 1 ? 10 : 12;
	length = head[6] == 1 ? aqz_get16(head + 8) : aqz_get32(head + 8);
	if (length > file_bytes - l.offset)
		return aqz_fail(err, AQZ_E_TRUNCATED, file_bytes, "header",
			"the file ends inside its header of %" PRIu64 " bytes", length);
	if (length > MAX_HEADER_BYTES)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, 8, "header",
			"a header of %" PRIu64 " bytes is not supported, only %d", length, MAX_HEADER_BYTES);
	text = malloc((size_t)length + 1);
	if (text == NULL)
		return aqz_fail_nomem(err, length + 1);
	status = io->pread(io->user, text, (size_t)length, l.offset);
	if (status != AQZ_OK) {
		fail_read(err, status, l.offset);
		goto out;
	}
	l.text = text;
	l.n = (size_t)length;
	AQZ_TRY(read_literal(&l));
	out->offset = l.offset + length;
	AQZ_TRY(check_data(out, file_bytes, err));
out:
	free(text);
	return status;
}

/* The number at p; false if it is negative or beyond 2^32 - 2. */
static bool number(uint32_t *out, const aqz_npy *npy, const uint8_t *p)
{
	const unsigned n = npy->item_bytes;
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)p[npy->swapped ? n - 1 - i : i] << (8 * i);
	*out = (uint32_t)v;
	return v < UINT32_MAX && !(npy->is_signed && (p[npy->swapped ? 0 : n - 1] & 0x80) != 0);
}

aqz_status aqz_npy_read(
	uint32_t *dst, const aqz_npy *npy, const aqz_io *io, uint64_t first, uint64_t n, aqz_error *err)
{
	uint8_t *piece = malloc(PIECE_BYTES);
	aqz_status status = AQZ_OK;

	if (piece == NULL)
		return aqz_fail_nomem(err, PIECE_BYTES);
	while (n > 0) {
		const uint64_t some = aqz_min(n, PIECE_BYTES / npy->item_bytes);
		const uint64_t offset = npy->offset + first * npy->item_bytes;

		status = io->pread(io->user, piece, (size_t)some * npy->item_bytes, offset);
		if (status != AQZ_OK) {
			fail_read(err, status, offset);
			goto out;
		}
		for (uint64_t i = 0; i < some; i++) {
			if (number(dst + i, npy, piece + i * npy->item_bytes))
				continue;
			status = aqz_fail(err, AQZ_E_CORRUPT, offset + i * npy->item_bytes, "data",
				"element %" PRIu64 " is no token id: it is negative or too large", first + i);
			goto out;
		}
		dst += some;
		first += some;
		n -= some;
	}
out:
	free(piece);
	return status;
}
