/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds of fuzz_tokenizer: small tokenizers with every step that there is, and SentencePiece models. */
#include "fuzz/seeds_tokenizer.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/gguf_file.h"

#define VOCAB                                                                                      \
	"\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"<unk>\":3,\"\xe2\x96\x81\":4,\"e\":5,\"\xc4\xa0\":6,"   \
	"\"<0x0A>\":7,\"\xc4\xa0" "a\":8},\"merges\":[\"a b\",[\"\xc4\xa0\",\"a\"]]}"
#define MODEL "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\"," VOCAB
#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}"
#define SPLIT(pattern, behavior, invert)                                                           \
	"{\"type\":\"Split\",\"pattern\":{" pattern "},\"behavior\":\"" behavior "\",\"invert\":" invert "}"
#define SEQUENCE(list, members) "{\"type\":\"Sequence\",\"" list "\":[" members "]}"

static const struct {
	const char *name, *json;
} texts[] = {
	{"byte-level", "{\"pre_tokenizer\":" BYTE_LEVEL ",\"decoder\":{\"type\":\"ByteLevel\"}," MODEL "}"},
	{"splits",
		"{\"pre_tokenizer\":" SEQUENCE("pretokenizers",
			SPLIT("\"Regex\":\"(?i:'s)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\s+(?!\\\\S)\"", "Isolated", "false")
			","
			SPLIT("\"String\":\"a\"", "MergedWithPrevious", "true") ","
			SPLIT("\"Regex\":\"[\\\\w&]*|\\\\u00e9\"", "MergedWithNext", "false") ","
			SPLIT("\"Regex\":\"\\\\W\"", "Contiguous", "false") ","
			"{\"type\":\"Digits\",\"individual_digits\":true},"
			"{\"type\":\"Punctuation\",\"behavior\":\"Isolated\"}," BYTE_LEVEL)
		",\"model\":{\"ignore_merges\":true,\"unk_token\":\"<unk>\"," VOCAB "}"},
	{"normalizers",
		"{\"normalizer\":" SEQUENCE("normalizers",
			"{\"type\":\"NFC\"},{\"type\":\"NFKD\"},{\"type\":\"Lowercase\"},"
			"{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true},"
			"{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"},"
			"{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"},"
			"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"b+\"},\"content\":\"ab\"}")
		",\"decoder\":" SEQUENCE("decoders",
			"{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xe2\x96\x81\"},\"content\":\" \"},"
			"{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
			"{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}")
		",\"model\":{\"byte_fallback\":true,\"fuse_unk\":true,\"unk_token\":\"<unk>\"," VOCAB "}"},
	{"metaspace",
		"{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"prepend_scheme\":\"first\","
		"\"split\":true},\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\"}," MODEL "}"},
	{"words",
		"{\"pre_tokenizer\":" SEQUENCE("pretokenizers", "{\"type\":\"Whitespace\"},{\"type\":\"WhitespaceSplit\"}")
		"," MODEL "}"},
	{"added",
		"{\"added_tokens\":[{\"id\":9,\"content\":\"<s>\",\"special\":true},{\"id\":10,\"content\":\"<x>\","
		"\"single_word\":true,\"lstrip\":true,\"rstrip\":true,\"normalized\":true},{\"id\":3,\"content\":\"<unk>\"}],"
		"\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}}],"
		"\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[9]}}}," MODEL "}"},
};

static bool write_file(const char *folder, const char *name, const void *data, size_t n)
{
	char path[4200];
	FILE *file;
	bool ok;

	if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
		return false;
	file = fopen(path, "wb");
	if (file == NULL)
		return false;
	ok = fwrite(data, 1, n, file) == n;
	return fclose(file) == 0 && ok;
}

static void add_piece(aqz_buffer *b, const char *text, float score, uint8_t type)
{
	const uint8_t n = (uint8_t)strlen(text);

	aqz_buffer_add(b, (const uint8_t[]){0x0a, (uint8_t)(n + 9), 0x0a, n}, 4, NULL);
	aqz_buffer_add(b, text, n, NULL);
	aqz_buffer_add(b, "\x15", 1, NULL);
	aqz_buffer_add(b, &score, 4, NULL);
	aqz_buffer_add(b, (const uint8_t[]){0x18, type}, 2, NULL);
}

/* flags: of byte_fallback, add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces. */
static bool write_model(const char *folder, const char *name, unsigned flags)
{
	/* trainer_spec {model_type: BPE, byte_fallback}, normalizer_spec */
	const uint8_t specs[] = {0x12, 5, 0x18, 2, 0x98, 0x02, flags & 1, 0x1a, 6, 0x18, flags >> 1 & 1, 0x20,
		flags >> 2 & 1, 0x28, flags >> 3 & 1};
	aqz_buffer b = {0};
	bool ok;

	add_piece(&b, "<unk>", 0, 2);
	add_piece(&b, "<s>", 0, 3);
	add_piece(&b, "<0x0A>", 0, 6);
	add_piece(&b, "a", -4, 1);
	add_piece(&b, "b", -5, 1);
	add_piece(&b, "ab", -1, 1);
	add_piece(&b, "xy", -1, 1);
	add_piece(&b, "\xe2\x96\x81", -3, 1);
	add_piece(&b, "\xe2\x96\x81" "a", -2, 1);
	add_piece(&b, "bb", 0, 4);
	ok = aqz_buffer_add(&b, specs, sizeof specs, NULL) == AQZ_OK && write_file(folder, name, b.data, b.n);
	aqz_buffer_free(&b);
	return ok;
}

/* The same small vocabulary with merges, or with scores. */
static bool write_gguf(const char *folder, const char *name, bool scored)
{
	static const char *const tokens[] = {"<unk>", "<s>", "<0x0A>", "a", "b", "ab", "\xe2\x96\x81", "<x>"};
	static const char *const merges[] = {"a b"};
	static const int32_t types[] = {2, 3, 6, 1, 1, 1, 1, 4};
	static const float values[] = {0, 0, 0, -4, -5, -1, -3, 0};
	gguf_file f = {0};
	aqz_buffer b;
	bool ok;

	gguf_put_string(&f, "tokenizer.ggml.model", scored ? "llama" : "gpt2");
	gguf_put_string(&f, "tokenizer.ggml.pre", "llama-bpe");
	gguf_put_strings(&f, "tokenizer.ggml.tokens", tokens, 8);
	gguf_put_numbers(&f, "tokenizer.ggml.token_type", AQZ_GGUF_I32, types, 8);
	if (scored)
		gguf_put_numbers(&f, "tokenizer.ggml.scores", AQZ_GGUF_F32, values, 8);
	else
		gguf_put_strings(&f, "tokenizer.ggml.merges", merges, 1);
	gguf_put_u32(&f, "tokenizer.ggml.bos_token_id", 1);
	gguf_put_bool(&f, "tokenizer.ggml.add_bos_token", true);
	gguf_make(&b, &f);
	ok = write_file(folder, name, b.data, b.n);
	aqz_buffer_free(&b);
	return ok;
}

bool seeds_tokenizer(const char *parent)
{
	char folder[4000];
	bool ok = true;

	if (snprintf(folder, sizeof folder, "%s/tokenizer", parent) >= (int)sizeof folder)
		return false;
	mkdir(folder, 0777); /* may be there; writing tells */
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		ok = write_file(folder, texts[i].name, texts[i].json, strlen(texts[i].json)) && ok;
	ok = write_model(folder, "model-bytes", 0xb) && ok;
	ok = write_model(folder, "model-strip", 0xe) && ok;
	ok = write_model(folder, "model-plain", 0) && ok;
	ok = write_gguf(folder, "gguf-merges", false) && ok;
	ok = write_gguf(folder, "gguf-scores", true) && ok;
	return ok;
}
