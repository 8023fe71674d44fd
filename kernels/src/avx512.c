/* AVX-512 F, BW, DQ, VL, VBMI, VNNI and VPOPCNTDQ.
 *
 * Each step of the plain XNOR product is one xor, one vpopcntd and one vpaddd for 512 multiply-adds.
 * The other one adds two words at a time to a word of ones, carry-save, and counts the carries: five
 * instructions for 1024. Their tiles stay small enough that no compiler spills them.
 */
#define REAL_BYTES 64
#include "fixed.h"
#include "real.h"

#include <immintrin.h>

#define PLAIN_ROWS 6
#define CARRY_ROWS 4
#define TILE_PANELS 2   /* of several rows; one row takes ROW_PANELS */
#define ROW_PANELS 4
#define AHEAD 2048      /* words: how far a single row's weights are fetched ahead, at most */
#define CHANNELS_AHEAD 4 /* which are fetched while signs are packed */

/* Calls `tile` with constant sizes, so that each combination is compiled for itself. */
#define WITH_ROW_PANELS(count, tile, ...)                 \
    switch (count) {                                      \
    case 1: tile(1, __VA_ARGS__); break;                  \
    case 2: tile(2, __VA_ARGS__); break;                  \
    case 3: tile(3, __VA_ARGS__); break;                  \
    default: tile(4, __VA_ARGS__); break;                 \
    }
#define WITH_PANELS(rows, count, tile, ...)               \
    switch (count) {                                      \
    case 1: tile(rows, 1, __VA_ARGS__); break;            \
    default: tile(rows, 2, __VA_ARGS__); break;           \
    }
#define WITH_TILE(rows, count, tile, ...)                           \
    switch (rows) {                                                 \
    case 1:                                                         \
        switch (count) {                                            \
        case 1: tile(1, 1, __VA_ARGS__); break;                     \
        case 2: tile(1, 2, __VA_ARGS__); break;                     \
        case 3: tile(1, 3, __VA_ARGS__); break;                     \
        default: tile(1, 4, __VA_ARGS__); break;                    \
        }                                                           \
        break;                                                      \
    case 2: WITH_PANELS(2, count, tile, __VA_ARGS__); break;        \
    case 3: WITH_PANELS(3, count, tile, __VA_ARGS__); break;        \
    default: WITH_PANELS(4, count, tile, __VA_ARGS__); break;       \
    }
#define WITH_PLAIN_TILE(rows, count, tile, ...)                     \
    switch (rows) {                                                 \
    case 5: WITH_PANELS(5, count, tile, __VA_ARGS__); break;        \
    case 6: WITH_PANELS(6, count, tile, __VA_ARGS__); break;        \
    default: WITH_TILE(rows, count, tile, __VA_ARGS__); break;      \
    }

#define WITH_SEVERAL_ROWS(rows, count, tile, ...)                   \
    switch (rows) {                                                 \
    case 2: WITH_PANELS(2, count, tile, __VA_ARGS__); break;        \
    case 3: WITH_PANELS(3, count, tile, __VA_ARGS__); break;        \
    case 5: WITH_PANELS(5, count, tile, __VA_ARGS__); break;        \
    case 6: WITH_PANELS(6, count, tile, __VA_ARGS__); break;        \
    default: WITH_PANELS(4, count, tile, __VA_ARGS__); break;       \
    }

/* Which lanes of panel `panel` are outputs below n. */
ALWAYS_INLINE __mmask16 lanes_of(size_t n, size_t panel)
{
    return (__mmask16)tail_mask(smaller(n - panel * BNNLAB_LANES, BNNLAB_LANES));
}

static int pack_signs(const float *x, size_t rows, size_t k, uint32_t *bits)
{
    const __m512 zero = _mm512_setzero_ps();
    __mmask16 nan = 0;
    for (size_t i = 0; i < rows; i++, x += k)
        for (size_t j = 0; j < k; j += 32) {
            const size_t low = smaller(k - j, 16), high = smaller(k - j - low, 16);
            const __mmask16 low_mask = (__mmask16)tail_mask(low);
            const __mmask16 high_mask = (__mmask16)tail_mask(high);
            const __m512 v0 = _mm512_maskz_loadu_ps(low_mask, x + j);
            const __m512 v1 = _mm512_maskz_loadu_ps(high_mask, x + j + low);
            nan |= _mm512_mask_cmp_ps_mask(low_mask, v0, v0, _CMP_UNORD_Q);
            nan |= _mm512_cmp_ps_mask(v1, v1, _CMP_UNORD_Q);
            *bits++ = (uint32_t)_mm512_mask_cmp_ps_mask(low_mask, v0, zero, _CMP_GE_OQ) |
                      (uint32_t)_mm512_mask_cmp_ps_mask(high_mask, v1, zero, _CMP_GE_OQ) << 16;
        }
    return nan != 0;
}

/* Up to 64 channels of up to 64 pixels as one or two words, bits [pixels, each]. Returns whether a NaN
 * was met. */
ALWAYS_INLINE int pack_pixels(const int whole, const size_t each, const float *x, size_t channels,
                              size_t pixels, size_t count, uint32_t *bits)
{
    const __m512 zero = _mm512_setzero_ps();
    const __m512i even = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(8));
    __m512i word[2][4];
    __mmask16 there[4], nan = 0;
    for (size_t q = 0; q < 4; q++) {
        const size_t left = count - smaller(count, q * 16);
        there[q] = (__mmask16)tail_mask(smaller(left, 16));
    }
    UNROLL for (size_t w = 0; w < each; w++) {
        __m512i bit = _mm512_set1_epi32(1);
        UNROLL for (size_t q = 0; q < 4; q++)
            word[w][q] = _mm512_setzero_si512();
        for (size_t c = w * 32; c < smaller(channels, w * 32 + 32); c++) {
            const float *from = x + c * pixels;
            __m512 v[4];
            UNROLL for (size_t q = 0; q < 4; q++)
                v[q] = whole ? _mm512_loadu_ps(from + q * 16)
                             : _mm512_maskz_loadu_ps(there[q], from + (there[q] ? q * 16 : 0));
            UNROLL for (size_t q = 0; q < 4; q++)
                _mm_prefetch((const char *)(from + CHANNELS_AHEAD * pixels + q * 16), _MM_HINT_T0);
            UNROLL for (size_t q = 0; q < 4; q++)
                word[w][q] = _mm512_mask_or_epi32(
                    word[w][q], _mm512_cmp_ps_mask(v[q], zero, _CMP_GE_OQ), word[w][q], bit);
            nan |= _mm512_cmp_ps_mask(v[0], v[1], _CMP_UNORD_Q);
            nan |= _mm512_cmp_ps_mask(v[2], v[3], _CMP_UNORD_Q);
            bit = _mm512_add_epi32(bit, bit);
        }
    }
    UNROLL for (size_t q = 0; q < 4; q++, bits += each * 16) {
        if (each == 1) {
            _mm512_storeu_si512(bits, word[0][q]);
            continue;
        }
        _mm512_storeu_si512(bits, _mm512_permutex2var_epi32(word[0][q], even, word[1][q]));
        _mm512_storeu_si512(bits + 16, _mm512_permutex2var_epi32(word[0][q], odd, word[1][q]));
    }
    return nan != 0;
}

static int pack_channels(const float *x, size_t channels, size_t pixels, uint32_t *bits)
{
    const size_t words = BNNLAB_WORDS(channels);
    int nan = 0;
    /* 64 pixels at a time: channels may lie a power of two apart, where single lines would miss. */
    for (size_t i = 0; i < pixels; i += 64) {
        const size_t count = smaller(pixels - i, 64);
        for (size_t w = 0; w < words; w += 2) {
            const float *from = x + w * 32 * pixels + i;
            const size_t some = channels - w * 32;
            uint32_t made[128], *to = bits + i * words + w;
            if (w + 1 == words) {
                nan |= count == 64 ? pack_pixels(1, 1, from, some, pixels, count, made)
                                   : pack_pixels(0, 1, from, some, pixels, count, made);
                for (size_t pixel = 0; pixel < count; pixel++)
                    to[pixel * words] = made[pixel];
            } else {
                nan |= count == 64 ? pack_pixels(1, 2, from, some, pixels, count, made)
                                   : pack_pixels(0, 2, from, some, pixels, count, made);
                for (size_t pixel = 0; pixel < count; pixel++)
                    memcpy(to + pixel * words, made + 2 * pixel, 8);
            }
        }
    }
    return nan;
}

static void pack_codes(const uint8_t *codes, size_t rows, size_t k, size_t planes, uint32_t *bits)
{
    for (size_t p = 0; p < planes; p++) {
        const __m256i bit = _mm256_set1_epi8((char)(1 << p));
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < k; j += 32) {
                const __mmask32 mask = k - j < 32 ? tail_mask(k - j) : 0xffffffffu;
                const __m256i v = _mm256_maskz_loadu_epi8(mask, codes + i * k + j);
                *bits++ = _mm256_test_epi8_mask(v, bit);
            }
    }
}

ALWAYS_INLINE __m512i load_panel(const uint32_t *b, const struct bnnlab_walk *walk, size_t c)
{
    return _mm512_loadu_si512(b + c * walk->panel_words * BNNLAB_LANES);
}

/* A single row streams through the weights: fetches what comes after these panels, or further along
 * them where they are long. */
ALWAYS_INLINE void fetch_ahead(const uint32_t *b, const struct bnnlab_walk *walk, size_t count)
{
    const size_t ahead = smaller(count * walk->panel_words * BNNLAB_LANES, AHEAD);
    UNROLL for (size_t c = 0; c < count; c++)
        _mm_prefetch((const char *)(b + c * walk->panel_words * BNNLAB_LANES + ahead), _MM_HINT_T0);
}

/* The mismatches of one plane, added to `sum`. */
ALWAYS_INLINE void count_plainly(const size_t rows, const size_t count, const uint32_t *a,
                                 const struct bnnlab_walk *walk, const uint32_t *panels,
                                 __m512i sum[PLAIN_ROWS][ROW_PANELS])
{
    const size_t row_step = walk->row_step, length = walk->length;
    for (size_t s = 0; s < walk->segments; s++, a += walk->a_step) {
        const uint32_t *b = panels + s * walk->b_step * BNNLAB_LANES;
        for (size_t w = 0; w < length; w++, b += BNNLAB_LANES) {
            __m512i v[ROW_PANELS];
            if (rows == 1)
                fetch_ahead(b, walk, count);
            UNROLL for (size_t c = 0; c < count; c++)
                v[c] = load_panel(b, walk, c);
            UNROLL for (size_t r = 0; r < rows; r++) {
                const __m512i u = _mm512_set1_epi32((int)a[r * row_step + w]);
                UNROLL for (size_t c = 0; c < count; c++)
                    sum[r][c] = _mm512_add_epi32(sum[r][c],
                                                 _mm512_popcnt_epi32(_mm512_xor_si512(u, v[c])));
            }
        }
    }
}

/* The same with full adders: of `one`, u0 ^ v0 and u1 ^ v1, the sum stays in `one` and the carry, of
 * value 2, is counted. */
ALWAYS_INLINE void count_carries(const size_t rows, const size_t count, const uint32_t *a,
                                 const struct bnnlab_walk *walk, const uint32_t *panels,
                                 __m512i sum[PLAIN_ROWS][ROW_PANELS])
{
    const size_t row_step = walk->row_step, length = walk->length;
    __m512i one[CARRY_ROWS][ROW_PANELS];
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < count; c++)
            one[r][c] = _mm512_setzero_si512();
    for (size_t s = 0; s < walk->segments; s++, a += walk->a_step) {
        const uint32_t *b = panels + s * walk->b_step * BNNLAB_LANES;
        size_t w = 0;
        for (; w + 2 <= length; w += 2, b += 2 * BNNLAB_LANES) {
            __m512i v0[ROW_PANELS], v1[ROW_PANELS];
            if (rows == 1) {
                fetch_ahead(b, walk, count);
                fetch_ahead(b + BNNLAB_LANES, walk, count);
            }
            UNROLL for (size_t c = 0; c < count; c++) {
                v0[c] = load_panel(b, walk, c);
                v1[c] = load_panel(b + BNNLAB_LANES, walk, c);
            }
            UNROLL for (size_t r = 0; r < rows; r++) {
                const __m512i u0 = _mm512_set1_epi32((int)a[r * row_step + w]);
                const __m512i u1 = _mm512_set1_epi32((int)a[r * row_step + w + 1]);
                UNROLL for (size_t c = 0; c < count; c++) {
                    const __m512i before = one[r][c];
                    const __m512i half = _mm512_ternarylogic_epi32(before, u0, v0[c], 0x96);
                    one[r][c] = _mm512_ternarylogic_epi32(half, u1, v1[c], 0x96);
                    /* half ? ~one : before */
                    const __m512i carry =
                        _mm512_ternarylogic_epi32(before, half, one[r][c], 0x74);
                    sum[r][c] = _mm512_add_epi32(sum[r][c], _mm512_popcnt_epi32(carry));
                }
            }
        }
        if (w < length)
            UNROLL for (size_t r = 0; r < rows; r++)
                UNROLL for (size_t c = 0; c < count; c++) {
                    const __m512i u = _mm512_set1_epi32((int)a[r * row_step + w]);
                    const __m512i x = _mm512_xor_si512(u, load_panel(b, walk, c));
                    const __m512i carry = _mm512_and_si512(x, one[r][c]);
                    sum[r][c] = _mm512_add_epi32(sum[r][c], _mm512_popcnt_epi32(carry));
                    one[r][c] = _mm512_xor_si512(x, one[r][c]);
                }
    }
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < count; c++)
            sum[r][c] = _mm512_add_epi32(_mm512_add_epi32(sum[r][c], sum[r][c]),
                                         _mm512_popcnt_epi32(one[r][c]));
}

/* `panels`, `ones` and `out` begin at the tile's first output, of which `n` are left. */
ALWAYS_INLINE void mismatch_tile(const size_t rows, const size_t count, const int carry,
                                 const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                                 const uint32_t *panels, const int32_t *ones, int32_t base,
                                 size_t n, size_t out_step, int32_t *out)
{
    __m512i sum[PLAIN_ROWS][ROW_PANELS];
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < count; c++)
            sum[r][c] = _mm512_setzero_si512();
    /* From the highest plane down; a plane's carries count twice already, so that what the higher
     * planes left is doubled with them. */
    for (size_t p = planes; p-- > 0;) {
        if (carry) {
            count_carries(rows, count, a + p * walk->plane_step, walk, panels, sum);
        } else {
            UNROLL for (size_t r = 0; r < rows; r++)
                UNROLL for (size_t c = 0; c < count; c++)
                    sum[r][c] = _mm512_add_epi32(sum[r][c], sum[r][c]);
            count_plainly(rows, count, a + p * walk->plane_step, walk, panels, sum);
        }
    }
    UNROLL for (size_t c = 0; c < count; c++) {
        const __mmask16 lanes = lanes_of(n, c);
        __m512i from = _mm512_set1_epi32(base);
        if (ones) {
            const __m512i largest = _mm512_set1_epi32((1 << planes) - 1);
            from = _mm512_mullo_epi32(_mm512_maskz_loadu_epi32(lanes, ones + c * BNNLAB_LANES),
                                      largest);
        }
        UNROLL for (size_t r = 0; r < rows; r++) {
            const __m512i off = ones ? sum[r][c] : _mm512_add_epi32(sum[r][c], sum[r][c]);
            _mm512_mask_storeu_epi32(out + r * out_step + c * BNNLAB_LANES, lanes,
                                     _mm512_sub_epi32(from, off));
        }
    }
}

ALWAYS_INLINE void product_of(const int carry, const uint32_t *a, const struct bnnlab_walk *walk,
                              size_t planes, const uint32_t *panels, const int32_t *ones,
                              int32_t base, size_t m, size_t n, int32_t *out)
{
    const size_t total = (n + BNNLAB_LANES - 1) / BNNLAB_LANES;
    const size_t group = m == 1 ? ROW_PANELS : TILE_PANELS, most = carry ? CARRY_ROWS : PLAIN_ROWS;
    for (size_t p = 0; p < total; p += group) {
        const size_t count = smaller(total - p, group), j = p * BNNLAB_LANES;
        const uint32_t *b = panels + j * walk->panel_words;
        const int32_t *counts = ones ? ones + j : NULL;
        for (size_t i = 0, rows; i < m; i += rows) {
            rows = tile_rows(m - i, most);
            if (carry)
                WITH_TILE(rows, count, mismatch_tile, 1, a + i * walk->row_step, walk, planes, b,
                          counts, base, n - j, n, out + i * n + j)
            else
                WITH_PLAIN_TILE(rows, count, mismatch_tile, 0, a + i * walk->row_step, walk, planes,
                                b, counts, base, n - j, n, out + i * n + j)
        }
    }
}

static void product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                    const uint32_t *panels, const int32_t *ones, int32_t base, size_t m, size_t n,
                    int32_t *out)
{
    product_of(0, a, walk, planes, panels, ones, base, m, n, out);
}

static void product_carry(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                          const uint32_t *panels, const int32_t *ones, int32_t base, size_t m,
                          size_t n, int32_t *out)
{
    product_of(1, a, walk, planes, panels, ones, base, m, n, out);
}

/* Several rows of bytes. Nibbles of weights become four bytes of +-1 by a table, once for all rows; tail
 * bits count as -1 and meet zeros. */
ALWAYS_INLINE void bytes_tile(const size_t rows, const size_t count, const uint8_t *codes,
                              const uint32_t *panels, size_t words, size_t k, size_t n,
                              size_t out_step, int32_t *out)
{
    const __m512i nibbles = _mm512_setr_epi32(
        (int)0xFFFFFFFFu, (int)0xFFFFFF01u, (int)0xFFFF01FFu, (int)0xFFFF0101u, (int)0xFF01FFFFu,
        (int)0xFF01FF01u, (int)0xFF0101FFu, (int)0xFF010101u, 0x01FFFFFF, 0x01FFFF01, 0x01FF01FF,
        0x01FF0101, 0x0101FFFF, 0x0101FF01, 0x010101FF, 0x01010101);
    __m512i sum[PLAIN_ROWS][TILE_PANELS];
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < count; c++)
            sum[r][c] = _mm512_setzero_si512();
    for (size_t w = 0; w < words; w++) {
        __m512i b[TILE_PANELS];
        UNROLL for (size_t c = 0; c < count; c++)
            b[c] = _mm512_loadu_si512(panels + (c * words + w) * BNNLAB_LANES);
        const size_t end = smaller(k, w * 32 + 32);
        for (size_t j = w * 32; j < end; j += 4) {
            __m512i signs[TILE_PANELS];
            UNROLL for (size_t c = 0; c < count; c++) {
                signs[c] = _mm512_permutexvar_epi32(b[c], nibbles);
                b[c] = _mm512_srli_epi32(b[c], 4);
            }
            UNROLL for (size_t r = 0; r < rows; r++) {
                const uint8_t *at = codes + r * k + j;
                const __m512i four = _mm512_set1_epi32(k - j < 4 ? four_codes(at, k - j)
                                                                 : four_codes(at, 4));
                UNROLL for (size_t c = 0; c < count; c++)
                    sum[r][c] = _mm512_dpbusd_epi32(sum[r][c], four, signs[c]);
            }
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < count; c++)
            _mm512_mask_storeu_epi32(out + r * out_step + c * BNNLAB_LANES, lanes_of(n, c),
                                     sum[r][c]);
}

/* The tables of the 32 inputs of a word, as fixed.h has them, with `bias` in the place of 2^31 and of as
 * many digits as such sums need. The sums with one pattern of the last two signs lie in one register,
 * those of one nibble in 128 bits of it, so that bytes change places only within these. */
ALWAYS_INLINE void word_tables(__m512i q0, __m512i q1, uint32_t bias, const size_t digits,
                               uint8_t *tables)
{
    const __m512i least = _mm512_set1_epi32((int)bias);
    const __m512i by_digit = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i even = _mm512_setr_epi32(0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(4));
    UNROLL for (size_t half = 0; half < 2; half++, tables += digits * 64) {
        const __m512i q = _mm512_permutex2var_epi32(q0, half ? odd : even, q1);
        const __m512i a = _mm512_shuffle_epi32(q, 0x00), b = _mm512_shuffle_epi32(q, 0x55);
        const __m512i c = _mm512_shuffle_epi32(q, 0xAA), d = _mm512_shuffle_epi32(q, 0xFF);
        const __m512i both = _mm512_add_epi32(c, d), one = _mm512_sub_epi32(c, d);
        __m512i sum = _mm512_mask_sub_epi32(_mm512_add_epi32(least, a), 0x5555, least, a);
        sum = _mm512_mask_sub_epi32(_mm512_add_epi32(sum, b), 0x3333, sum, b);
        const __m512i s0 = _mm512_shuffle_epi8(_mm512_sub_epi32(sum, both), by_digit);
        const __m512i s1 = _mm512_shuffle_epi8(_mm512_add_epi32(sum, one), by_digit);
        const __m512i s2 = _mm512_shuffle_epi8(_mm512_sub_epi32(sum, one), by_digit);
        const __m512i s3 = _mm512_shuffle_epi8(_mm512_add_epi32(sum, both), by_digit);
        const __m512i low01 = _mm512_unpacklo_epi32(s0, s1), low23 = _mm512_unpacklo_epi32(s2, s3);
        _mm512_store_si512(tables, _mm512_unpacklo_epi64(low01, low23));
        _mm512_store_si512(tables + 64, _mm512_unpackhi_epi64(low01, low23));
        if (digits == 4) {
            const __m512i top01 = _mm512_unpackhi_epi32(s0, s1);
            const __m512i top23 = _mm512_unpackhi_epi32(s2, s3);
            _mm512_store_si512(tables + 128, _mm512_unpacklo_epi64(top01, top23));
            _mm512_store_si512(tables + 192, _mm512_unpackhi_epi64(top01, top23));
        }
    }
}

/* The tables of real inputs; `scale` is the row's. */
static void make_tables(const float *x, size_t inputs, float scale, uint8_t *tables)
{
    const __m512 first = _mm512_set1_ps(scale), second = _mm512_set1_ps(0x1p27f);
    for (size_t j = 0; j < inputs; j += 32, tables += TABLE_BYTES) {
        const size_t low = smaller(inputs - j, 16), high = smaller(inputs - j - low, 16);
        const __m512 x0 = _mm512_maskz_loadu_ps((__mmask16)tail_mask(low), x + j);
        const __m512 x1 = _mm512_maskz_loadu_ps((__mmask16)tail_mask(high), x + j + low);
        const __m512i q0 = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_mul_ps(x0, first), second));
        const __m512i q1 = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_mul_ps(x1, first), second));
        word_tables(q0, q1, 0x80000000u, 4, tables);
    }
}

/* The tables of bytes: 2^10 and the sum of four take two digits. */
static void make_byte_tables(const uint8_t *codes, size_t inputs, uint8_t *tables)
{
    for (size_t j = 0; j < inputs; j += 32, tables += TABLE_BYTES / 2) {
        const size_t low = smaller(inputs - j, 16), high = smaller(inputs - j - low, 16);
        const __m128i c0 = _mm_maskz_loadu_epi8((__mmask16)tail_mask(low), codes + j);
        const __m128i c1 = _mm_maskz_loadu_epi8((__mmask16)tail_mask(high), codes + j + low);
        word_tables(_mm512_cvtepu8_epi32(c0), _mm512_cvtepu8_epi32(c1), 1024, 2, tables);
    }
}

/* Adds up the digits of the sums of `words` words with the outputs of `count` panels. */
ALWAYS_INLINE void add_digits(const size_t count, const size_t each, const uint8_t *tables,
                              const uint32_t *panels, size_t panel_words, size_t words,
                              __m512i digits[ROW_PANELS][4])
{
    const __m512i place = _mm512_set1_epi32(0x30201000), nibble = _mm512_set1_epi32(0x0f0f0f0f);
    const __m512i ones = _mm512_set1_epi8(1);
    UNROLL for (size_t c = 0; c < count; c++)
        UNROLL for (size_t d = 0; d < each; d++)
            digits[c][d] = _mm512_setzero_si512();
    for (size_t w = 0; w < words; w++) {
        __m512i b[ROW_PANELS];
        UNROLL for (size_t c = 0; c < count; c++) {
            const uint32_t *at = panels + (c * panel_words + w) * BNNLAB_LANES;
            b[c] = _mm512_loadu_si512(at);
            _mm_prefetch((const char *)(at + count * panel_words * BNNLAB_LANES), _MM_HINT_T0);
        }
        UNROLL for (size_t half = 0; half < 2; half++) {
            __m512i index[ROW_PANELS];
            UNROLL for (size_t c = 0; c < count; c++)
                index[c] = _mm512_ternarylogic_epi32(
                    nibble, half ? _mm512_srli_epi32(b[c], 4) : b[c], place, 0xCA);
            UNROLL for (size_t d = 0; d < each; d++, tables += 64) {
                const __m512i table = _mm512_load_si512(tables);
                UNROLL for (size_t c = 0; c < count; c++)
                    digits[c][d] = _mm512_dpbusd_epi32(
                        digits[c][d], _mm512_permutexvar_epi8(index[c], table), ones);
            }
        }
    }
}

/* One row of bytes: faster by tables, as real inputs are, than by bytes of +-1 for itself alone. */
ALWAYS_INLINE void byte_row_tile(const size_t count, const uint8_t *tables, const uint32_t *panels,
                                 size_t panel_words, size_t words, int first, size_t n, int32_t *out)
{
    __m512i digits[ROW_PANELS][4];
    add_digits(count, 2, tables, panels, panel_words, words, digits);
    const __m512i bias = _mm512_set1_epi32((int)(1024 * 8 * words));
    UNROLL for (size_t c = 0; c < count; c++) {
        const __mmask16 lanes = lanes_of(n, c);
        const __m512i both = _mm512_add_epi32(_mm512_slli_epi32(digits[c][1], 8), digits[c][0]);
        __m512i sum = _mm512_sub_epi32(both, bias);
        if (!first)
            sum = _mm512_add_epi32(sum, _mm512_maskz_loadu_epi32(lanes, out + c * BNNLAB_LANES));
        _mm512_mask_storeu_epi32(out + c * BNNLAB_LANES, lanes, sum);
    }
}

static void byte_row(const uint8_t *codes, const uint32_t *panels, size_t n, size_t k, int32_t *out)
{
    const size_t words = BNNLAB_WORDS(k);
    _Alignas(64) uint8_t tables[TABLE_INPUTS / 32 * TABLE_BYTES / 2];
    for (size_t from = 0; from < k || from == 0; from += TABLE_INPUTS) {
        const size_t inputs = smaller(k - from, TABLE_INPUTS);
        make_byte_tables(codes + from, inputs, tables);
        for (size_t j = 0; j < n; j += ROW_PANELS * BNNLAB_LANES) {
            const size_t outputs = smaller(n - j, ROW_PANELS * BNNLAB_LANES);
            const size_t left = (outputs + BNNLAB_LANES - 1) / BNNLAB_LANES;
            const uint32_t *b = panels + j * words + from / 32 * BNNLAB_LANES;
            WITH_ROW_PANELS(left, byte_row_tile, tables, b, words, BNNLAB_WORDS(inputs), from == 0,
                            n - j, out + j)
        }
    }
}

static void bytes_product(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n, size_t k,
                          int32_t *out)
{
    const size_t words = BNNLAB_WORDS(k), total = (n + BNNLAB_LANES - 1) / BNNLAB_LANES;
    if (m == 1) {
        byte_row(codes, panels, n, k, out);
        return;
    }
    for (size_t p = 0; p < total; p += TILE_PANELS) {
        const size_t count = smaller(total - p, TILE_PANELS), j = p * BNNLAB_LANES;
        for (size_t i = 0, rows; i < m; i += rows) {
            rows = tile_rows(m - i, PLAIN_ROWS);
            WITH_SEVERAL_ROWS(rows, count, bytes_tile, codes + i * k, panels + j * words, words, k,
                            n - j, n, out + i * n + j)
        }
    }
}

/* Adds the sums of `words` words to those of `count` panels' outputs, or begins them. */
ALWAYS_INLINE void sign_tile(const size_t count, const uint8_t *tables, const uint32_t *panels,
                             size_t panel_words, size_t words, int first, double *sums)
{
    __m512i digits[ROW_PANELS][4];
    add_digits(count, 4, tables, panels, panel_words, words, digits);
    const __m512d bias = _mm512_set1_pd(-0x1p31 * 8 * (double)words);
    UNROLL for (size_t c = 0; c < count; c++) {
        const __m512i high = _mm512_add_epi32(_mm512_slli_epi32(digits[c][3], 8), digits[c][2]);
        const __m512i low = _mm512_add_epi32(_mm512_slli_epi32(digits[c][1], 8), digits[c][0]);
        UNROLL for (size_t h = 0; h < 2; h++) {
            const __m256i top = h ? _mm512_extracti64x4_epi64(high, 1) : _mm512_castsi512_si256(high);
            const __m256i end = h ? _mm512_extracti64x4_epi64(low, 1) : _mm512_castsi512_si256(low);
            double *to = sums + c * BNNLAB_LANES + h * 8;
            const __m512d sum = _mm512_fmadd_pd(_mm512_cvtepi32_pd(top), _mm512_set1_pd(0x1p16),
                                                _mm512_add_pd(_mm512_cvtepi32_pd(end), bias));
            _mm512_storeu_pd(to, first ? sum : _mm512_add_pd(_mm512_loadu_pd(to), sum));
        }
    }
}

static int sign_product(const float *x, const uint32_t *panels, size_t m, size_t n, size_t k,
                        float *out)
{
    int nan = 0;
    const size_t words = BNNLAB_WORDS(k);
    _Alignas(64) uint8_t tables[TABLE_INPUTS / 32 * TABLE_BYTES];
    _Alignas(64) double sums[TABLE_OUTPUTS];
    for (size_t i = 0; i < m; i++, x += k, out += n) {
        const int exponent = row_exponent(x, k);
        for (size_t j = 0; j < n; j += TABLE_OUTPUTS) {
            const size_t outputs = smaller(n - j, TABLE_OUTPUTS);
            for (size_t from = 0; from < k || from == 0; from += TABLE_INPUTS) {
                const size_t inputs = smaller(k - from, TABLE_INPUTS);
                make_tables(x + from, inputs, row_scale(exponent), tables);
                for (size_t c = 0; c < outputs; c += ROW_PANELS * BNNLAB_LANES) {
                    const size_t left = (outputs - c + BNNLAB_LANES - 1) / BNNLAB_LANES;
                    const uint32_t *b = panels + (j + c) * words + from / 32 * BNNLAB_LANES;
                    WITH_ROW_PANELS(left, sign_tile, tables, b, words, BNNLAB_WORDS(inputs),
                                    from == 0, sums + c)
                }
            }
            const __m512d unit = _mm512_set1_pd(row_unit(exponent));
            for (size_t c = 0; c < outputs; c += 8)
                _mm256_mask_storeu_ps(
                    out + j + c, (__mmask8)tail_mask(smaller(outputs - c, 8)),
                    _mm512_cvtpd_ps(_mm512_mul_pd(_mm512_load_pd(sums + c), unit)));
        }
        nan |= exponent == NAN_ROW;
        if (exponent == INFINITE_ROW)
            infinite_row(x, panels, n, k, out);
    }
    return nan;
}

/* One threshold each: a flipped code is the other bit. */
static void threshold_once(const int32_t *values, size_t m, size_t n, const int32_t *thresholds,
                           const uint32_t *flip, uint32_t *bits)
{
    for (size_t i = 0; i < m; i++, values += n)
        for (size_t j = 0; j < n; j += 32) {
            const size_t low = smaller(n - j, 16), high = smaller(n - j - low, 16);
            const __mmask16 low_mask = (__mmask16)tail_mask(low);
            const __mmask16 high_mask = (__mmask16)tail_mask(high);
            const __m512i v0 = _mm512_maskz_loadu_epi32(low_mask, values + j);
            const __m512i t0 = _mm512_maskz_loadu_epi32(low_mask, thresholds + j);
            const __m512i v1 = _mm512_maskz_loadu_epi32(high_mask, values + j + low);
            const __m512i t1 = _mm512_maskz_loadu_epi32(high_mask, thresholds + j + low);
            const uint32_t there = (uint32_t)low_mask | (uint32_t)high_mask << 16;
            const uint32_t code = (uint32_t)_mm512_cmpge_epi32_mask(v0, t0) |
                                  (uint32_t)_mm512_cmpge_epi32_mask(v1, t1) << 16;
            *bits++ = (code ^ flip[j / 32]) & there;
        }
}

static int threshold(const int32_t *values, int real, size_t m, size_t n, const int32_t *thresholds,
                     size_t levels, size_t planes, const uint32_t *flip, uint32_t *bits)
{
    const size_t words = BNNLAB_WORDS(n), plane = m * words;
    const __m512i one = _mm512_set1_epi32(1), top = _mm512_set1_epi32((int)levels);
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    const __m512i infinity = _mm512_set1_epi32(0x7f800000);
    __mmask16 nan = 0;
    if (levels == 1 && !real) {
        threshold_once(values, m, n, thresholds, flip, bits);
        return 0;
    }
    for (size_t i = 0; i < m; i++, values += n, bits += words)
        for (size_t j = 0; j < n; j += 16) {
            const __mmask16 lanes = (__mmask16)tail_mask(smaller(n - j, 16));
            const __mmask16 flipped = (__mmask16)(flip[j / 32] >> (j % 32)) & lanes;
            __m512i v = _mm512_maskz_loadu_epi32(lanes, values + j);
            if (real) {
                nan |= _mm512_cmpgt_epi32_mask(_mm512_and_si512(v, magnitude), infinity);
                v = _mm512_mask_xor_epi32(v, _mm512_movepi32_mask(v), v, magnitude);
            }
            __m512i code = _mm512_setzero_si512();
            for (size_t l = 0; l < levels; l++) {
                const __m512i t = _mm512_maskz_loadu_epi32(lanes, thresholds + l * n + j);
                code = _mm512_mask_add_epi32(code, _mm512_cmpge_epi32_mask(v, t), code, one);
            }
            code = _mm512_mask_sub_epi32(code, flipped, top, code);
            for (size_t p = 0; p < planes; p++) {
                const __m512i bit = _mm512_set1_epi32(1 << p);
                const uint32_t half = _mm512_mask_test_epi32_mask(lanes, code, bit);
                uint32_t *word = bits + p * plane + j / 32;
                *word = j % 32 ? *word | half << 16 : half;
            }
        }
    return nan != 0;
}

const struct bnnlab_family bnnlab_avx512 = {
    pack_signs, pack_channels, pack_codes, product, bytes_product, sign_product, real_product,
    threshold, NULL, NULL, NULL,
};

const struct bnnlab_family bnnlab_avx512_carry = {
    pack_signs, pack_channels, pack_codes, product_carry, bytes_product, sign_product, real_product,
    threshold, NULL, NULL, NULL,
};

#ifdef BNNLAB_AMX_BUILT
const struct bnnlab_family bnnlab_amx = {
    pack_signs, pack_channels, pack_codes, bnnlab_amx_product, bnnlab_amx_bytes_product,
    bnnlab_amx_sign_product, real_product, threshold, bnnlab_amx_convolve, bnnlab_amx_product_codes,
    bnnlab_amx_bytes_codes,
};
#endif
