/* NEON, which every 64-bit Arm has: panels of 16 outputs are four registers.
 *
 * vcnt counts the bits of bytes, which are gathered in bytes for 31 words at a time (31 * 8 = 248).
 */
#define REAL_BYTES 16
#include "fixed.h"
#include "real.h"

#include <arm_neon.h>

#define TILE_ROWS 4
#define PARTS 4             /* registers of a panel */
#define BYTE_WORDS 31
#define HALF_WORDS 32       /* whose 8 look-ups each fit into 16 bits: 32 * 8 * 255 < 65536 */

static const uint32_t bit_of_lane[4] = {1, 2, 4, 8};

/* The signs of four floats from bit 0; whether one is NaN is gathered in `nan`. */
ALWAYS_INLINE uint32x4_t signs_of(float32x4_t v, uint32x4_t *nan)
{
    *nan = vorrq_u32(*nan, vmvnq_u32(vceqq_f32(v, v)));
    return vcgeq_f32(v, vdupq_n_f32(0.0f));
}

static int pack_signs(const float *x, size_t rows, size_t k, uint32_t *bits)
{
    uint32x4_t nan = vdupq_n_u32(0);
    for (size_t i = 0; i < rows; i++, x += k)
        for (size_t j = 0; j < k; j += 32) {
            const size_t count = smaller(k - j, 32);
            uint32x4_t word = vdupq_n_u32(0), bit = vld1q_u32(bit_of_lane);
            for (size_t e = 0; e < count; e += 4, bit = vshlq_n_u32(bit, 4)) {
                float four[4] = {-1.0f, -1.0f, -1.0f, -1.0f};
                memcpy(four, x + j + e, sizeof *four * smaller(count - e, 4));
                word = vorrq_u32(word, vandq_u32(signs_of(vld1q_f32(four), &nan), bit));
            }
            const uint32_t there = count < 32 ? tail_mask(count) : 0xFFFFFFFFu;
            *bits++ = vaddvq_u32(word) & there;
        }
    return vmaxvq_u32(nan) != 0;
}

static int pack_channels(const float *x, size_t channels, size_t pixels, uint32_t *bits)
{
    const size_t words = BNNLAB_WORDS(channels);
    uint32x4_t nan = vdupq_n_u32(0);
    for (size_t i = 0; i < pixels; i += 4) {
        const size_t count = smaller(pixels - i, 4);
        for (size_t w = 0; w < words; w++) {
            const size_t last = smaller(channels, w * 32 + 32);
            uint32x4_t word = vdupq_n_u32(0), bit = vdupq_n_u32(1);
            uint32_t four_words[4];
            for (size_t c = w * 32; c < last; c++, bit = vshlq_n_u32(bit, 1)) {
                float four[4] = {0};
                memcpy(four, x + c * pixels + i, sizeof *four * count);
                word = vorrq_u32(word, vandq_u32(signs_of(vld1q_f32(four), &nan), bit));
            }
            vst1q_u32(four_words, word);
            for (size_t lane = 0; lane < count; lane++)
                bits[(i + lane) * words + w] = four_words[lane];
        }
    }
    return vmaxvq_u32(nan) != 0;
}

static void pack_codes(const uint8_t *codes, size_t rows, size_t k, size_t planes, uint32_t *bits)
{
    static const uint8_t bit_of_byte[16] = {1, 2, 4, 8, 16, 32, 64, 128,
                                            1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t weights = vld1q_u8(bit_of_byte);
    for (size_t p = 0; p < planes; p++) {
        const uint8x16_t plane = vdupq_n_u8((uint8_t)(1 << p));
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < k; j += 32) {
                uint8_t bytes[32] = {0};
                memcpy(bytes, codes + i * k + j, smaller(k - j, 32));
                uint32_t word = 0;
                UNROLL for (size_t half = 0; half < 2; half++) {
                    const uint8x16_t v =
                        vandq_u8(vtstq_u8(vld1q_u8(bytes + half * 16), plane), weights);
                    word |= (uint32_t)vaddv_u8(vget_low_u8(v)) << (half * 16) |
                            (uint32_t)vaddv_u8(vget_high_u8(v)) << (half * 16 + 8);
                }
                *bits++ = word;
            }
    }
}

/* Stores `count` lanes, at most four. */
ALWAYS_INLINE void store_lanes(int32_t *out, int32x4_t v, size_t count)
{
    int32_t lanes[4];
    vst1q_s32(lanes, v);
    memcpy(out, lanes, sizeof *out * smaller(count, 4));
}

ALWAYS_INLINE int32x4_t load_lanes(const int32_t *from, size_t count)
{
    int32_t lanes[4] = {0};
    memcpy(lanes, from, sizeof *lanes * smaller(count, 4));
    return vld1q_s32(lanes);
}

/* `panel`, `ones` and `out` begin at the tile's first output, of which `n` are left. */
ALWAYS_INLINE void mismatch_tile(const size_t rows, const uint32_t *a,
                                 const struct bnnlab_walk *walk, size_t planes,
                                 const uint32_t *panel, const int32_t *ones, int32_t base, size_t n,
                                 size_t out_step, int32_t *out)
{
    uint32x4_t sum[TILE_ROWS][PARTS];
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < PARTS; c++)
            sum[r][c] = vdupq_n_u32(0);
    for (size_t p = planes; p-- > 0;) {
        UNROLL for (size_t r = 0; r < rows; r++)
            UNROLL for (size_t c = 0; c < PARTS; c++)
                sum[r][c] = vaddq_u32(sum[r][c], sum[r][c]);
        for (size_t s = 0; s < walk->segments; s++) {
            const uint32_t *at = a + p * walk->plane_step + s * walk->a_step;
            const uint32_t *from_panel = panel + s * walk->b_step * BNNLAB_LANES;
            for (size_t from = 0; from < walk->length; from += BYTE_WORDS) {
                const size_t to = smaller(walk->length, from + BYTE_WORDS);
                uint8x16_t bytes[TILE_ROWS][PARTS];
                UNROLL for (size_t r = 0; r < rows; r++)
                    UNROLL for (size_t c = 0; c < PARTS; c++)
                        bytes[r][c] = vdupq_n_u8(0);
                for (size_t w = from; w < to; w++) {
                    uint8x16_t b[PARTS];
                    UNROLL for (size_t c = 0; c < PARTS; c++)
                        b[c] = vreinterpretq_u8_u32(
                            vld1q_u32(from_panel + w * BNNLAB_LANES + c * 4));
                    UNROLL for (size_t r = 0; r < rows; r++) {
                        const uint8x16_t v =
                            vreinterpretq_u8_u32(vdupq_n_u32(at[r * walk->row_step + w]));
                        UNROLL for (size_t c = 0; c < PARTS; c++)
                            bytes[r][c] = vaddq_u8(bytes[r][c], vcntq_u8(veorq_u8(v, b[c])));
                    }
                }
                UNROLL for (size_t r = 0; r < rows; r++)
                    UNROLL for (size_t c = 0; c < PARTS; c++)
                        sum[r][c] = vpadalq_u16(sum[r][c], vpaddlq_u8(bytes[r][c]));
            }
        }
    }
    for (size_t c = 0; c < PARTS && c * 4 < n; c++) {
        int32x4_t from = vdupq_n_s32(base);
        if (ones)
            from = vmulq_n_s32(load_lanes(ones + c * 4, n - c * 4), (1 << planes) - 1);
        for (size_t r = 0; r < rows; r++) {
            const uint32x4_t off = ones ? sum[r][c] : vaddq_u32(sum[r][c], sum[r][c]);
            store_lanes(out + r * out_step + c * 4, vsubq_s32(from, vreinterpretq_s32_u32(off)),
                        n - c * 4);
        }
    }
}

static void product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                    const uint32_t *panels, const int32_t *ones, int32_t base, size_t m, size_t n,
                    int32_t *out)
{
    for (size_t j = 0; j < n; j += BNNLAB_LANES) {
        const uint32_t *panel = panels + j * walk->panel_words;
        const int32_t *counts = ones ? ones + j : NULL;
        for (size_t i = 0, rows; i < m; i += rows) {
            rows = tile_rows(m - i, TILE_ROWS);
            WITH_ROWS(rows, mismatch_tile, a + i * walk->row_step, walk, planes, panel, counts,
                      base, n - j, n, out + i * n + j);
        }
    }
}

/* Bytes whose weight is +1, four inputs to a word of their output, are kept and added; twice their sum
 * less that of all is the product. */
ALWAYS_INLINE void bytes_tile(const size_t rows, const uint8_t *codes, const uint32_t *panel,
                              size_t k, size_t n, size_t out_step, int32_t *out)
{
    const uint32x4_t nibble = vdupq_n_u32(15), spread = vdupq_n_u32(0x00204081);
    const uint8x16_t one = vdupq_n_u8(1);
    uint32x4_t sum[TILE_ROWS][PARTS];
    int32_t all[TILE_ROWS] = {0};
    UNROLL for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < k; j++)
            all[r] += codes[r * k + j];
        UNROLL for (size_t c = 0; c < PARTS; c++)
            sum[r][c] = vdupq_n_u32(0);
    }
    for (size_t j = 0; j < k; j += 4) {
        uint8x16_t kept[PARTS];
        UNROLL for (size_t c = 0; c < PARTS; c++) {
            const uint32x4_t b = vld1q_u32(panel + j / 32 * BNNLAB_LANES + c * 4);
            const uint32x4_t v =
                vandq_u32(vshlq_u32(b, vdupq_n_s32(-(int32_t)(j % 32))), nibble);
            /* Bit e of the nibble comes to byte e. */
            kept[c] = vtstq_u8(vreinterpretq_u8_u32(vmulq_u32(v, spread)), one);
        }
        UNROLL for (size_t r = 0; r < rows; r++) {
            const int32_t four = four_codes(codes + r * k + j, k - j);
            const uint8x16_t v = vreinterpretq_u8_s32(vdupq_n_s32(four));
            UNROLL for (size_t c = 0; c < PARTS; c++)
                sum[r][c] = vpadalq_u16(sum[r][c], vpaddlq_u8(vandq_u8(v, kept[c])));
        }
    }
    for (size_t c = 0; c < PARTS && c * 4 < n; c++)
        for (size_t r = 0; r < rows; r++)
            store_lanes(out + r * out_step + c * 4,
                        vsubq_s32(vreinterpretq_s32_u32(vaddq_u32(sum[r][c], sum[r][c])),
                                  vdupq_n_s32(all[r])),
                        n - c * 4);
}

static void bytes_product(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n, size_t k,
                          int32_t *out)
{
    const size_t words = BNNLAB_WORDS(k);
    for (size_t j = 0; j < n; j += BNNLAB_LANES)
        for (size_t i = 0, rows; i < m; i += rows) {
            rows = tile_rows(m - i, TILE_ROWS);
            WITH_ROWS(rows, bytes_tile, codes + i * k, panels + j * words, k, n - j, n,
                      out + i * n + j);
        }
}

/* The tables of `inputs` inputs, as fixed.h has them; `scale` is the row's. */
static void make_tables(const float *x, size_t inputs, float scale, uint8_t *tables)
{
    static const int32_t first[4] = {-1, 1, -1, 1}, second[4] = {-1, -1, 1, 1};
    const int32x4_t sign0 = vld1q_s32(first), sign1 = vld1q_s32(second);
    const int32x4_t bias = vreinterpretq_s32_u32(vdupq_n_u32(0x80000000u));
    for (size_t j = 0; j < inputs; j += 32, tables += TABLE_BYTES)
        for (size_t nibble = 0; nibble < 8; nibble++) {
            const size_t at = j + nibble * 4;
            float four[4] = {0};
            if (at < inputs)
                memcpy(four, x + at, sizeof *four * smaller(inputs - at, 4));
            const float32x4_t scaled =
                vmulq_n_f32(vmulq_n_f32(vld1q_f32(four), scale), 0x1p27f);
            const int32x4_t q = vcvtnq_s32_f32(scaled);
            int32x4_t sum = vmlaq_s32(bias, sign0, vdupq_laneq_s32(q, 0));
            sum = vmlaq_s32(sum, sign1, vdupq_laneq_s32(q, 1));
            const int32x4_t c = vdupq_laneq_s32(q, 2), d = vdupq_laneq_s32(q, 3);
            int32_t sums[16];
            vst1q_s32(sums, vsubq_s32(vsubq_s32(sum, c), d));
            vst1q_s32(sums + 4, vsubq_s32(vaddq_s32(sum, c), d));
            vst1q_s32(sums + 8, vaddq_s32(vsubq_s32(sum, c), d));
            vst1q_s32(sums + 12, vaddq_s32(vaddq_s32(sum, c), d));
            const uint8x16x4_t digits = vld4q_u8((const uint8_t *)sums);
            UNROLL for (size_t e = 0; e < 4; e++)
                vst1q_u8(tables + TABLE_AT(nibble % 2, e, nibble / 2), digits.val[e]);
        }
}

/* Adds the sums of `words` words to those of a panel's outputs. */
static void sign_tile(const uint8_t *tables, const uint32_t *panel, size_t words, double *sums)
{
    for (size_t from = 0; from < words; from += HALF_WORDS) {
        const size_t to = smaller(words, from + HALF_WORDS);
        uint16x8_t low[4], high[4];
        uint16_t digits[4][BNNLAB_LANES];
        UNROLL for (size_t d = 0; d < 4; d++)
            low[d] = high[d] = vdupq_n_u16(0);
        for (size_t w = from; w < to; w++, tables += TABLE_BYTES) {
            const uint8x16x4_t b = vld4q_u8((const uint8_t *)(panel + w * BNNLAB_LANES));
            UNROLL for (size_t q = 0; q < 4; q++)
                UNROLL for (size_t half = 0; half < 2; half++) {
                    const uint8x16_t index =
                        half ? vshrq_n_u8(b.val[q], 4) : vandq_u8(b.val[q], vdupq_n_u8(15));
                    UNROLL for (size_t d = 0; d < 4; d++) {
                        const uint8x16_t found =
                            vqtbl1q_u8(vld1q_u8(tables + TABLE_AT(half, d, q)), index);
                        low[d] = vaddw_u8(low[d], vget_low_u8(found));
                        high[d] = vaddw_high_u8(high[d], found);
                    }
                }
        }
        UNROLL for (size_t d = 0; d < 4; d++) {
            vst1q_u16(digits[d], low[d]);
            vst1q_u16(digits[d] + 8, high[d]);
        }
        for (size_t lane = 0; lane < BNNLAB_LANES; lane++)
            sums[lane] += (double)((int64_t)digits[0][lane] + ((int64_t)digits[1][lane] << 8) +
                                   ((int64_t)digits[2][lane] << 16) +
                                   ((int64_t)digits[3][lane] << 24) -
                                   ((int64_t)(to - from) << 34));
    }
}

static int sign_product(const float *x, const uint32_t *panels, size_t m, size_t n, size_t k,
                        float *out)
{
    const size_t words = BNNLAB_WORDS(k);
    uint8_t tables[TABLE_INPUTS / 32 * TABLE_BYTES];
    double sums[TABLE_OUTPUTS + BNNLAB_LANES];
    int nan = 0;
    for (size_t i = 0; i < m; i++, x += k, out += n) {
        const int exponent = row_exponent(x, k);
        const double unit = row_unit(exponent);
        for (size_t j = 0; j < n; j += TABLE_OUTPUTS) {
            const size_t outputs = smaller(n - j, TABLE_OUTPUTS);
            for (size_t c = 0; c < outputs + BNNLAB_LANES - 1; c++)
                sums[c] = 0.0;
            for (size_t from = 0; from < k; from += TABLE_INPUTS) {
                const size_t inputs = smaller(k - from, TABLE_INPUTS);
                make_tables(x + from, inputs, row_scale(exponent), tables);
                for (size_t c = 0; c < outputs; c += BNNLAB_LANES)
                    sign_tile(tables, panels + (j + c) * words + from / 32 * BNNLAB_LANES,
                              BNNLAB_WORDS(inputs), sums + c);
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
    const int32x4_t magnitude = vdupq_n_s32(0x7fffffff), top = vdupq_n_s32((int32_t)levels);
    const uint32x4_t weights = vld1q_u32(bit_of_lane);
    uint32x4_t nan = vdupq_n_u32(0);
    for (size_t i = 0; i < m; i++, values += n, bits += words)
        for (size_t j = 0; j < n; j += 4) {
            const size_t count = smaller(n - j, 4);
            int32x4_t v = load_lanes(values + j, count), code = vdupq_n_s32(0);
            if (real) {
                nan = vorrq_u32(nan, vcgtq_s32(vandq_s32(v, magnitude), vdupq_n_s32(0x7f800000)));
                v = veorq_s32(v, vandq_s32(vshrq_n_s32(v, 31), magnitude));
            }
            for (size_t l = 0; l < levels; l++) {
                const int32x4_t t = load_lanes(thresholds + l * n + j, count);
                code = vsubq_s32(code, vreinterpretq_s32_u32(vcgeq_s32(v, t)));
            }
            const uint32x4_t flipped = vtstq_u32(vdupq_n_u32(flip[j / 32] >> (j % 32)), weights);
            code = vbslq_s32(flipped, vsubq_s32(top, code), code);
            for (size_t p = 0; p < planes; p++) {
                const uint32x4_t set =
                    vtstq_u32(vreinterpretq_u32_s32(code), vdupq_n_u32((uint32_t)1 << p));
                const uint32_t part = vaddvq_u32(vandq_u32(set, weights)) & tail_mask(count);
                uint32_t *word = bits + p * plane + j / 32;
                *word = j % 32 ? *word | part << (j % 32) : part;
            }
        }
    return vmaxvq_u32(nan) != 0;
}

const struct bnnlab_family bnnlab_neon = {
    pack_signs, pack_channels, pack_codes, product, bytes_product, sign_product, real_product,
    threshold, NULL, NULL, NULL,
};
