/* SPDX-License-Identifier: Apache-2.0 */
/* Files with one thing wrong, each named by the check that fires: bad- is CORRUPT or CHECKSUM,
 * unsupported-, truncated- and foreign- (FORMAT) say themselves, good- is accepted. */
#ifndef AQZ_TESTS_BAD_FILES_H
#define AQZ_TESTS_BAD_FILES_H

#include "tests/edit.h"

typedef enum poke_where {
	NOWHERE,
	SUPERBLOCK,    /* a byte of it; then all hashes are made right again */
	SECTION,       /* body of section record n; and so on */
	TENSOR,        /* body of tensor record n */
	HEADER,        /* header of frame n */
	PAYLOAD,       /* payload of frame n, its padding included */
	INDEX,         /* decoded index; hashes, root and footer are right */
	INDEX_HEADER,
	FOOTER,        /* payload of the footer; its hashes are right */
	FOOTER_HEADER, /* its header's hash is right */
	RAW            /* of the finished file, nothing made right; n: 0 from the start, 1 from the end */
} poke_where;

typedef struct bad_file {
	const char *name;
	/* An unsigned number of so many bytes, put there. */
	poke_where in;
	uint32_t n;
	uint32_t at;
	unsigned bytes;
	uint64_t value;
	/* Or this, which leaves the file in e->out. */
	void (*make)(edit *e);
	/* What aqz_reader_open and _verify say, and what the stream says. */
	aqz_status status;
	const char *where;
	aqz_status stream_status; /* AQZ_OK: the same; ACCEPTS */
	const char *stream_where; /* NULL: the same */
} bad_file;

/* The stream finds nothing wrong. */
#define ACCEPTS ((aqz_status)99)

/* Entries of the tables: a value that is put somewhere, or a function. */
#define POKE(name, in, n, at, bytes, value, ...) {"" name, in, n, at, bytes, value, NULL, __VA_ARGS__}
#define MAKE(name, make, ...) {"" name, NOWHERE, 0, 0, 0, 0, make, __VA_ARGS__}

/* All of them: case i, and how many there are. */
const bad_file *bad_file_get(size_t i);
size_t n_bad_files(void);

/* The tables that they stand in. */
extern const bad_file bad_ends[], bad_frames[], bad_records[], bad_tensors[], bad_index[],
	bad_trellis[];
extern const size_t n_bad_ends, n_bad_frames, n_bad_records, n_bad_tensors, n_bad_index, n_bad_trellis;

/* The sound file that they are made from:
 *
 *	frame 0   RECS          section 0 FILE "f", 3 bytes
 *	frame 1   CHNK 0:0
 *	frame 2   RECS          section 1 METADATA "f", 2 bytes
 *	frame 3   CHNK 1:0
 *	frame 4   RECS          section 2 CODEBOOK F32 2 x 2, 3 ROW_SCALES F32 3 x 1,
 *	                        4 TENSOR 1x1g2 F32 3 x 2; tensor 0 "a"
 *	frame 5   CHNK 2:0      frame 6 CHNK 3:0      frame 7 CHNK 4:0
 *	frame 8   RECS          section 5 CODEBOOK I8 2 x 2, 6 CODEBOOK_SCALES F32 1 x 2, 7 TENSOR 1x1g2
 *	                        F32 66 x 2, rows 0 to 63 with sections 5 and 6, rows 64 and 65 with section 2;
 *	                        tensor 1 "i"
 *	frame 9   CHNK 5:0      frame 10 CHNK 6:0     frame 11 CHNK 7:0
 *	frame 12  RECS          section 8 TENSOR U8 3 x 3; tensor 2 "r"
 *	frame 13  CHNK 8:0
 *	frame 14  RECS          tensor 3 "r2", alias of tensor 2 */
void bad_files_base(memory_file *f);

/* The file of a case, in out. */
void bad_file_make(const bad_file *b, memory_file *out);

#endif
