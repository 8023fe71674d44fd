/* Products of bytes by AVX2: by tables of sums, but of few outputs by bytes of +-1.
 *
 * With S the sum of those codes of a row whose weights are +1, a product is 2 S less the sum of all.
 * Four codes have 16 such sums, of at most 1020, which are looked up by the weights' nibbles: as two
 * digits of five bits, of which bytes hold eight.
 */
#include "avx2.h"

#define GATHERED 256    /* codes whose sums 16 bits hold: 64 times two of them */
#define MANY 64         /* outputs, which tables of several rows are worth making for */
#define PAIR 2          /* rows that share what nibbles point at */
#define INPUTS 1024     /* that have tables at once: of two rows they fill a third of the first cache */
#define TABLES 256      /* bytes of the 32 inputs of a word */
#define ROW_TABLES (INPUTS / 32 * TABLES)
#define DIGIT 5         /* bits */

/* Nibbles of weights become four bytes of +-1, once for all rows; tail bits count as -1 and meet
 * zeros. Sums of two codes of at most 255 are gathered in 16 bits, 64 of which fit. */
ALWAYS_INLINE void signs_tile(const size_t rows, const uint8_t *codes, const uint32_t *panel,
                              size_t k, size_t n, size_t out_step, int32_t *out)
{
    const __m256i first_byte = _mm256_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12,
                                                0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
    const __m256i low = _mm256_set1_epi32(0x08040201), ones = _mm256_set1_epi8(1);
    const __m256i pairs = _mm256_set1_epi16(1), zero = _mm256_setzero_si256();
    __m256i sum[TILE_ROWS][2];
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < 2; c++)
            sum[r][c] = zero;
    for (size_t from = 0; from < k; from += GATHERED) {
        const size_t end = smaller(k, from + GATHERED);
        __m256i part[TILE_ROWS][2];
        UNROLL for (size_t r = 0; r < rows; r++)
            UNROLL for (size_t c = 0; c < 2; c++)
                part[r][c] = zero;
        for (size_t j = from; j < end; j += 4) {
            const __m256i *b = (const __m256i *)(panel + j / 32 * BNNLAB_LANES);
            const __m256i byte =
                _mm256_add_epi8(first_byte, _mm256_set1_epi8((char)(j % 32 / 8)));
            const __m256i bits = j % 8 ? _mm256_slli_epi32(low, 4) : low;
            __m256i signs[2];
            UNROLL for (size_t c = 0; c < 2; c++) {
                const __m256i v = _mm256_shuffle_epi8(_mm256_loadu_si256(b + c), byte);
                signs[c] = _mm256_or_si256(
                    _mm256_cmpeq_epi8(_mm256_and_si256(v, bits), zero), ones);
            }
            UNROLL for (size_t r = 0; r < rows; r++) {
                const uint8_t *at = codes + r * k + j;
                const __m256i four =
                    _mm256_set1_epi32(k - j < 4 ? four_codes(at, k - j) : four_codes(at, 4));
                UNROLL for (size_t c = 0; c < 2; c++)
                    part[r][c] =
                        _mm256_add_epi16(part[r][c], _mm256_maddubs_epi16(four, signs[c]));
            }
        }
        UNROLL for (size_t r = 0; r < rows; r++)
            UNROLL for (size_t c = 0; c < 2; c++)
                sum[r][c] =
                    _mm256_add_epi32(sum[r][c], _mm256_madd_epi16(part[r][c], pairs));
    }
    UNROLL for (size_t c = 0; c < 2; c++) {
        if (c * 8 >= n)
            continue;
        const __m256i lanes = lane_mask(n - c * 8);
        UNROLL for (size_t r = 0; r < rows; r++)
            _mm256_maskstore_epi32(out + r * out_step + c * 8, lanes, sum[r][c]);
    }
}

/* The tables of a row's inputs, zeros beyond; those of nibble 2 q + half of a word, and digit d of their
 * sums, lie at half 128 + d 64 + q 16. */
static void make_tables(const uint8_t *codes, size_t inputs, uint8_t *tables)
{
    /* Of four codes the i-th, in 16 bits, where the table's entry has bit i. */
    const __m256i entry = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m256i nothing = _mm256_set1_epi8((char)0x80);
    __m256i pick[4];
    UNROLL for (size_t i = 0; i < 4; i++) {
        const __m256i bit = _mm256_set1_epi16((short)(1 << i));
        const __m256i there = _mm256_cmpeq_epi16(_mm256_and_si256(entry, bit), bit);
        pick[i] = _mm256_blendv_epi8(nothing, _mm256_set1_epi16((short)(0x8000 | i)), there);
    }
    for (size_t j = 0; j < BNNLAB_WORDS(inputs) * 32; j += 4) {
        const uint8_t *at = codes + smaller(j, inputs);
        const size_t left = inputs - smaller(j, inputs);
        const __m256i four = _mm256_set1_epi32(left < 4 ? four_codes(at, left) : four_codes(at, 4));
        __m256i sum = _mm256_setzero_si256();
        UNROLL for (size_t i = 0; i < 4; i++)
            sum = _mm256_add_epi16(sum, _mm256_shuffle_epi8(four, pick[i]));
        const __m256i low = _mm256_and_si256(sum, _mm256_set1_epi16((1 << DIGIT) - 1));
        const __m256i both = _mm256_permute4x64_epi64(
            _mm256_packus_epi16(low, _mm256_srli_epi16(sum, DIGIT)), 0xD8);
        uint8_t *to = tables + j / 32 * TABLES + j / 4 % 2 * 128 + j / 8 % 4 * 16;
        _mm_store_si128((__m128i *)to, _mm256_castsi256_si128(both));
        _mm_store_si128((__m128i *)(to + 64), _mm256_extracti128_si256(both, 1));
    }
}

/* The sums of 16 bits of a panel's outputs: of bytes pairs as they lie, and the upper ones alone. */
struct digits {
    __m256i bytes, pairs, upper;
};

ALWAYS_INLINE void empty_bytes(struct digits *of)
{
    of->pairs = _mm256_add_epi16(of->pairs, of->bytes);
    of->upper = _mm256_add_epi16(of->upper, _mm256_srli_epi16(of->bytes, 8));
    of->bytes = _mm256_setzero_si256();
}

/* Adds 2 S of some words to the first `count` sums of a panel, of each row. */
ALWAYS_INLINE void tables_tile(const size_t rows, const uint8_t *tables, const uint32_t *panel,
                               size_t words, size_t count, size_t out_step, int32_t *out)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    struct digits digits[PAIR][2];
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t d = 0; d < 2; d++)
            digits[r][d].bytes = digits[r][d].pairs = digits[r][d].upper = _mm256_setzero_si256();
    for (size_t w = 0; w < words; w++, tables += TABLES, panel += BNNLAB_LANES) {
        UNROLL for (size_t pair = 0; pair < 2; pair++) {
            const __m256i b = bytes_of(pair, panel);
            UNROLL for (size_t half = 0; half < 2; half++) {
                const __m256i index =
                    _mm256_and_si256(half ? _mm256_srli_epi16(b, 4) : b, nibble);
                UNROLL for (size_t r = 0; r < rows; r++)
                    UNROLL for (size_t d = 0; d < 2; d++) {
                        const __m256i table = _mm256_load_si256(
                            (const __m256i *)(tables + r * ROW_TABLES + half * 128 + d * 64 +
                                              pair * 32));
                        digits[r][d].bytes = _mm256_add_epi8(digits[r][d].bytes,
                                                             _mm256_shuffle_epi8(table, index));
                    }
            }
        }
        if (w % 2 || w + 1 == words) /* eight digits at most */
            UNROLL for (size_t r = 0; r < rows; r++)
                UNROLL for (size_t d = 0; d < 2; d++)
                    empty_bytes(&digits[r][d]);
    }
    UNROLL for (size_t r = 0; r < rows; r++) {
        __m256i sum[2];
        UNROLL for (size_t c = 0; c < 2; c++) {
            const __m256i low = sums_of_bytes(c, digits[r][0].pairs, digits[r][0].upper);
            const __m256i high = sums_of_bytes(c, digits[r][1].pairs, digits[r][1].upper);
            sum[c] = _mm256_slli_epi32(_mm256_add_epi32(_mm256_slli_epi32(high, DIGIT), low), 1);
        }
        UNROLL for (size_t h = 0; h < 2; h++) {
            if (h * 8 >= count)
                continue;
            const __m256i lanes = lane_mask(count - h * 8);
            const __m256i more = h ? _mm256_permute2x128_si256(sum[0], sum[1], 0x31)
                                   : _mm256_permute2x128_si256(sum[0], sum[1], 0x20);
            int32_t *to = out + r * out_step + h * 8;
            _mm256_maskstore_epi32(to, lanes,
                                   _mm256_add_epi32(_mm256_maskload_epi32(to, lanes), more));
        }
    }
}

static int32_t sum_of_codes(const uint8_t *codes, size_t k)
{
    __m256i sums = _mm256_setzero_si256();
    uint64_t four[4];
    size_t j = 0;
    for (; j + 32 <= k; j += 32) {
        const __m256i v = _mm256_loadu_si256((const __m256i *)(codes + j));
        sums = _mm256_add_epi64(sums, _mm256_sad_epu8(v, _mm256_setzero_si256()));
    }
    memcpy(four, &sums, sizeof four);
    uint64_t total = four[0] + four[1] + four[2] + four[3];
    for (; j < k; j++)
        total += codes[j];
    return (int32_t)total;
}

/* One row, or two. */
ALWAYS_INLINE void by_tables(const size_t rows, const uint8_t *codes, const uint32_t *panels, size_t n,
                             size_t k, int32_t *out)
{
    const size_t words = BNNLAB_WORDS(k);
    _Alignas(32) uint8_t tables[PAIR * ROW_TABLES];
    for (size_t r = 0; r < rows; r++) {
        const int32_t total = sum_of_codes(codes + r * k, k);
        for (size_t j = 0; j < n; j++)
            out[r * n + j] = -total;
    }
    for (size_t from = 0; from < k; from += INPUTS) {
        const size_t inputs = smaller(k - from, INPUTS);
        for (size_t r = 0; r < rows; r++)
            make_tables(codes + r * k + from, inputs, tables + r * ROW_TABLES);
        for (size_t j = 0; j < n; j += BNNLAB_LANES)
            tables_tile(rows, tables, panels + j * words + from / 32 * BNNLAB_LANES,
                        BNNLAB_WORDS(inputs), n - j, n, out + j);
    }
}

void bnnlab_avx2_bytes_product(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n,
                               size_t k, int32_t *out)
{
    const size_t words = BNNLAB_WORDS(k);
    if (n >= MANY || m == 1) {
        for (; m >= PAIR; m -= PAIR, codes += PAIR * k, out += PAIR * n)
            by_tables(PAIR, codes, panels, n, k, out);
        if (m)
            by_tables(1, codes, panels, n, k, out);
        return;
    }
    for (size_t j = 0; j < n; j += BNNLAB_LANES)
        for (size_t i = 0, rows; i < m; i += rows) {
            rows = tile_rows(m - i, TILE_ROWS);
            WITH_ROWS(rows, signs_tile, codes + i * k, panels + j * words, k, n - j, n,
                      out + i * n + j);
        }
}
