/* SPDX-License-Identifier: Apache-2.0 */
/* The device of tests/gpu/fake.h. */
#include "tests/gpu/fake.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <list>
#include <map>
#include <vector>

#include "gpu/permute.h"
#include "gpu/product.h"
#include "gpu/reconstruct.h"
#include "gpu/trellis_kernel.h"
#include "tests/simt/bodies.h"
#include "tests/simt/simt_memory.h"

fake_device fake;

namespace {

struct op {
	std::function<bool()> run;
};
struct stream {
	std::list<op> todo;
};
struct event {
	stream *of;
	std::list<op>::iterator last;
	bool pending;
};

struct room {
	uint64_t mapped, asked;
};

std::map<uint8_t *, room> memory; /* of the device */
stream default_stream;
std::list<stream *> streams;
std::list<event *> events;

void protect(int how)
{
	for (auto &m : memory)
		if (mprotect(m.first, m.second.mapped, how) != 0)
			abort();
}

aqz_status fail(aqz_error *err, aqz_status status, const char *text)
{
	if (err != nullptr) {
		memset(err, 0, sizeof *err);
		err->status = status;
		err->offset = AQZ_NO_OFFSET;
		snprintf(err->where, sizeof err->where, "device");
		snprintf(err->text, sizeof err->text, "%s", text);
	}
	return status;
}

/* Every call that can fail begins here. */
bool fails()
{
	return ++fake.n_calls == fake.fail_call;
}
#define MAY_FAIL(status) \
	do { \
		if (fails()) \
			return fail(err, status, "made to fail"); \
	} while (0)

stream *of(aqz_gpu_stream s)
{
	return s == nullptr ? &default_stream : reinterpret_cast<stream *>(s);
}

/* Does a stream's work, up to an event or all of it. */
bool run(stream *s, event *up_to)
{
	bool ok = !fake.work_fails;

	if (s->todo.empty())
		return ok;
	protect(PROT_READ | PROT_WRITE);
	simt::forbid_all();
	for (auto &m : memory)
		simt::permit(m.first, m.second.asked, true);
	for (bool last = false; !s->todo.empty() && !last;) {
		last = up_to != nullptr && up_to->last == s->todo.begin();
		for (event *e : events)
			if (e->of == s && e->pending && e->last == s->todo.begin())
				e->pending = false;
		ok = s->todo.front().run() && ok;
		s->todo.pop_front();
	}
	protect(PROT_NONE);
	return ok;
}

void run_all()
{
	run(&default_stream, nullptr);
	for (stream *s : streams)
		run(s, nullptr);
}

void later(aqz_gpu_stream s, std::function<bool()> what)
{
	of(s)->todo.push_back({what});
}

} // namespace

extern "C" {

void fake_reset(void)
{
	fake = fake_device();
	fake.memory_bytes = UINT64_C(1) << 30;
	fake.n_devices = 2;
	fake.shared_bytes = 227 << 10;
}

aqz_status aqz_device_count(unsigned *n, aqz_error *err)
{
	*n = 0;
	if (fake.no_driver)
		return fail(err, AQZ_E_GPU, "no driver");
	*n = fake.n_devices;
	return AQZ_OK;
}

aqz_status aqz_device_info(aqz_gpu_info *out, unsigned device, aqz_error *err)
{
	MAY_FAIL(AQZ_E_GPU);
	memset(out, 0, sizeof *out);
	snprintf(out->name, sizeof out->name, "fake %u", device);
	out->major = device == 0 ? 9 : 7;
	out->n_multiprocessors = 4;
	out->memory_bytes = fake.memory_bytes;
	out->usable = device == 0;
	if (device != 0)
		snprintf(out->why, sizeof out->why, "compute capability 8.0 or above is needed");
	return AQZ_OK;
}

aqz_status aqz_device_enter(int *previous, unsigned device, aqz_error *err)
{
	MAY_FAIL(AQZ_E_GPU);
	*previous = fake.current;
	fake.current = (int)device;
	return AQZ_OK;
}

void aqz_device_leave(int previous)
{
	fake.current = previous;
}

aqz_status aqz_device_alloc(void **out, uint64_t n_bytes, const char *what, aqz_error *err)
{
	const uint64_t mapped = (n_bytes + 4095) / 4096 * 4096;
	uint64_t x = (n_bytes * 0x9e3779b97f4a7c15u) | 1;

	*out = nullptr;
	MAY_FAIL(AQZ_E_SPACE);
	if (n_bytes == 0 || n_bytes > fake.memory_bytes - fake.used_bytes)
		return fail(err, AQZ_E_SPACE, what);
	void *p = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return fail(err, AQZ_E_SPACE, what);
	for (uint64_t i = 0; i < mapped; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		static_cast<uint8_t *>(p)[i] = (uint8_t)(x >> 24);
	}
	mprotect(p, mapped, PROT_NONE);
	memory[static_cast<uint8_t *>(p)] = {mapped, n_bytes};
	fake.used_bytes += n_bytes;
	fake.most_bytes = fake.used_bytes > fake.most_bytes ? fake.used_bytes : fake.most_bytes;
	fake.n_allocated++;
	*out = p;
	return AQZ_OK;
}

void aqz_device_free(void *p)
{
	const auto m = memory.find(static_cast<uint8_t *>(p));

	if (m == memory.end())
		abort();
	run_all(); /* as cudaFree waits */
	munmap(p, m->second.mapped);
	fake.used_bytes -= m->second.asked;
	fake.n_allocated--;
	memory.erase(m);
}

aqz_status aqz_pinned_alloc(void **out, uint64_t n_bytes, aqz_error *err)
{
	*out = nullptr;
	MAY_FAIL(AQZ_E_NOMEM);
	/* The size stands in front. */
	uint8_t *p = static_cast<uint8_t *>(aligned_alloc(64, (n_bytes + 127) / 64 * 64));
	if (p == nullptr)
		return fail(err, AQZ_E_NOMEM, "pinned memory");
	memcpy(p, &n_bytes, sizeof n_bytes);
	memset(p + 64, 0xa5, n_bytes);
	fake.pinned_bytes += n_bytes;
	fake.most_pinned_bytes = fake.pinned_bytes > fake.most_pinned_bytes ? fake.pinned_bytes : fake.most_pinned_bytes;
	fake.n_pinned++;
	*out = p + 64;
	return AQZ_OK;
}

void aqz_pinned_free(void *p)
{
	uint64_t n_bytes;

	memcpy(&n_bytes, static_cast<uint8_t *>(p) - 64, sizeof n_bytes);
	fake.pinned_bytes -= n_bytes;
	fake.n_pinned--;
	free(static_cast<uint8_t *>(p) - 64);
}

/* ---- Streams and events */

aqz_status aqz_stream_make(aqz_gpu_stream *out, aqz_error *err)
{
	*out = nullptr;
	MAY_FAIL(AQZ_E_GPU);
	streams.push_back(new stream);
	*out = reinterpret_cast<aqz_gpu_stream>(streams.back());
	fake.n_streams++;
	return AQZ_OK;
}

void aqz_stream_free(aqz_gpu_stream s)
{
	run(of(s), nullptr);
	streams.remove(of(s));
	delete of(s);
	fake.n_streams--;
}

aqz_status aqz_stream_wait(aqz_gpu_stream s, aqz_error *err)
{
	const bool made_to = fails();

	return run(of(s), nullptr) && !made_to ? AQZ_OK : fail(err, AQZ_E_GPU, "the device's work failed");
}

aqz_status aqz_event_make(aqz_gpu_event *out, aqz_error *err)
{
	*out = nullptr;
	MAY_FAIL(AQZ_E_GPU);
	events.push_back(new event());
	*out = reinterpret_cast<aqz_gpu_event>(events.back());
	fake.n_events++;
	return AQZ_OK;
}

void aqz_event_free(aqz_gpu_event e)
{
	events.remove(reinterpret_cast<event *>(e));
	delete reinterpret_cast<event *>(e);
	fake.n_events--;
}

aqz_status aqz_event_record(aqz_gpu_event e, aqz_gpu_stream s, aqz_error *err)
{
	event *it = reinterpret_cast<event *>(e);

	MAY_FAIL(AQZ_E_GPU);
	it->of = of(s);
	it->pending = !it->of->todo.empty();
	if (it->pending)
		it->last = std::prev(it->of->todo.end());
	return AQZ_OK;
}

aqz_status aqz_event_wait(aqz_gpu_event e, aqz_error *err)
{
	event *it = reinterpret_cast<event *>(e);

	MAY_FAIL(AQZ_E_GPU);
	if (it->pending && !run(it->of, it))
		return fail(err, AQZ_E_GPU, "the device's work failed");
	return AQZ_OK;
}

/* ---- Copies */

aqz_status aqz_copy_to_device(void *dst, const void *src, uint64_t n_bytes, aqz_gpu_stream s, aqz_error *err)
{
	MAY_FAIL(AQZ_E_GPU);
	later(s, [=] { return memcpy(dst, src, n_bytes), true; });
	return AQZ_OK;
}

aqz_status aqz_copy_to_host(void *dst, const void *src, uint64_t n_bytes, aqz_gpu_stream s, aqz_error *err)
{
	return aqz_copy_to_device(dst, src, n_bytes, s, err);
}

aqz_status aqz_device_zero(void *dst, uint64_t n_bytes, aqz_gpu_stream s, aqz_error *err)
{
	MAY_FAIL(AQZ_E_GPU);
	later(s, [=] { return memset(dst, 0, n_bytes), true; });
	return AQZ_OK;
}

/* ---- Launches */

aqz_status aqz_launch_permute(void *codes, const aqz_gpu_layout *layout, uint32_t row_block, uint32_t n_row_blocks,
	const void *lines, aqz_gpu_stream s, aqz_error *err)
{
	const aqz_gpu_layout l = *layout;

	MAY_FAIL(AQZ_E_GPU);
	if (reinterpret_cast<uintptr_t>(lines) % 64 != 0)
		abort();
	later(s, [=] {
		uint8_t *to = static_cast<uint8_t *>(codes) + row_block * l.row_block_bytes;

		for (uint64_t i = 0; i < aqz_permute_pieces(&l, n_row_blocks); i++)
			aqz_permute_piece(to, static_cast<const uint8_t *>(lines), &l, i);
		return true;
	});
	return AQZ_OK;
}

} // extern "C"

namespace {

/* As the block of gpu/reconstruct.cu fills its shared memory. */
template <int M, uint32_t WORD> void reconstruct_shared(const aqz_reconstruct_job &job, uint32_t copies)
{
	const uint64_t n = job.layout.words_bytes / 16;
	std::vector<uint8_t> table(n * copies * 16);

	for (uint64_t i = 0; i < n * copies; i++)
		memcpy(&table[i * 16],
			job.base + job.layout.words_offset +
				16 * (size_t)aqz_reconstruct_source((uint32_t)i, job.layout.pieces, copies), 16);
	for (uint64_t w = 0; w < aqz_reconstruct_warps(&job); w++)
		for (uint32_t lane = 0; lane < 32; lane++)
			aqz_reconstruct_lane<M, WORD>(job, table.data(), copies, w, lane);
}

template <int M> void reconstruct_m(const aqz_reconstruct_job &job, uint32_t copies)
{
	if (job.layout.word_dtype == AQZ_F16)
		reconstruct_shared<M, AQZ_F16>(job, copies);
	else
		reconstruct_shared<M, AQZ_BF16>(job, copies);
}

bool reconstruct(const aqz_reconstruct_job &job, uint32_t shared_bytes)
{
	const uint32_t copies = aqz_reconstruct_copies(&job, shared_bytes);

	if (copies == 0) {
		for (uint64_t i = 0; i < aqz_reconstruct_units(&job); i++)
			aqz_reconstruct_unit(&job, i);
		return true;
	}
	switch (job.layout.n_codebooks) {
	case 1: return reconstruct_m<1>(job, copies), true;
	case 2: return reconstruct_m<2>(job, copies), true;
	case 4: return reconstruct_m<4>(job, copies), true;
	default: return reconstruct_m<8>(job, copies), true;
	}
}

void trellis_body(const void *job)
{
	aqz::trellis_body(*static_cast<const aqz_trellis_job *>(job));
}

} // namespace

extern "C" {

aqz_status aqz_launch_reconstruct(const aqz_reconstruct_job *job, const aqz_gpu_limits *limits, aqz_gpu_stream s,
	aqz_error *err)
{
	const aqz_reconstruct_job j = *job;
	const uint32_t shared_bytes = limits->shared_block_bytes;

	MAY_FAIL(AQZ_E_GPU);
	later(s, [=] { return reconstruct(j, shared_bytes); });
	return AQZ_OK;
}

aqz_status aqz_launch_add_bias(void *y, uint64_t y_ld, const float *bias, uint32_t rows, uint32_t n_columns,
	aqz_dtype dtype, aqz_gpu_stream s, aqz_error *err)
{
	(void)y, (void)y_ld, (void)bias, (void)rows, (void)n_columns, (void)dtype, (void)s;
	return fail(err, AQZ_E_GPU, "the fake device has no cuBLAS");
}

aqz_status aqz_launch_trellis(const aqz_trellis_job *job, aqz_gpu_stream s, aqz_error *err)
{
	const aqz_trellis_job j = *job;

	MAY_FAIL(AQZ_E_GPU);
	later(s, [=] { return simt::run({j.n_chunks, 1, 1, 32, 256}, 1, trellis_body, &j); });
	return AQZ_OK;
}

/* ---- cuBLAS and products */

aqz_status aqz_blas_open(aqz_gpu_blas **out, aqz_error *err)
{
	*out = nullptr;
	MAY_FAIL(AQZ_E_NOMEM);
	return AQZ_OK;
}

void aqz_blas_close(aqz_gpu_blas *blas)
{
	(void)blas;
}

aqz_status aqz_blas_product(aqz_gpu_blas *blas, void *y, uint64_t y_ld, const void *w, uint64_t w_ld, uint32_t rows,
	uint32_t cols, const void *x, uint64_t x_ld, uint32_t n_columns, aqz_dtype dtype, void *workspace,
	aqz_gpu_stream stream, aqz_error *err)
{
	(void)blas, (void)y, (void)y_ld, (void)w, (void)w_ld, (void)rows, (void)cols, (void)x, (void)x_ld;
	(void)n_columns, (void)dtype, (void)workspace, (void)stream;
	return fail(err, AQZ_E_GPU, "the fake device has no cuBLAS");
}

const char *aqz_gpu_product_prepare(aqz_gpu_limits *limits)
{
	if (fails())
		return "made to fail";
	*limits = aqz_gpu_limits();
	limits->n_multiprocessors = 4;
	limits->shared_block_bytes = fake.shared_bytes;
	limits->shared_sm_bytes = fake.shared_bytes + 1024;
	return nullptr;
}

const char *aqz_gpu_product_launch(const aqz_gpu_product_plan *plan, void *workspace, void *s)
{
	aqz_gpu_product_plan p = *plan;

	if (fails())
		return "made to fail";
	p.job.counters = static_cast<uint32_t *>(workspace);
	if (workspace != nullptr)
		p.job.partials = reinterpret_cast<float *>(p.job.counters + AQZ_GPU_COUNTERS);
	later(static_cast<aqz_gpu_stream>(s), [=] {
		return simt::run({p.grid_x, p.grid_y, p.grid_z, p.threads, p.shared_bytes}, 1, simt_body_of(p), &p.job);
	});
	return nullptr;
}

} // extern "C"
