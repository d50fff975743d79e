/* SPDX-License-Identifier: Apache-2.0 */
/* The random reader's inside, for reader.c, cursor.c, verify.c and ledger.c. */
#ifndef AQZ_FORMAT_READER_H
#define AQZ_FORMAT_READER_H

#include "format/chunk.h"

struct aqz_reader {
	aqz_io io;
	aqz_catalog catalog; /* not changed after open, its budget included */
	aqz_footer footer;
	aqz_file_info file;
	uint64_t memlimit_bytes;
	bool skip_decoded_hash;
};

/* A budget for one call or object: the reader's limit less what its catalog holds. */
aqz_budget aqz_reader_budget(const aqz_reader *r);

/* What is left of a budget, as a budget of its own. */
aqz_budget aqz_budget_rest(const aqz_budget *b);

/* aqz_cursor_open within less than all of the reader's memory. */
aqz_status aqz_cursor_open_within(aqz_cursor **out, const aqz_reader *reader, uint32_t section, aqz_budget budget,
	aqz_error *err);

/* Reads the T64 codes of an additive section (spec 7.2.2): the payloads of its chunks one after the other, which is
 * the same as that of all rows in one chunk. dst_bytes is aqz_additive_codes_bytes() of all code rows. The hash of what
 * is stored is checked; the hash of the decoded elements is not, nor that padding codes are 0.
 * Returns AQZ_OK; _ARGUMENT for another section or size; _CHECKSUM, _CORRUPT, _TRUNCATED, _IO, _NOMEM, _MEMLIMIT. */
aqz_status aqz_reader_codes(const aqz_reader *reader, uint32_t section, void *dst, uint64_t dst_bytes,
	aqz_budget budget, aqz_error *err);

#endif
