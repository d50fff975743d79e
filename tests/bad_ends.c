/* SPDX-License-Identifier: Apache-2.0 */
/* Bad files: superblocks, and files that end early or late. Checks of format/superblock.c and of
 * the readers' ends. */
#include "tests/bad_files.h"

/* ---- Superblock */

static void text_transfer(edit *e)
{
	edit_put(e);
	e->out.data[4] = '\n';
	e->out.data[5] = 0x1a;
}

/* Right in itself, but not what the footer repeats. */
static void another_superblock(edit *e)
{
	edit_put(e);
	e->super[32] = 1;
	aqz_put64(e->super + 120, 0);
	memcpy(e->out.data, e->super, 128);
	{
		memory_file f = {0};

		memory_add(&f, e->out.data, 128);
		reseal(f.data, f.n, RESEAL_HEADERS);
		memcpy(e->out.data, f.data, 128);
		memory_free(&f);
	}
}

/* ---- Cut and prolonged files */

static void nothing(edit *e)
{
	e->out.n = 0;
}

static void three_bytes(edit *e)
{
	edit_put(e);
	e->out.n = 3;
}

static void within_superblock(edit *e)
{
	edit_put(e);
	e->out.n = 100;
}

static void after_superblock(edit *e)
{
	edit_put(e);
	e->out.n = 128;
}

static void after_a_chunk(edit *e)
{
	edit_put(e);
	e->out.n = (size_t)(out_frame(e, 8) - e->out.data);
}

static void within_a_chunk(edit *e)
{
	edit_put(e);
	e->out.n = (size_t)(out_frame(e, 7) - e->out.data) + 100;
}

static void before_index(edit *e)
{
	edit_put(e);
	e->out.n = e->index_at;
}

static void before_footer(edit *e)
{
	edit_put(e);
	e->out.n = e->footer_at;
}

static void one_byte_less(edit *e)
{
	edit_put(e);
	e->out.n--;
}

static void bytes_behind(edit *e)
{
	static const uint8_t zeros[64];

	edit_put(e);
	memory_add(&e->out, zeros, 64);
}

static void two_files(edit *e)
{
	memory_file twice = {0};

	edit_put(e);
	memory_copy(&twice, &e->out);
	memory_add(&twice, e->out.data, e->out.n);
	memory_copy(&e->out, &twice);
	memory_free(&twice);
}

#define C AQZ_E_CORRUPT
#define H AQZ_E_CHECKSUM
#define U AQZ_E_UNSUPPORTED
#define T AQZ_E_TRUNCATED
#define F AQZ_E_FORMAT

const bad_file bad_ends[] = {
	MAKE("good-base", edit_put, AQZ_OK, "", 0, 0),
	/* Superblock. The random reader takes it from the footer, and compares when it verifies. */
	POKE("foreign-magic", RAW, 0, 0, 1, 'x', F, "superblock.magic", 0, 0),
	MAKE("bad-magic-line-ends", text_transfer, C, "superblock.magic", 0, 0),
	POKE("bad-superblock-hash", RAW, 0, 121, 1, 0, H, "superblock.hash", 0, 0),
	POKE("unsupported-major", SUPERBLOCK, 0, 8, 2, 1, U, "superblock.version", 0, 0),
	POKE("unsupported-minor", SUPERBLOCK, 0, 10, 2, AQZ_FORMAT_MINOR + 1, U, "superblock.version", 0,
		0),
	POKE("unsupported-minor-before", SUPERBLOCK, 0, 10, 2, AQZ_FORMAT_MINOR - 1, U,
		"superblock.version", 0, 0),
	POKE("unsupported-minor-0", SUPERBLOCK, 0, 10, 2, 0, U, "superblock.version", 0, 0),
	POKE("unsupported-superblock-size", SUPERBLOCK, 0, 12, 4, 192, U, "superblock.size", 0, 0),
	POKE("unsupported-feature-read", SUPERBLOCK, 0, 16, 8, UINT64_C(1) << 63, U,
		"superblock.features_read", 0, 0),
	POKE("good-feature-write", SUPERBLOCK, 0, 24, 8, 1, AQZ_OK, "", 0, 0),
	POKE("good-feature-optional", SUPERBLOCK, 0, 32, 8, UINT64_MAX, AQZ_OK, "", 0, 0),
	POKE("unsupported-alignment", SUPERBLOCK, 0, 56, 1, 7, U, "superblock.alignment", 0, 0),
	POKE("unsupported-alignment-0", SUPERBLOCK, 0, 56, 1, 0, U, "superblock.alignment", 0, 0),
	POKE("unsupported-alignment-255", SUPERBLOCK, 0, 56, 1, 255, U, "superblock.alignment", 0, 0),
	POKE("unsupported-reserved-57", SUPERBLOCK, 0, 57, 1, 1, U, "superblock.reserved", 0, 0),
	POKE("unsupported-shard-number", SUPERBLOCK, 0, 60, 4, 1, U, "superblock.shard", 0, 0),
	POKE("unsupported-shard-count", SUPERBLOCK, 0, 64, 4, 2, U, "superblock.shard", 0, 0),
	POKE("unsupported-generation", SUPERBLOCK, 0, 68, 4, 1, U, "superblock.generation", 0, 0),
	POKE("unsupported-reserved-72", SUPERBLOCK, 0, 72, 1, 1, U, "superblock.reserved", 0, 0),
	POKE("unsupported-reserved-119", SUPERBLOCK, 0, 119, 1, 1, U, "superblock.reserved", 0, 0),
	MAKE("bad-superblock-other", another_superblock, C, "superblock", 0, "footer"),
	/* Cut, and more than cut */
	MAKE("foreign-empty", nothing, F, "superblock.magic", 0, 0),
	MAKE("foreign-three-bytes", three_bytes, F, "superblock.magic", 0, 0),
	MAKE("truncated-superblock", within_superblock, T, "superblock", 0, "file"),
	MAKE("truncated-after-superblock", after_superblock, T, "file", 0, "file"),
	MAKE("truncated-after-chunk", after_a_chunk, T, "footer.end", 0, "file"),
	MAKE("truncated-chunk", within_a_chunk, T, "footer.end", 0, "file"),
	MAKE("truncated-before-index", before_index, T, "footer.end", 0, "file"),
	MAKE("truncated-before-footer", before_footer, T, "footer.end", 0, "file"),
	MAKE("truncated-last-byte", one_byte_less, T, "footer.end", 0, "file"),
	MAKE("truncated-bytes-behind", bytes_behind, T, "footer.end", C, "file"),
	MAKE("bad-two-files", two_files, C, "footer.file_bytes", 0, "file"),
};
const size_t n_bad_ends = sizeof bad_ends / sizeof *bad_ends;
