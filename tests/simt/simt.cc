/* SPDX-License-Identifier: Apache-2.0 */
/* The emulator of tests/simt/simt.h. */
#undef _FORTIFY_SOURCE /* its longjmp stays on one stack */
#include "gpu/lanes.h"

#include <setjmp.h>
#include <ucontext.h>

#include <cstdio>
#include <map>
#include <string>
#include <vector>

namespace simt {
namespace {

constexpr size_t STACK = 128 << 10;
constexpr uint32_t WARP = 32;

/* What a fiber waits for. */
enum state { READY, AT_WARP, AT_BLOCK, DONE };
/* What a warp does together. */
enum act { NOTHING, SYNC, SHUFFLE, MMA };

/* swapcontext asks the kernel for the mask of signals each time; a jump does not, but sanitizers must see a switch. */
#if defined(__SANITIZE_ADDRESS__)
#define AQZ_SIMT_JUMPS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define AQZ_SIMT_JUMPS 0
#endif
#endif
#ifndef AQZ_SIMT_JUMPS
#define AQZ_SIMT_JUMPS 1
#endif

struct fiber {
	ucontext_t context; /* at its beginning */
	jmp_buf at;         /* once it has begun */
	bool begun;
	std::vector<char> stack;
	state now;
	act what;
	int mma_kind;
	uint32_t v, from;          /* shuffle */
	float *d;
	const uint32_t *a, *b;
};

struct access { uint64_t at; uint32_t n; };
/* The accesses of each lane at a place, in order; those of all lanes make an instruction. */
struct lanes {
	std::vector<access> of[WARP];
	size_t done[WARP] = {};
};
struct range { uintptr_t begin, end; bool writable; };

std::vector<fiber> fibers;
ucontext_t home;
jmp_buf home_at;
uint32_t current, block[3];
grid shape;
std::vector<uint8_t> shared, written;
std::map<std::pair<uint32_t, std::pair<int, uint32_t>>, lanes> pending;
tally totals[KINDS];
uint64_t n_mma, n_shfl, rng;
std::vector<range> ranges;
bool failed, counting;
void (*kernel)(const void *);
const void *kernel_argument;

uint64_t draw()
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

void fail(const char *what, uint64_t detail)
{
	if (!failed)
		fprintf(stderr, "simt: %s (%llu) in thread %u of block %u %u %u\n", what, (unsigned long long)detail, current,
			block[0], block[1], block[2]);
	failed = true;
}

/* Passes of one instruction on shared memory: lanes go in groups of 128 bytes' worth, as wide accesses do. In each
 * group a bank gives one word, of 4 bytes, to all that want that one. */
void count_shared(tally *t, const std::vector<access> &a)
{
	const uint32_t n = a[0].n, group = n <= 4 ? WARP : 128 / n;
	uint64_t passes = 0, least = 0;

	for (size_t first = 0; first < a.size(); first += group) {
		std::map<uint64_t, int> words;
		uint64_t in_bank[32] = {}, most = 0;

		for (size_t i = first; i < a.size() && i < first + group; i++)
			for (uint32_t k = 0; k < (n + 3) / 4; k++)
				words[a[i].at / 4 + k] = 1;
		for (const auto &w : words) {
			const uint64_t c = ++in_bank[w.first % 32];
			most = c > most ? c : most;
		}
		passes += most;
		least += (words.size() + 31) / 32;
	}
	t->instructions++;
	t->passes += passes;
	t->least += least;
	t->bytes += n * a.size();
}

void count_global(tally *t, const std::vector<access> &a)
{
	std::map<uint64_t, int> sectors, bytes;

	for (const access &x : a) {
		sectors[x.at / 32] = 1;
		for (uint32_t k = 0; k < x.n; k++)
			bytes[x.at + k] = 1;
	}
	t->instructions++;
	t->passes += sectors.size();
	t->least += (bytes.size() + 31) / 32;
	t->bytes += a[0].n * a.size();
}

void close(const std::pair<int, uint32_t> &place, std::vector<access> &a)
{
	if (a.empty())
		return;
	if (place.first == LDS || place.first == STS)
		count_shared(&totals[place.first], a);
	else
		count_global(&totals[place.first], a);
}

void note(int kind, uint32_t place, uint64_t at, uint32_t n)
{
	if (!counting)
		return;
	const uint32_t lane = current % WARP;
	lanes &l = pending[{current / WARP, {kind, place}}];
	std::vector<access> together;

	l.of[lane].push_back({at, n});
	for (uint32_t i = 0; i < WARP; i++)
		if (l.of[i].empty())
			return;
	for (uint32_t i = 0; i < WARP; i++) {
		together.push_back(l.of[i].front());
		l.of[i].erase(l.of[i].begin());
	}
	close({kind, place}, together);
}

/* Lanes that did not take part have left these: instructions of fewer lanes. */
void close_pending()
{
	for (auto &p : pending)
		for (bool any = true; any;) {
			std::vector<access> together;

			for (auto &of : p.second.of)
				if (!of.empty()) {
					together.push_back(of.front());
					of.erase(of.begin());
				}
			any = !together.empty();
			close(p.first.second, together);
		}
	pending.clear();
}

void check_global(const void *p, uint32_t n, bool write)
{
	const uintptr_t at = (uintptr_t)p;

	if (at % n != 0)
		fail("misaligned global access", n);
	for (const range &r : ranges)
		if (at >= r.begin && at + n <= r.end && (r.writable || !write))
			return;
	fail(write ? "write outside of permitted memory" : "read outside of permitted memory", n);
}

float tf32(uint32_t bits) { return aqz_f32_from_bits(bits & 0xffffe000u); }

float half(int kind, uint32_t pair, uint32_t i)
{
	const uint16_t h = (uint16_t)(pair >> 16 * i);
	return kind == 1 ? aqz_f16_to_f32(h) : aqz_bf16_to_f32(h);
}

/* Fragments, PTX ISA, m16n8k8 (tf32) and m16n8k16: group = lane / 4, member = lane % 4. */
void do_mma(fiber *w)
{
	const int kind = w[0].mma_kind, depth = kind == 0 ? 8 : 16;
	float a[16][16], b[16][8];

	n_mma++;
	for (uint32_t lane = 0; lane < WARP; lane++) {
		const uint32_t g = lane / 4, q = lane % 4;

		if (kind == 0) {
			a[g][q] = tf32(w[lane].a[0]);
			a[g + 8][q] = tf32(w[lane].a[1]);
			a[g][q + 4] = tf32(w[lane].a[2]);
			a[g + 8][q + 4] = tf32(w[lane].a[3]);
			b[q][g] = tf32(w[lane].b[0]);
			b[q + 4][g] = tf32(w[lane].b[1]);
			for (int i = 0; i < 6; i++)
				if ((i < 4 ? w[lane].a[i] : w[lane].b[i - 4]) & 0x1fff)
					fail("an operand of mma_tf32 has more bits than it holds", 0);
			continue;
		}
		for (uint32_t i = 0; i < 2; i++) {
			a[g][2 * q + i] = half(kind, w[lane].a[0], i);
			a[g + 8][2 * q + i] = half(kind, w[lane].a[1], i);
			a[g][2 * q + 8 + i] = half(kind, w[lane].a[2], i);
			a[g + 8][2 * q + 8 + i] = half(kind, w[lane].a[3], i);
			b[2 * q + i][g] = half(kind, w[lane].b[0], i);
			b[2 * q + 8 + i][g] = half(kind, w[lane].b[1], i);
		}
	}
	for (uint32_t lane = 0; lane < WARP; lane++)
		for (uint32_t i = 0; i < 4; i++) {
			const uint32_t row = lane / 4 + 8 * (i / 2), col = lane % 4 * 2 + i % 2;
			double sum = w[lane].d[i];

			for (int k = 0; k < depth; k++)
				sum += (double)a[row][k] * b[k][col];
			w[lane].d[i] = (float)sum;
		}
}

/* All lanes of a warp have come: does what they came for. */
void meet(fiber *w)
{
	uint32_t v[WARP];

	for (uint32_t i = 0; i < WARP; i++) {
		if (w[i].now != AT_WARP || w[i].what != w[0].what || w[i].mma_kind != w[0].mma_kind)
			fail("lanes of a warp do not meet", w[i].what);
		v[i] = w[i].v;
	}
	if (failed)
		return;
	if (w[0].what == SHUFFLE) {
		n_shfl++;
		for (uint32_t i = 0; i < WARP; i++)
			w[i].v = v[w[i].from % WARP];
	} else if (w[0].what == MMA) {
		do_mma(w);
	}
	for (uint32_t i = 0; i < WARP; i++)
		w[i].now = READY;
}

/* From a fiber to the loop. */
void leave()
{
	fiber &f = fibers[current];

	if (!AQZ_SIMT_JUMPS)
		swapcontext(&f.context, &home);
	else if (_setjmp(f.at) == 0)
		_longjmp(home_at, 1);
}

/* From the loop to a fiber, until it leaves. */
void enter(fiber *f)
{
	if (!AQZ_SIMT_JUMPS) {
		swapcontext(&home, &f->context);
	} else if (_setjmp(home_at) == 0) {
		if (f->begun)
			_longjmp(f->at, 1);
		f->begun = true;
		setcontext(&f->context);
	}
}

void wait_warp(act what)
{
	fibers[current].now = AT_WARP;
	fibers[current].what = what;
	leave();
}

void start()
{
	kernel(kernel_argument);
	fibers[current].now = DONE;
	leave();
}

void run_block()
{
	const uint32_t n = shape.threads;

	for (uint32_t i = 0; i < n; i++) {
		fiber &f = fibers[i];

		getcontext(&f.context);
		f.context.uc_stack.ss_sp = f.stack.data();
		f.context.uc_stack.ss_size = f.stack.size();
		f.context.uc_link = nullptr;
		makecontext(&f.context, start, 0);
		f.now = READY;
		f.begun = false;
		f.mma_kind = 0;
	}
	memset(shared.data(), 0xff, shared.size());
	memset(written.data(), 0, written.size());
	for (;;) {
		/* A warp, any of them, runs until its lanes meet or wait for the block. */
		const uint32_t n_warps = n / WARP, first = (uint32_t)(draw() % n_warps);
		bool any = false;
		uint32_t done = 0, waiting = 0;

		for (uint32_t k = 0; k < n_warps && !failed; k++) {
			const uint32_t w = (first + k) % n_warps, turn = (uint32_t)draw();
			uint32_t at_warp = 0;

			for (uint32_t i = 0; i < WARP && !failed; i++) {
				current = w * WARP + (i ^ turn) % WARP;
				if (fibers[current].now == READY) {
					any = true;
					enter(&fibers[current]);
				}
			}
			for (uint32_t i = 0; i < WARP; i++)
				at_warp += fibers[w * WARP + i].now == AT_WARP;
			if (at_warp > 0 && !failed) {
				meet(&fibers[w * WARP]);
				any = true;
			}
		}
		if (failed)
			return;
		for (uint32_t i = 0; i < n; i++) {
			done += fibers[i].now == DONE;
			waiting += fibers[i].now == AT_BLOCK;
		}
		if (done == n)
			return;
		if (!any) {
			if (waiting != n) {
				fail("threads of a block do not meet", done);
				return;
			}
			for (uint32_t i = 0; i < n; i++)
				fibers[i].now = READY;
		}
	}
}

} // namespace

bool run(const grid &g, uint64_t seed, void (*body)(const void *), const void *argument)
{
	shape = g;
	rng = seed * 0x9e3779b97f4a7c15u + 1;
	kernel = body;
	kernel_argument = argument;
	failed = false;
	if (fibers.size() < g.threads)
		fibers.resize(g.threads);
	for (fiber &f : fibers)
		f.stack.resize(STACK);
	shared.assign(g.shared_bytes, 0);
	written.assign(g.shared_bytes, 0);
	pending.clear();
	/* Splits of a unit, which are along y, come in any order. */
	const uint32_t turn = (uint32_t)draw();
	for (block[2] = 0; block[2] < g.z; block[2]++)
		for (uint32_t y = 0; y < g.y; y++)
			for (block[0] = 0; block[0] < g.x && !failed; block[0]++) {
				block[1] = (y + turn) % g.y;
				run_block();
				close_pending();
			}
	return !failed;
}

tally counts(kind k) { return totals[k]; }
uint64_t count_mma() { return n_mma; }
uint64_t count_shfl() { return n_shfl; }
void counts_clear()
{
	memset(totals, 0, sizeof totals);
	n_mma = n_shfl = 0;
	counting = true;
}
void counts_end() { counting = false; }
void permit(const void *p, size_t n_bytes, bool writable)
{
	ranges.push_back({(uintptr_t)p, (uintptr_t)p + n_bytes, writable});
}
void forbid_all() { ranges.clear(); }

uint32_t thread_index() { return current; }
uint32_t block_x() { return block[0]; }
uint32_t block_y() { return block[1]; }
uint32_t block_z() { return block[2]; }

void sync_block()
{
	fibers[current].now = AT_BLOCK;
	leave();
}

void sync_warp() { wait_warp(SYNC); }

uint32_t shuffle(uint32_t v, uint32_t from)
{
	fiber &f = fibers[current];

	f.v = v;
	f.from = from;
	wait_warp(SHUFFLE);
	return f.v;
}

void mma(int kind, float *d, const uint32_t *a, const uint32_t *b)
{
	fiber &f = fibers[current];

	f.mma_kind = kind;
	f.d = d;
	f.a = a;
	f.b = b;
	wait_warp(MMA);
	f.mma_kind = 0;
}

void shared_load(void *dst, uint32_t at, uint32_t n, uint32_t place)
{
	memset(dst, 0xff, n);
	if (at % n != 0 || at + n > shared.size()) {
		fail("shared load misaligned or outside", at);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		if (!written[at + i])
			fail("shared memory was read before it was written", at + i);
	memcpy(dst, &shared[at], n);
	note(LDS, place, at, n);
}

void shared_store(uint32_t at, const void *src, uint32_t n, uint32_t place)
{
	if (at % n != 0 || at + n > shared.size()) {
		fail("shared store misaligned or outside", at);
		return;
	}
	memcpy(&shared[at], src, n);
	memset(&written[at], 1, n);
	note(STS, place, at, n);
}

void global_load(void *dst, const void *p, uint32_t n, kind k, uint32_t place)
{
	memset(dst, 0xff, n);
	check_global(p, n, false);
	if (!failed)
		memcpy(dst, p, n);
	note(k, place, (uint64_t)(uintptr_t)p, n);
}

void global_check(const void *p, uint32_t n) { check_global(p, n, false); }

void global_store(void *p, const void *src, uint32_t n, uint32_t place)
{
	check_global(p, n, true);
	if (!failed)
		memcpy(p, src, n);
	note(STG, place, (uint64_t)(uintptr_t)p, n);
}

uint32_t atomic_add(uint32_t *p, uint32_t n)
{
	check_global(p, 4, true);
	if (failed)
		return 0;
	const uint32_t before = *p;
	*p += n;
	return before;
}

} // namespace simt
