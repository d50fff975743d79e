/* SPDX-License-Identifier: Apache-2.0 */
/* The superblock: the first 128 bytes of a container, spec 3. */
#include "format/layout.h"

/* High bit, letters, CR LF, ^Z, LF: a transfer that strips bits, changes line ends or stops at ^Z
 * damages it visibly. */
static const uint8_t magic[8] = {0x89, 'A', 'Q', 'Z', '\r', '\n', 0x1a, '\n'};

enum { HASH_AT = 120, RESERVED_AT = 72, ALIGNMENT_END = 57 };

void aqz_superblock_write(uint8_t out[AQZ_SUPERBLOCK_BYTES], const aqz_superblock *s)
{
	memset(out, 0, AQZ_SUPERBLOCK_BYTES);
	memcpy(out, magic, sizeof magic);
	aqz_put16(out + 8, s->major);
	aqz_put16(out + 10, s->minor);
	aqz_put32(out + 12, AQZ_SUPERBLOCK_BYTES);
	aqz_put64(out + 16, s->features_read);
	aqz_put64(out + 24, s->features_write);
	aqz_put64(out + 32, s->features_optional);
	memcpy(out + 40, s->id, 16);
	out[56] = s->alignment_log2;
	aqz_put32(out + 64, 1); /* shards */
	aqz_put64(out + HASH_AT, aqz_hash(out, HASH_AT, 0));
}

bool aqz_superblock_magic(const uint8_t *in, size_t n)
{
	return n >= 4 && memcmp(in, magic, 4) == 0;
}

aqz_status aqz_superblock_read(
	aqz_superblock *out, const uint8_t in[AQZ_SUPERBLOCK_BYTES], aqz_error *err)
{
	memset(out, 0, sizeof *out);
	if (memcmp(in, magic, 4) != 0)
		return aqz_fail(err, AQZ_E_FORMAT, 0, "superblock.magic", "not an aqlmzip file");
	if (memcmp(in, magic, sizeof magic) != 0)
		return aqz_fail(err, AQZ_E_CORRUPT, 0, "superblock.magic",
			"the line ends in the magic were changed: the file was transferred as text");
	if (!aqz_hash_equal(aqz_get64(in + HASH_AT), aqz_hash(in, HASH_AT, 0)))
		return aqz_fail(err, AQZ_E_CHECKSUM, HASH_AT, "superblock.hash",
			"the superblock was changed after it was written");
	/* The hash holds: from here on an unexpected value was meant by a newer writer. */
	out->major = aqz_get16(in + 8);
	out->minor = aqz_get16(in + 10);
	if (out->major != AQZ_FORMAT_MAJOR || out->minor != AQZ_FORMAT_MINOR)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, 8, "superblock.version",
			"the file has format %u.%u, this library reads %u.%u only", out->major, out->minor,
			(unsigned)AQZ_FORMAT_MAJOR, (unsigned)AQZ_FORMAT_MINOR);
	out->features_read = aqz_get64(in + 16);
	out->features_write = aqz_get64(in + 24);
	out->features_optional = aqz_get64(in + 32);
	if (out->features_read != 0)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, 16, "superblock.features_read",
			"the file needs features 0x%llx that this library lacks",
			(unsigned long long)out->features_read);
	memcpy(out->id, in + 40, 16);
	out->alignment_log2 = in[56];
	static const uint8_t zero[HASH_AT - RESERVED_AT];
	if (aqz_get32(in + 12) != AQZ_SUPERBLOCK_BYTES)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, 12, "superblock.size", "a size of %u is not known",
			aqz_get32(in + 12));
	if (out->alignment_log2 != 6 && out->alignment_log2 != 12)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, 56, "superblock.alignment",
			"an alignment of 2^%u is not known", in[56]);
	if (aqz_get32(in + 60) != 0 || aqz_get32(in + 64) != 1)
		return aqz_fail(
			err, AQZ_E_UNSUPPORTED, 60, "superblock.shard", "shards are not known to this version");
	if (aqz_get32(in + 68) != 0)
		return aqz_fail(err, AQZ_E_UNSUPPORTED, 68, "superblock.generation",
			"appended generations are not known to this version");
	if (memcmp(in + ALIGNMENT_END, zero, 3) != 0 || memcmp(in + RESERVED_AT, zero, sizeof zero) != 0)
		return aqz_fail(err, AQZ_E_UNSUPPORTED,
			memcmp(in + ALIGNMENT_END, zero, 3) != 0 ? ALIGNMENT_END : RESERVED_AT,
			"superblock.reserved", "a reserved byte is not zero");
	return AQZ_OK;
}
