/* SPDX-License-Identifier: Apache-2.0 */
/* GPU products on the emulator: every kernel against binary64 within its bound, twice with the threads and blocks in
 * different orders, which must give the same bits; then what is said of memory accesses, counted. */
#include <cstdio>
#include <cstdlib>

#include "tests/simt/case.h"
#include "tests/sparse.h"

int test_emulator(), test_plans();

namespace {

constexpr uint32_t H200 = 232448, A100 = 166912, ADA = 101376; /* bytes of shared memory that a block may have */
int n_cases, n_failed;

const char *const ways[] = {"auto", "lut-g", "lut-r", "gather", "mma"};

void failed(const product_case &c, const outcome &o, const char *what)
{
	printf("FAIL: %s, %u x %u, %u columns, %s: %s\n", c.scheme, c.rows[0], c.cols, c.n_columns, ways[o.plan.way], what);
	n_failed++;
}

outcome check(const product_case &c, uint64_t seed)
{
	const outcome o = case_run(c, seed, seed), again = SPARSE > 1 ? o : case_run(c, seed, seed + 12345);

	n_cases++;
	if (!o.ran || !again.ran)
		failed(c, o, "did not run or is wrong");
	else if (o.hash != again.hash)
		failed(c, o, "the order of threads changes the result");
	else if (c.way != AQZ_GPU_AUTO && o.plan.way != c.way)
		failed(c, o, "not the way that was asked for");
	return o;
}

constexpr aqz_dtype H = AQZ_F16, B = AQZ_BF16, F = AQZ_F32;

const product_case cases[] = {
	/* scheme, rows, cols, columns, codebook, x, y, way, SMs, shared, bias, odd, plan */
	{"1x8g8", {64}, 256, 1, H, H, H, AQZ_GPU_LUTG, 2, H200, false, 0, 0},
	{"2x8g8", {256}, 2048, 1, H, H, H, AQZ_GPU_LUTG, 4, H200, false, 0, 0},
	{"2x8g8", {100}, 576, 1, B, H, F, AQZ_GPU_LUTG, 3, A100, true, 0, 0}, /* 72 groups: a last tile that is padded */
	{"2x8g8", {100}, 577, 2, H, B, B, AQZ_GPU_LUTG, 3, ADA, true, 0, 0},
	{"2x8g8", {96, 33, 1, 0}, 320, 1, H, H, H, AQZ_GPU_LUTG, 7, H200, true, 0, 0},
	{"2x8g8", {65}, 264, 3, H, F, F, AQZ_GPU_LUTG, 2, H200, false, 1, 0},
	{"2x8g8", {65}, 264, 4, F, H, F, AQZ_GPU_LUTG, 2, ADA, false, 0, 0},
	{"2x8g8", {64}, 264, 5, AQZ_I8, H, F, AQZ_GPU_LUTG, 2, A100, false, 3, 0},
	{"4x8g8", {130}, 512, 1, H, H, H, AQZ_GPU_LUTG, 2, H200, false, 0, 0},
	{"4x8g8", {130}, 264, 2, H, H, H, AQZ_GPU_LUTG, 2, A100, true, 0, 0},
	{"8x8g32", {70}, 1056, 1, H, H, F, AQZ_GPU_LUTG, 2, H200, false, 0, 0},
	{"8x8g32", {70}, 1056, 2, B, B, F, AQZ_GPU_LUTG, 2, ADA, true, 0, 0},
	{"3x5g8", {40}, 300, 1, H, H, F, AQZ_GPU_LUTG, 2, H200, true, 0, 0},
	{"1x2g4", {40}, 131, 2, H, B, F, AQZ_GPU_LUTG, 2, H200, false, 0, 0}, /* fewer codewords than a tile has */
	{"2x8g5", {40}, 203, 1, B, B, F, AQZ_GPU_LUTG, 2, H200, false, 1, 0},
	{"1x7g16", {40}, 520, 1, H, H, F, AQZ_GPU_LUTG, 2, H200, false, 0, 0},
	{"1x8g64", {40}, 2100, 1, H, H, F, AQZ_GPU_LUTG, 2, H200, false, 0, 0},
	{"1x1g1", {7}, 35, 1, H, H, F, AQZ_GPU_LUTG, 2, H200, false, 0, 0},

	{"1x12g8", {200}, 320, 1, H, H, H, AQZ_GPU_LUTR, 4, H200, true, 0, 0},
	{"1x12g8", {1100}, 200, 2, B, H, F, AQZ_GPU_LUTR, 1, A100, false, 0, 0},
	{"1x12g8", {70}, 70, 1, H, F, F, AQZ_GPU_LUTR, 1, ADA, false, 1, 0},
	{"2x9g4", {70, 1, 64}, 90, 1, H, H, F, AQZ_GPU_LUTR, 4, H200, true, 0, 0},
	{"1x10g16", {130}, 330, 1, F, H, F, AQZ_GPU_LUTR, 2, H200, false, 0, 0},

	{"1x16g8", {200}, 2048, 1, H, H, H, AQZ_GPU_GATHER, 4, H200, true, 0, 0},
	{"1x16g8", {65, 100}, 1096, 2, B, B, F, AQZ_GPU_GATHER, 4, H200, true, 0, 0},
	{"1x16g8", {65}, 320, 3, H, H, F, AQZ_GPU_GATHER, 1, H200, false, 0, 0},
	{"1x16g8", {65}, 320, 8, H, H, F, AQZ_GPU_GATHER, 1, H200, false, 0, 0},
	{"1x16g8", {65}, 323, 9, H, B, F, AQZ_GPU_GATHER, 1, H200, false, 0, 0},
	{"1x16g16", {65}, 330, 1, H, H, H, AQZ_GPU_GATHER, 1, H200, false, 0, 0},
	{"1x16g8o2", {129}, 100, 2, H, H, H, AQZ_GPU_GATHER, 1, H200, true, 0, 0},
	{"2x13g7", {65}, 100, 1, F, F, F, AQZ_GPU_GATHER, 1, H200, false, 1, 0},
	{"2x8g4o3", {200}, 100, 5, AQZ_I8, B, B, AQZ_GPU_GATHER, 1, H200, true, 0, 0},
	{"2x8g8", {65}, 264, 1, H, H, F, AQZ_GPU_GATHER, 2, H200, false, 0, 0},

	{"1x8g8", {100}, 300, 8, H, H, H, AQZ_GPU_MMA, 2, H200, true, 0, 0},
	{"2x8g8", {200}, 320, 3, H, H, H, AQZ_GPU_MMA, 2, H200, true, 0, 0},
	{"2x8g8", {700}, 1032, 16, B, B, B, AQZ_GPU_MMA, 2, H200, true, 0, 0},
	{"2x8g8", {800}, 600, 32, H, H, H, AQZ_GPU_MMA, 2, A100, false, 0, 0},
	{"2x8g8", {70}, 264, 33, B, B, F, AQZ_GPU_MMA, 2, ADA, false, 0, 0},
	{"2x8g8", {64, 130}, 64, 64, H, H, F, AQZ_GPU_MMA, 4, H200, true, 0, 0},
	{"4x8g8", {70}, 264, 7, H, H, F, AQZ_GPU_MMA, 2, H200, false, 1, 0},
	{"4x8g8", {70}, 264, 20, H, H, F, AQZ_GPU_MMA, 2, ADA, false, 0, 0}, /* codewords do not fit */
	{"3x8g16", {70}, 600, 6, H, H, H, AQZ_GPU_MMA, 2, H200, false, 0, 0},
	{"8x8g32", {64}, 600, 9, B, B, F, AQZ_GPU_MMA, 2, H200, false, 0, 0},
	{"2x6g5", {64}, 213, 5, H, H, F, AQZ_GPU_MMA, 2, H200, false, 3, 0},
	{"1x16g8", {130}, 392, 12, H, H, H, AQZ_GPU_MMA, 2, H200, true, 0, 0},
	{"2x16g8", {65}, 104, 17, B, B, F, AQZ_GPU_MMA, 2, H200, true, 0, 0},
	{"1x12g12", {65}, 304, 9, H, H, F, AQZ_GPU_MMA, 2, A100, false, 0, 0},
};

/* Passes or sectors of one kind were the least possible. */
void counted(const product_case &c, const outcome &o, simt::kind k, const char *what)
{
	const simt::tally t = simt::counts(k);

	printf("  %s: %llu instructions, %llu passes, least %llu\n", what, (unsigned long long)t.instructions,
		(unsigned long long)t.passes, (unsigned long long)t.least);
	if (t.instructions == 0 || t.passes != t.least)
		failed(c, o, what);
}

void count_accesses()
{
	product_case c = {"2x8g8", {256}, 1024, 1, H, H, H, AQZ_GPU_LUTG, 2, H200, false, 0, 0};

	for (uint32_t n = 1; n <= 2; n++) {
		c.n_columns = n;
		simt::counts_clear();
		const outcome o = case_run(c, 3, 3);
		printf("LUT-G, %u columns, %u tables:\n", n, o.plan.tables);
		counted(c, o, simt::LDS, "look-ups and x, shared memory");
		counted(c, o, simt::STS, "tables and x, shared memory");
		counted(c, o, simt::LDG_ONCE, "codes, sectors");
	}
	for (uint32_t n = 8; n <= 32; n *= 2) {
		c.n_columns = n;
		c.way = AQZ_GPU_MMA;
		simt::counts_clear();
		const outcome o = case_run(c, 3, 3);
		printf("MMA, %u columns:\n", n);
		counted(c, o, simt::LDS, "codewords and x, shared memory");
		counted(c, o, simt::STS, "codewords and x, shared memory");
		counted(c, o, simt::LDG_ONCE, "codes, sectors");
	}
	c = {"1x12g8", {1024}, 96, 1, H, H, H, AQZ_GPU_LUTR, 1, H200, false, 0, 0};
	simt::counts_clear();
	const outcome o = case_run(c, 3, 3);
	printf("LUT-R:\n");
	counted(c, o, simt::STS, "tables, shared memory");
	counted(c, o, simt::LDG_ONCE, "codes, sectors");
	const simt::tally t = simt::counts(simt::LDS);
	const double passes = (double)t.passes / (double)t.instructions;
	printf("  %.2f passes for 32 look-ups\n", passes);
	if (!(passes < 3.8))
		failed(c, o, "look-ups meet at banks more often than chance has it");
	simt::counts_end();
}

/* What bench/gpu/tune would run: every plan of a product, not only the one that is taken. */
void all_plans()
{
	static const product_case from[] = {
		{"2x8g8", {400}, 1100, 1, H, H, H, AQZ_GPU_LUTG, 2, H200, true, 0, 0},
		{"3x8g8", {70, 200}, 600, 2, H, H, F, AQZ_GPU_LUTG, 5, A100, true, 0, 0},
		{"2x9g8", {1300}, 400, 1, H, H, F, AQZ_GPU_LUTR, 3, H200, false, 0, 0},
		{"1x16g8", {130}, 1290, 1, H, H, F, AQZ_GPU_GATHER, 3, H200, true, 0, 0},
		{"2x8g8", {130, 64}, 1100, 10, H, H, F, AQZ_GPU_MMA, 2, H200, true, 0, 0},
	};

	for (const product_case &one : from) {
		product_case c = one;
		uint32_t n;

		do {
			const outcome o = case_run(c, 9, ++c.plan);

			n = o.n_plans;
			n_cases++;
			if (!o.ran || o.plan.way != c.way)
				failed(c, o, "a plan that is considered is wrong");
			c.plan += SPARSE > 1 ? 3 : 0;
		} while (c.plan < n);
		printf("%-9s %-6s %u x %u, %u columns: %u plans\n", c.scheme, ways[c.way], c.rows[0], c.cols, c.n_columns, n);
		if (n < 2)
			failed(c, {}, "there is no choice of plans");
	}
}

struct dice {
	uint64_t state;
	uint32_t operator()(uint32_t n)
	{
		state = state * 6364136223846793005u + 1442695040888963407u;
		return (uint32_t)(state >> 33) % n;
	}
};

/* Small products of any kind. */
void random_cases(uint32_t n)
{
	dice draw = {17};

	for (uint32_t i = 0; i < n; i++) {
		static const aqz_dtype books[] = {H, H, B, F, AQZ_I8}, values[] = {H, B, F};
		static const uint32_t shared[] = {H200, A100, ADA};
		const uint32_t bits = draw(3) > 0 ? 1 + draw(8) : 9 + draw(8), m = 1 + draw(bits > 12 ? 2 : bits > 8 ? 3 : 8);
		const uint32_t out = draw(5) == 0 ? 1 + draw(4) : 1, group = 1 + draw(64 / out);
		char scheme[32];
		product_case c = {scheme, {1 + draw(150)}, 1 + draw(700), 1 + draw(draw(2) ? 3 : 40), books[draw(5)],
			values[draw(3)], values[draw(3)], (aqz_gpu_way)draw(5), 1 + draw(8), shared[draw(3)], draw(2) == 0,
			draw(3), draw(2) * draw(12)};

		snprintf(scheme, sizeof scheme, "%ux%ug%uo%u", m, bits, group, out);
		if (draw(2) == 0)
			c.x = c.codebook == F || c.codebook == AQZ_I8 ? H : c.codebook;
		if (draw(3) == 0)
			c.rows[1] = 1 + draw(90);
		const outcome o = case_run(c, i, i);
		n_cases++;
		if (!o.ran)
			failed(c, o, "did not run or is wrong");
	}
}

} // namespace

int main()
{
	const char *n = getenv("AQZ_SIMT_RANDOM");

	setvbuf(stdout, nullptr, _IOLBF, 0);
	for (const product_case &c : cases) {
		if (SPARSE > 1 && (&c - cases) % 3 != 0)
			continue;
		const outcome o = check(c, 1 + (uint64_t)(&c - cases));
		printf("%-9s %-6s %5u x %4u, %2u columns, grid %u %u %u: %.3f of the bound\n", c.scheme, ways[o.plan.way],
			c.rows[0], c.cols, c.n_columns, o.plan.grid_x, o.plan.grid_y, o.plan.grid_z, o.worst);
	}
	random_cases(n != nullptr ? (uint32_t)atoi(n) : SPARSE > 1 ? 6 : 60);
	all_plans();
	count_accesses();
	n_failed += test_emulator() + test_plans();
	printf("%d products, %d failures\n", n_cases, n_failed);
	return n_failed == 0 ? 0 : 1;
}
