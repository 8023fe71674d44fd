/* AVX2 and FMA: everything but products of bits and of bytes, which are in avx2_bits.c and avx2_bytes.c. */
#define REAL_BYTES 32
#include "fixed.h"
#include "real.h"

#include "avx2.h"

static int pack_signs(const float *x, size_t rows, size_t k, uint32_t *bits)
{
    const __m256 zero = _mm256_setzero_ps();
    __m256 nan = zero;
    for (size_t i = 0; i < rows; i++, x += k)
        for (size_t j = 0; j < k; j += 32) {
            const size_t count = smaller(k - j, 32);
            uint32_t word = 0;
            for (size_t part = 0; part < 4 && part * 8 < count; part++) {
                const float *from = x + j + part * 8;
                const __m256 lanes = _mm256_castsi256_ps(lane_mask(count - part * 8));
                const __m256 v = count == 32 ? _mm256_loadu_ps(from)
                                             : _mm256_maskload_ps(from, _mm256_castps_si256(lanes));
                __m256 up = _mm256_cmp_ps(v, zero, _CMP_GE_OQ);
                if (count < 32)
                    up = _mm256_and_ps(up, lanes);
                nan = _mm256_or_ps(nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
                word |= (uint32_t)_mm256_movemask_ps(up) << (part * 8);
            }
            *bits++ = word;
        }
    return _mm256_movemask_ps(nan) != 0;
}

static int pack_channels(const float *x, size_t channels, size_t pixels, uint32_t *bits)
{
    const size_t words = BNNLAB_WORDS(channels);
    const __m256 zero = _mm256_setzero_ps();
    __m256 nan = zero;
    for (size_t i = 0; i < pixels; i += 8) {
        const __m256i there = lane_mask(pixels - i);
        for (size_t w = 0; w < words; w++) {
            const size_t last = smaller(channels, w * 32 + 32);
            uint32_t word[8];
            __m256i gathered = _mm256_setzero_si256();
            for (size_t c = w * 32; c < last; c++) {
                const __m256 v = _mm256_maskload_ps(x + c * pixels + i, there);
                const __m256i bit = _mm256_set1_epi32((int)((uint32_t)1 << (c % 32)));
                const __m256i up = _mm256_castps_si256(_mm256_cmp_ps(v, zero, _CMP_GE_OQ));
                nan = _mm256_or_ps(nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
                gathered = _mm256_or_si256(gathered, _mm256_and_si256(up, bit));
            }
            _mm256_storeu_si256((__m256i *)word, gathered);
            for (size_t lane = 0; lane < smaller(pixels - i, 8); lane++)
                bits[(i + lane) * words + w] = word[lane];
        }
    }
    return _mm256_movemask_ps(nan) != 0;
}

static void pack_codes(const uint8_t *codes, size_t rows, size_t k, size_t planes, uint32_t *bits)
{
    for (size_t p = 0; p < planes; p++)
        for (size_t i = 0; i < rows; i++) {
            const uint8_t *row = codes + i * k;
            size_t j = 0;
            for (; j + 32 <= k; j += 32) {
                const __m256i v = _mm256_loadu_si256((const __m256i *)(row + j));
                const __m128i left = _mm_cvtsi32_si128((int)(7 - p));
                *bits++ = (uint32_t)_mm256_movemask_epi8(_mm256_sll_epi16(v, left));
            }
            if (j < k) {
                uint32_t word = 0;
                for (size_t c = j; c < k; c++)
                    word |= (uint32_t)(row[c] >> p & 1) << (c - j);
                *bits++ = word;
            }
        }
}

/* The tables of `inputs` inputs, as fixed.h has them; `scale` is the row's. */
static void make_tables(const float *x, size_t inputs, float scale, uint8_t *tables)
{
    const __m256 first = _mm256_set1_ps(scale), second = _mm256_set1_ps(0x1p27f);
    const __m256i sign0 = _mm256_setr_epi32(-1, 1, -1, 1, -1, 1, -1, 1);
    const __m256i sign1 = _mm256_setr_epi32(-1, -1, 1, 1, -1, -1, 1, 1);
    const __m256i sign2 = _mm256_setr_epi32(-1, -1, -1, -1, 1, 1, 1, 1);
    const __m256i bias = _mm256_set1_epi32((int)0x80000000u);
    const __m256i by_digit = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
                                              0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m256i together = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (size_t j = 0; j < inputs; j += 32, tables += TABLE_BYTES) {
        int32_t q[32] = {0};
        for (size_t e = 0; e < 32 && j + e < inputs; e += 8) {
            const __m256 v = _mm256_maskload_ps(x + j + e, lane_mask(inputs - j - e));
            const __m256i r = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_mul_ps(v, first), second));
            _mm256_storeu_si256((__m256i *)(q + e), r);
        }
        for (size_t nibble = 0; nibble < 8; nibble++) {
            const int32_t *of = q + nibble * 4;
            __m256i sum = _mm256_add_epi32(bias, _mm256_sign_epi32(_mm256_set1_epi32(of[0]), sign0));
            sum = _mm256_add_epi32(sum, _mm256_sign_epi32(_mm256_set1_epi32(of[1]), sign1));
            sum = _mm256_add_epi32(sum, _mm256_sign_epi32(_mm256_set1_epi32(of[2]), sign2));
            const __m256i last = _mm256_set1_epi32(of[3]);
            const __m256i down = _mm256_shuffle_epi8(_mm256_sub_epi32(sum, last), by_digit);
            const __m256i up = _mm256_shuffle_epi8(_mm256_add_epi32(sum, last), by_digit);
            UNROLL for (size_t d = 0; d < 4; d += 2) {
                const __m256i two = _mm256_permutevar8x32_epi32(
                    d ? _mm256_unpackhi_epi32(down, up) : _mm256_unpacklo_epi32(down, up), together);
                uint8_t *to = tables + TABLE_AT(nibble % 2, d, nibble / 2);
                _mm_store_si128((__m128i *)to, _mm256_castsi256_si128(two));
                _mm_store_si128((__m128i *)(to + 64), _mm256_extracti128_si256(two, 1));
            }
        }
    }
}

/* Adds the sums of `words` words, at most 64, to those of a panel's outputs, or begins them. Bytes are
 * added in 16 bits: pairs of them as they lie, and the upper ones alone. */
static void sign_tile(const uint8_t *tables, const uint32_t *panel, size_t words, int first,
                      double *sums)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i pairs[4], upper[4];
    UNROLL for (size_t d = 0; d < 4; d++)
        pairs[d] = upper[d] = _mm256_setzero_si256();
    for (size_t w = 0; w < words; w++, tables += TABLE_BYTES, panel += BNNLAB_LANES)
        UNROLL for (size_t pair = 0; pair < 2; pair++) {
            const __m256i b = bytes_of(pair, panel);
            UNROLL for (size_t half = 0; half < 2; half++) {
                const __m256i index =
                    _mm256_and_si256(half ? _mm256_srli_epi16(b, 4) : b, nibble);
                UNROLL for (size_t d = 0; d < 4; d++) {
                    const __m256i table =
                        _mm256_load_si256((const __m256i *)(tables + TABLE_AT(half, d, pair * 2)));
                    const __m256i found = _mm256_shuffle_epi8(table, index);
                    pairs[d] = _mm256_add_epi16(pairs[d], found);
                    upper[d] = _mm256_add_epi16(upper[d], _mm256_srli_epi16(found, 8));
                }
            }
        }
    __m256i sum[4][2];
    UNROLL for (size_t d = 0; d < 4; d++)
        UNROLL for (size_t c = 0; c < 2; c++)
            sum[d][c] = sums_of_bytes(c, pairs[d], upper[d]);
    const __m256d bias = _mm256_set1_pd(-0x1p31 * 8 * (double)words);
    UNROLL for (size_t c = 0; c < 2; c++) {
        const __m256i high = _mm256_add_epi32(_mm256_slli_epi32(sum[3][c], 8), sum[2][c]);
        const __m256i low = _mm256_add_epi32(_mm256_slli_epi32(sum[1][c], 8), sum[0][c]);
        UNROLL for (size_t h = 0; h < 2; h++) {
            const __m128i top = h ? _mm256_extracti128_si256(high, 1) : _mm256_castsi256_si128(high);
            const __m128i end = h ? _mm256_extracti128_si256(low, 1) : _mm256_castsi256_si128(low);
            double *to = sums + c * 4 + h * 8;
            const __m256d all = _mm256_fmadd_pd(_mm256_cvtepi32_pd(top), _mm256_set1_pd(0x1p16),
                                                _mm256_add_pd(_mm256_cvtepi32_pd(end), bias));
            _mm256_store_pd(to, first ? all : _mm256_add_pd(_mm256_load_pd(to), all));
        }
    }
}

static int sign_product(const float *x, const uint32_t *panels, size_t m, size_t n, size_t k,
                        float *out)
{
    int nan = 0;
    const size_t words = BNNLAB_WORDS(k);
    _Alignas(32) uint8_t tables[TABLE_INPUTS / 32 * TABLE_BYTES];
    _Alignas(32) double sums[TABLE_OUTPUTS];
    for (size_t i = 0; i < m; i++, x += k, out += n) {
        const int exponent = row_exponent(x, k);
        const double unit = row_unit(exponent);
        for (size_t j = 0; j < n; j += TABLE_OUTPUTS) {
            const size_t outputs = smaller(n - j, TABLE_OUTPUTS);
            for (size_t from = 0; from < k || from == 0; from += TABLE_INPUTS) {
                const size_t inputs = smaller(k - from, TABLE_INPUTS);
                make_tables(x + from, inputs, row_scale(exponent), tables);
                for (size_t c = 0; c < outputs; c += BNNLAB_LANES)
                    sign_tile(tables, panels + (j + c) * words + from / 32 * BNNLAB_LANES,
                              BNNLAB_WORDS(inputs), from == 0, sums + c);
            }
            for (size_t c = 0; c < outputs; c++)
                out[j + c] = (float)(sums[c] * unit);
        }
        nan |= exponent == NAN_ROW;
        if (exponent == INFINITE_ROW)
            infinite_row(x, panels, n, k, out);
    }
    return nan;
}

static int threshold(const int32_t *values, int real, size_t m, size_t n, const int32_t *thresholds,
                     size_t levels, size_t planes, const uint32_t *flip, uint32_t *bits)
{
    const size_t words = BNNLAB_WORDS(n), plane = m * words;
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), one = _mm256_set1_epi32(1);
    const __m256i top = _mm256_set1_epi32((int)levels);
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    const __m256i infinity = _mm256_set1_epi32(0x7f800000);
    __m256i nan = _mm256_setzero_si256();
    for (size_t i = 0; i < m; i++, values += n, bits += words)
        for (size_t j = 0; j < n; j += 8) {
            const __m256i lanes = lane_mask(n - j);
            __m256i v = _mm256_maskload_epi32(values + j, lanes);
            if (real) {
                const __m256i negative = _mm256_srai_epi32(v, 31);
                nan = _mm256_or_si256(
                    nan, _mm256_cmpgt_epi32(_mm256_and_si256(v, magnitude), infinity));
                v = _mm256_xor_si256(v, _mm256_and_si256(negative, magnitude));
            }
            /* A lane reaches the threshold unless the threshold is greater: count those that are. */
            __m256i missed = _mm256_setzero_si256();
            for (size_t l = 0; l < levels; l++) {
                const __m256i t = _mm256_maskload_epi32(thresholds + l * n + j, lanes);
                missed = _mm256_sub_epi32(missed, _mm256_cmpgt_epi32(t, v));
            }
            const __m256i shifted =
                _mm256_srlv_epi32(_mm256_set1_epi32((int)(flip[j / 32] >> (j % 32))), index);
            const __m256i flipped = _mm256_cmpeq_epi32(_mm256_and_si256(shifted, one), one);
            __m256i code = _mm256_blendv_epi8(_mm256_sub_epi32(top, missed), missed, flipped);
            code = _mm256_and_si256(code, lanes);
            for (size_t p = 0; p < planes; p++) {
                const __m128i left = _mm_cvtsi32_si128((int)(31 - p));
                const __m256 signs = _mm256_castsi256_ps(_mm256_sll_epi32(code, left));
                const uint32_t part = (uint32_t)_mm256_movemask_ps(signs);
                uint32_t *word = bits + p * plane + j / 32;
                *word = j % 32 ? *word | part << (j % 32) : part;
            }
        }
    return !_mm256_testz_si256(nan, nan);
}

const struct bnnlab_family bnnlab_avx2 = {
    pack_signs, pack_channels, pack_codes, bnnlab_avx2_product, bnnlab_avx2_bytes_product, sign_product,
    real_product, threshold, bnnlab_avx2_convolve, NULL, NULL,
};
