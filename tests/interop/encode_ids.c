/* SPDX-License-Identifier: Apache-2.0 */
/* What tokenizers_peer.py asks of the library:
 *
 *	encode_ids TOKENIZER json            writes tokenizer.json
 *	encode_ids TOKENIZER ids RECORDS     ids of texts, a line each; standard error: seconds for all of them
 *	encode_ids TOKENIZER special RECORDS the same with the texts of special tokens as these tokens
 *	encode_ids TOKENIZER bytes RECORDS   round trips: exit status 1 at the first text that does not come back
 *
 * A record is the text's length (u32, little-endian) and the text. */
#include <stdio.h>
#include <time.h>

#include "aqlmzip_model.h"
#include "base/base.h"

static int fail(const char *what, const aqz_error *err)
{
	fprintf(stderr, "encode_ids: %s: %s: %s\n", what, err->where, err->text);
	return 1;
}

static uint8_t *read_all(const char *path, size_t *n)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	long size;

	if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0)
		return NULL;
	rewind(file);
	data = malloc((size_t)size + 1);
	*n = data == NULL ? 0 : fread(data, 1, (size_t)size, file);
	fclose(file);
	return data;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int json(const aqz_tokenizer *t)
{
	aqz_error err;
	char *text;
	size_t n;

	if (aqz_tokenizer_to_json(t, &text, &n, &err) != AQZ_OK)
		return fail("json", &err);
	fwrite(text, 1, n, stdout);
	free(text);
	return fflush(stdout) == 0 ? 0 : 1;
}

/* True if the ids give back the text. */
static bool comes_back(
	const aqz_tokenizer *t, const uint32_t *ids, size_t n_ids, const char *text, size_t n)
{
	aqz_error err;
	char *back;
	size_t n_back;
	bool same;

	if (aqz_tokenizer_decode(t, &back, &n_back, ids, n_ids, true, true, &err) != AQZ_OK)
		return false;
	same = n_back == n && memcmp(back, text, n) == 0;
	free(back);
	return same;
}

int main(int argc, char **argv)
{
	const bool bytes = argc == 4 && strcmp(argv[2], "bytes") == 0;
	const bool special = argc == 4 && strcmp(argv[2], "special") == 0;
	aqz_error err = {0};
	aqz_tokenizer *t;
	double seconds = 0;
	uint8_t *data;
	size_t n, at = 0;
	int rc = 0;

	if (argc < 3 || (argc == 3 && strcmp(argv[2], "json") != 0) || argc > 4) {
		fprintf(
			stderr, "usage: encode_ids TOKENIZER json|ids RECORDS|special RECORDS|bytes RECORDS\n");
		return 2;
	}
	if (aqz_tokenizer_open(&t, argv[1], 0, &err) != AQZ_OK)
		return fail(argv[1], &err);
	if (argc == 3) {
		rc = json(t);
		aqz_tokenizer_close(t);
		return rc;
	}
	data = read_all(argv[3], &n);
	while (data != NULL && rc == 0 && at + 4 <= n) {
		const uint32_t length = aqz_get32(data + at);
		const char *text = (const char *)data + at + 4;
		const double begin = now();
		uint32_t *ids;
		size_t n_ids;

		if (length > n - at - 4)
			break;
		if (aqz_tokenizer_encode(t, &ids, &n_ids, text, length, special, &err) != AQZ_OK) {
			rc = fail("encode", &err);
			break;
		}
		seconds += now() - begin;
		if (bytes && !comes_back(t, ids, n_ids, text, length)) {
			fprintf(stderr, "encode_ids: the text at %zu does not come back\n", at);
			rc = 1;
		}
		for (size_t i = 0; i < n_ids && !bytes; i++)
			printf(i == 0 ? "%u" : " %u", ids[i]);
		if (!bytes)
			putchar('\n');
		free(ids);
		at += 4 + length;
	}
	fprintf(stderr, "%.6f\n", seconds);
	free(data);
	aqz_tokenizer_close(t);
	return rc;
}
