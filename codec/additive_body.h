/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of tiles, spec 7.2.4, by vectors of 8 values; a kernel includes this with
 * NAME(x)  a name of this variant
 * TARGET   its attribute: AVX2, BMI1 and what FINISH needs
 * FINISH   finish(to, sums, scale, dtype, stream): scales and rounds 32 sums and stores them at to: past the caches
 *          with stream, when to is a multiple of 32, else at any alignment
 * ROUNDS   1: FINISH takes no subnormal numbers for BF16
 *
 * A pack has the places of four lines' codes in one row (two lines' if places need 32 bits): line k of a part is field
 * k % 4 of pack (k / 4) * 64 + row. So one load and three extractions give what four loads of single places did. For
 * 2x8g8 32 weights of a row are 33 instructions, 10 loads of 8 and 32 bytes and one or two stores: 0.21 cycles a
 * weight on Zen 4, which starts six instructions and two such loads a cycle; packing adds 0.03. */

#define INLINE static inline __attribute__((always_inline)) TARGET
#if defined(__clang__)
#define UNROLL
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* What a walk over the rows of some groups needs. */
typedef struct NAME(part) {
	const uint8_t *table;
	size_t book_bytes; /* from codebook to codebook */
	unsigned n_codebooks, in_group;
	unsigned row_begin, row_end, n_cols;
	const float *scales; /* of 64 rows */
	uint8_t *dst;        /* of row_begin's first element */
	size_t row_bytes;    /* of dst, from row to row */
	bool stream;
	uint64_t *packs;
} NAME(part);

/* ---- Codes to places */

/* Codes of 16 rows, from one row on, in the order 0 1 4 5 8 9 12 13, 2 3 6 7 10 11 14 15, which unpacking puts right.
 * plain: they are uint16_t already. */
INLINE __m256i NAME(codes)(const uint8_t *line, unsigned row, unsigned bits, bool plain)
{
	const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
	const uint8_t *high = line + AQZ_TILE_ROWS;
	__m256i codes, two;

	if (plain) {
		codes = _mm256_loadu_si256((const __m256i_u *)(line + 2 * row));
	} else if (bits == 16) {
		two = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i_u *)(high + row)));
		codes = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i_u *)(line + row)));
		codes = _mm256_or_si256(codes, _mm256_slli_epi16(two, 8));
	} else { /* 12: a byte has the upper bits of two */
		two = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i_u *)(high + row / 2)));
		two = _mm256_or_si256(_mm256_slli_epi32(two, 8), _mm256_slli_epi32(two, 20));
		codes = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i_u *)(line + row)));
		codes = _mm256_or_si256(codes, _mm256_and_si256(two, _mm256_set1_epi16(0xf00)));
	}
	return _mm256_permutevar8x32_epi32(codes, order);
}

/* The packs of four lines of bytes, which are turned as bytes. */
INLINE void NAME(pack_bytes)(uint64_t *packs, const uint8_t *const lines[4], __m128i shift)
{
	for (unsigned row = 0; row < AQZ_TILE_ROWS; row += 32) {
		const __m256i a = _mm256_loadu_si256((const __m256i_u *)(lines[0] + row));
		const __m256i b = _mm256_loadu_si256((const __m256i_u *)(lines[1] + row));
		const __m256i c = _mm256_loadu_si256((const __m256i_u *)(lines[2] + row));
		const __m256i d = _mm256_loadu_si256((const __m256i_u *)(lines[3] + row));
		const __m256i ab = _mm256_unpacklo_epi8(a, b), cd = _mm256_unpacklo_epi8(c, d);
		const __m256i ab_high = _mm256_unpackhi_epi8(a, b), cd_high = _mm256_unpackhi_epi8(c, d);
		const __m256i rows[4] = {_mm256_unpacklo_epi16(ab, cd), _mm256_unpackhi_epi16(ab, cd),
			_mm256_unpacklo_epi16(ab_high, cd_high), _mm256_unpackhi_epi16(ab_high, cd_high)};

		/* Four rows each from row and from row + 16 on. */
		UNROLL
		for (unsigned i = 0; i < 4; i++) {
			const __m256i low = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(rows[i]));
			const __m256i high = _mm256_cvtepu8_epi16(_mm256_extracti128_si256(rows[i], 1));

			_mm256_store_si256((__m256i *)(packs + row + 4 * i), _mm256_sll_epi16(low, shift));
			_mm256_store_si256((__m256i *)(packs + row + 16 + 4 * i), _mm256_sll_epi16(high, shift));
		}
	}
}

INLINE void NAME(pack_words)(uint64_t *packs, const uint8_t *const lines[4], unsigned bits, bool plain, __m128i shift)
{
	for (unsigned row = 0; row < AQZ_TILE_ROWS; row += 16) {
		__m256i *to = (__m256i *)(packs + row);
		const __m256i a = _mm256_sll_epi16(NAME(codes)(lines[0], row, bits, plain), shift);
		const __m256i b = _mm256_sll_epi16(NAME(codes)(lines[1], row, bits, plain), shift);
		const __m256i c = _mm256_sll_epi16(NAME(codes)(lines[2], row, bits, plain), shift);
		const __m256i d = _mm256_sll_epi16(NAME(codes)(lines[3], row, bits, plain), shift);
		const __m256i ab = _mm256_unpacklo_epi16(a, b), cd = _mm256_unpacklo_epi16(c, d);
		const __m256i ab_high = _mm256_unpackhi_epi16(a, b), cd_high = _mm256_unpackhi_epi16(c, d);

		_mm256_store_si256(to, _mm256_unpacklo_epi32(ab, cd));
		_mm256_store_si256(to + 1, _mm256_unpackhi_epi32(ab, cd));
		_mm256_store_si256(to + 2, _mm256_unpacklo_epi32(ab_high, cd_high));
		_mm256_store_si256(to + 3, _mm256_unpackhi_epi32(ab_high, cd_high));
	}
}

/* Two lines, places of 32 bits. */
INLINE void NAME(pack_wide)(uint64_t *packs, const uint8_t *const lines[2], unsigned bits, bool plain, __m128i shift)
{
	const __m256i none = _mm256_setzero_si256();

	for (unsigned row = 0; row < AQZ_TILE_ROWS; row += 16) {
		__m256i *to = (__m256i *)(packs + row);
		const __m256i a = NAME(codes)(lines[0], row, bits, plain);
		const __m256i b = NAME(codes)(lines[1], row, bits, plain);
		const __m256i a_low = _mm256_sll_epi32(_mm256_unpacklo_epi16(a, none), shift);
		const __m256i b_low = _mm256_sll_epi32(_mm256_unpacklo_epi16(b, none), shift);
		const __m256i a_high = _mm256_sll_epi32(_mm256_unpackhi_epi16(a, none), shift);
		const __m256i b_high = _mm256_sll_epi32(_mm256_unpackhi_epi16(b, none), shift);

		_mm256_store_si256(to, _mm256_unpacklo_epi32(a_low, b_low));
		_mm256_store_si256(to + 1, _mm256_unpackhi_epi32(a_low, b_low));
		_mm256_store_si256(to + 2, _mm256_unpacklo_epi32(a_high, b_high));
		_mm256_store_si256(to + 3, _mm256_unpackhi_epi32(a_high, b_high));
	}
}

/* The packs of n_lines lines; what is left of the last pack is the first codeword. */
static TARGET void NAME(pack)(
	uint64_t *packs, const uint8_t *lines, unsigned n_lines, unsigned bits, unsigned in_group, bool narrow)
{
	static const uint8_t zeros[2 * AQZ_TILE_ROWS] = {0};
	const unsigned per_pack = narrow ? 4 : 2, line_bytes = bits * (AQZ_TILE_ROWS / 8);
	const __m128i shift = _mm_cvtsi32_si128(__builtin_ctz(in_group) - 1);
	const bool plain = bits != 8 && bits != 12 && bits != 16;
	uint16_t codes[4][AQZ_TILE_ROWS];
	const uint8_t *in[4];

	for (unsigned k = 0; k < n_lines; k += per_pack, packs += AQZ_TILE_ROWS) {
		for (unsigned i = 0; i < per_pack; i++, lines += line_bytes) {
			in[i] = k + i < n_lines ? lines : zeros;
			if (plain && k + i < n_lines) {
				aqz_t64_unpack(codes[i], lines, bits);
				in[i] = (const uint8_t *)codes[i];
			}
		}
		if (!narrow && bits == 16)
			NAME(pack_wide)(packs, in, 16, false, shift);
		else if (!narrow)
			NAME(pack_wide)(packs, in, bits, plain, shift);
		else if (bits == 8)
			NAME(pack_bytes)(packs, in, shift);
		else if (bits == 12)
			NAME(pack_words)(packs, in, 12, false, shift);
		else
			NAME(pack_words)(packs, in, bits, true, shift);
	}
}

/* ---- Sums */

/* The codeword of field i of a pack, from codebook's first. */
INLINE const float *NAME(codeword)(const uint8_t *book, uint64_t pack, unsigned i, bool narrow)
{
	uint64_t place;

	if (narrow)
		place = i == 0 ? (uint16_t)pack : i == 3 ? pack >> 48 : AQZ_BITS(pack, 16 * i, 16);
	else
		place = i == 0 ? (uint32_t)pack : pack >> 32;
	return (const float *)(const void *)(book + 8 * place);
}

/* n vectors of a sum from value k of the codewords on; packs at a row, line the group's first. For any scheme. */
INLINE void NAME(sum)(__m256 *sums, unsigned n, const NAME(part) *p, const uint64_t *packs, unsigned line, unsigned k,
	bool narrow)
{
	const unsigned per_pack = narrow ? 4 : 2;
	const uint8_t *book = p->table;

	for (unsigned m = 0; m < p->n_codebooks; m++, line++, book += p->book_bytes) {
		const uint64_t pack = packs[line / per_pack * AQZ_TILE_ROWS];
		const unsigned i = line % per_pack;
		const uint64_t place = narrow ? (uint16_t)(pack >> 16 * i) : (uint32_t)(pack >> 32 * i);
		const float *values = (const float *)(const void *)(book + 8 * place) + k;

		UNROLL
		for (unsigned v = 0; v < n; v++) {
			const __m256 more = _mm256_loadu_ps(values + 8 * v);

			sums[v] = m == 0 ? more : _mm256_add_ps(sums[v], more);
		}
	}
}

/* The columns of all rows from one on, for any scheme. */
INLINE void NAME(rest)(const NAME(part) *p, unsigned begin, aqz_dtype dtype, bool narrow)
{
	const unsigned element_bytes = dtype == AQZ_F32 ? 4 : 2, shift = (unsigned)__builtin_ctz(p->in_group);
	uint8_t *dst = p->dst;

	for (unsigned row = p->row_begin; row < p->row_end; row++, dst += p->row_bytes) {
		const __m256 scale = _mm256_set1_ps(p->scales[row]);
		const uint64_t *packs = p->packs + row;

		for (unsigned col = begin; col < p->n_cols; col += 32) {
			const unsigned n = p->n_cols - col < 32 ? p->n_cols - col : 32, k = col & (p->in_group - 1);
			uint8_t some[32 * 4], *to = dst + (size_t)col * element_bytes;
			__m256 sums[4] = {{0}};

			if (p->in_group >= 32)
				NAME(sum)(sums, 4, p, packs, (col >> shift) * p->n_codebooks, k, narrow);
			else
				for (unsigned at = col, i = 0; i < 4 && at < p->n_cols; at += 8, i++)
					NAME(sum)(sums + i, 1, p, packs, (at >> shift) * p->n_codebooks, at & (p->in_group - 1), narrow);
			FINISH(n == 32 ? to : some, sums, scale, dtype, false);
			if (n < 32)
				memcpy(to, some, (size_t)n * element_bytes);
		}
	}
}

static TARGET void NAME(last_columns)(const NAME(part) *p, unsigned begin, aqz_dtype dtype, bool narrow)
{
	NAME(rest)(p, begin, dtype, narrow);
}

/* All rows of a part. n_codebooks, in_group: constants of a common scheme, or 0. */
INLINE void NAME(rows)(const NAME(part) *p, unsigned n_codebooks, unsigned in_group, aqz_dtype dtype, bool narrow,
	bool stream)
{
	const unsigned element_bytes = dtype == AQZ_F32 ? 4 : 2, per_pack = narrow ? 4 : 2;
	const unsigned n_packs = 4 * n_codebooks / per_pack, n_vectors = in_group / 2;
	/* Columns of four groups, which are whole packs, as often as they go. */
	const unsigned n_whole = in_group != 0 ? p->n_cols / (4 * in_group) * (4 * in_group) : 0;
	const size_t row_bytes = p->row_bytes, whole_bytes = (size_t)n_whole * element_bytes;
	const uint64_t *packs = p->packs + p->row_begin;
	const float *scales = p->scales + p->row_begin, *const last = p->scales + p->row_end;
	const uint8_t *books[AQZ_MAX_CODEBOOKS];
	uint8_t *dst = p->dst;

	for (unsigned m = 0; m < n_codebooks; m++) {
		books[m] = p->table + m * p->book_bytes;
		/* Or compilers keep one register and add the rest again and again. */
		__asm__("" : "+r"(books[m]));
	}
	for (; n_whole != 0 && scales != last; scales++, packs++, dst += row_bytes) {
		const __m256 scale = _mm256_set1_ps(*scales);
		const uint64_t *next = packs;
		uint8_t *to = dst, *const end = dst + whole_bytes;

		do {
			uint64_t pack[8];
			__m256 sums[8];

			UNROLL
			for (unsigned k = 0; k < n_packs; k++)
				pack[k] = next[k * AQZ_TILE_ROWS];
			UNROLL
			for (unsigned v = 0; v < n_vectors; v++) {
				const unsigned line = 8 * v / in_group * n_codebooks, value = 8 * v % in_group;

				sums[v] = _mm256_loadu_ps(
					NAME(codeword)(books[0], pack[line / per_pack], line % per_pack, narrow) + value);
				UNROLL
				for (unsigned m = 1; m < n_codebooks; m++)
					sums[v] = _mm256_add_ps(sums[v],
						_mm256_loadu_ps(NAME(codeword)(books[m], pack[(line + m) / per_pack],
											(line + m) % per_pack, narrow) + value));
			}
			UNROLL
			for (unsigned v = 0; v < n_vectors; v += 4, to += 32 * element_bytes)
				FINISH(to, sums + v, scale, dtype, stream);
			next += n_packs * AQZ_TILE_ROWS;
		} while (to != end);
	}
	if (n_codebooks == 0)
		NAME(rest)(p, 0, dtype, narrow);
	else if (n_whole < p->n_cols)
		NAME(last_columns)(p, n_whole, dtype, narrow);
}

/* A function for each common scheme and dtype: compilers keep the registers of one apart. */
#define ROWS(m, g, narrow_, stream_) \
	static TARGET void NAME(rows_##m##_##g##_##narrow_##stream_##_f32)(const NAME(part) *p) \
	{ \
		NAME(rows)(p, m, g, AQZ_F32, narrow_, stream_); \
	} \
	static TARGET void NAME(rows_##m##_##g##_##narrow_##stream_##_f16)(const NAME(part) *p) \
	{ \
		NAME(rows)(p, m, g, AQZ_F16, narrow_, stream_); \
	} \
	static TARGET void NAME(rows_##m##_##g##_##narrow_##stream_##_bf16)(const NAME(part) *p) \
	{ \
		NAME(rows)(p, m, g, AQZ_BF16, narrow_, stream_); \
	}
ROWS(1, 8, 1, 0)
ROWS(2, 8, 1, 0)
ROWS(3, 8, 1, 0)
ROWS(4, 8, 1, 0)
ROWS(5, 8, 1, 0)
ROWS(6, 8, 1, 0)
ROWS(7, 8, 1, 0)
ROWS(8, 8, 1, 0)
ROWS(1, 16, 1, 0)
ROWS(2, 16, 1, 0)
ROWS(3, 16, 1, 0)
ROWS(4, 16, 1, 0)
ROWS(1, 8, 0, 0)
ROWS(2, 8, 0, 0)
ROWS(1, 16, 0, 0)
ROWS(0, 0, 1, 0)
ROWS(0, 0, 0, 0)
ROWS(1, 8, 1, 1)
ROWS(2, 8, 1, 1)
ROWS(3, 8, 1, 1)
ROWS(4, 8, 1, 1)
ROWS(1, 16, 1, 1)
ROWS(2, 16, 1, 1)
ROWS(3, 16, 1, 1)
ROWS(4, 16, 1, 1)
ROWS(1, 8, 0, 1)
ROWS(2, 8, 0, 1)
#undef ROWS

typedef void NAME(rows_fn)(const NAME(part) *p);

static NAME(rows_fn) *NAME(rows_get)(const aqz_scheme *s, bool narrow, aqz_dtype dtype, bool stream)
{
#define THREE(m, g, narrow_, stream_) \
	{ \
		NAME(rows_##m##_##g##_##narrow_##stream_##_f32), NAME(rows_##m##_##g##_##narrow_##stream_##_f16), \
			NAME(rows_##m##_##g##_##narrow_##stream_##_bf16) \
	}
	static NAME(rows_fn) *const narrow_8[][3] = {THREE(1, 8, 1, 0), THREE(2, 8, 1, 0), THREE(3, 8, 1, 0),
		THREE(4, 8, 1, 0), THREE(5, 8, 1, 0), THREE(6, 8, 1, 0), THREE(7, 8, 1, 0), THREE(8, 8, 1, 0)};
	static NAME(rows_fn) *const narrow_16[][3] = {THREE(1, 16, 1, 0), THREE(2, 16, 1, 0), THREE(3, 16, 1, 0),
		THREE(4, 16, 1, 0)};
	static NAME(rows_fn) *const wide_8[][3] = {THREE(1, 8, 0, 0), THREE(2, 8, 0, 0)};
	static NAME(rows_fn) *const wide_16[][3] = {THREE(1, 16, 0, 0)};
	static NAME(rows_fn) *const narrow_stream[][3] = {THREE(1, 8, 1, 1), THREE(2, 8, 1, 1), THREE(3, 8, 1, 1),
		THREE(4, 8, 1, 1)};
	static NAME(rows_fn) *const narrow_stream_16[][3] = {THREE(1, 16, 1, 1), THREE(2, 16, 1, 1), THREE(3, 16, 1, 1),
		THREE(4, 16, 1, 1)};
	static NAME(rows_fn) *const wide_stream[][3] = {THREE(1, 8, 0, 1), THREE(2, 8, 0, 1)};
	static NAME(rows_fn) *const any[][3] = {THREE(0, 0, 0, 0), THREE(0, 0, 1, 0)};
#undef THREE
#define LENGTH(a) (sizeof(a) / sizeof *(a))
	const unsigned i = dtype == AQZ_F32 ? 0 : dtype == AQZ_F16 ? 1 : 2, m = s->n_codebooks - 1u;

	if (stream && narrow && s->in_group == 8 && m < LENGTH(narrow_stream))
		return narrow_stream[m][i];
	if (stream && narrow && s->in_group == 16 && m < LENGTH(narrow_stream_16))
		return narrow_stream_16[m][i];
	if (stream && !narrow && s->in_group == 8 && m < LENGTH(wide_stream))
		return wide_stream[m][i];
	if (narrow && s->in_group == 8)
		return narrow_8[m][i];
	if (narrow && s->in_group == 16 && m < LENGTH(narrow_16))
		return narrow_16[m][i];
	if (!narrow && s->in_group == 8 && m < LENGTH(wide_8))
		return wide_8[m][i];
	if (!narrow && s->in_group == 16 && m < LENGTH(wide_16))
		return wide_16[m][i];
	return any[narrow][i];
#undef LENGTH
}

TARGET void NAME(aqz_decode_tile)(const aqz_tile *tile, const aqz_tables *t)
{
	const aqz_scheme *s = &t->scheme;
	const size_t line_bytes = (size_t)s->n_codebooks * s->code_bits * (AQZ_TILE_ROWS / 8);
	const size_t element_bytes = t->dtype == AQZ_F32 ? 4 : 2;
	const bool narrow = aqz_tile_narrow(s);
	uint64_t packs[AQZ_TILE_PACKS] __attribute__((aligned(64)));
	NAME(rows_fn) *rows;
	unsigned step;
	bool stream;

	if (!aqz_tile_regular(s) || !aqz_tile_plain(tile, t, ROUNDS && t->dtype == AQZ_BF16)) {
		aqz_decode_tile_scalar(tile, t);
		return;
	}
	stream = tile->stream && (uintptr_t)tile->dst % 64 == 0 && tile->ld * element_bytes % 64 == 0;
	rows = NAME(rows_get)(s, narrow, t->dtype, stream);
	step = aqz_tile_step(s, narrow);
	for (unsigned group = 0; group < tile->n_groups; group += step) {
		const unsigned n_groups = step < tile->n_groups - group ? step : tile->n_groups - group;
		const unsigned col = group * s->in_group, n_cols = tile->n_cols - col;
		const NAME(part) p = {
			.table = (const uint8_t *)t->values,
			.book_bytes = ((size_t)s->in_group << s->code_bits) * sizeof(float),
			.n_codebooks = s->n_codebooks,
			.in_group = s->in_group,
			.row_begin = tile->row_begin,
			.row_end = tile->row_end,
			.n_cols = n_groups * s->in_group < n_cols ? n_groups * s->in_group : n_cols,
			.scales = tile->scales != NULL ? tile->scales : aqz_tile_ones,
			.dst = (uint8_t *)tile->dst + col * element_bytes,
			.row_bytes = tile->ld * element_bytes,
			.packs = packs,
		};

		NAME(pack)(packs, tile->lines + group * line_bytes, n_groups * s->n_codebooks, s->code_bits, s->in_group,
			narrow);
		rows(&p);
	}
	if (stream) /* or other threads might see what follows before it */
		_mm_sfence();
}

#undef INLINE
#undef UNROLL
