/* SPDX-License-Identifier: Apache-2.0 */
/* decompress, from a file: read at random, chunk by chunk, by several threads. Each holds a chunk
 * at a time, but for transposed tensors, which are turned whole. */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/restore.h"

/* What all threads may take together when they write to standard output. */
#define PIPE_BYTES (UINT64_C(48) << 20)

/* Every tensor that is wanted was seen. */
static aqz_status check_complete(const restore *r, aqz_error *err)
{
	for (uint32_t i = 0; i < r->n_slots; i++) {
		const restore_slot *s = &r->slots[i];

		if (!s->wanted || s->info != NULL)
			continue;
		if (r->opt.n_names > 0)
			return cli_fail(err, AQZ_E_NOT_FOUND, "", "there is no tensor '%.120s'", s->source.name);
		cli_fail(err, AQZ_E_NOT_FOUND, s->source.name,
			"this tensor of '%.60s' is not in the container (salvaged?); "
			"-o OUT.safetensors writes those that are",
			r->files[s->file].name);
		return AQZ_E_NOT_FOUND;
	}
	return AQZ_OK;
}

typedef struct work {
	restore *r;
	const aqz_reader *reader;
	uint64_t *first_task; /* of each slot; n_slots + 1 entries */
	_Atomic uint64_t next;
	pthread_mutex_t lock; /* of the rest */
	pthread_cond_t moved; /* turn or status has changed */
	uint64_t turn;		  /* standard output: the task whose bytes come next */
	uint32_t shown;		  /* the slot that the bar shows */
	aqz_status status;
	aqz_error err;
} work;

static uint64_t section_bytes(const aqz_section_info *section, uint64_t n_rows)
{
	uint64_t n = n_rows * section->cols;
	unsigned bits = aqz_dtype_bits(section->dtype);

	return n / 8 * bits + n % 8 * bits / 8;
}

static uint64_t rows_of_chunk(const aqz_section_info *section)
{
	uint64_t out_group = section->scheme.codec == AQZ_CODEC_ADDITIVE ? section->scheme.out_group : 1;

	return section->chunk_rows * (out_group != 0 ? out_group : 1);
}

/* All bytes of a file section, a chunk at a time. */
static aqz_status copy_section(
	restore *r, const aqz_reader *reader, const aqz_section_info *section, aqz_error *err)
{
	uint64_t step = rows_of_chunk(section);
	aqz_cursor *cursor = NULL;
	uint8_t *buffer;
	aqz_status status;

	if (step > section->rows)
		step = section->rows;
	buffer = malloc((size_t)section_bytes(section, step) + 1);
	if (buffer == NULL)
		return cli_fail(err, AQZ_E_NOMEM, section->name, "out of memory");
	status = aqz_cursor_open(&cursor, reader, section->number, err);
	for (uint64_t row = 0; row < section->rows && status == AQZ_OK; row += step) {
		uint64_t end = section->rows - row < step ? section->rows : row + step;
		size_t n = (size_t)section_bytes(section, end - row);

		status = aqz_cursor_read(cursor, row, end, buffer, n, err);
		if (status == AQZ_OK)
			status = section->kind == AQZ_KIND_FILE
				? restore_attached_put(r, section, buffer, n, err)
				: restore_header_put(r, section->number, row, buffer, n, err);
	}
	aqz_cursor_close(cursor);
	free(buffer);
	return status;
}

/* Standard output takes the bytes in order: waits for the tasks before this one, which are at work or done. False if
 * the work has stopped. */
static bool wait_turn(work *w, uint64_t task)
{
	bool go_on;

	if (!w->r->opt.out->is_stdout)
		return true;
	pthread_mutex_lock(&w->lock);
	while (w->turn != task && w->status == AQZ_OK)
		pthread_cond_wait(&w->moved, &w->lock);
	go_on = w->status == AQZ_OK;
	pthread_mutex_unlock(&w->lock);
	return go_on;
}

static void end_turn(work *w)
{
	if (!w->r->opt.out->is_stdout)
		return;
	pthread_mutex_lock(&w->lock);
	w->turn++;
	pthread_cond_broadcast(&w->moved);
	pthread_mutex_unlock(&w->lock);
}

/* The first failure is the one that is told. */
static void stop(work *w, aqz_status status, const aqz_error *err)
{
	pthread_mutex_lock(&w->lock);
	if (w->status == AQZ_OK) {
		w->status = status;
		w->err = *err;
	}
	pthread_cond_broadcast(&w->moved);
	pthread_mutex_unlock(&w->lock);
}

static aqz_status do_whole(work *w, restore_slot *slot, uint64_t task, aqz_error *err)
{
	void *data = malloc((size_t)slot->info->n_bytes + 1);
	aqz_status status;

	if (data == NULL)
		return cli_fail(err, AQZ_E_NOMEM, slot->source.name, "out of memory");
	status = aqz_reader_read_tensor(w->reader, slot->info, data, (size_t)slot->info->n_bytes, err);
	if (status == AQZ_OK && wait_turn(w, task))
		status = restore_whole(w->r, slot, data, err);
	free(data);
	return status;
}

static aqz_status do_chunk(
	work *w, restore_slot *slot, uint64_t task, uint64_t number, aqz_cursor *cursor, aqz_error *err)
{
	const aqz_section_info *section = aqz_reader_section(w->reader, slot->info->section);
	uint64_t step = rows_of_chunk(section), begin = (slot->rows_begin / step + number) * step,
			 end = begin + step;
	aqz_status status;
	void *data;
	size_t n;

	/* A chunk is read only as far as its rows are wanted. */
	if (begin < slot->rows_begin)
		begin = slot->rows_begin;
	if (end > slot->rows_end)
		end = slot->rows_end;
	n = (size_t)section_bytes(section, end - begin);
	data = malloc(n + 1);
	if (data == NULL)
		return cli_fail(err, AQZ_E_NOMEM, slot->source.name, "out of memory");
	status = aqz_cursor_read(cursor, begin, end, data, n, err);
	if (status == AQZ_OK && wait_turn(w, task))
		status = restore_rows(w->r, slot, section, begin, end - begin, data, err);
	free(data);
	return status;
}

/* True while the work should go on. */
static bool tell(work *w, uint32_t slot)
{
	restore *r = w->r;
	bool go_on;

	pthread_mutex_lock(&w->lock);
	while (w->shown < slot + 1) {
		const restore_slot *s = &r->slots[w->shown++];

		if (s->wanted)
			cli_progress_item(&r->progress, s->source.name, 0, 0);
		if (s->wanted && r->opt.common->verbose && !r->opt.common->quiet) {
			cli_progress_clear(&r->progress);
			cli_put_text(stderr, s->source.name);
			fprintf(stderr, ": %" PRIu64 " bytes\n", s->out_bytes);
		}
	}
	if (!cli_progress_tick(&r->progress, r->done_bytes, r->total_bytes) && w->status == AQZ_OK) {
		w->status = cli_fail(&w->err, AQZ_E_CANCELLED, "", "stopped by a signal");
		pthread_cond_broadcast(&w->moved);
	}
	go_on = w->status == AQZ_OK;
	pthread_mutex_unlock(&w->lock);
	return go_on;
}

/* What each thread does: takes the next chunk of the next tensor until there is none. */
static void worker(work *w)
{
	aqz_cursor *cursor = NULL;
	uint32_t slot = 0, cursor_section = UINT32_MAX;
	uint64_t task;

	while ((task = w->next++) < w->first_task[w->r->n_slots]) {
		aqz_error err = {0};
		aqz_status status = AQZ_OK;
		restore_slot *s;

		while (task >= w->first_task[slot + 1])
			slot++;
		if (!tell(w, slot))
			break;
		s = &w->r->slots[slot];
		if (s->info->transposed && !w->r->opt.has_rows) {
			status = do_whole(w, s, task, &err);
		} else {
			if (cursor_section != s->info->section) {
				aqz_cursor_close(cursor);
				cursor = NULL;
				cursor_section = s->info->section;
				status = aqz_cursor_open(&cursor, w->reader, cursor_section, &err);
			}
			if (status == AQZ_OK)
				status = do_chunk(w, s, task, task - w->first_task[slot], cursor, &err);
		}
		if (status != AQZ_OK) {
			/* What comes before it is still written. */
			(void)wait_turn(w, task);
			stop(w, status, &err);
			break;
		}
		end_turn(w);
	}
	aqz_cursor_close(cursor);
}

static void *thread(void *user)
{
	worker(user);
	return NULL;
}

/* Counts the chunks of all slots and the memory that a thread needs for the largest. */
static uint64_t count_tasks(work *w, bool *whole_fits)
{
	uint64_t most = 0, n_tasks = 0, limit = w->r->opt.common->memory_bytes;

	*whole_fits = true;
	for (uint32_t i = 0; i < w->r->n_slots; i++) {
		const restore_slot *s = &w->r->slots[i];
		const aqz_section_info *section;
		uint64_t step, bytes, parameters = 0;

		w->first_task[i] = n_tasks;
		if (!s->wanted || s->rows_begin >= s->rows_end)
			continue;
		section = aqz_reader_section(w->reader, s->info->section);
		if (section->cols == 0)
			continue;
		step = rows_of_chunk(section);
		for (uint32_t k = 0; k < section->n_refs; k++) {
			for (uint32_t m = 0; m < section->refs[k].count; m++)
				parameters +=
					aqz_reader_section(w->reader, section->refs[k].first + m)->decoded_bytes;
		}
		if (s->info->transposed && !w->r->opt.has_rows) {
			bytes = s->info->n_bytes;
			n_tasks++;
			*whole_fits = *whole_fits && bytes <= limit / 3;
		} else {
			bytes = section_bytes(section, step < section->rows ? step : section->rows);
			n_tasks += (s->rows_end - 1) / step - s->rows_begin / step + 1;
		}
		/* Payload, decoded rows, converted rows or a second copy in the cursor, and the codebooks
		 * twice (F32). */
		bytes = 4 * bytes + 3 * parameters;
		if (bytes > most)
			most = bytes;
	}
	w->first_task[w->r->n_slots] = n_tasks;
	return most;
}

static aqz_status run_threads(restore *r, const aqz_reader *reader, aqz_error *err)
{
	work w = {.r = r, .reader = reader};
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t n = r->opt.common->n_threads, most, n_started = 0;
	pthread_t *threads;
	bool whole_fits;

	w.first_task = calloc((size_t)r->n_slots + 1, sizeof *w.first_task);
	if (w.first_task == NULL)
		return cli_fail(err, AQZ_E_NOMEM, "", "out of memory");
	pthread_mutex_init(&w.lock, NULL);
	pthread_cond_init(&w.moved, NULL);
	most = count_tasks(&w, &whole_fits);
	if (n == 0)
		n = processors > 0 ? (uint64_t)processors : 1;
	if (most != 0 && r->opt.common->memory_bytes / most < n)
		n = r->opt.common->memory_bytes / most;
	/* A pipe is for machines that have no room for the model; threads that wait for their turn are to take little. */
	if (r->opt.out->is_stdout && most != 0 && PIPE_BYTES / most < n)
		n = PIPE_BYTES / most;
	if (n == 0)
		n = 1;
	if (n > w.first_task[r->n_slots])
		n = w.first_task[r->n_slots];
	threads = calloc((size_t)n + 1, sizeof *threads);
	if (!whole_fits)
		w.status =
			cli_fail(&w.err, AQZ_E_MEMLIMIT, "", "a transposed tensor does not fit into memory");
	else if (threads == NULL)
		w.status = cli_fail(&w.err, AQZ_E_NOMEM, "", "out of memory");
	if (w.status == AQZ_OK) {
		/* This thread is the first; a system that gives no others still does all the work. */
		while (n_started + 1 < n && pthread_create(&threads[n_started], NULL, thread, &w) == 0)
			n_started++;
		worker(&w);
		while (n_started > 0)
			pthread_join(threads[--n_started], NULL);
	}
	free(threads);
	free(w.first_task);
	pthread_cond_destroy(&w.moved);
	pthread_mutex_destroy(&w.lock);
	if (w.status != AQZ_OK)
		*err = w.err;
	return w.status;
}

aqz_status restore_from_file(restore *r, aqz_error *err)
{
	aqz_reader_options options = {
		.struct_size = sizeof options, .memlimit_bytes = r->opt.common->memory_bytes};
	const aqz_section_info *section;
	const aqz_tensor_info *info;
	aqz_reader *reader = NULL;
	aqz_status status = aqz_reader_open(&reader, &r->opt.in->io, &options, err);
	restore_slot *slot;

	for (uint32_t i = 0; status == AQZ_OK && (section = aqz_reader_section(reader, i)) != NULL; i++)
		if (section->kind == AQZ_KIND_SOURCE_HEADER && r->opt.mode != RESTORE_RAW) {
			status = restore_header_declare(r, section, err);
			if (status == AQZ_OK)
				status = copy_section(r, reader, section, err);
		}
	if (status == AQZ_OK)
		status = restore_layout(r, reader, err);
	for (uint32_t i = 0; status == AQZ_OK && (info = aqz_reader_tensor(reader, i)) != NULL; i++)
		status = restore_match(r, &slot, info, aqz_reader_section(reader, info->section), err);
	if (status == AQZ_OK)
		status = check_complete(r, err);
	if (status == AQZ_OK)
		status = restore_open_files(r, err);
	for (uint32_t i = 0; status == AQZ_OK && (section = aqz_reader_section(reader, i)) != NULL; i++)
		if (section->kind == AQZ_KIND_FILE && r->opt.mode == RESTORE_FOLDER) {
			status = restore_attached_open(r, section, err);
			if (status == AQZ_OK && section->decoded_bytes > 0)
				status = copy_section(r, reader, section, err);
		}
	if (status == AQZ_OK)
		status = run_threads(r, reader, err);
	if (status == AQZ_OK)
		status = restore_close_files(r, err);
	/* Slots point into the reader: it goes last. */
	aqz_reader_close(reader);
	return status;
}
