/* SPDX-License-Identifier: Apache-2.0 */
/* The sound file that the bad files are made from, and how each is made. */
#include "tests/bad_files.h"

#include "format/writer.h"

/* ---- The sound file */

/* What was declared is to have a frame of records of its own. */
static void end_frame(aqz_writer *w)
{
	SURE(aqz_writer_flush(w, NULL) == AQZ_OK);
}

static void add_raw_tensor(aqz_writer *w)
{
	aqz_tensor_desc d = {.struct_size = sizeof d,
		.name = "r",
		.name_bytes = 1,
		.dtype = AQZ_U8,
		.rank = 2,
		.shape = {3, 3}};

	SURE(aqz_writer_tensor(w, NULL, &d, NULL) == AQZ_OK);
	SURE(aqz_writer_put(w, "123456789", 9, NULL) == AQZ_OK);
	end_frame(w);
	SURE(aqz_writer_alias(w, "r2", 2, 2, NULL) == AQZ_OK);
}

void bad_files_base(memory_file *f)
{
	static const float codewords[4] = {1, 2, 3, 4}, scales[3] = {1, 2, 0.5f},
					   steps[2] = {0.25f, 0.5f};
	static const uint8_t codes[16] = {5, 0, 0, 0, 0, 0, 0, 0, 3};
	aqz_writer_options o = {.struct_size = sizeof o, .id = "base of bad file", .n_threads = 1};
	aqz_tensor_desc a = {.struct_size = sizeof a,
		.name = "a",
		.name_bytes = 1,
		.dtype = AQZ_F32,
		.rank = 2,
		.shape = {3, 2},
		.scheme = {AQZ_CODEC_ADDITIVE, 1, 1, 2, 1}};
	aqz_tensor_desc i = a;
	aqz_ref refs[2] = {{AQZ_KIND_CODEBOOK, 0, 1, 0, 3}, {AQZ_KIND_ROW_SCALES, 0, 1, 0, 3}};
	aqz_ref more[3] = {{AQZ_KIND_CODEBOOK, 0, 1, 0, 64}, {AQZ_KIND_CODEBOOK, 0, 1, 64, 66},
		{AQZ_KIND_CODEBOOK_SCALES, 0, 1, 0, 64}};
	aqz_writer *w;
	aqz_io io;

	memset(f, 0, sizeof *f);
	memory_io(&io, f);
	SURE(aqz_writer_open(&w, &io, &o, NULL) == AQZ_OK);
	SURE(aqz_writer_file(w, AQZ_KIND_FILE, "f", 3, NULL) == AQZ_OK &&
		aqz_writer_put(w, "abc", 3, NULL) == AQZ_OK);
	end_frame(w);
	SURE(aqz_writer_file(w, AQZ_KIND_METADATA, "f", 2, NULL) == AQZ_OK &&
		aqz_writer_put(w, "{}", 2, NULL) == AQZ_OK);
	end_frame(w);
	SURE(aqz_writer_param(w, &refs[0].first, AQZ_KIND_CODEBOOK, AQZ_F32, 2, 2, codewords, NULL) ==
		AQZ_OK);
	SURE(aqz_writer_param(w, &refs[1].first, AQZ_KIND_ROW_SCALES, AQZ_F32, 3, 1, scales, NULL) ==
		AQZ_OK);
	a.refs = refs;
	a.n_refs = 2;
	a.measured = (aqz_measured){.has_rel_mse = true,
		.rel_mse = 0.5,
		.has_loss = true,
		.loss_before = 2,
		.loss_after = 1,
		.effort = 5};
	SURE(aqz_writer_tensor(w, NULL, &a, NULL) == AQZ_OK &&
		aqz_writer_put(w, codes, 8, NULL) == AQZ_OK);
	end_frame(w);
	SURE(aqz_writer_param(w, &more[0].first, AQZ_KIND_CODEBOOK, AQZ_I8, 2, 2, "\1\2\3\4", NULL) ==
		AQZ_OK);
	SURE(aqz_writer_param(w, &more[2].first, AQZ_KIND_CODEBOOK_SCALES, AQZ_F32, 1, 2, steps, NULL) ==
		AQZ_OK);
	more[1].first = refs[0].first;
	i.name = "i";
	i.shape[0] = 66;
	i.refs = more;
	i.n_refs = 3;
	SURE(aqz_writer_tensor(w, NULL, &i, NULL) == AQZ_OK &&
		aqz_writer_put(w, codes, 16, NULL) == AQZ_OK);
	end_frame(w);
	add_raw_tensor(w);
	SURE(aqz_writer_finish(w, NULL, NULL) == AQZ_OK);
	aqz_writer_close(w);
}

/* ---- Making */

static void poke(uint8_t *p, unsigned bytes, uint64_t value)
{
	memcpy(p, &value, bytes);
}

static void make_poked(const bad_file *b, edit *e)
{
	switch (b->in) {
	case SUPERBLOCK:
		poke(e->super + b->at, b->bytes, b->value);
		break;
	case SECTION:
		poke(section_body(e, b->n) + b->at, b->bytes, b->value);
		break;
	case TENSOR:
		poke(tensor_body(e, b->n) + b->at, b->bytes, b->value);
		break;
	case HEADER:
		poke(e->frames[b->n].header + b->at, b->bytes, b->value);
		e->frames[b->n].sizes_stay = true;
		break;
	case PAYLOAD:
		poke(e->frames[b->n].payload + b->at, b->bytes, b->value);
		break;
	default:
		break;
	}
	edit_put(e);
	switch (b->in) {
	case INDEX:
		poke(out_index(e) + b->at, b->bytes, b->value);
		edit_reseal(e, RESEAL_HASHES);
		break;
	case INDEX_HEADER:
		poke(out_index_header(e) + b->at, b->bytes, b->value);
		reseal_header(out_index_header(e), e->out.data + 40);
		break;
	case FOOTER:
		poke(out_footer(e) + b->at, b->bytes, b->value);
		reseal_frame(out_footer_header(e), e->out.data + 40);
		break;
	case FOOTER_HEADER:
		poke(out_footer_header(e) + b->at, b->bytes, b->value);
		reseal_header(out_footer_header(e), e->out.data + 40);
		break;
	case RAW:
		poke(b->n == 0 ? e->out.data + b->at : e->out.data + e->out.n - b->at, b->bytes, b->value);
		break;
	default:
		break;
	}
}

void bad_file_make(const bad_file *b, memory_file *out)
{
	memory_file sound;
	edit e;

	bad_files_base(&sound);
	edit_open(&e, &sound);
	if (b->make != NULL)
		b->make(&e);
	else
		make_poked(b, &e);
	memory_copy(out, &e.out);
	edit_close(&e);
	memory_free(&sound);
}

/* ---- All of them */

const bad_file *bad_file_get(size_t i)
{
	const struct {
		const bad_file *files;
		size_t n;
	} tables[] = {{bad_ends, n_bad_ends}, {bad_frames, n_bad_frames}, {bad_records, n_bad_records},
		{bad_tensors, n_bad_tensors}, {bad_index, n_bad_index},
		{bad_trellis, n_bad_trellis}};
	size_t k = 0;

	while (i >= tables[k].n)
		i -= tables[k++].n;
	return &tables[k].files[i];
}

size_t n_bad_files(void)
{
	return n_bad_ends + n_bad_frames + n_bad_records + n_bad_tensors + n_bad_index +
		n_bad_trellis;
}
