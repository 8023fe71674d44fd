/* AVX-512 F, BW, DQ, VL, VBMI, VNNI and VPOPCNTDQ: everything but products of bits, which are in
 * avx512_bits.c.
 *
 * An instruction that adds and the one that makes what it adds are one piece: compilers would make much
 * first, for which there are not enough registers, and move sums from one to another.
 */
#define REAL_BYTES 64
#include "fixed.h"
#include "real.h"

#include "avx512.h"

#define BYTE_PANELS 2   /* of a tile of bytes */
#define TABLE_ROWS 2    /* that have tables at once */
#define TABLE_PANELS 4  /* that they serve at once: of one row, and half of them of two */
#define INPUTS 1024     /* that have tables at once: of both rows they fill two thirds of the first cache */
#define TABLES (INPUTS / 32 * TABLE_BYTES) /* bytes of a row's */
#define SUMS 16384      /* digits of sums that are kept while the tables change */
#define INPUTS_AHEAD 2048 /* which are fetched while signs are packed */
#define CHANNELS_AHEAD 4  /* the same, where they are channels of an image */

/* Calls `tile` with constant sizes, so that each combination is compiled for itself. */
#define WITH_PANELS(rows, count, tile, ...)                         \
    switch (count) {                                                \
    case 1: tile(rows, 1, __VA_ARGS__); break;                      \
    default: tile(rows, 2, __VA_ARGS__); break;                     \
    }
#define WITH_TILE(rows, count, tile, ...)                           \
    switch (rows) {                                                 \
    case 2: WITH_PANELS(2, count, tile, __VA_ARGS__); break;        \
    case 3: WITH_PANELS(3, count, tile, __VA_ARGS__); break;        \
    case 5: WITH_PANELS(5, count, tile, __VA_ARGS__); break;        \
    case 6: WITH_PANELS(6, count, tile, __VA_ARGS__); break;        \
    default: WITH_PANELS(4, count, tile, __VA_ARGS__); break;       \
    }

static int pack_signs(const float *x, size_t rows, size_t k, uint32_t *bits)
{
    const __m512 zero = _mm512_setzero_ps();
    const size_t left = k % 32, low = smaller(left, 16);
    const __mmask16 low_mask = (__mmask16)tail_mask(low), high_mask = (__mmask16)tail_mask(left - low);
    __mmask16 nan = 0;
    for (size_t i = 0; i < rows; i++, x += left) {
        for (size_t j = 0; j + 32 <= k; j += 32, x += 32) {
            const __m512 v0 = _mm512_loadu_ps(x), v1 = _mm512_loadu_ps(x + 16);
            _mm_prefetch((const char *)(x + INPUTS_AHEAD), _MM_HINT_T0);
            _mm_prefetch((const char *)(x + INPUTS_AHEAD + 16), _MM_HINT_T0);
            nan |= _mm512_cmp_ps_mask(v0, v1, _CMP_UNORD_Q);
            *bits++ = _mm512_kunpackw(_mm512_cmp_ps_mask(v1, zero, _CMP_GE_OQ),
                                      _mm512_cmp_ps_mask(v0, zero, _CMP_GE_OQ));
        }
        if (left) {
            const __m512 v0 = _mm512_maskz_loadu_ps(low_mask, x);
            const __m512 v1 = _mm512_maskz_loadu_ps(high_mask, x + low);
            nan |= _mm512_cmp_ps_mask(v0, v1, _CMP_UNORD_Q);
            *bits++ = (uint32_t)_mm512_mask_cmp_ps_mask(low_mask, v0, zero, _CMP_GE_OQ) |
                      (uint32_t)_mm512_mask_cmp_ps_mask(high_mask, v1, zero, _CMP_GE_OQ) << 16;
        }
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

ALWAYS_INLINE void add_products(__m512i *sum, __m512i bytes, __m512i signs)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(bytes), "v"(signs));
}

/* Several rows of bytes. Nibbles of weights become four bytes of +-1 by a table, once for all rows; tail
 * bits count as -1 and meet zeros. */
ALWAYS_INLINE void bytes_tile(const size_t rows, const size_t count, const uint8_t *codes,
                              const uint32_t *panels, size_t words, size_t k, size_t n,
                              size_t out_step, int32_t *out, const struct bnnlab_codes *to)
{
    const __m512i nibbles = _mm512_setr_epi32(
        (int)0xFFFFFFFFu, (int)0xFFFFFF01u, (int)0xFFFF01FFu, (int)0xFFFF0101u, (int)0xFF01FFFFu,
        (int)0xFF01FF01u, (int)0xFF0101FFu, (int)0xFF010101u, 0x01FFFFFF, 0x01FFFF01, 0x01FF01FF,
        0x01FF0101, 0x0101FFFF, 0x0101FF01, 0x010101FF, 0x01010101);
    __m512i sum[TILE_ROWS][TILE_PANELS];
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < count; c++)
            sum[r][c] = _mm512_setzero_si512();
    for (size_t w = 0; w < words; w++) {
        __m512i b[BYTE_PANELS];
        UNROLL for (size_t c = 0; c < count; c++)
            b[c] = _mm512_loadu_si512(panels + (c * words + w) * BNNLAB_LANES);
        const size_t end = smaller(k, w * 32 + 32);
        for (size_t j = w * 32; j < end; j += 4) {
            __m512i signs[BYTE_PANELS];
            UNROLL for (size_t c = 0; c < count; c++) {
                signs[c] = _mm512_permutexvar_epi32(b[c], nibbles);
                b[c] = _mm512_srli_epi32(b[c], 4);
            }
            UNROLL for (size_t r = 0; r < rows; r++) {
                const uint8_t *at = codes + r * k + j;
                const __m512i four = _mm512_set1_epi32(k - j < 4 ? four_codes(at, k - j)
                                                                 : four_codes(at, 4));
                UNROLL for (size_t c = 0; c < count; c++)
                    add_products(&sum[r][c], four, signs[c]);
            }
        }
    }
    if (to) {
        store_signs(rows, count, sum, lanes_of(smaller(n, count * BNNLAB_LANES), count - 1),
                    to->thresholds, to->flip, to->bits, to->words);
        return;
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

/* Adds what lies at `index` of a table, four bytes to each sum. */
ALWAYS_INLINE void add_found(__m512i *sum, __m512i index, __m512i table, __m512i ones)
{
    __m512i found;
    __asm__("vpermb %3, %2, %1\n\tvpdpbusd %4, %1, %0"
            : "+v"(*sum), "=&v"(found)
            : "v"(index), "v"(table), "v"(ones));
}

/* Of some inputs the sums of four, for so many rows: adds their digits to those of the outputs of `count`
 * panels, [rows, panels, digits, 16], or begins these. They fit: of k < 2^31 / 255 inputs there are fewer
 * than 2^21 sums of four. */
ALWAYS_INLINE void add_digits(const size_t rows, const size_t count, const size_t each,
                              const uint8_t *tables, const uint32_t *panels, size_t panel_words,
                              size_t words, int first, size_t row_step, int32_t *sums)
{
    const __m512i place = _mm512_set1_epi32(0x30201000), nibble = _mm512_set1_epi32(0x0f0f0f0f);
    const __m512i ones = _mm512_set1_epi8(1);
    __m512i digits[TABLE_ROWS][TABLE_PANELS][4];
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < count; c++)
            UNROLL for (size_t d = 0; d < each; d++)
                digits[r][c][d] =
                    first ? _mm512_setzero_si512()
                          : _mm512_load_si512(sums + r * row_step + (c * each + d) * BNNLAB_LANES);
    for (size_t w = 0; w < words; w++) {
        __m512i b[TABLE_PANELS];
        UNROLL for (size_t c = 0; c < count; c++) {
            const uint32_t *at = panels + (c * panel_words + w) * BNNLAB_LANES;
            b[c] = _mm512_loadu_si512(at);
            _mm_prefetch((const char *)(at + count * panel_words * BNNLAB_LANES), _MM_HINT_T0);
        }
        UNROLL for (size_t half = 0; half < 2; half++) {
            __m512i index[TABLE_PANELS];
            UNROLL for (size_t c = 0; c < count; c++)
                index[c] = _mm512_ternarylogic_epi32(
                    nibble, half ? _mm512_srli_epi32(b[c], 4) : b[c], place, 0xCA);
            UNROLL for (size_t r = 0; r < rows; r++)
                UNROLL for (size_t d = 0; d < each; d++) {
                    const __m512i table =
                        _mm512_load_si512(tables + r * TABLES + (half * each + d) * 64);
                    UNROLL for (size_t c = 0; c < count; c++)
                        add_found(&digits[r][c][d], index[c], table, ones);
                }
        }
        tables += 2 * each * 64;
    }
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < count; c++)
            UNROLL for (size_t d = 0; d < each; d++)
                _mm512_store_si512(sums + r * row_step + (c * each + d) * BNNLAB_LANES,
                                   digits[r][c][d]);
}

/* The same with all outputs' panels. */
ALWAYS_INLINE void add_all_digits(const size_t rows, const size_t each, const uint8_t *tables,
                                  const uint32_t *panels, size_t panel_words, size_t words,
                                  size_t outputs, int first, int32_t *sums)
{
    const size_t row_step = SUMS / rows, group = TABLE_PANELS / rows;
    const size_t total = (outputs + BNNLAB_LANES - 1) / BNNLAB_LANES;
    for (size_t p = 0; p < total; p += group) {
        const uint32_t *b = panels + p * panel_words * BNNLAB_LANES;
        int32_t *to = sums + p * each * BNNLAB_LANES;
        const size_t count = smaller(total - p, group);
        if (count == 1)
            add_digits(rows, 1, each, tables, b, panel_words, words, first, row_step, to);
        else if (count == 2)
            add_digits(rows, 2, each, tables, b, panel_words, words, first, row_step, to);
        else if (rows == 1 && count == 3)
            add_digits(rows, 3, each, tables, b, panel_words, words, first, row_step, to);
        else if (rows == 1)
            add_digits(rows, 4, each, tables, b, panel_words, words, first, row_step, to);
    }
}

/* One row of bytes: faster by tables, as real inputs are, than by bytes of +-1 for itself alone. */
static void byte_row(const uint8_t *codes, const uint32_t *panels, size_t n, size_t k, int32_t *out)
{
    const size_t words = BNNLAB_WORDS(k);
    const __m512i bias = _mm512_set1_epi32((int)(1024 * 8 * (uint32_t)words));
    _Alignas(64) uint8_t tables[TABLES / 2];
    _Alignas(64) int32_t sums[SUMS];
    for (size_t j = 0; j < n; j += SUMS / 2) {
        const size_t outputs = smaller(n - j, SUMS / 2);
        for (size_t from = 0; from < k || from == 0; from += INPUTS) {
            const size_t inputs = smaller(k - from, INPUTS);
            make_byte_tables(codes + from, inputs, tables);
            add_all_digits(1, 2, tables, panels + j * words + from / 32 * BNNLAB_LANES, words,
                           BNNLAB_WORDS(inputs), outputs, from == 0, sums);
        }
        for (size_t c = 0; c < outputs; c += BNNLAB_LANES) {
            const __m512i low = _mm512_load_si512(sums + c * 2);
            const __m512i high = _mm512_load_si512(sums + c * 2 + BNNLAB_LANES);
            _mm512_mask_storeu_epi32(
                out + j + c, lanes_of(outputs - c, 0),
                _mm512_sub_epi32(_mm512_add_epi32(_mm512_slli_epi32(high, 8), low), bias));
        }
    }
}

/* Several rows of bytes: their sums -> out [m, n], or the signs of these -> `to`. */
static void byte_rows(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n, size_t k,
                      int32_t *out, const struct bnnlab_codes *to)
{
    const size_t words = BNNLAB_WORDS(k);
    for (size_t j = 0; j < n; j += BYTE_PANELS * BNNLAB_LANES) {
        const size_t count = n - j > BNNLAB_LANES ? 2 : 1;
        for (size_t i = 0, rows; i < m; i += rows) {
            struct bnnlab_codes from = {0};
            if (to) {
                from = bnnlab_codes_from(to, i);
                from.thresholds += j;
                from.flip += j / 32;
                from.bits += j / 32;
            }
            rows = tile_rows(m - i, TILE_ROWS);
            WITH_TILE(rows, count, bytes_tile, codes + i * k, panels + j * words, words, k, n - j, n,
                      out + i * n + j, to ? &from : NULL)
        }
    }
}

static void bytes_product(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n, size_t k,
                          int32_t *out)
{
    if (m == 1)
        byte_row(codes, panels, n, k, out);
    else
        byte_rows(codes, panels, m, n, k, out, NULL);
}

static int bytes_codes(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n, size_t k,
                       const struct bnnlab_codes *to)
{
    if (m == 1 || to->levels != 1)
        return 0;
    byte_rows(codes, panels, m, n, k, NULL, to);
    return 1;
}

/* Eight sums from the digits of them, with what tables added to all. Exact: the highest digit's part and
 * the bias are less than 2^53, together with the others the sum itself, less than 2^52. */
ALWAYS_INLINE __m512d sums_of(const int32_t *digits, __m512d bias)
{
    __m512d sum = bias;
    UNROLL for (size_t d = 4; d-- > 0;) {
        const __m512d digit =
            _mm512_cvtepi32_pd(_mm256_load_si256((const __m256i *)(digits + d * BNNLAB_LANES)));
        sum = _mm512_fmadd_pd(digit, _mm512_set1_pd((double)(1 << 8 * d)), sum);
    }
    return sum;
}

/* One row, or two, which share what their weights' nibbles point at. */
ALWAYS_INLINE int sign_rows(const size_t rows, const float *x, const uint32_t *panels, size_t n, size_t k,
                            float *out)
{
    int nan = 0, exponent[TABLE_ROWS];
    const size_t words = BNNLAB_WORDS(k), most = SUMS / 4 / rows;
    const __m512d bias = _mm512_set1_pd(-0x1p31 * 8 * (double)words);
    _Alignas(64) uint8_t tables[TABLE_ROWS * TABLES];
    _Alignas(64) int32_t sums[SUMS];
    for (size_t r = 0; r < rows; r++)
        exponent[r] = row_exponent(x + r * k, k);
    for (size_t j = 0; j < n; j += most) {
        const size_t outputs = smaller(n - j, most);
        for (size_t from = 0; from < k || from == 0; from += INPUTS) {
            const size_t inputs = smaller(k - from, INPUTS);
            for (size_t r = 0; r < rows; r++)
                make_tables(x + r * k + from, inputs, row_scale(exponent[r]), tables + r * TABLES);
            add_all_digits(rows, 4, tables, panels + j * words + from / 32 * BNNLAB_LANES, words,
                           BNNLAB_WORDS(inputs), outputs, from == 0, sums);
        }
        for (size_t r = 0; r < rows; r++) {
            const __m512d unit = _mm512_set1_pd(row_unit(exponent[r]));
            const int32_t *of = sums + r * (SUMS / rows);
            for (size_t c = 0; c < outputs; c += 8)
                _mm256_mask_storeu_ps(
                    out + r * n + j + c, (__mmask8)tail_mask(smaller(outputs - c, 8)),
                    _mm512_cvtpd_ps(
                        _mm512_mul_pd(sums_of(of + c / BNNLAB_LANES * 4 * BNNLAB_LANES +
                                                  c % BNNLAB_LANES, bias), unit)));
        }
    }
    for (size_t r = 0; r < rows; r++) {
        nan |= exponent[r] == NAN_ROW;
        if (exponent[r] == INFINITE_ROW)
            infinite_row(x + r * k, panels, n, k, out + r * n);
    }
    return nan;
}

static int sign_product(const float *x, const uint32_t *panels, size_t m, size_t n, size_t k,
                        float *out)
{
    int nan = 0;
    for (; m >= 2; m -= 2, x += 2 * k, out += 2 * n)
        nan |= sign_rows(2, x, panels, n, k, out);
    return m ? nan | sign_rows(1, x, panels, n, k, out) : nan;
}

/* Adds a bit to each of 32 numbers; of these `sum` holds the lowest bits, the second lowest and so on. */
ALWAYS_INLINE void add_bits(const size_t planes, uint32_t *sum, uint32_t bits)
{
    UNROLL for (size_t p = 0; p < planes; p++) {
        const uint32_t carry = sum[p] & bits;
        sum[p] ^= bits;
        bits = carry;
    }
}

/* A float's bits as an integer that is as large beside others. */
ALWAYS_INLINE __m512i key_of(__m512i v, __mmask16 *nan)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    const __m512i infinity = _mm512_set1_epi32(0x7f800000);
    *nan |= _mm512_cmpgt_epi32_mask(_mm512_and_si512(v, magnitude), infinity);
    return _mm512_mask_xor_epi32(v, _mm512_movepi32_mask(v), v, magnitude);
}

/* Of 32 columns at a time; a flipped one counts the thresholds that are not reached. */
ALWAYS_INLINE int count_reached(const size_t planes, const int real, const int32_t *values, size_t m,
                                size_t n, const int32_t *thresholds, size_t levels,
                                const uint32_t *flip, uint32_t *bits)
{
    const size_t plane = m * BNNLAB_WORDS(n);
    __mmask16 nan = 0;
    for (size_t i = 0; i < m; i++, values += n)
        for (size_t j = 0; j < n; j += 32, bits++) {
            const size_t low = smaller(n - j, 16), high = smaller(n - j - low, 16);
            const __mmask16 low_mask = (__mmask16)tail_mask(low);
            const __mmask16 high_mask = (__mmask16)tail_mask(high);
            const uint32_t there = (uint32_t)low_mask | (uint32_t)high_mask << 16;
            const int32_t *t = thresholds + j;
            __m512i v0 = _mm512_maskz_loadu_epi32(low_mask, values + j);
            __m512i v1 = _mm512_maskz_loadu_epi32(high_mask, values + j + low);
            uint32_t sum[8] = {0};
            if (real) {
                v0 = key_of(v0, &nan);
                v1 = key_of(v1, &nan);
            }
            for (size_t l = 0;; t += n) {
                const __m512i t0 = _mm512_maskz_loadu_epi32(low_mask, t);
                const __m512i t1 = _mm512_maskz_loadu_epi32(high_mask, t + low);
                const uint32_t reached = _mm512_kunpackw(_mm512_cmpge_epi32_mask(v1, t1),
                                                         _mm512_cmpge_epi32_mask(v0, t0));
                add_bits(planes, sum, (reached ^ flip[j / 32]) & there);
                if (++l == levels) /* there is nothing that a pointer could go on to */
                    break;
            }
            UNROLL for (size_t p = 0; p < planes; p++)
                bits[p * plane] = sum[p];
        }
    return nan != 0;
}

static int threshold(const int32_t *values, int real, size_t m, size_t n, const int32_t *thresholds,
                     size_t levels, size_t planes, const uint32_t *flip, uint32_t *bits)
{
    if (real)
        return count_reached(planes, 1, values, m, n, thresholds, levels, flip, bits);
    switch (planes) {
    case 1: return count_reached(1, 0, values, m, n, thresholds, levels, flip, bits);
    case 2: return count_reached(2, 0, values, m, n, thresholds, levels, flip, bits);
    case 3: return count_reached(3, 0, values, m, n, thresholds, levels, flip, bits);
    default: return count_reached(planes, 0, values, m, n, thresholds, levels, flip, bits);
    }
}

const struct bnnlab_family bnnlab_avx512 = {
    pack_signs, pack_channels, pack_codes, bnnlab_avx512_product, bytes_product, sign_product,
    real_product, threshold, bnnlab_avx512_convolve, bnnlab_avx512_product_codes, bytes_codes,
};

const struct bnnlab_family bnnlab_avx512_carry = {
    pack_signs, pack_channels, pack_codes, bnnlab_avx512_carry_product, bytes_product, sign_product,
    real_product, threshold, bnnlab_avx512_carry_convolve, bnnlab_avx512_carry_product_codes, bytes_codes,
};

#ifdef BNNLAB_AMX_BUILT
const struct bnnlab_family bnnlab_amx = {
    pack_signs, pack_channels, pack_codes, bnnlab_amx_product, bnnlab_amx_bytes_product,
    bnnlab_amx_sign_product, real_product, threshold, bnnlab_amx_convolve, bnnlab_amx_product_codes,
    bnnlab_amx_bytes_codes,
};
#endif
