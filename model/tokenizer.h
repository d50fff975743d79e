/* SPDX-License-Identifier: Apache-2.0 */
/* Inside aqz_tokenizer. A text goes through these steps, each of which may be missing:
 *
 *	1. added tokens are cut out of it as it is (trie 0)
 *	2. what is left is normalised, piece by piece
 *	3. added tokens that are matched in normalised text are cut out (trie 1)
 *	4. what is left is split by the pre-tokenizer's patterns
 *	5. each split becomes symbols (bytes, or characters), and pairs of symbols are merged, lowest rank first
 *
 * All sources (tokenizer.json, tokenizer.model, GGUF) are brought to this form, in the terms of tokenizer.json. */
#ifndef AQZ_MODEL_TOKENIZER_H
#define AQZ_MODEL_TOKENIZER_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <jansson.h>
#include <pcre2.h>

#include "aqlmzip_model.h"
#include "base/base.h"

#define AQZ_TOKENIZER_MAX_IDS (UINT32_C(1) << 22)
#define AQZ_TOKENIZER_MAX_STEPS 32u
/* Of one token's text: bounds the work for each byte of a text, and of finding merges. */
#define AQZ_TOKENIZER_MAX_TOKEN_BYTES 1024u
#define AQZ_TOKENIZER_MAX_FILE_BYTES (UINT64_C(1) << 29)

/* ---- Vocabulary (tokenizer_vocab.c) */

enum {
	AQZ_TOKEN_PRESENT = 1,
	AQZ_TOKEN_TEXT = 2,    /* text becomes it by merges; tokens without this have a name space of their own */
	AQZ_TOKEN_VOCAB = 4,   /* of the vocabulary, not of added_tokens alone */
	AQZ_TOKEN_ADDED = 8,
	AQZ_TOKEN_SPECIAL = 16,
	AQZ_TOKEN_UNUSED = 32
};

typedef struct aqz_token {
	const char *key;        /* TEXT and byte-level: its bytes; else the text that the file has */
	const char *out;        /* its bytes in a text */
	uint32_t key_bytes, out_bytes;
	uint8_t flags;
} aqz_token;

typedef struct aqz_pair {
	uint32_t left, right, rank, merged; /* merged AQZ_NO_TOKEN: a free slot */
} aqz_pair;

/* ---- Steps, in the terms of tokenizer.json (tokenizer_steps.c reads them) */

typedef enum aqz_step_kind {
	AQZ_STEP_PREPEND,       /* to */
	AQZ_STEP_REPLACE,       /* from, regex or not; to. Normalizer, decoder (then no regex) */
	AQZ_STEP_NFC, AQZ_STEP_NFD, AQZ_STEP_NFKC, AQZ_STEP_NFKD, AQZ_STEP_LOWERCASE,
	AQZ_STEP_STRIP,         /* normalizer: left, right. Decoder: count times from, at the start */
	AQZ_STEP_SPLIT,         /* from, regex or not; behavior, invert */
	AQZ_STEP_METASPACE,     /* pre-tokenizer and decoder: to, scheme, split */
	AQZ_STEP_BYTE_FALLBACK, AQZ_STEP_FUSE
} aqz_step_kind;

typedef enum aqz_behavior {
	AQZ_SPLIT_REMOVED, AQZ_SPLIT_ISOLATED, AQZ_SPLIT_MERGED_WITH_PREVIOUS, AQZ_SPLIT_MERGED_WITH_NEXT,
	AQZ_SPLIT_CONTIGUOUS
} aqz_behavior;

typedef enum aqz_scheme_of_prefix { AQZ_PREFIX_ALWAYS, AQZ_PREFIX_FIRST, AQZ_PREFIX_NEVER } aqz_scheme_of_prefix;

typedef struct aqz_step {
	aqz_step_kind kind;
	const char *from, *to;
	size_t from_bytes, to_bytes;
	pcre2_code *code; /* of from, or NULL if it is no pattern */
	aqz_behavior behavior;
	aqz_scheme_of_prefix scheme;
	uint32_t count;
	bool invert, left, right, split;
} aqz_step;

typedef struct aqz_steps {
	aqz_step step[AQZ_TOKENIZER_MAX_STEPS];
	uint32_t n;
} aqz_steps;

/* ---- Added tokens (tokenizer_added.c) */

typedef struct aqz_added {
	const char *content;
	uint32_t content_bytes, id;
	bool special, normalized, lstrip, rstrip, single_word;
	bool literal; /* in normalised text by its content as it is, which is not normalised for that */
} aqz_added;

typedef struct aqz_trie_node {
	uint32_t child, sibling; /* 0 = none */
	uint32_t added;          /* index + 1, 0 = none ends here */
	uint8_t byte;
} aqz_trie_node;

typedef struct aqz_trie {
	aqz_trie_node *nodes; /* NULL: no tokens */
	uint32_t n_nodes;
	uint32_t root[256];
} aqz_trie;

/* ---- The tokenizer */

typedef struct aqz_tokenizer_held {
	struct aqz_tokenizer_held *next;
	void *p;
	uint64_t n_bytes;
} aqz_tokenizer_held;

struct aqz_tokenizer {
	uint32_t n_ids;     /* ids of the public interface */
	uint32_t n_symbols; /* and behind them characters that occur in tokens only, for merges made from scores */
	uint32_t capacity;
	aqz_token *tokens;
	uint32_t *slots, slot_mask; /* hash of keys: index + 1, 0 = free */
	uint64_t seed;
	aqz_pair *pairs;
	uint32_t pair_mask, n_pairs, max_pairs;

	bool byte_level, byte_level_prefix, byte_level_regex; /* pre_tokenizer ByteLevel, the last one */
	bool ignore_merges, byte_fallback, fuse_unk, adds_bos;
	bool cut_at_space; /* no token has U+2581 behind another character: merges never cross such a place */
	uint32_t unk, bos, eos;
	uint32_t byte_ids[256];  /* the tokens of bytes, AQZ_NO_TOKEN if there is none */
	uint32_t ascii_ids[128]; /* symbols of ASCII characters, unless byte_level */
	aqz_steps normalizer, pre_tokenizer, decoder;
	aqz_step gpt2; /* the split of byte_level_regex */
	aqz_added *added;
	uint32_t n_added;
	aqz_trie tries[2];
	const char *chat_template;
	aqz_budget budget;
	aqz_tokenizer_held *held;
	char *room; /* for small copies */
	size_t room_bytes;
};

/* tokenizer.c */
aqz_status aqz_tokenizer_new(aqz_tokenizer **out, uint64_t memlimit_bytes, aqz_error *err);
/* Memory that lives as long as the tokenizer, zeroed. */
aqz_status aqz_tokenizer_hold(aqz_tokenizer *t, void **p, uint64_t n_bytes, const char *what, aqz_error *err);
/* A copy of text that ends in NUL. */
aqz_status aqz_tokenizer_keep(aqz_tokenizer *t, const char **out, const char *text, size_t n, aqz_error *err);

/* Parses a JSON object that is the whole text. Free with aqz_json_free and t->budget. */
aqz_status aqz_tokenizer_json_load(json_t **out, uint64_t *charged, aqz_tokenizer *t, const char *text, size_t n,
	const char *where, aqz_error *err);

/* tokenizer_vocab.c. n_ids ids, and room for as many added tokens. */
aqz_status aqz_vocab_begin(aqz_tokenizer *t, uint64_t n_ids, uint64_t n_added, aqz_error *err);
/* The token of that text as files write it (byte-level: in the letters for bytes), copied. CORRUPT if the id is out of
 * range or taken, or the text occurs twice. */
aqz_status aqz_vocab_add(aqz_tokenizer *t, uint64_t id, const char *text, size_t n, unsigned flags, aqz_error *err);
/* One more symbol behind the ids, a TEXT of that key. */
aqz_status aqz_vocab_add_symbol(aqz_tokenizer *t, const char *key, size_t n, aqz_error *err);
/* By key, among TEXT tokens or the others; AQZ_NO_TOKEN. */
uint32_t aqz_vocab_find(const aqz_tokenizer *t, const char *key, size_t n, bool text);
/* By the text as files write it, TEXT tokens first. */
uint32_t aqz_vocab_find_text(const aqz_tokenizer *t, const char *text, size_t n);
/* Marks a token as added, or makes one that is. */
aqz_status aqz_vocab_add_added(aqz_tokenizer *t, const aqz_added *added, aqz_error *err);
aqz_status aqz_pairs_begin(aqz_tokenizer *t, uint64_t n, aqz_error *err);
/* The last of equal pairs counts. At most the n of aqz_pairs_begin. */
void aqz_pairs_add(aqz_tokenizer *t, uint32_t left, uint32_t right, uint32_t rank, uint32_t merged);
const aqz_pair *aqz_pairs_find(const aqz_tokenizer *t, uint32_t left, uint32_t right);
/* What follows from the rest, once all is there: tables of bytes, tries, bytes of tokens. */
aqz_status aqz_tokenizer_finish(aqz_tokenizer *t, aqz_error *err);

/* tokenizer_letters.c: byte-level files write each byte as one character. */
/* Appends the characters of n bytes, 2 * n at most; returns how many bytes these are. */
size_t aqz_letters_write(char *dst, const char *bytes, size_t n);
/* Bytes of a text of such characters, n at most; false if another character is in it. */
bool aqz_letters_read(char *dst, size_t *n_dst, const char *text, size_t n);
/* The byte of a token "<0x0A>", or -1. */
int aqz_byte_token(const char *text, size_t n);

/* tokenizer_scores.c: merges from the scores of pieces, [n_ids]; equal scores have equal ranks. */
aqz_status aqz_pairs_from_scores(aqz_tokenizer *t, const float *scores, aqz_error *err);
/* The steps of a SentencePiece model: what its normalizer_spec says, and the decoder. tokenizer_scores.c */
aqz_status aqz_steps_sentencepiece(aqz_tokenizer *t, bool prefix, bool strip, bool escape, aqz_error *err);

/* The compiled split of ByteLevel, if the pre-tokenizer asks for it. tokenizer_steps.c */
aqz_status aqz_steps_gpt2(aqz_tokenizer *t, aqz_error *err);

/* Readers. config: the tree of tokenizer_config.json, or NULL. */
aqz_status aqz_tokenizer_read_json(aqz_tokenizer *t, const char *text, size_t n, const json_t *config, aqz_error *err);
aqz_status aqz_tokenizer_read_spm(aqz_tokenizer *t, const uint8_t *data, size_t n, const json_t *config,
	aqz_error *err);
/* tokenizer_config.c: after the vocabulary. */
aqz_status aqz_tokenizer_apply_config(aqz_tokenizer *t, const json_t *config, aqz_error *err);
/* tokenizer_config.c: entries of added_tokens_decoder, for vocabularies that lack them. */
aqz_status aqz_config_added_count(const json_t *config, uint64_t *n, uint64_t *n_ids, aqz_error *err);
aqz_status aqz_config_added_apply(aqz_tokenizer *t, const json_t *config, aqz_error *err);

/* tokenizer_steps.c: null or missing JSON gives no steps. */
aqz_status aqz_steps_read_normalizer(aqz_tokenizer *t, const json_t *json, aqz_error *err);
aqz_status aqz_steps_read_pre_tokenizer(aqz_tokenizer *t, const json_t *json, aqz_error *err);
aqz_status aqz_steps_read_decoder(aqz_tokenizer *t, const json_t *json, aqz_error *err);
/* Appends a step; UNSUPPORTED if there are too many. */
aqz_status aqz_steps_add(aqz_steps *steps, const aqz_step *step, const char *where, aqz_error *err);
/* Appends a split by a pattern. */
aqz_status aqz_steps_add_split(aqz_tokenizer *t, const char *pattern, aqz_behavior behavior, bool invert,
	aqz_error *err);
/* A string of an object; n bytes, which may be 0. CORRUPT if it is none. */
aqz_status aqz_json_text_of(const json_t *object, const char *key, const char **text, size_t *n, const char *where,
	aqz_error *err);
/* A bool of an object, or the default if it is missing or null. */
aqz_status aqz_json_bool_of(const json_t *object, const char *key, bool otherwise, bool *out, const char *where,
	aqz_error *err);

/* tokenizer_spm.c: a piece by its type in SentencePiece, which GGUF has too: 1 normal, 2 unknown, 3 control, 4 user
 * defined, 5 unused, 6 byte. raw: user defined ones stand in texts before normalization. */
aqz_status aqz_vocab_add_piece(aqz_tokenizer *t, uint32_t id, const char *text, size_t n, int64_t type, bool raw,
	aqz_error *err);

/* tokenizer_regex.c: Oniguruma's patterns, as tokenizer.json has them, to PCRE2. */
extern const char aqz_gpt2_pattern[];
aqz_status aqz_regex_compile(pcre2_code **out, const char *pattern, size_t n, const char *where, aqz_error *err);

/* Scratch for matching; one for each encode. */
typedef struct aqz_regex_run {
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
} aqz_regex_run;
aqz_status aqz_regex_begin(aqz_regex_run *run, aqz_error *err);
void aqz_regex_end(aqz_regex_run *run);
/* The first match at or after at in valid UTF-8; *end = SIZE_MAX if there is none. */
aqz_status aqz_regex_match(aqz_regex_run *run, const pcre2_code *code, const char *text, size_t n, size_t at,
	size_t *begin, size_t *end, aqz_error *err);

/* tokenizer_split.c: calls emit for the splits of a text that are not empty; at: offset in text. */
typedef aqz_status aqz_emit_fn(void *user, const char *text, size_t at, size_t n);
aqz_status aqz_split(const aqz_step *step, aqz_regex_run *run, const char *text, size_t n, aqz_emit_fn *emit,
	void *user, aqz_error *err);

/* tokenizer_normalize.c: all steps of the normalizer over any bytes; those that are no UTF-8 stay as they are. What was
 * in out and scratch is lost; text is in neither. */
aqz_status aqz_normalize(const aqz_tokenizer *t, aqz_regex_run *run, aqz_buffer *out, aqz_buffer *scratch,
	const char *text, size_t n, aqz_error *err);

/* tokenizer_added.c */
aqz_status aqz_added_finish(aqz_tokenizer *t, aqz_error *err);
/* Calls piece for text between tokens and token for each. special: also those that are special. */
typedef struct aqz_cut {
	aqz_status (*piece)(void *user, const char *text, size_t at, size_t n);
	aqz_status (*token)(void *user, uint32_t id);
	void *user;
} aqz_cut;
aqz_status aqz_added_cut(const aqz_tokenizer *t, const aqz_trie *trie, const aqz_cut *cut, const char *text, size_t n,
	bool special);

/* tokenizer_bpe.c: one split to ids. Scratch of one encode; zeroed at first. */
typedef struct aqz_bpe {
	const aqz_tokenizer *t;
	uint32_t *ids; /* what has come out so far */
	size_t n_ids, ids_capacity;
	uint32_t *symbols;           /* scratch for long words */
	size_t symbols_capacity;
	struct aqz_bpe_entry *heap;
	size_t n_heap, heap_capacity;
	struct aqz_bpe_word *cache;  /* words seen before */
	size_t n_words;
	aqz_error *err;
} aqz_bpe;
aqz_status aqz_bpe_put(aqz_bpe *b, uint32_t id);
aqz_status aqz_bpe_word(aqz_bpe *b, const char *text, size_t n);
void aqz_bpe_free(aqz_bpe *b); /* all but ids */

/* tokenizer_decode.c: fills the bytes of each token. */
aqz_status aqz_decoder_finish(aqz_tokenizer *t, aqz_error *err);

/* ---- UTF-8 */

/* Bytes of the character at p, 0 if there is no whole one. */
static inline unsigned aqz_utf8_bytes(const char *p, size_t left)
{
	const unsigned char *u = (const unsigned char *)p;

	if (left == 0)
		return 0;
	if (u[0] < 0x80)
		return 1;
	if (u[0] < 0xc2 || u[0] > 0xf4 || left < 2 || (u[1] & 0xc0) != 0x80)
		return 0;
	if (u[0] < 0xe0)
		return 2;
	if (left < 3 || (u[2] & 0xc0) != 0x80 || (u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f))
		return 0;
	if (u[0] < 0xf0)
		return 3;
	if (left < 4 || (u[3] & 0xc0) != 0x80 || (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f))
		return 0;
	return 4;
}
/* The code point of a character that has so many bytes. */
static inline uint32_t aqz_utf8_code(const char *p, unsigned bytes)
{
	const unsigned char *u = (const unsigned char *)p;

	return bytes == 1 ? u[0]
		: bytes == 2  ? (u[0] & 0x1fu) << 6 | (u[1] & 0x3fu)
		: bytes == 3  ? (u[0] & 0x0fu) << 12 | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu)
					  : (u[0] & 0x07u) << 18 | (u[1] & 0x3fu) << 12 | (u[2] & 0x3fu) << 6 | (u[3] & 0x3fu);
}
/* Bytes of the longest valid beginning, and of the longest beginning without any valid character. tokenizer_text.c */
size_t aqz_utf8_valid(const char *text, size_t n);
size_t aqz_utf8_invalid(const char *text, size_t n);
/* White_Space of Unicode, and characters of words (as regular expressions have them). */
bool aqz_is_space(uint32_t code);
bool aqz_is_word(uint32_t code);

#endif
