/* SPDX-License-Identifier: Apache-2.0 */
/* Tokenizers that are broken, hostile or not supported: the status, the field and the words for each; files cut short
 * everywhere; memory that runs out; patterns that would run for ever. */
#include "tests/heap.h"
#include "tests/tokenizer_files.h"

/* A change of a file of tests/data, and what comes of it. */
static const struct {
	const char *file, *change;
	aqz_status status;
	const char *where, *text;
} changes[] = {
	{BYTE_LEVEL, "{'model':{'type':'Unigram'}}", AQZ_E_UNSUPPORTED, "model.type",
		"only BPE is supported, not Unigram"},
	{BYTE_LEVEL, "{'model':{'type':'WordPiece'}}", AQZ_E_UNSUPPORTED, "model.type",
		"only BPE is supported, not WordPiece"},
	{BYTE_LEVEL, "{'model':null}", AQZ_E_FORMAT, "model",
		"this JSON is no tokenizer: it has no model"},
	{BYTE_LEVEL, "{'model':{'merges':null}}", AQZ_E_CORRUPT, "model.merges",
		"the tokenizer has no merges"},
	{BYTE_LEVEL, "{'model':{'merges':[]}}", AQZ_E_CORRUPT, "model.merges",
		"the tokenizer has no merges"},
	{BYTE_LEVEL, "{'model':{'vocab':[]}}", AQZ_E_CORRUPT, "model.vocab",
		"the tokenizer has no vocabulary"},
	{BYTE_LEVEL, "{'model':{'dropout':0.1}}", AQZ_E_UNSUPPORTED, "model.dropout",
		"merges at random are not supported"},
	{BYTE_LEVEL, "{'model':{'end_of_word_suffix':'</w>'}}", AQZ_E_UNSUPPORTED, "model",
		"end_of_word_suffix is not supported"},
	{BYTE_LEVEL, "{'model':{'ignore_merges':1}}", AQZ_E_CORRUPT, "model",
		"its ignore_merges is no bool"},
	{BYTE_LEVEL, "{'model':{'merges':['a b',['a','zz']]}}", AQZ_E_CORRUPT, "model.merges[0]",
		"it makes a token that is not in the vocabulary"},
	{BYTE_LEVEL, "{'model':{'merges':[['h','e'],['a','zz']]}}", AQZ_E_CORRUPT, "model.merges[1]",
		"it names a token that is not in the vocabulary"},
	{BYTE_LEVEL, "{'model':{'merges':['a b c']}}", AQZ_E_CORRUPT, "model.merges[0]",
		"it is not two tokens"},
	{BYTE_LEVEL, "{'model':{'merges':[['a','b','c']]}}", AQZ_E_CORRUPT, "model.merges[0]",
		"it is not two tokens"},
	{BYTE_LEVEL, "{'model':{'merges':[7]}}", AQZ_E_CORRUPT, "model.merges[0]", "it is not two tokens"},
	{BYTE_LEVEL, "{'model':{'vocab':{'a':0,'b':0}}}", AQZ_E_CORRUPT, "vocab",
		"two tokens have the id 0"},
	{BYTE_LEVEL, "{'model':{'vocab':{'a':-1}}}", AQZ_E_CORRUPT, "model.vocab",
		"an id is no integer from 0 on"},
	{BYTE_LEVEL, "{'model':{'vocab':{'a':'b'}}}", AQZ_E_CORRUPT, "model.vocab",
		"an id is no integer from 0 on"},
	{BYTE_LEVEL, "{'model':{'vocab':{'a':4294967297}}}", AQZ_E_CORRUPT, "model.vocab",
		"an id is far beyond the number of tokens"},
	{BYTE_LEVEL, "{'model':{'vocab':{'a':9223372036854775807}}}", AQZ_E_CORRUPT, "model.vocab",
		"an id is far beyond the number of tokens"},
	{BYTE_LEVEL, "{'added_tokens':{}}", AQZ_E_CORRUPT, "added_tokens", "this is no list"},
	{BYTE_LEVEL, "{'added_tokens':[{'id':5}]}", AQZ_E_CORRUPT, "added_tokens",
		"its content is missing or no string"},
	{BYTE_LEVEL, "{'added_tokens':[{'id':300000000000,'content':'x'}]}", AQZ_E_CORRUPT,
		"model.vocab", "an id is far beyond the number of tokens"},
	{BYTE_LEVEL, "{'added_tokens':[{'id':3,'content':'<new>'}]}", AQZ_E_CORRUPT, "vocab",
		"two tokens have the id 3"},
	{BYTE_LEVEL, "{'added_tokens':[{'id':500,'content':'a'}]}", AQZ_E_CORRUPT, "added_tokens",
		"the added token 500 has the text of token 65"},
	{BYTE_LEVEL, "{'added_tokens':[{'id':400,'content':'<x>'},{'id':400,'content':'<x>'}]}",
		AQZ_E_CORRUPT, "added_tokens", "the token 400 is added twice"},
	{BYTE_LEVEL, "{'pre_tokenizer':{'type':'BertPreTokenizer'}}", AQZ_E_UNSUPPORTED,
		"pre_tokenizer", "the pre_tokenizer \"BertPreTokenizer\" is not supported"},
	{BYTE_LEVEL, "{'pre_tokenizer':{'type':'\\u00e9\\u0001'}}", AQZ_E_UNSUPPORTED, "pre_tokenizer",
		"the pre_tokenizer \"???\" is not supported"},
	{BYTE_LEVEL, "{'pre_tokenizer':{}}", AQZ_E_CORRUPT, "pre_tokenizer",
		"its type is missing or no string"},
	{BYTE_LEVEL, "{'pre_tokenizer':{'type':'Sequence'}}", AQZ_E_CORRUPT, "pre_tokenizer",
		"the list of a Sequence is missing"},
	{BYTE_LEVEL, "{'pre_tokenizer':{'type':'Sequence','pretokenizers':[{'type':'ByteLevel'},{'type':'Whitespace'}]}}",
		AQZ_E_UNSUPPORTED, "pre_tokenizer", "a step after ByteLevel is not supported"},
	{BYTE_LEVEL, "{'pre_tokenizer':{'type':'Split','pattern':{'Regex':'(a'},'behavior':'Isolated'}}",
		AQZ_E_UNSUPPORTED, "pre_tokenizer",
		"the pattern is none that PCRE2 understands (its error 114)"},
	{BYTE_LEVEL,
		"{'pre_tokenizer':{'type':'Split','pattern':{'Regex':'[a[b]]'},'behavior':'Isolated'}}",
		AQZ_E_UNSUPPORTED, "pre_tokenizer",
		"the pattern has a class in a class, which is not supported"},
	{BYTE_LEVEL,
		"{'pre_tokenizer':{'type':'Split','pattern':{'Regex':'(*COMMIT)a'},'behavior':'Isolated'}}",
		AQZ_E_UNSUPPORTED, "pre_tokenizer", "the pattern has (*, which is not supported"},
	{BYTE_LEVEL,
		"{'pre_tokenizer':{'type':'Split','pattern':{'Regex':'\\\\C'},'behavior':'Isolated'}}",
		AQZ_E_UNSUPPORTED, "pre_tokenizer", "the pattern has \\C, which is not supported"},
	{BYTE_LEVEL, "{'pre_tokenizer':{'type':'Split','pattern':{'Regex':'a'},'behavior':'Sideways'}}",
		AQZ_E_UNSUPPORTED, "pre_tokenizer", "a split has an unknown behavior"},
	{BYTE_LEVEL, "{'pre_tokenizer':{'type':'Split','pattern':{'Regex':'a'}}}", AQZ_E_UNSUPPORTED,
		"pre_tokenizer", "a split has an unknown behavior"},
	{BYTE_LEVEL, "{'normalizer':{'type':'Precompiled','precompiled_charsmap':''}}",
		AQZ_E_UNSUPPORTED, "normalizer", "the normalizer \"Precompiled\" is not supported"},
	{BYTE_LEVEL, "{'decoder':{'type':'WordPiece'}}", AQZ_E_UNSUPPORTED, "decoder",
		"the decoder \"WordPiece\" is not supported"},
	{STORIES, "{'decoder':{'type':'ByteLevel'}}", AQZ_E_UNSUPPORTED, "decoder",
		"the decoder ByteLevel goes with a pre_tokenizer ByteLevel only"},
	{STORIES, "{'decoder':{'type':'Strip','content':' ','start':1,'stop':0}}", AQZ_E_UNSUPPORTED,
		"decoder", "the decoder \"Strip in this form\" is not supported"},
	{STORIES, "{'pre_tokenizer':{'type':'Metaspace','replacement':'ab'}}", AQZ_E_CORRUPT,
		"pre_tokenizer", "the replacement of Metaspace is not one character"},
};

START_TEST(changed_files)
{
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
		aqz_tokenizer *t;
		aqz_error err = {0};
		aqz_status status;

		if (strcmp(changes[i].change, "{'model':null}") == 0) {
			json_t *json = load_data(changes[i].file);

			json_object_del(json, "model");
			status = parse_json(&t, json, &err);
			json_decref(json);
		} else if (strstr(changes[i].change, "'vocab':{") != NULL) { /* not beside the old one */
			json_t *json = load_data(changes[i].file);
			char *text = strdup(changes[i].change);
			json_t *change;

			for (char *c = text; *c != '\0'; c++)
				*c = *c == '\'' ? '"' : *c;
			change = json_loads(text, 0, NULL);
			apply_change(json, change);
			json_array_clear(json_object_get(json, "added_tokens"));
			status = parse_json(&t, json, &err);
			json_decref(json);
			json_decref(change);
			free(text);
		} else {
			status = parse_changed(&t, changes[i].file, changes[i].change, &err);
		}
		ck_assert_msg(status == changes[i].status && strcmp(err.where, changes[i].where) == 0 &&
				strcmp(err.text, changes[i].text) == 0,
			"%s: %s, %s: %s", changes[i].change, aqz_status_name(status), err.where, err.text);
		ck_assert_ptr_null(t);
	}
}
END_TEST

static aqz_status parse_text(const char *text, aqz_error *err)
{
	aqz_tokenizer *t;
	const aqz_status status = aqz_tokenizer_parse(&t, text, strlen(text), NULL, 0, 0, err);

	aqz_tokenizer_close(t);
	return status;
}

START_TEST(bad_json)
{
	char deep[200];
	aqz_error err = {0};

	memset(deep, '[', sizeof deep - 1);
	deep[sizeof deep - 1] = '\0';
	memcpy(deep, "{\"a\":", 5);
	ck_assert_int_eq(parse_text(deep, &err), AQZ_E_CORRUPT);
	ck_assert_str_eq(err.text, "JSON is nested deeper than 32");
	ck_assert_int_eq(parse_text("", &err), AQZ_E_FORMAT);
	ck_assert_int_eq(parse_text("  [1]", &err), AQZ_E_FORMAT);
	ck_assert_int_eq(parse_text("GGUF", &err), AQZ_E_FORMAT);
	ck_assert_int_eq(parse_text("{} x", &err), AQZ_E_CORRUPT);
	ck_assert_str_eq(err.text, "something follows the JSON object");
	ck_assert_int_eq(parse_text("{\"model\":1,\"model\":2}", &err), AQZ_E_CORRUPT);
	ck_assert_str_eq(err.text, "a JSON key occurs twice");
	ck_assert_int_eq(parse_text("{\"model\":\"\xff\"}", &err), AQZ_E_CORRUPT);
}
END_TEST

/* Whatever is cut off or changed, there is an answer. */
START_TEST(cut_and_flipped)
{
	static const char *const files[] = {BYTE_LEVEL, STORIES_MODEL};

	for (size_t k = 0; k < 2; k++) {
		aqz_buffer b = read_data(files[k]);
		uint8_t *copy = malloc(b.n);
		aqz_tokenizer *t;
		aqz_error err;
		aqz_status status;

		for (size_t n = 0; n < b.n; n += 1 + n / 16) {
			memcpy(copy, b.data, n);
			status = aqz_tokenizer_parse(&t, copy, n, NULL, 0, 0, &err);
			ck_assert(status != AQZ_E_ARGUMENT && status != AQZ_E_NOMEM);
			ck_assert(k == 1 || (status != AQZ_OK && t == NULL));
			aqz_tokenizer_close(t);
		}
		for (uint32_t i = 0; i < 400; i++) {
			const size_t at = (size_t)i * 2654435761u % b.n;
			char text[3] = "a\xc3";
			uint32_t *ids;
			size_t n_ids;

			memcpy(copy, b.data, b.n);
			copy[at] ^= (uint8_t)(1 << i % 8);
			status = aqz_tokenizer_parse(&t, copy, b.n, NULL, 0, 0, &err);
			ck_assert(status != AQZ_E_ARGUMENT && status != AQZ_E_NOMEM);
			if (status == AQZ_OK &&
				aqz_tokenizer_encode(t, &ids, &n_ids, text, 3, true, &err) == AQZ_OK)
				free(ids);
			aqz_tokenizer_close(t);
		}
		free(copy);
		aqz_buffer_free(&b);
	}
}
END_TEST

static void check_model(aqz_buffer *b, aqz_status expected, const char *text)
{
	aqz_tokenizer *t;
	aqz_error err = {0};
	const aqz_status status = aqz_tokenizer_parse(&t, b->data, b->n, NULL, 0, 0, &err);

	ck_assert_msg(status == expected && (text == NULL || strcmp(err.text, text) == 0), "%s: %s",
		aqz_status_name(status), err.text);
	aqz_tokenizer_close(t);
	aqz_buffer_free(b);
}

START_TEST(bad_models)
{
	static const uint8_t long_piece[] = {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
	static const uint8_t endless[] = {
		0x0a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80};
	static const uint8_t group[] = {0x0a, 0x00, 0x0b};
	static const uint8_t ends[] = {0x0a, 0x03, 0x0a, 0x05, 'a'};
	char long_text[2000] = "";
	const float nan = __builtin_nanf("");
	aqz_buffer b = {0};

	gguf_add(&b, long_piece, sizeof long_piece);
	check_model(&b, AQZ_E_TRUNCATED, "a field goes beyond the end");
	gguf_add(&b, endless, sizeof endless);
	check_model(&b, AQZ_E_CORRUPT, "a number has more than ten bytes");
	gguf_add(&b, group, sizeof group);
	check_model(&b, AQZ_E_CORRUPT, "a field has an unknown type");
	proto_piece(&b, "a", 0, 1);
	check_model(&b, AQZ_E_UNSUPPORTED, "only BPE is supported, not Unigram");
	proto_piece(&b, "a", 0, 1);
	proto_specs(&b, 3, false, true, false);
	check_model(&b, AQZ_E_UNSUPPORTED, "only BPE is supported, not Word");
	gguf_add(&b, ends, sizeof ends);
	proto_specs(&b, 2, false, true, false);
	check_model(&b, AQZ_E_TRUNCATED, "a field goes beyond the end");
	proto_piece(&b, "a", 0, 1);
	proto_piece(&b, "a", 0, 1);
	proto_specs(&b, 2, false, true, false);
	check_model(&b, AQZ_E_CORRUPT, "the text of token 1 is that of another one too");
	proto_piece(&b, "", 0, 1);
	proto_specs(&b, 2, false, true, false);
	check_model(&b, AQZ_E_CORRUPT, "a piece is empty or no UTF-8");
	proto_piece(&b, "\xff", 0, 1);
	proto_specs(&b, 2, false, true, false);
	check_model(&b, AQZ_E_CORRUPT, "a piece is empty or no UTF-8");
	proto_piece(&b, "a", nan, 1);
	proto_specs(&b, 2, false, true, false);
	check_model(&b, AQZ_E_CORRUPT, "the score of a piece is no number");
	proto_piece(&b, "a", 0, 9);
	proto_specs(&b, 2, false, true, false);
	check_model(&b, AQZ_E_CORRUPT, "a piece has an unknown type");
	proto_piece(&b, "0x41", 0, 6);
	proto_specs(&b, 2, true, true, false);
	check_model(&b, AQZ_E_CORRUPT, "the piece 0 is a byte but not written as one");
	proto_piece(&b, "x", 0, 2);
	proto_piece(&b, "y", 0, 2);
	proto_specs(&b, 2, true, true, false);
	check_model(&b, AQZ_E_CORRUPT, "the pieces 0 and 1 are both the unknown one");
	proto_piece(&b, "a", 0, 1);
	proto_piece(&b, "aa", 0, 5);
	proto_specs(&b, 2, true, true, false);
	check_model(&b, AQZ_E_UNSUPPORTED,
		"the piece 1 is unused but could come of merges, which is not supported");
	memset(long_text, 'a', sizeof long_text - 1);
	proto_piece(&b, long_text, 0, 1);
	proto_specs(&b, 2, true, true, false);
	check_model(&b, AQZ_E_UNSUPPORTED, "the token 0 has more than 1024 bytes");
	proto_piece(&b, "a", 0, 1);
	proto_specs(&b, 2, true, true, false);
	proto_bytes(&b, 3, "\x12\x02zz", 4); /* precompiled_charsmap */
	check_model(&b, AQZ_E_UNSUPPORTED, "a normalizer other than identity is not supported");
}
END_TEST

START_TEST(bad_gguf)
{
	static const char *const tokens[] = {"a", "b", "ab"}, *const merges[] = {"a b"},
							 *const lost[] = {"a c"}, *const one[] = {"ab"};
	static const struct {
		const char *model, *pre;
		const char *const *merges;
		int n_types;
		uint32_t bos;
		aqz_status status;
		const char *text;
	} cases[] = {
		{NULL, NULL, NULL, 0, 0, AQZ_E_NOT_FOUND, "the file has no tokenizer"},
		{"bert", NULL, NULL, 0, 0, AQZ_E_UNSUPPORTED,
			"only gpt2 (byte-level BPE) and llama (SentencePiece BPE) are supported"},
		{"gpt2", "dbrx", merges, 3, 0, AQZ_E_UNSUPPORTED,
			"splitting text as \"dbrx\" does is not supported"},
		{"gpt2", "gpt-2", NULL, 3, 0, AQZ_E_CORRUPT, "the tokenizer has no merges"},
		{"gpt2", "gpt-2", lost, 3, 0, AQZ_E_CORRUPT, "a merge names a token that is not there"},
		{"gpt2", "gpt-2", one, 3, 0, AQZ_E_CORRUPT, "a merge is not two tokens"},
		{"gpt2", "gpt-2", merges, 2, 0, AQZ_E_CORRUPT, "there is not one for each token"},
		{"gpt2", "gpt-2", merges, 3, 3, AQZ_E_CORRUPT, "the id is out of range"},
		{"llama", NULL, NULL, 3, 0, AQZ_E_CORRUPT, "there is not one for each token"},
		{"gpt2", "gpt-2", merges, 3, 2, AQZ_OK, ""},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const int32_t types[3] = {1, 1, 1};
		gguf_file f = {0};
		aqz_buffer file;
		aqz_tokenizer *t;
		aqz_error err = {0};
		aqz_status status;

		if (cases[i].model != NULL)
			gguf_put_string(&f, "tokenizer.ggml.model", cases[i].model);
		if (cases[i].pre != NULL)
			gguf_put_string(&f, "tokenizer.ggml.pre", cases[i].pre);
		gguf_put_strings(&f, "tokenizer.ggml.tokens", tokens, 3);
		if (cases[i].merges != NULL)
			gguf_put_strings(&f, "tokenizer.ggml.merges", cases[i].merges, 1);
		gguf_put_numbers(
			&f, "tokenizer.ggml.token_type", AQZ_GGUF_I32, types, (uint64_t)cases[i].n_types);
		gguf_put_u32(&f, "tokenizer.ggml.bos_token_id", cases[i].bos);
		gguf_make(&file, &f);
		status = parse_gguf(&t, &file, &err);
		ck_assert_msg(status == cases[i].status && strcmp(err.text, cases[i].text) == 0,
			"%zu: %s: %s", i, aqz_status_name(status), err.text);
		aqz_tokenizer_close(t);
		aqz_buffer_free(&file);
	}
}
END_TEST

/* A pattern that tries all ways through a text, one whose matches are empty, a normalizer that makes much of little. */
START_TEST(hostile_steps)
{
	aqz_tokenizer *t = open_changed(STORIES,
		"{'normalizer':null,'pre_tokenizer':{'type':'Split','pattern':{'Regex':'(?:a|aa|aaa)+$'},"
		"'behavior':'Isolated'}}");
	char text[4000];
	aqz_error err = {0};
	uint32_t *ids;
	size_t n;

	memset(text, 'a', sizeof text);
	text[3999] = 'b';
	ck_assert_int_eq(
		aqz_tokenizer_encode(t, &ids, &n, text, sizeof text, false, &err), AQZ_E_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(err.text, "needs too many steps on this text"));
	ck_assert_ptr_null(ids);
	aqz_tokenizer_close(t);
	t = open_changed(STORIES,
		"{'normalizer':null,'pre_tokenizer':{'type':'Split','pattern':{'Regex':'x*|(?=a)'},"
		"'behavior':'Contiguous'}}");
	ck_assert_int_eq(aqz_tokenizer_encode(t, &ids, &n, text, sizeof text, false, &err), AQZ_OK);
	free(ids);
	aqz_tokenizer_close(t);
	t = open_changed(STORIES,
		"{'normalizer':{'type':'Sequence','normalizers':[{'type':'Replace','pattern':{'String':'a'}"
		",'content':'aaaaaaaaaaaaaaaa"
		"aaaaaaaaaaaaaaaa'},{'type':'Replace','pattern':{'String':'a'},'content':'"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'},"
		"{'type':'Replace','pattern':{'String':'a'},'content':'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'},"
		"{'type':'Lowercase'}]}}");
	ck_assert_int_eq(
		aqz_tokenizer_encode(t, &ids, &n, text, sizeof text, false, &err), AQZ_E_UNSUPPORTED);
	ck_assert_str_eq(err.text, "the text becomes more than 20 times as long");
	aqz_tokenizer_close(t);
}
END_TEST

/* A vocabulary without some byte, with and without an unknown token. */
START_TEST(missing_bytes)
{
	static const char with[] = "{'added_tokens':[],'normalizer':null,'pre_tokenizer':{'type':'"
							   "ByteLevel'},'decoder':{'type':'ByteLevel'},"
							   "'model':{'type':'BPE','unk_token':'<unk>','fuse_unk':false,'byte_"
							   "fallback':false,'vocab':{'<unk>':0,'a':1,"
							   "'b':2,'ab':3,'\xc4\xa0':4},'merges':['a b']}}";
	char without[sizeof with];
	aqz_tokenizer *t = open_changed(STORIES, with);
	aqz_error err = {0};
	uint32_t *ids;
	size_t n;

	check_ids(t,
		" abcc\x01"
		"b",
		false, "4 3 0 0 0 2");
	aqz_tokenizer_close(t);
	memcpy(without, with, sizeof with);
	memcpy(strstr(without, "'<unk>',"), "null   ,", 8);
	t = open_changed(STORIES, without);
	check_ids(t, " ab", false, "4 3");
	ck_assert_int_eq(aqz_tokenizer_encode(t, &ids, &n, " abc", 4, false, &err), AQZ_E_UNSUPPORTED);
	ck_assert_str_eq(err.text, "the vocabulary has no token for the byte 0x63 and no unknown token");
	aqz_tokenizer_close(t);
}
END_TEST

static aqz_status everything(const aqz_buffer *data, uint64_t limit, aqz_error *err)
{
	static const char text[] = "Once upon a time <tool> \xff\n  12 caf\xc3\xa9";
	aqz_tokenizer *t;
	uint32_t *ids = NULL;
	char *json = NULL, *back = NULL;
	size_t n, m;
	aqz_status status = aqz_tokenizer_parse(&t, data->data, data->n, NULL, 0, limit, err);

	if (status == AQZ_OK)
		status = aqz_tokenizer_encode(t, &ids, &n, text, sizeof text - 1, true, err);
	if (status == AQZ_OK)
		status = aqz_tokenizer_decode(t, &back, &m, ids, n, true, true, err);
	if (status == AQZ_OK)
		status = aqz_tokenizer_to_json(t, &json, &m, err);
	free(json);
	free(back);
	free(ids);
	aqz_tokenizer_close(t);
	return status;
}

START_TEST(memory_runs_out)
{
	static const char *const files[] = {BYTE_LEVEL, STORIES_MODEL};

	for (size_t k = 0; k < 2; k++) {
		aqz_buffer b = read_data(files[k]);
		size_t before;
		uint64_t n_calls, low = 1, high = 1 << 26;
		aqz_error err = {0};

		ck_assert_int_eq(everything(&b, 0, &err), AQZ_OK); /* first use of libraries */
		before = heap_now();
		heap_reset(0);
		everything(&b, 0, &err);
		n_calls = heap_calls(); /* of the library alone: Check allocates too */
		ck_assert_uint_gt(n_calls, 10);
		for (uint64_t i = 1; i <= n_calls; i++) {
			aqz_status status;

			heap_reset(i);
			status = everything(&b, 0, &err);
			heap_reset(0);
			ck_assert_msg(
				status == AQZ_E_NOMEM, "allocation %u: %s", (unsigned)i, aqz_status_name(status));
			ck_assert_uint_eq(heap_now(), before);
		}
		/* The least limit that is enough: below it MEMLIMIT, and nothing is left. */
		while (low < high) {
			const uint64_t middle = low + (high - low) / 2;
			const aqz_status status = everything(&b, middle, &err);

			ck_assert(status == AQZ_OK || status == AQZ_E_MEMLIMIT);
			ck_assert_uint_eq(heap_now(), before);
			if (status == AQZ_OK)
				high = middle;
			else
				low = middle + 1;
		}
		ck_assert(low > b.n && low < 64 * b.n + (1 << 20));
		aqz_buffer_free(&b);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tokenizer_bad");
	TCase *tcase = tcase_create("tokenizer_bad");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, changed_files);
	tcase_add_test(tcase, bad_json);
	tcase_add_test(tcase, cut_and_flipped);
	tcase_add_test(tcase, bad_models);
	tcase_add_test(tcase, bad_gguf);
	tcase_add_test(tcase, hostile_steps);
	tcase_add_test(tcase, missing_bytes);
	tcase_add_test(tcase, memory_runs_out);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
