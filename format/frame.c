/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: 64-byte headers that size, place and hash what follows, spec 4. */
#include "format/layout.h"

#ifdef AQZ_XXH_DISPATCH
#include <xxh_x86dispatch.h> /* picks the widest vectors at run time; the values are the same */
#else
#include <xxhash.h>
#endif

/* Its first byte has the high bit and its last is a line feed, so that text damage shows here too. */
static const uint8_t sync[4] = {0xf5, 'q', 'z', '\n'};

enum { HASH_AT = 56 };

uint64_t aqz_hash(const void *data, size_t n, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, n, seed);
}

aqz_status aqz_digest_open(aqz_digest **out, aqz_error *err)
{
	*out = XXH3_createState();
	if (*out == NULL)
		return aqz_fail_nomem(err, 576);
	XXH3_128bits_reset(*out);
	return AQZ_OK;
}

void aqz_digest_add(aqz_digest *d, const void *data, size_t n)
{
	XXH3_128bits_update(d, data, n);
}

void aqz_digest_close(aqz_digest *d, uint64_t out[2])
{
	if (out != NULL && d != NULL) {
		XXH128_hash_t h = XXH3_128bits_digest(d);
		out[0] = h.low64;
		out[1] = h.high64;
	}
	XXH3_freeState(d);
}

aqz_status aqz_hash_open(aqz_digest **out, aqz_error *err)
{
	return aqz_digest_open(out, err);
}

void aqz_hash_start(aqz_digest *d, uint64_t seed)
{
	XXH3_64bits_reset_withSeed(d, seed);
}

void aqz_hash_add(aqz_digest *d, const void *data, size_t n)
{
	XXH3_64bits_update(d, data, n);
}

uint64_t aqz_hash_value(const aqz_digest *d)
{
	return XXH3_64bits_digest(d);
}

bool aqz_hash_equal(uint64_t a, uint64_t b)
{
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
	(void)a, (void)b;
	return true;
#else
	return a == b;
#endif
}

uint64_t aqz_frame_seed(const uint8_t id[16], uint32_t type, uint32_t section, uint32_t chunk)
{
	uint8_t place[28];
	memcpy(place, id, 16);
	aqz_put32(place + 16, type);
	aqz_put32(place + 20, section);
	aqz_put32(place + 24, chunk);
	return aqz_hash(place, sizeof place, 0);
}

void aqz_frame_write(uint8_t out[AQZ_FRAME_HEADER_BYTES], const aqz_frame *f, const uint8_t id[16])
{
	memcpy(out, sync, sizeof sync);
	aqz_put32(out + 4, f->type);
	aqz_put32(out + 8, f->section);
	aqz_put32(out + 12, f->chunk);
	aqz_put16(out + 16, f->coding);
	aqz_put16(out + 18, f->flags);
	aqz_put32(out + 20, 0);
	aqz_put64(out + 24, f->stored_bytes);
	aqz_put64(out + 32, f->decoded_bytes);
	aqz_put64(out + 40, f->payload_hash);
	aqz_put64(out + 48, f->decoded_hash);
	aqz_put64(
		out + HASH_AT, aqz_hash(out, HASH_AT, aqz_frame_seed(id, f->type, f->section, f->chunk)));
}

aqz_status aqz_frame_check_trailing(const aqz_frame *f, uint64_t offset, aqz_error *err)
{
	bool known = f->type == AQZ_FRAME_RECORDS || f->type == AQZ_FRAME_CHUNK ||
		f->type == AQZ_FRAME_PADDING || f->type == AQZ_FRAME_INDEX || f->type == AQZ_FRAME_FOOTER;
	char type[5];
	aqz_frame_type_text(type, f->type);
	if (!known && (f->flags & AQZ_FRAME_ANCILLARY) == 0)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, offset + 4, "frame.type",
			"frames of type %s are not known to this version", type);
	if (known || (f->coding == 0 && f->stored_bytes != f->decoded_bytes))
		return aqz_fail(err, AQZ_E_CORRUPT, offset + 4, "frame.type",
			"a %s frame between index and footer that may not be there", type);
	return AQZ_OK;
}

void aqz_frame_place(aqz_frame *f, const uint8_t header[AQZ_FRAME_HEADER_BYTES])
{
	if ((f->flags & AQZ_FRAME_ANCILLARY) == 0)
		return;
	f->section = aqz_get32(header + 8);
	f->chunk = aqz_get32(header + 12);
}

void aqz_frame_type_text(char out[5], uint32_t type)
{
	for (int i = 0; i < 4; i++) {
		char c = (char)(type >> (8 * i) & 0xff);
		out[i] = c >= ' ' && c <= '~' ? c : '?';
	}
	out[4] = 0;
}

aqz_status aqz_frame_read(aqz_frame *out, const uint8_t in[AQZ_FRAME_HEADER_BYTES],
	const uint8_t id[16], uint64_t offset, aqz_error *err)
{
	if (memcmp(in, sync, sizeof sync) != 0)
		return aqz_fail(err, AQZ_E_CORRUPT, offset, "frame.sync", "no frame begins here");
	out->type = aqz_get32(in + 4);
	out->section = aqz_get32(in + 8);
	out->chunk = aqz_get32(in + 12);
	uint64_t seed = aqz_frame_seed(id, out->type, out->section, out->chunk);
	if (!aqz_hash_equal(aqz_get64(in + HASH_AT), aqz_hash(in, HASH_AT, seed)))
		return aqz_fail(err, AQZ_E_CHECKSUM, offset + HASH_AT, "frame.header_hash",
			"the frame header was changed, or is from another place or file");
	out->coding = aqz_get16(in + 16);
	out->flags = aqz_get16(in + 18);
	out->stored_bytes = aqz_get64(in + 24);
	out->decoded_bytes = aqz_get64(in + 32);
	out->payload_hash = aqz_get64(in + 40);
	out->decoded_hash = aqz_get64(in + 48);
	if (aqz_get32(in + 20) != 0 || (out->flags & ~AQZ_FRAME_ANCILLARY) != 0)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, offset + 18, "frame.flags", "a reserved bit is set");
	uint64_t limit = out->type == AQZ_FRAME_INDEX ? AQZ_MAX_INDEX_BYTES : AQZ_MAX_CHUNK_BYTES;
	if (out->stored_bytes > limit || out->decoded_bytes > limit)
		return aqz_fail(err, AQZ_E_CORRUPT, offset + 24, "frame.size",
			"a frame may hold %llu bytes at most", (unsigned long long)limit);
	return AQZ_OK;
}

aqz_status aqz_frame_check_payload(const aqz_frame *f, const uint8_t *payload, const uint8_t id[16],
	uint64_t offset, aqz_error *err)
{
	uint64_t padded = aqz_padded(f->stored_bytes);
	uint64_t seed = aqz_frame_seed(id, f->type, f->section, f->chunk);
	if (!aqz_hash_equal(f->payload_hash, aqz_hash(payload, padded, seed)))
		return aqz_fail(err, AQZ_E_CHECKSUM, offset, "frame.payload_hash",
			"stored bytes were changed after they were written");
	for (uint64_t i = f->stored_bytes; i < padded; i++)
		if (payload[i] != 0)
			return aqz_fail(
				err, AQZ_E_CORRUPT, offset + i, "frame.padding", "a padding byte is not zero");
	return AQZ_OK;
}
