/* SPDX-License-Identifier: Apache-2.0 */
/**
 * aqlmzip: the language model around the weights. Runs models of the Llama family from compressed or plain files:
 * tokens in and out, perplexity, text, and the statistics that the encoder takes.
 *
 *	text and tokens     aqz_tokenizer
 *	a model             aqz_model (Hugging Face folder, .aqz, GGUF, llama2.c)
 *	running it          aqz_session, aqz_generate
 *	pieces of a text    aqz_windows
 *	how good it is      aqz_evaluate
 *	what it is fed      aqz_calibrate
 *	to another form     aqz_model_export
 *
 * The conventions are those of aqlmzip.h. Token ids are uint32_t. Arithmetic is binary32 unless said otherwise. Calls
 * that multiply set OpenBLAS to one thread while they run and use n_threads threads of their own; results do not depend
 * on the number of threads.
 */
#ifndef AQLMZIP_MODEL_H
#define AQLMZIP_MODEL_H

#include "aqlmzip.h"

#ifdef __cplusplus
extern "C" {
#endif

/* No token. */
#define AQZ_NO_TOKEN UINT32_MAX

/* ---- Text and tokens -------------------------------------------------------------------------------------------- */

/** Turns text into token ids and back. Immutable: threads may share it. */
typedef struct aqz_tokenizer aqz_tokenizer;

/**
 * Opens a tokenizer: a folder with tokenizer.json or tokenizer.model (and tokenizer_config.json), one of these files,
 * or a GGUF file. What it is, is decided by its bytes. Free with aqz_tokenizer_close().
 * Returns AQZ_OK; _NOT_FOUND, _IO, _FORMAT, _CORRUPT, _TRUNCATED, _NOMEM, _MEMLIMIT (0 = no limit); _UNSUPPORTED names
 * the field that this library does not know.
 */
AQZ_API aqz_status aqz_tokenizer_open(aqz_tokenizer **out, const char *path, uint64_t memlimit_bytes, aqz_error *err);
/** The same from the bytes of tokenizer.json or tokenizer.model; config: those of tokenizer_config.json, or NULL. */
AQZ_API aqz_status aqz_tokenizer_parse(aqz_tokenizer **out, const void *data, size_t n_bytes, const void *config,
	size_t config_bytes, uint64_t memlimit_bytes, aqz_error *err);
AQZ_API void aqz_tokenizer_close(aqz_tokenizer *tokenizer);

/** Ids are 0 .. size - 1; some may have no text. */
AQZ_API uint32_t aqz_tokenizer_size(const aqz_tokenizer *tokenizer);
/** The ids that begin and end a text, AQZ_NO_TOKEN if there are none. */
AQZ_API uint32_t aqz_tokenizer_bos(const aqz_tokenizer *tokenizer);
AQZ_API uint32_t aqz_tokenizer_eos(const aqz_tokenizer *tokenizer);
/** True if a text is meant to begin with BOS. */
AQZ_API bool aqz_tokenizer_adds_bos(const aqz_tokenizer *tokenizer);
/** The id of an added or special token by its text ("<|im_end|>"), or AQZ_NO_TOKEN. */
AQZ_API uint32_t aqz_tokenizer_find_special(const aqz_tokenizer *tokenizer, const char *text);
/** Jinja text of the chat template of tokenizer_config.json, or NULL. Not evaluated; see aqz_chat_form_guess. */
AQZ_API const char *aqz_tokenizer_chat_template(const aqz_tokenizer *tokenizer);

/**
 * Text to ids, no BOS. text: any bytes, need not be UTF-8 (bytes that are none become byte tokens where the vocabulary
 * has them, as the reference does with what it can take). special: texts of added tokens in it become these tokens;
 * else only the added tokens that are not special do.
 * *ids is freed with free(). Time O(n log n). Returns AQZ_OK; _NOMEM; _UNSUPPORTED if the vocabulary has no token for
 * some byte and no unknown token.
 */
AQZ_API aqz_status aqz_tokenizer_encode(const aqz_tokenizer *tokenizer, uint32_t **ids, size_t *n_ids, const char *text,
	size_t n_bytes, bool special, aqz_error *err);

/**
 * Ids to the bytes of their text, one after the other: what encode was given, where the tokenizer loses nothing.
 * first: the ids begin a text, so that the space which SentencePiece puts before a text is taken off. Special tokens
 * give their text if special is true, else nothing. *text is freed with free() and ends in a NUL that *n_bytes does not
 * count. Returns AQZ_OK; _NOMEM; _ARGUMENT for an id out of range.
 */
AQZ_API aqz_status aqz_tokenizer_decode(const aqz_tokenizer *tokenizer, char **text, size_t *n_bytes,
	const uint32_t *ids, size_t n_ids, bool first, bool special, aqz_error *err);

/** Bytes of one token inside a text; "" with n_bytes 0 for special tokens and ids out of range. Lives as long as the
 * tokenizer. */
AQZ_API const char *aqz_tokenizer_bytes(const aqz_tokenizer *tokenizer, uint32_t id, size_t *n_bytes);

/** Writes a tokenizer.json with the same vocabulary, merges and rules; *json is freed with free(). */
AQZ_API aqz_status aqz_tokenizer_to_json(const aqz_tokenizer *tokenizer, char **json, size_t *n_bytes, aqz_error *err);

/* ---- A model ---------------------------------------------------------------------------------------------------- */

typedef enum aqz_model_family { AQZ_LLAMA = 1, AQZ_MISTRAL = 2, AQZ_QWEN2 = 3, AQZ_QWEN3 = 4 } aqz_model_family;

typedef enum aqz_rope_scaling { AQZ_ROPE_PLAIN = 0, AQZ_ROPE_LINEAR = 1, AQZ_ROPE_LLAMA3 = 2 } aqz_rope_scaling;

#define AQZ_MAX_STOP_TOKENS 16

/** The shape of a model and its constants. */
typedef struct aqz_model_config {
	aqz_model_family family;
	uint32_t n_layers, hidden, intermediate, n_heads, n_kv_heads, head_dim, vocabulary, max_positions;
	float rms_eps;
	double rope_theta;
	aqz_rope_scaling rope_scaling;
	double rope_factor, rope_low, rope_high; /**< of the scaling; low and high frequency factors of llama3 */
	uint32_t rope_original;                  /**< original_max_position_embeddings of llama3 */
	bool tied;                               /**< the head is the embedding */
	bool qkv_bias, o_bias, mlp_bias;         /**< which linears have biases */
	bool qk_norm;                            /**< q and k of each head are normalised before RoPE */
	uint32_t window;                         /**< keys that a query sees, itself included; 0 = all before it */
	uint32_t window_from;                    /**< the first layer for which window holds */
	uint32_t bos, eos[AQZ_MAX_STOP_TOKENS], n_eos;
} aqz_model_config;

/** Weights, shape and tokenizer of a model. Immutable: threads may share it. */
typedef struct aqz_model aqz_model;

typedef struct aqz_model_options {
	size_t struct_size;
	const char *tokenizer;   /**< path for aqz_tokenizer_open instead of the model's own; NULL = the model's */
	uint64_t memlimit_bytes; /**< 0 = none */
	unsigned n_threads;      /**< for loading; 0 = all processors */
	aqz_progress_fn *progress; /**< bytes of the file */
	void *progress_user;
} aqz_model_options;

/**
 * Opens a model: a Hugging Face folder, an .aqz file made from one, a GGUF file, or a llama2.c .bin file (version 0).
 * Weights are held in the form in which the file has them (additive codes stay codes, GGUF blocks stay blocks, lossless
 * ones become their dtype). Free with aqz_model_close().
 * Returns AQZ_OK; _NOT_FOUND, _IO, _FORMAT, _CORRUPT, _CHECKSUM, _TRUNCATED, _NOMEM, _MEMLIMIT; _UNSUPPORTED names the
 * field of config.json, or the type, that is not supported; _CORRUPT for weights that are not finite or of wrong shape.
 */
AQZ_API aqz_status aqz_model_open(aqz_model **out, const char *path, const aqz_model_options *opt, aqz_error *err);
AQZ_API void aqz_model_close(aqz_model *model);
AQZ_API const aqz_model_config *aqz_model_get_config(const aqz_model *model);
/** NULL if the model has none (then there is no text for it, only ids). */
AQZ_API const aqz_tokenizer *aqz_model_get_tokenizer(const aqz_model *model);

/** Where a model's memory goes, in bytes. */
typedef struct aqz_model_memory {
	uint64_t dense, blocks, codes, codebooks; /**< weights by their form; scales count with the codes */
	uint64_t n_weights;                       /**< how many weights these are */
	uint64_t file_bytes;                      /**< of the files that hold them */
} aqz_model_memory;
AQZ_API void aqz_model_get_memory(const aqz_model *model, aqz_model_memory *out);

/* ---- Running it ------------------------------------------------------------------------------------------------- */

/** Sequences under way: a cache of keys and values for each, and scratch memory. One thread at a time. */
typedef struct aqz_session aqz_session;

/** capacity: tokens that a sequence can hold, at most max_positions. The model must outlive it. */
AQZ_API aqz_status aqz_session_open(aqz_session **out, const aqz_model *model, uint32_t n_sequences, uint32_t capacity,
	unsigned n_threads, uint64_t memlimit_bytes, aqz_error *err);
AQZ_API void aqz_session_close(aqz_session *session);
/** Tokens that the sequence holds. */
AQZ_API uint32_t aqz_session_length(const aqz_session *session, uint32_t sequence);
/** Forgets all but the first n tokens of a sequence. */
AQZ_API void aqz_session_truncate(aqz_session *session, uint32_t sequence, uint32_t n);
/** Bytes of cache and scratch that the session has, at most. */
AQZ_API uint64_t aqz_session_memory(const aqz_session *session);

/** Tokens to append to one sequence, and how many of their last positions to give logits for. */
typedef struct aqz_feed {
	uint32_t sequence;
	const uint32_t *ids;
	uint32_t n_ids, n_logits;
} aqz_feed;

/**
 * Appends tokens to sequences, each of which occurs once; logits: [sum of n_logits][vocabulary], in the feeds' order.
 * Returns AQZ_OK; _ARGUMENT (an id out of range, a sequence that would grow beyond its capacity), _NOMEM, _MEMLIMIT. On
 * failure the sequences are as before.
 */
AQZ_API aqz_status aqz_session_feed(aqz_session *session, float *logits, const aqz_feed *feeds, uint32_t n_feeds,
	aqz_error *err);

/** How the next token is chosen. Zeros are greedy. */
typedef struct aqz_sampling {
	float temperature; /**< 0 = the likeliest token */
	uint32_t top_k;    /**< among the k likeliest; 0 = all */
	float top_p;       /**< among the likeliest that have this much probability together; 0 or 1 = all */
	float min_p;       /**< those with at least min_p of the likeliest one's probability; 0 = all */
	uint64_t seed;
} aqz_sampling;

/** Chooses a token. *state: seed at first, then what the call left there. logits are changed. */
AQZ_API uint32_t aqz_sample(float *logits, uint32_t n, const aqz_sampling *sampling, uint64_t *state);

typedef struct aqz_generate_options {
	size_t struct_size;
	aqz_sampling sampling;
	uint32_t max_tokens;
	const uint32_t *stop; /**< besides the model's end tokens */
	uint32_t n_stop;
	bool ignore_end;      /**< go on after end tokens */
	/** Called for each token with the bytes that became complete characters; false stops. May be NULL. */
	bool (*token)(void *user, uint32_t id, const char *text, size_t n_bytes);
	void *user;
} aqz_generate_options;

typedef struct aqz_generated {
	uint32_t n_prompt, n_generated; /**< tokens; an end token counts but is not given out */
	double prompt_seconds, generate_seconds;
	bool stopped;                   /**< by an end or stop token */
} aqz_generated;

/**
 * Appends a prompt to sequence 0 of a session and goes on with it. Text is given out in whole UTF-8 characters; bytes
 * that cannot become one are given out as they are, at the latest at the end.
 * Returns AQZ_OK, also if the capacity or max_tokens was reached; _ARGUMENT, _CANCELLED (token said so), _NOMEM.
 */
AQZ_API aqz_status aqz_generate(aqz_session *session, aqz_generated *out, const uint32_t *prompt, uint32_t n_prompt,
	const aqz_generate_options *opt, aqz_error *err);

/** How a conversation is written. */
typedef enum aqz_chat_form {
	AQZ_CHAT_NONE = 0,
	AQZ_CHAT_CHATML = 1,
	AQZ_CHAT_LLAMA2 = 2,
	AQZ_CHAT_LLAMA3 = 3,
	AQZ_CHAT_MISTRAL = 4
} aqz_chat_form;

/** The form by the chat template's text and the special tokens; NONE if it is none of these. */
AQZ_API aqz_chat_form aqz_chat_form_guess(const aqz_tokenizer *tokenizer);
/**
 * Ids of a user's first message, up to where the answer begins; system: NULL or the system's message. Texts of special
 * tokens inside the messages stay text. *ids is freed with free().
 */
AQZ_API aqz_status aqz_chat_encode(const aqz_tokenizer *tokenizer, aqz_chat_form form, const char *system,
	const char *message, uint32_t **ids, size_t *n_ids, aqz_error *err);
/** The id that ends an answer in this form, AQZ_NO_TOKEN if the tokenizer lacks it. */
AQZ_API uint32_t aqz_chat_end(const aqz_tokenizer *tokenizer, aqz_chat_form form);

/* ---- Pieces of a text ------------------------------------------------------------------------------------------- */

typedef enum aqz_bos { AQZ_BOS_NONE = 0, AQZ_BOS_FIRST = 1, AQZ_BOS_EACH = 2 } aqz_bos;

/** Runs of tokens that a model sees one by one, each from position 0. */
typedef struct aqz_windows {
	uint32_t *ids;
	uint64_t *begin;    /**< [n_windows + 1]: window i is ids[begin[i]] .. ids[begin[i + 1] - 1] */
	uint32_t n_windows;
	uint64_t n_bytes;   /**< of the text of the tokens that are predicted (all but the first of each); 0 = unknown */
} aqz_windows;

typedef struct aqz_windows_options {
	size_t struct_size;
	uint32_t length;        /**< tokens of a window, BOS included; required */
	uint64_t max_windows;   /**< 0 = all */
	uint64_t max_tokens;    /**< stop before the window with which the tokens would be more; 0 = all */
	/** NULL, or what stands between documents: each is stripped of white space around it, becomes one window and is cut
	 * at length; empty ones are left out. */
	const char *separator;
	aqz_bos bos;            /**< FIRST: once before the whole text; EACH: in each window */
	bool spread;            /**< take max_windows windows spread evenly over the text, not the first */
} aqz_windows_options;

/**
 * Cuts a text into windows. Without a separator all of it is tokenised at once and only whole windows count (a text
 * that is shorter than one window becomes one). Free with aqz_windows_free().
 * Returns AQZ_OK; _ARGUMENT for options, a text without any prediction, or a BOS that the tokenizer does not have;
 * _NOMEM, and as aqz_tokenizer_encode.
 */
AQZ_API aqz_status aqz_windows_from_text(aqz_windows *out, const aqz_tokenizer *tokenizer, const char *text,
	size_t n_bytes, const aqz_windows_options *opt, aqz_error *err);
/**
 * Reads windows from a .npy file: integers [windows, length] or [tokens]; the latter are cut at opt->length, of the
 * former only the first opt->length tokens are taken if it is less (0 = all). opt: NULL, or length, max_windows,
 * max_tokens, spread; ARGUMENT if they leave no window. Returns AQZ_OK; _NOT_FOUND, _IO, _FORMAT, _UNSUPPORTED,
 * _CORRUPT, _TRUNCATED, _NOMEM; _CORRUPT for negative ids.
 */
AQZ_API aqz_status aqz_windows_from_npy(aqz_windows *out, const char *path, const aqz_windows_options *opt,
	aqz_error *err);
AQZ_API void aqz_windows_free(aqz_windows *windows);

/* ---- How good a model is ---------------------------------------------------------------------------------------- */

/** A mean over predictions and its standard error, predictions taken as independent. */
typedef struct aqz_mean {
	double mean, error;
} aqz_mean;

typedef struct aqz_evaluation {
	uint64_t n_predictions, n_windows;
	aqz_mean nll;            /**< -ln of the probability of the right token, nats */
	aqz_mean perplexity;     /**< exp of its mean; error to first order */
	aqz_mean bits_per_byte;  /**< 0 if the bytes are not known */
	bool has_reference;
	aqz_mean reference_perplexity;
	aqz_mean kl;             /**< of the reference from the model: sum p_ref ln(p_ref / p), nats a token */
	aqz_mean top1_agreement; /**< how often both have the same likeliest token; of equals the lowest id */
	double seconds;
} aqz_evaluation;

typedef struct aqz_evaluate_options {
	size_t struct_size;
	unsigned n_threads;
	uint64_t memlimit_bytes;
	aqz_progress_fn *progress; /**< tokens */
	void *progress_user;
} aqz_evaluate_options;

/**
 * Perplexity of a model over windows, and how far it is from a reference, which must have the same vocabulary and may
 * be NULL. Returns AQZ_OK; _ARGUMENT (a window longer than max_positions, ids out of range), _NOMEM, _MEMLIMIT,
 * _CANCELLED.
 */
AQZ_API aqz_status aqz_evaluate(aqz_evaluation *out, const aqz_model *model, const aqz_model *reference,
	const aqz_windows *windows, const aqz_evaluate_options *opt, aqz_error *err);

/* ---- What a model is fed ---------------------------------------------------------------------------------------- */

typedef struct aqz_calibrate_options {
	size_t struct_size;
	bool row_importance;       /**< also NAME.row_importance F32 [out] of all linears: needs a backward pass */
	uint64_t importance_tokens; /**< of the first windows that are used for it, whole ones and at least one; 0 = all */
	uint64_t seed;             /**< of the sampled labels */
	unsigned n_threads;
	uint64_t memlimit_bytes;
	aqz_progress_fn *progress; /**< in thousandths */
	void *progress_user;
} aqz_calibrate_options;

/**
 * Runs the model over windows and writes a file for aqz_stats_open: for each linear H = X^T X / n over all n tokens
 * (AQLM, arXiv:2401.06118, section 3.1), sums in binary64, exactly symmetric; q, k and v have one matrix, as have gate
 * and up, by alias; for the head its inputs' (under the embedding's name if they are tied), and for the embedding
 * NAME.token_count U64 [vocabulary]. Layer by layer: memory is that of the hidden states of all tokens and of one
 * layer's matrices. row_importance: the mean over tokens of the squared gradient of a window's summed cross-entropy by
 * that output, with a label drawn from the model's own distribution at every position (the Fisher information's
 * diagonal); of the head (by its name as above) sqrt(F m), F being that for each token and ln m the mean of ln F
 * weighted by F, since other texts have other tokens. Memory is that of all blocks' inputs for some windows at a time.
 * out needs write only.
 * Returns AQZ_OK; _ARGUMENT (windows empty or longer than max_positions, ids out of range), _NOMEM, _MEMLIMIT,
 * _CANCELLED, what out returned; _CORRUPT if the model's finite weights give infinities or NaN.
 */
AQZ_API aqz_status aqz_calibrate(const aqz_model *model, const aqz_windows *windows, const aqz_io *out,
	const aqz_calibrate_options *opt, aqz_error *err);

/* ---- To another form -------------------------------------------------------------------------------------------- */

/** Takes the files of a model folder, one after the other. begin is called with each file's name, then write. */
typedef struct aqz_folder_sink {
	void *user;
	aqz_status (*begin)(void *user, const char *name, aqz_error *err);
	aqz_status (*write)(void *user, const void *data, size_t n, aqz_error *err);
} aqz_folder_sink;

typedef struct aqz_export_options {
	size_t struct_size;
	aqz_dtype dtype;         /**< of all weights: F32, F16 or BF16; 0 = BF16 */
	uint64_t shard_bytes;    /**< 0 = one file; else model-0000i-of-0000n.safetensors of about this size at most */
	uint64_t memlimit_bytes;
	aqz_progress_fn *progress; /**< bytes written */
	void *progress_user;
} aqz_export_options;

/**
 * Writes a model as a Hugging Face folder: config.json, model.safetensors, and tokenizer.json, tokenizer_config.json if
 * it has a tokenizer. Weights are reconstructed a tile at a time and rounded once, to nearest even.
 * Returns AQZ_OK; _ARGUMENT, _NOMEM, _MEMLIMIT, _CANCELLED, what the sink returned.
 */
AQZ_API aqz_status aqz_model_export(const aqz_model *model, const aqz_folder_sink *sink, const aqz_export_options *opt,
	aqz_error *err);

#ifdef __cplusplus
}
#endif

#endif
