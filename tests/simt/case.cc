/* SPDX-License-Identifier: Apache-2.0 */
/* Random products for the emulator: tests/simt/case.h. */
#include "tests/simt/case.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/float.h"
#include "tests/simt/bodies.h"

namespace {

struct noise {
	uint64_t state;
	uint32_t draw()
	{
		state = state * 6364136223846793005u + 1442695040888963407u;
		return (uint32_t)(state >> 33);
	}
	/* About normal, so that sums cancel as they do in models. */
	float normal()
	{
		float v = 0;
		for (int i = 0; i < 4; i++)
			v += (float)(draw() % 65536) / 65536 - 0.5f;
		return v;
	}
};

/* As the dtype holds it; n elements at p. */
float element(const void *p, uint64_t i, uint32_t dtype)
{
	if (dtype == AQZ_F32)
		return static_cast<const float *>(p)[i];
	const uint16_t h = static_cast<const uint16_t *>(p)[i];
	return dtype == AQZ_F16 ? aqz_f16_to_f32(h) : aqz_bf16_to_f32(h);
}

void set(void *p, uint64_t i, uint32_t dtype, float v)
{
	if (dtype == AQZ_F32)
		static_cast<float *>(p)[i] = v;
	else
		static_cast<uint16_t *>(p)[i] = dtype == AQZ_F16 ? aqz_f32_to_f16(v) : aqz_f32_to_bf16(v);
}

struct memory {
	uint8_t *p = nullptr;
	size_t n = 0;
	explicit memory(size_t n_bytes) : n(n_bytes)
	{
		p = static_cast<uint8_t *>(aligned_alloc(256, (n_bytes + 255) / 256 * 256));
		memset(p, 0xff, (n_bytes + 255) / 256 * 256); /* NaN wherever nothing is put */
	}
	memory(const memory &) = delete;
	memory(memory &&o) : p(o.p), n(o.n) { o.p = nullptr; }
	~memory() { free(p); }
};

aqz_scheme parse(const char *text)
{
	unsigned m = 0, b = 0, g = 0, o = 1;

	sscanf(text, "%ux%ug%uo%u", &m, &b, &g, &o);
	aqz_scheme s = {};
	s.codec = AQZ_CODEC_ADDITIVE;
	s.n_codebooks = (uint8_t)m;
	s.code_bits = (uint8_t)b;
	s.in_group = (uint8_t)g;
	s.out_group = (uint8_t)o;
	return s;
}

struct one_part {
	aqz_gpu_layout l;
	memory base;
	one_part(const aqz_gpu_layout &layout) : l(layout), base(layout.total_bytes) {}
	float word(uint32_t m, uint32_t code, uint32_t a, uint32_t e) const
	{
		return element(base.p + l.words_offset, aqz_gpu_word_index(&l, m, code, a) + e, l.word_dtype);
	}
	uint32_t code(uint32_t row, uint32_t group, uint32_t m) const
	{
		const uint8_t *const p = base.p + l.codes_offset + aqz_gpu_code_offset(&l, row, group, m);
		return l.code_bytes == 1 ? *p : p[0] | (uint32_t)p[1] << 8;
	}
	float f32(uint64_t offset, uint32_t i) const { return element(base.p + offset, i, AQZ_F32); }
};

void fill(one_part *p, noise *r)
{
	const aqz_gpu_layout &l = p->l;
	uint8_t *const base = p->base.p;

	memset(base + l.codes_offset, 0, l.codes_bytes);
	for (uint32_t i = 0; i < l.code_rows; i++)
		for (uint32_t j = 0; j < l.groups; j++)
			for (uint32_t m = 0; m < l.n_codebooks; m++) {
				const uint32_t last = (1u << l.code_bits) - 1, v = r->draw();
				/* The first and the last codeword often. */
				const uint32_t code = v % 16 == 0 ? 0 : v % 16 == 1 ? last : v / 16 & last;
				uint8_t *const at = base + l.codes_offset + aqz_gpu_code_offset(&l, i, j, m);

				at[0] = (uint8_t)code;
				if (l.code_bytes == 2)
					at[1] = (uint8_t)(code >> 8);
			}
	for (uint32_t m = 0; m < l.n_codebooks; m++)
		for (uint32_t c = 0; c < 1u << l.code_bits; c++)
			for (uint32_t a = 0; a < l.out_group; a++)
				for (uint32_t e = 0; e < 8 * l.pieces; e++)
					set(base + l.words_offset, aqz_gpu_word_index(&l, m, c, a) + e, l.word_dtype,
						e < l.in_group ? r->normal() : 0);
	for (uint32_t i = 0; i < l.row_blocks * 64; i++)
		set(base + l.scales_offset, i, AQZ_F32, i < l.code_rows ? r->normal() + 1 : 0);
	for (uint32_t i = 0; i < l.bias_bytes / 4; i++)
		set(base + l.bias_offset, i, AQZ_F32, r->normal());
	simt::permit(base + l.codes_offset, l.codes_bytes, false);
	simt::permit(base + l.words_offset, l.words_bytes, false);
	simt::permit(base + l.scales_offset, l.scales_bytes, false);
	if (l.bias_bytes > 0)
		simt::permit(base + l.bias_offset, l.bias_bytes, false);
}

/* Of a sum, relative to its terms: gpu/product.h. */
double bound(const aqz_gpu_product_plan &p)
{
	const aqz_gpu_job &j = p.job;
	const double u = std::ldexp(1, -24);

	if (p.way == AQZ_GPU_LUTG || p.way == AQZ_GPU_LUTR)
		return (j.groups * j.n_codebooks + 40) * u;
	if (p.way == AQZ_GPU_GATHER)
		return ((double)j.cols * j.n_codebooks + 2) * u;
	return ((double)j.cols * j.n_codebooks + 8) * u;
}

/* How far rounding to y's dtype may move v. */
double rounding(double v, uint32_t dtype)
{
	return dtype == AQZ_F32 ? std::fabs(v) * std::ldexp(1, -24) : dtype == AQZ_F16
		? std::fabs(v) * std::ldexp(1, -11) + std::ldexp(1, -25) : std::fabs(v) * std::ldexp(1, -8);
}

/* Plan number `wanted` of those that are considered. */
struct pick {
	aqz_gpu_product_plan *plan;
	uint32_t wanted, n;
};

void pick_plan(void *user, const aqz_gpu_product_plan *plan)
{
	pick *const p = static_cast<pick *>(user);

	if (++p->n <= p->wanted)
		*p->plan = *plan;
}

} // namespace

outcome case_run(const product_case &c, uint64_t seed, uint64_t order)
{
	const aqz_scheme scheme = parse(c.scheme);
	const uint32_t x_bytes = c.x == AQZ_F32 ? 4 : 2, y_bytes = c.y == AQZ_F32 ? 4 : 2;
	const uint64_t ldx = (c.cols + 7) / 8 * 8 + 8;
	const aqz_gpu_limits limits = {c.sms, c.shared_bytes, c.shared_bytes + 1024};
	std::vector<one_part> parts;
	std::vector<memory> ys;
	aqz_gpu_product product = {};
	outcome o = {};
	noise r = {seed * 977 + 5};

	simt::forbid_all();
	parts.reserve(AQZ_GPU_PARTS);
	for (uint32_t i = 0; i < AQZ_GPU_PARTS && c.rows[i] > 0; i++) {
		aqz_gpu_layout l;
		const char *fault = aqz_gpu_layout_make(&l, &scheme, c.rows[i], c.cols, c.codebook, c.bias && i % 2 == 0);

		if (fault != nullptr) {
			printf("%s: %s\n", c.scheme, fault);
			return o;
		}
		parts.emplace_back(l);
		fill(&parts.back(), &r);
		const uint64_t ldy = c.rows[i] + 3 + 5 * i;
		ys.emplace_back(ldy * c.n_columns * y_bytes);
		for (uint32_t n = 0; n < c.n_columns; n++)
			simt::permit(ys.back().p + n * ldy * y_bytes, (uint64_t)c.rows[i] * y_bytes, true);
		product.parts[i].layout = &parts.back().l;
		product.parts[i].base = parts.back().base.p;
		product.parts[i].y = ys.back().p;
		product.parts[i].ldy = ldy;
		product.n_parts = i + 1;
	}
	memory x((ldx * c.n_columns + c.x_odd) * x_bytes);
	uint8_t *const x_at = x.p + c.x_odd * x_bytes;
	for (uint32_t n = 0; n < c.n_columns; n++) {
		for (uint32_t k = 0; k < c.cols; k++)
			set(x_at, n * ldx + k, c.x, r.normal() * (k % 50 == 7 ? 20.0f : 1.0f));
		simt::permit(x_at + n * ldx * x_bytes, (uint64_t)c.cols * x_bytes, false);
	}
	product.x = x_at;
	product.ldx = ldx;
	product.n_columns = c.n_columns;
	product.x_dtype = c.x;
	product.y_dtype = c.y;
	product.way = c.way;
	pick picked = {&o.plan, c.plan, 0};
	const char *fault = aqz_gpu_product_plans(&product, &limits, pick_plan, &picked);
	if (fault == nullptr && c.plan == 0)
		fault = aqz_gpu_product_plan_make(&o.plan, &product, &limits);
	o.n_plans = picked.n;
	if (fault != nullptr) {
		printf("%s: %s\n", c.scheme, fault);
		return o;
	}
	aqz_gpu_product_plan &p = o.plan;
	memory work(p.workspace_bytes + 256);
	if (p.workspace_bytes > 0) {
		memset(work.p, 0, AQZ_GPU_COUNTERS * 4);
		p.job.counters = (uint32_t *)(void *)work.p;
		p.job.partials = (float *)(void *)(work.p + AQZ_GPU_COUNTERS * 4);
		simt::permit(work.p, p.workspace_bytes, true);
	}
	o.ran = simt::run({p.grid_x, p.grid_y, p.grid_z, p.threads, p.shared_bytes}, order, simt_body_of(p), &p.job);
	for (uint32_t i = 0; p.workspace_bytes > 0 && i < AQZ_GPU_COUNTERS; i++)
		if (p.job.counters[i] != 0) {
			printf("%s: counter %u is left at %u\n", c.scheme, i, p.job.counters[i]);
			o.ran = false;
			break;
		}
	o.hash = 14695981039346656037u;
	for (uint32_t i = 0; i < product.n_parts && o.ran; i++) {
		const one_part &w = parts[i];
		const aqz_gpu_layout &l = w.l;

		for (size_t k = 0; k < ys[i].n; k++) {
			o.hash = (o.hash ^ ys[i].p[k]) * 1099511628211u;
			if (k / y_bytes % product.parts[i].ldy >= l.rows && ys[i].p[k] != 0xff)
				printf("%s: y was written beyond its rows\n", c.scheme), o.ran = false;
		}
		for (uint32_t n = 0; n < c.n_columns; n++)
			for (uint32_t row = 0; row < l.rows; row++) {
				const uint32_t i_code = row / l.out_group;
				const double scale = w.f32(l.scales_offset, i_code);
				double sum = 0, terms = 0;

				for (uint32_t k = 0; k < l.cols; k++)
					for (uint32_t m = 0; m < l.n_codebooks; m++) {
						const uint32_t j = k / l.in_group;
						const double v = (double)w.word(m, w.code(i_code, j, m), row % l.out_group, k % l.in_group) *
							element(x_at, n * ldx + k, c.x);
						sum += v;
						terms += std::fabs(v);
					}
				sum *= scale;
				terms *= std::fabs(scale);
				if (l.has_bias) {
					sum += w.f32(l.bias_offset, row);
					terms += std::fabs(w.f32(l.bias_offset, row));
				}
				const double y = element(ys[i].p, n * product.parts[i].ldy + row, c.y);
				const double error = std::fabs(y - sum) / (bound(p) * terms + rounding(sum, c.y) + 1e-30);
				if (!(error <= 1)) {
					printf("%s part %u column %u row %u: %g, must be %g (%g of the bound)\n", c.scheme, i, n, row, y,
						sum, error);
					o.ran = false;
					return o;
				}
				o.worst = error > o.worst ? error : o.worst;
			}
	}
	return o;
}
