/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of the container: constants of spec 2 to 6, and superblock, frame header and footer as
 * structs. */
#ifndef AQZ_FORMAT_LAYOUT_H
#define AQZ_FORMAT_LAYOUT_H

#include "base/base.h"

enum {
	AQZ_SUPERBLOCK_BYTES = 128,
	AQZ_FRAME_HEADER_BYTES = 64,
	AQZ_FOOTER_PAYLOAD_BYTES = 128,
	AQZ_FOOTER_BYTES = AQZ_FRAME_HEADER_BYTES + AQZ_FOOTER_PAYLOAD_BYTES,
	AQZ_FRAME_ALIGN = 64,
	AQZ_RECORD_HEADER_BYTES = 8,
	AQZ_SECTION_BODY_BYTES = 48, /* before references and name */
	AQZ_REF_BYTES = 32,
	AQZ_TENSOR_BODY_BYTES = 24, /* before shape, attributes and name */
	AQZ_INDEX_HEAD_BYTES = 32,
	AQZ_INDEX_FRAME_BYTES = 32,
	AQZ_DIGEST_BYTES = 16
};

#define AQZ_MAX_CHUNK_BYTES (UINT64_C(1) << 26)
#define AQZ_MAX_INDEX_BYTES (UINT64_C(1) << 28)
#define AQZ_MAX_SECTIONS (UINT32_C(1) << 22)
#define AQZ_MAX_FRAMES (UINT32_C(1) << 24)
#define AQZ_MAX_FILE_NAME_BYTES 255

/* Frame types: four ASCII letters in file order. */
#define AQZ_FOURCC(a, b, c, d)                                                                     \
	((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#define AQZ_FRAME_RECORDS AQZ_FOURCC('R', 'E', 'C', 'S')
#define AQZ_FRAME_CHUNK AQZ_FOURCC('C', 'H', 'N', 'K')
#define AQZ_FRAME_PADDING AQZ_FOURCC('P', 'A', 'D', 'D')
#define AQZ_FRAME_INDEX AQZ_FOURCC('I', 'N', 'D', 'X')
#define AQZ_FRAME_FOOTER AQZ_FOURCC('F', 'O', 'O', 'T')

enum { AQZ_FRAME_ANCILLARY = 1 };

/* Spec 3. */
typedef struct aqz_superblock {
	uint16_t major, minor;
	uint64_t features_read, features_write, features_optional;
	uint8_t id[16];
	uint8_t alignment_log2;
} aqz_superblock;

/* Spec 4. */
typedef struct aqz_frame {
	uint32_t type, section, chunk;
	uint16_t coding, flags;
	uint64_t stored_bytes, decoded_bytes;
	uint64_t payload_hash, decoded_hash;
} aqz_frame;

/* Spec 6.3. */
typedef struct aqz_footer {
	uint64_t index_offset, index_stored_bytes, index_decoded_bytes, file_bytes;
	uint64_t root[2];
	aqz_superblock superblock;
} aqz_footer;

/* A payload's bytes with its padding; stored_bytes is at most 2^28, so this cannot wrap. */
static inline uint64_t aqz_padded(uint64_t stored_bytes) {
	return (stored_bytes + (AQZ_FRAME_ALIGN - 1)) & ~(uint64_t)(AQZ_FRAME_ALIGN - 1);
}

/* ---- superblock.c */

void aqz_superblock_write(uint8_t out[AQZ_SUPERBLOCK_BYTES], const aqz_superblock *s);
/* Checks in the order of spec 3: magic, hash, version, features, reserved fields. at: offset of the
 * bytes in the file, for errors. */
aqz_status aqz_superblock_read(aqz_superblock *out, const uint8_t in[AQZ_SUPERBLOCK_BYTES], aqz_error *err);
/* True if the bytes begin with the magic; a text-damaged one counts. */
bool aqz_superblock_magic(const uint8_t *in, size_t n);

/* ---- frame.c */

/* The seed S that binds a frame to its place, spec 4.2. */
uint64_t aqz_frame_seed(const uint8_t id[16], uint32_t type, uint32_t section, uint32_t chunk);
/* XXH3-64 of n bytes. */
uint64_t aqz_hash(const void *data, size_t n, uint64_t seed);
/* XXH3-128 (low, high), seed 0, of bytes that come in pieces; close frees it and gives the digest,
 * unless out is NULL. */
typedef struct XXH3_state_s aqz_digest;
aqz_status aqz_digest_open(aqz_digest **out, aqz_error *err);
void aqz_digest_add(aqz_digest *d, const void *data, size_t n);
void aqz_digest_close(aqz_digest *d, uint64_t out[2]);
/* XXH3-64 of bytes that come in pieces. close frees it and gives the hash. */
aqz_status aqz_hash_open(aqz_digest **out, aqz_error *err);
void aqz_hash_start(aqz_digest *d, uint64_t seed);
void aqz_hash_add(aqz_digest *d, const void *data, size_t n);
uint64_t aqz_hash_value(const aqz_digest *d);
/* Equality of two hashes; always true in fuzz builds, so that mutated files get past them. */
bool aqz_hash_equal(uint64_t a, uint64_t b);
void aqz_frame_write(uint8_t out[AQZ_FRAME_HEADER_BYTES], const aqz_frame *f, const uint8_t id[16]);
/* Checks sync, header hash, zero field, size limits. offset: of the header in the file, for errors. */
aqz_status aqz_frame_read(aqz_frame *out, const uint8_t in[AQZ_FRAME_HEADER_BYTES], const uint8_t id[16],
	uint64_t offset, aqz_error *err);
/* Checks a payload (payload_bytes = padded(stored)): its hash and its zero padding. */
aqz_status aqz_frame_check_payload(const aqz_frame *f, const uint8_t *payload, const uint8_t id[16], uint64_t offset,
	aqz_error *err);
/* Checks that a frame may stand between index and footer: ancillary, and of a type that has no
 * other place. UNSUPPORTED for a type that is not known and not ancillary. */
aqz_status aqz_frame_check_trailing(const aqz_frame *f, uint64_t offset, aqz_error *err);
/* The index does not have the section and chunk of an ancillary frame, which mean nothing, spec
 * 4.3: takes them from its header. Changes no other frame. */
void aqz_frame_place(aqz_frame *f, const uint8_t header[AQZ_FRAME_HEADER_BYTES]);
/* The four letters of a type, for messages. */
void aqz_frame_type_text(char out[5], uint32_t type);

/* ---- footer.c */

void aqz_footer_write(uint8_t out[AQZ_FOOTER_BYTES], const aqz_footer *f);
/* Reads header and payload; checks end magic, hashes, the superblock's copy, and that the index
 * lies between superblock and footer. file_bytes: length of the file; offset of the footer =
 * file_bytes - AQZ_FOOTER_BYTES. */
aqz_status aqz_footer_read(aqz_footer *out, const uint8_t in[AQZ_FOOTER_BYTES], uint64_t file_bytes, aqz_error *err);

#endif
