/* AVX-512 F, BW, DQ, VL and VPOPCNTDQ.
 *
 * The products keep a tile of up to 6 rows by 4 panels (64 outputs) in 24 of the 32 registers; each
 * step of the XNOR product is one xor, one vpopcntd and one vpaddd for 512 multiply-adds.
 */
#include "vector.h"

#include <immintrin.h>

#define TILE_ROWS 6
#define TILE_PANELS 4

/* Calls `tile` with constant sizes, so that each combination is compiled for itself. */
#define WITH_PANELS(rows, count, tile, ...)               \
    switch (count) {                                      \
    case 1: tile(rows, 1, __VA_ARGS__); break;            \
    case 2: tile(rows, 2, __VA_ARGS__); break;            \
    case 3: tile(rows, 3, __VA_ARGS__); break;            \
    default: tile(rows, 4, __VA_ARGS__); break;           \
    }
#define WITH_TILE(rows, count, tile, ...)                           \
    switch (rows) {                                                 \
    case 1: WITH_PANELS(1, count, tile, __VA_ARGS__); break;        \
    case 2: WITH_PANELS(2, count, tile, __VA_ARGS__); break;        \
    case 3: WITH_PANELS(3, count, tile, __VA_ARGS__); break;        \
    case 4: WITH_PANELS(4, count, tile, __VA_ARGS__); break;        \
    case 5: WITH_PANELS(5, count, tile, __VA_ARGS__); break;        \
    default: WITH_PANELS(6, count, tile, __VA_ARGS__); break;       \
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
            nan |= _mm512_cmp_ps_mask(v0, v0, _CMP_UNORD_Q);
            nan |= _mm512_cmp_ps_mask(v1, v1, _CMP_UNORD_Q);
            *bits++ = (uint32_t)_mm512_mask_cmp_ps_mask(low_mask, v0, zero, _CMP_GE_OQ) |
                      (uint32_t)_mm512_mask_cmp_ps_mask(high_mask, v1, zero, _CMP_GE_OQ) << 16;
        }
    return nan != 0;
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

ALWAYS_INLINE void mismatch_tile(const size_t rows, const size_t count, const uint32_t *a,
                                 const uint32_t *panels, size_t n, size_t first, size_t words,
                                 unsigned shift, int32_t *out)
{
    __m512i sum[TILE_ROWS][TILE_PANELS];
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < count; c++)
            sum[r][c] = _mm512_setzero_si512();
    for (size_t w = 0; w < words; w++) {
        __m512i b[TILE_PANELS];
        UNROLL for (size_t c = 0; c < count; c++)
            b[c] = _mm512_loadu_si512(panels + (c * words + w) * BNNLAB_LANES);
        UNROLL for (size_t r = 0; r < rows; r++) {
            const __m512i v = _mm512_set1_epi32((int)a[r * words + w]);
            UNROLL for (size_t c = 0; c < count; c++)
                sum[r][c] = _mm512_add_epi32(sum[r][c],
                                             _mm512_popcnt_epi32(_mm512_xor_si512(v, b[c])));
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < count; c++) {
            int32_t *to = out + r * n + (first + c) * BNNLAB_LANES;
            const __mmask16 lanes = lanes_of(n, first + c);
            const __m512i mismatches = _mm512_slli_epi32(sum[r][c], shift);
            const __m512i before = _mm512_maskz_loadu_epi32(lanes, to);
            _mm512_mask_storeu_epi32(to, lanes, _mm512_sub_epi32(before, mismatches));
        }
}

static void subtract_mismatches(const uint32_t *a, const uint32_t *panels, size_t m, size_t n,
                                size_t words, unsigned shift, int32_t *out)
{
    const size_t total = (n + BNNLAB_LANES - 1) / BNNLAB_LANES;
    for (size_t p = 0; p < total; p += TILE_PANELS) {
        const size_t count = smaller(total - p, TILE_PANELS);
        const uint32_t *b = panels + p * words * BNNLAB_LANES;
        for (size_t i = 0; i < m; i += TILE_ROWS) {
            const size_t rows = smaller(m - i, TILE_ROWS);
            WITH_TILE(rows, count, mismatch_tile, a + i * words, b, n, p, words, shift, out + i * n);
        }
    }
}

ALWAYS_INLINE void signed_tile(const size_t rows, const size_t count, const float *x,
                               const uint32_t *panels, size_t n, size_t start, size_t words,
                               size_t inputs, float *out)
{
    const __m512i one = _mm512_castps_si512(_mm512_set1_ps(1.0f));
    const __m512i sign_bit = _mm512_set1_epi32((int)0x80000000u);
    __m512 sum[TILE_ROWS][TILE_PANELS];
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < count; c++)
            sum[r][c] = _mm512_setzero_ps();
    for (size_t w = 0; w * 32 < inputs; w++) {
        const float *at = x + w * 32 * rows, *end = at + smaller(inputs - w * 32, 32) * rows;
        __m512i b[TILE_PANELS];
        UNROLL for (size_t c = 0; c < count; c++)
            b[c] = _mm512_loadu_si512(panels + (c * words + w) * BNNLAB_LANES);
        for (; at < end; at += rows)
            UNROLL for (size_t c = 0; c < count; c++) {
                /* Bit j comes to the sign's place; one ^ (~b & sign_bit) is then +-1.0. */
                b[c] = _mm512_ror_epi32(b[c], 1);
                const __m512 sign = _mm512_castsi512_ps(
                    _mm512_ternarylogic_epi32(b[c], one, sign_bit, 0xC6));
                UNROLL for (size_t r = 0; r < rows; r++)
                    sum[r][c] = _mm512_fmadd_ps(sign, _mm512_set1_ps(at[r]), sum[r][c]);
            }
    }
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < count; c++) {
            float *to = out + r * n + (start + c) * BNNLAB_LANES;
            const __mmask16 lanes = lanes_of(n, start + c);
            const __m512 before = _mm512_maskz_loadu_ps(lanes, to);
            _mm512_mask_storeu_ps(to, lanes, _mm512_add_ps(before, sum[r][c]));
        }
}

static void add_signed_block(const float *x, const uint32_t *panels, size_t m, size_t n, size_t k,
                             size_t first, size_t last, float *out)
{
    const size_t total = (n + BNNLAB_LANES - 1) / BNNLAB_LANES, words = BNNLAB_WORDS(k);
    const size_t inputs = smaller(k, last * 32) - first * 32;
    float tile[TILE_ROWS * BNNLAB_BLOCK_WORDS * 32];
    for (size_t i = 0; i < m; i += TILE_ROWS) {
        const size_t rows = smaller(m - i, TILE_ROWS);
        interleave_rows(x + i * k + first * 32, rows, k, inputs, tile);
        for (size_t p = 0; p < total; p += TILE_PANELS) {
            const size_t count = smaller(total - p, TILE_PANELS);
            const uint32_t *b = panels + (p * words + first) * BNNLAB_LANES;
            WITH_TILE(rows, count, signed_tile, tile, b, n, p, words, inputs, out + i * n);
        }
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
    pack_signs, pack_codes, subtract_mismatches, add_signed_block, threshold,
};
