/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the seeds of all fuzz targets: make_seeds FOLDER, one sub-folder for each target. Nothing
 * binary is kept in the repository: containers come from the tests' builder, which uses every
 * feature. */
#include <sys/stat.h>

#include "fuzz/seeds_config.h"
#include "fuzz/seeds_gguf.h"
#include "fuzz/seeds_safetensors.h"
#include "fuzz/seeds_tokenizer.h"
#include "fuzz/seeds_trellis.h"
#include "tests/bad_files.h"

static bool failed;

/* lead: bytes before the container, for fuzz_stream. */
static void write_seed(const char *folder, const char *kind, const char *name, const void *lead, size_t lead_bytes,
	const memory_file *f)
{
	char path[4096];
	FILE *out;

	snprintf(path, sizeof path, "%s/%s", folder, kind);
	mkdir(path, 0777); /* may be there; writing tells */
	snprintf(path, sizeof path, "%s/%s/%s", folder, kind, name);
	out = fopen(path, "wb");
	if (out == NULL || fwrite(lead, 1, lead_bytes, out) != lead_bytes || fwrite(f->data, 1, f->n, out) != f->n)
		failed = true;
	if (out != NULL && fclose(out) != 0)
		failed = true;
}

static void write_both(const char *folder, const char *name, memory_file *f)
{
	static const uint8_t pieces[2][4] = {{0, 0, 0, 0}, {1, 63, 64, 200}};
	char longer[64];

	write_seed(folder, "open", name, "", 0, f);
	for (int i = 0; i < 2; i++) {
		snprintf(longer, sizeof longer, "%s-%d", name, i);
		write_seed(folder, "stream", longer, pieces[i], 4, f);
	}
}

int main(int argc, char **argv)
{
	static const uint32_t alignments[2] = {64, 4096};
	static sample s;

	if (argc != 2) {
		fprintf(stderr, "usage: make_seeds FOLDER\n");
		return 2;
	}
	for (int i = 0; i < 2; i++) {
		memory_file tiny = {0};
		char name[64];

		sample_tiny(&tiny, alignments[i]);
		snprintf(name, sizeof name, "tiny-%u", alignments[i]);
		write_both(argv[1], name, &tiny);
		memory_free(&tiny);
		if (i == 1) /* 110 kB, mostly padding: too slow to be worth it */
			break;
		memset(&s, 0, sizeof s);
		sample_make(&s, &(sample_options){.alignment = alignments[i], .n_threads = 1, .scale = 1});
		snprintf(name, sizeof name, "full-%u", alignments[i]);
		write_both(argv[1], name, &s.file);
		store_index(&s.file);
		snprintf(name, sizeof name, "full-stored-index-%u", alignments[i]);
		write_both(argv[1], name, &s.file);
		sample_free(&s);
	}
	/* Every check that a file can fail, failed once. */
	for (size_t i = 0; i < n_bad_files(); i++) {
		memory_file f = {0};

		bad_file_make(bad_file_get(i), &f);
		write_both(argv[1], bad_file_get(i)->name, &f);
		memory_free(&f);
	}
	failed = !seeds_safetensors(argv[1]) || failed;
	failed = !seeds_gguf(argv[1]) || failed;
	failed = !seeds_config(argv[1]) || failed;
	failed = !seeds_tokenizer(argv[1]) || failed;
	failed = !seeds_trellis(argv[1]) || failed;
	if (failed)
		fprintf(stderr, "make_seeds: a seed could not be written\n");
	return failed ? 1 : 0;
}
