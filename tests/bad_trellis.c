/* SPDX-License-Identifier: Apache-2.0 */
/* Bad files: a trellis section, its parameters and its stream. Checks of codec/trellis_codec.c and
 * of what it calls. These are made from a file of their own:
 *
 *	frame 0   RECS          section 0 ENTROPY_TABLE, 1 TENSOR F16 70 x 34, chunks of 64 rows; tensor 0 "t"
 *	frame 1   CHNK 0:0      frame 2 CHNK 1:0      frame 3 CHNK 1:1 */
#include "format/writer.h"
#include "tests/bad_files.h"
#include "tests/trellis_case.h"

static void make_base(memory_file *f)
{
	const aqz_writer_options o = {.struct_size = sizeof o, .id = "base of trellis", .n_threads = 1};
	const aqz_tensor_desc d = {.struct_size = sizeof d,
		.name = "t",
		.name_bytes = 1,
		.dtype = AQZ_F16,
		.rank = 2,
		.shape = {70, 34}};
	noise r = {77};
	trellis_case c;
	aqz_writer *w;
	aqz_io io;

	memset(f, 0, sizeof *f);
	memory_io(&io, f);
	trellis_case_fill(&c, CASE_LAYER, 3, 70, 34, 64, &r);
	SURE(aqz_writer_open(&w, &io, &o, NULL) == AQZ_OK);
	SURE(aqz_writer_trellis(w, &d, &c.p, c.index, 64, NULL) == AQZ_OK);
	SURE(aqz_writer_finish(w, NULL, NULL) == AQZ_OK);
	aqz_writer_close(w);
	trellis_case_free(&c);
}

/* The base with one change, and the digest of the parameters as they are then. */
static void changed(edit *e, void (*change)(edit *own))
{
	memory_file base;
	edit own;
	aqz_digest *digest;
	uint64_t content[2];

	make_base(&base);
	edit_open(&own, &base);
	SURE(own.n_frames == 4);
	SURE(aqz_get16(own.frames[1].header + 16) == 0);
	change(&own);
	SURE(aqz_digest_open(&digest, NULL) == AQZ_OK);
	aqz_digest_add(digest, own.frames[1].payload, own.frames[1].stored);
	aqz_digest_close(digest, content);
	memcpy(own.digests.data, content, sizeof content);
	edit_put(&own);
	memory_copy(&e->out, &own.out);
	edit_close(&own);
	memory_free(&base);
}

#define CHANGE(name, code)          \
	static void name##_own(edit *e) \
	{                               \
		code;                       \
	}                               \
	static void name(edit *e)       \
	{                               \
		changed(e, name##_own);     \
	}

CHANGE(nothing, (void)e)
CHANGE(one_state_bit, section_body(e, 1)[32] = 1)
CHANGE(nine_state_bits, section_body(e, 1)[32] = 9)
CHANGE(flags, section_body(e, 1)[33] = 1) /* 0.2 had one here */
CHANGE(reserved, section_body(e, 1)[39] = 1)
CHANGE(integers,
	(aqz_put16(section_body(e, 1) + 8, AQZ_I16), aqz_put16(tensor_body(e, 0) + 8, AQZ_I16)))
CHANGE(kind,
	(aqz_put16(section_body(e, 0) + 4, AQZ_KIND_SIGNS),
		aqz_put16(section_body(e, 1) + 48, AQZ_KIND_SIGNS)))
CHANGE(some_rows, aqz_put64(section_body(e, 1) + 48 + 24, 64))
CHANGE(parameter_dtype, aqz_put16(section_body(e, 0) + 8, AQZ_I8))
CHANGE(coding, aqz_put16(e->frames[2].header + 16, 16))
CHANGE(payload_short, resize_payload(&e->frames[2], 0, e->frames[2].stored - 127, 0))
CHANGE(payload_cut, resize_payload(&e->frames[2], e->frames[2].stored - 2, 2, 0))
CHANGE(payload_long, resize_payload(&e->frames[2], e->frames[2].stored, 0, 2))
CHANGE(payload_odd, resize_payload(&e->frames[2], e->frames[2].stored, 0, 1))
CHANGE(state_small, aqz_put32(e->frames[3].payload + 4, 0xffff))
CHANGE(word, e->frames[3].payload[e->frames[3].stored - 20] ^= 1)
/* Of the parameters. */
CHANGE(base_zero, aqz_put32(e->frames[1].payload, 0))
CHANGE(parameter_flags, e->frames[1].payload[8] |= 2)
CHANGE(bits_too_many, e->frames[1].payload[e->frames[1].stored - 1] |= 0x80)
CHANGE(too_many_tables, e->frames[1].payload[7] = 11)

#define C AQZ_E_CORRUPT
#define U AQZ_E_UNSUPPORTED

const bad_file bad_trellis[] = {
	MAKE("good-trellis", nothing, AQZ_OK, "", 0, 0),
	MAKE("bad-trellis-states-2", one_state_bit, C, "params", 0, 0),
	MAKE("bad-trellis-states-512", nine_state_bits, C, "params", 0, 0),
	MAKE("unsupported-trellis-flags", flags, U, "params", 0, 0),
	MAKE("unsupported-trellis-reserved", reserved, U, "params", 0, 0),
	MAKE("unsupported-trellis-dtype", integers, U, "dtype", 0, 0),
	MAKE("unsupported-trellis-kind", kind, U, "refs", 0, 0),
	MAKE("bad-trellis-rows", some_rows, C, "refs", 0, 0),
	MAKE("bad-trellis-parameter-dtype", parameter_dtype, C, "refs.entropy_table", 0, 0),
	MAKE("unsupported-trellis-coding", coding, U, "section[1].chunk[0]", 0, 0),
	MAKE("bad-trellis-payload-short", payload_short, C, "section[1].chunk[0]", 0, 0),
	MAKE("bad-trellis-payload-cut", payload_cut, C, "section[1].chunk[0]", 0, 0),
	MAKE("bad-trellis-payload-long", payload_long, C, "section[1].chunk[0]", 0, 0),
	MAKE("bad-trellis-payload-odd", payload_odd, C, "section[1].chunk[0]", 0, 0),
	MAKE("bad-trellis-state", state_small, C, "section[1].chunk[1]", 0, 0),
	MAKE("bad-trellis-word", word, C, "section[1].chunk[1]", 0, 0),
	MAKE("bad-trellis-base", base_zero, C, "section[1].parameters", 0, 0),
	MAKE("unsupported-trellis-parameter-flags", parameter_flags, U, "section[1].parameters", 0, 0),
	MAKE("bad-trellis-bits", bits_too_many, C, "section[1].parameters", 0, 0),
	MAKE("bad-trellis-tables", too_many_tables, C, "section[1].parameters", 0, 0),
};
const size_t n_bad_trellis = sizeof bad_trellis / sizeof *bad_trellis;
