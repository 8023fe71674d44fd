/* Products of bits by AVX2, which has no popcount of vectors.
 *
 * Of many rows, each four bits of a row choose one of 16 tables, in which the same four bits of every
 * output's weights find in how many they differ: two instructions for 128 multiply-adds. Before, some words
 * of 64 outputs' weights are laid out anew, four bits of all outputs side by side. Of a few rows, every
 * byte's count comes from two look-ups of its halves. Both gather counts in bytes as long as these cannot
 * overflow.
 */
#include "avx2.h"
#include "taps.h"

#define BYTE_WORDS 31   /* of 8 bits each, in a byte */
#define LEAST_ROWS 6    /* that laying out is worth */
#define OUTPUTS 64      /* laid out together: four panels */
#define FULL 7          /* words whose 8 counts, at most 4 each, a byte holds */
#define BLOCK (8 * FULL) /* words laid out at once, which fit the first cache */
#define WORD (8 * OUTPUTS) /* bytes of one of them */

/* One panel (two registers of eight outputs) against `rows` rows. `panel`, `ones` and `out` begin at
 * its first output, of which `n` are left. */
ALWAYS_INLINE void mismatch_tile(const size_t rows, const uint32_t *a,
                                 const struct bnnlab_walk *walk, size_t planes,
                                 const uint32_t *panel, const int32_t *ones, int32_t base, size_t n,
                                 size_t out_step, int32_t *out)
{
    const __m256i counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
                                            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i half = _mm256_set1_epi8(15);
    const size_t row_step = walk->row_step;
    __m256i sum[TILE_ROWS][2];
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < 2; c++)
            sum[r][c] = _mm256_setzero_si256();
    for (size_t p = planes; p-- > 0;) {
        UNROLL for (size_t r = 0; r < rows; r++)
            UNROLL for (size_t c = 0; c < 2; c++)
                sum[r][c] = _mm256_add_epi32(sum[r][c], sum[r][c]);
        for (size_t s = 0; s < walk->segments; s++) {
            const uint32_t *at = a + p * walk->plane_step + s * walk->a_step;
            const uint32_t *from_panel = panel + s * walk->b_step * BNNLAB_LANES;
            for (size_t from = 0; from < walk->length; from += BYTE_WORDS) {
                const size_t to = smaller(walk->length, from + BYTE_WORDS);
                __m256i bytes[TILE_ROWS][2];
                UNROLL for (size_t r = 0; r < rows; r++)
                    UNROLL for (size_t c = 0; c < 2; c++)
                        bytes[r][c] = _mm256_setzero_si256();
                for (size_t w = from; w < to; w++) {
                    const __m256i *b = (const __m256i *)(from_panel + w * BNNLAB_LANES);
                    UNROLL for (size_t r = 0; r < rows; r++) {
                        const __m256i v = _mm256_set1_epi32((int)at[r * row_step + w]);
                        UNROLL for (size_t c = 0; c < 2; c++) {
                            const __m256i x = _mm256_xor_si256(v, _mm256_loadu_si256(b + c));
                            const __m256i low = _mm256_and_si256(x, half);
                            const __m256i high = _mm256_and_si256(_mm256_srli_epi16(x, 4), half);
                            bytes[r][c] = _mm256_add_epi8(
                                bytes[r][c], _mm256_add_epi8(_mm256_shuffle_epi8(counts, low),
                                                             _mm256_shuffle_epi8(counts, high)));
                        }
                    }
                }
                UNROLL for (size_t r = 0; r < rows; r++)
                    UNROLL for (size_t c = 0; c < 2; c++) {
                        /* Pairs of bytes, then pairs of halves, into the word of their output. */
                        const __m256i halves =
                            _mm256_maddubs_epi16(bytes[r][c], _mm256_set1_epi8(1));
                        sum[r][c] = _mm256_add_epi32(
                            sum[r][c], _mm256_madd_epi16(halves, _mm256_set1_epi16(1)));
                    }
            }
        }
    }
    UNROLL for (size_t c = 0; c < 2; c++) {
        if (c * 8 >= n)
            continue;
        const __m256i lanes = lane_mask(n - c * 8);
        __m256i from = _mm256_set1_epi32(base);
        if (ones) {
            const __m256i largest = _mm256_set1_epi32((1 << planes) - 1);
            from = _mm256_mullo_epi32(_mm256_maskload_epi32(ones + c * 8, lanes), largest);
        }
        UNROLL for (size_t r = 0; r < rows; r++) {
            const __m256i off = ones ? sum[r][c] : _mm256_add_epi32(sum[r][c], sum[r][c]);
            _mm256_maskstore_epi32(out + r * out_step + c * 8, lanes,
                                   _mm256_sub_epi32(from, off));
        }
    }
}

static void count_bits(const struct region *of, size_t planes, const uint32_t *panels,
                       const int32_t *ones, size_t n, int32_t *out)
{
    for (size_t j = 0; j < n; j += BNNLAB_LANES) {
        const uint32_t *panel = panels + j * of->walk.panel_words;
        const int32_t *counts = ones ? ones + j : NULL;
        for (size_t l = 0; l < of->lines; l++)
            for (size_t i = 0, rows; i < of->rows; i += rows) {
                rows = tile_rows(of->rows - i, TILE_ROWS);
                WITH_ROWS(rows, mismatch_tile, of->image + l * of->line_step + i * of->walk.row_step,
                          &of->walk, planes, panel, counts, of->base, n - j, of->out_row * n,
                          out + (l * of->out_line + i * of->out_row) * n + j);
            }
    }
}

/* In how many of four bits those of a row, which choose the table, and those of weights differ; twice, for
 * each half of a register. */
#define ENTRY(x) (((x) & 1) + ((x) >> 1 & 1) + ((x) >> 2 & 1) + ((x) >> 3 & 1))
#define FOUR(x, y) ENTRY((x) ^ (y)), ENTRY((x) ^ (y + 1)), ENTRY((x) ^ (y + 2)), ENTRY((x) ^ (y + 3))
#define SIXTEEN(x) FOUR(x, 0), FOUR(x, 4), FOUR(x, 8), FOUR(x, 12)
#define TABLE(x) {SIXTEEN(x), SIXTEEN(x)}
_Alignas(32) static const uint8_t differences[16][32] = {
    TABLE(0), TABLE(1), TABLE(2),  TABLE(3),  TABLE(4),  TABLE(5),  TABLE(6),  TABLE(7),
    TABLE(8), TABLE(9), TABLE(10), TABLE(11), TABLE(12), TABLE(13), TABLE(14), TABLE(15)};

/* Some words of a walk: where they are in a row, and their weights by nibble, [words, 8, OUTPUTS]. */
struct block {
    size_t words;
    size_t at[BLOCK];
    _Alignas(32) uint8_t nibbles[BLOCK * WORD];
};

/* One word of two panels' weights, of which `there` are. */
static void lay_out_word(const uint32_t *panels, size_t panel_words, size_t there, uint8_t *to)
{
    const __m256i by_byte = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
                                             0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i low = _mm256_set1_epi8(15);
    __m256i v[4], byte[4];
    UNROLL for (size_t q = 0; q < 4; q++) {
        const uint32_t *from = panels + q / 2 * panel_words * BNNLAB_LANES + q % 2 * 8;
        v[q] = q / 2 < there ? _mm256_loadu_si256((const __m256i *)from) : _mm256_setzero_si256();
        v[q] = _mm256_shuffle_epi8(v[q], by_byte);
    }
    const __m256i low01 = _mm256_unpacklo_epi32(v[0], v[1]), low23 = _mm256_unpacklo_epi32(v[2], v[3]);
    const __m256i top01 = _mm256_unpackhi_epi32(v[0], v[1]), top23 = _mm256_unpackhi_epi32(v[2], v[3]);
    byte[0] = _mm256_unpacklo_epi64(low01, low23);
    byte[1] = _mm256_unpackhi_epi64(low01, low23);
    byte[2] = _mm256_unpacklo_epi64(top01, top23);
    byte[3] = _mm256_unpackhi_epi64(top01, top23);
    UNROLL for (size_t b = 0; b < 4; b++, to += 2 * OUTPUTS) {
        const __m256i bytes = _mm256_permutevar8x32_epi32(byte[b], in_order);
        _mm256_store_si256((__m256i *)to, _mm256_and_si256(bytes, low));
        _mm256_store_si256((__m256i *)(to + OUTPUTS),
                           _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low));
    }
}

/* The words of the walk from `first` on, as many as fit, of four panels, of which `there` are. */
static void lay_out(const struct bnnlab_walk *walk, size_t first, const uint32_t *panels, size_t there,
                    struct block *block)
{
    block->words = smaller(walk->segments * walk->length - first, BLOCK);
    for (size_t i = 0; i < block->words; i++) {
        const size_t s = (first + i) / walk->length, w = (first + i) % walk->length;
        const uint32_t *from = panels + (s * walk->b_step + w) * BNNLAB_LANES;
        block->at[i] = s * walk->a_step + w;
        for (size_t pair = 0; pair < 2; pair++)
            lay_out_word(from + 2 * pair * (pair * 2 < there ? walk->panel_words : 0) * BNNLAB_LANES,
                         walk->panel_words, there - smaller(there, 2 * pair),
                         block->nibbles + i * WORD + pair * 32);
    }
}

/* The table that nibble e of a word chooses: its number is shifted to where a table has its bytes. */
ALWAYS_INLINE __m256i table_of(uint32_t word, size_t e)
{
    const uint32_t at = (e < 2 ? word << (5 - 4 * e) : word >> (4 * e - 5)) & 15 * sizeof *differences;
    return _mm256_load_si256((const __m256i *)(differences[0] + at));
}

/* bytes += in how many bits nibbles differ from those of the table. As one piece, or compilers look
 * all up first, for which there are not enough registers. */
ALWAYS_INLINE void add_differences(__m256i *bytes, __m256i table, __m256i nibbles)
{
    __m256i found;
    __asm__("vpshufb %3, %2, %1\n\tvpaddb %1, %0, %0"
            : "+x"(*bytes), "=&x"(found)
            : "x"(table), "x"(nibbles));
}

/* The mismatches of a block's words with some rows, of one plane: total = 2 total + these. */
ALWAYS_INLINE void add_block(const size_t rows, const uint32_t *a, size_t row_step,
                             const struct block *block, int32_t total[TILE_ROWS][OUTPUTS])
{
    /* Of outputs 2 i and 2 i + 1: a block's counts fit 16 bits. */
    __m256i sums[TILE_ROWS][2][2];
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < 4; c++)
            sums[r][c / 2][c % 2] = _mm256_setzero_si256();
    for (size_t first = 0; first < block->words; first += FULL) {
        const size_t last = smaller(block->words, first + FULL);
        __m256i bytes[TILE_ROWS][2];
        UNROLL for (size_t r = 0; r < rows; r++)
            UNROLL for (size_t c = 0; c < 2; c++)
                bytes[r][c] = _mm256_setzero_si256();
        for (size_t i = first; i < last; i++) {
            const uint8_t *nibbles = block->nibbles + i * WORD;
            uint32_t word[TILE_ROWS];
            UNROLL for (size_t r = 0; r < rows; r++)
                word[r] = a[r * row_step + block->at[i]];
            UNROLL for (size_t e = 0; e < 8; e++, nibbles += OUTPUTS) {
                const __m256i n0 = _mm256_load_si256((const __m256i *)nibbles);
                const __m256i n1 = _mm256_load_si256((const __m256i *)nibbles + 1);
                UNROLL for (size_t r = 0; r < rows; r++) {
                    const __m256i table = table_of(word[r], e);
                    add_differences(&bytes[r][0], table, n0);
                    add_differences(&bytes[r][1], table, n1);
                }
            }
        }
        UNROLL for (size_t r = 0; r < rows; r++)
            UNROLL for (size_t c = 0; c < 2; c++) {
                const __m256i even = _mm256_and_si256(bytes[r][c], _mm256_set1_epi16(255));
                const __m256i odd = _mm256_srli_epi16(bytes[r][c], 8);
                sums[r][c][0] = _mm256_add_epi16(sums[r][c][0], even);
                sums[r][c][1] = _mm256_add_epi16(sums[r][c][1], odd);
            }
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < 2; c++) {
            const __m256i low = _mm256_unpacklo_epi16(sums[r][c][0], sums[r][c][1]);
            const __m256i high = _mm256_unpackhi_epi16(sums[r][c][0], sums[r][c][1]);
            const __m128i eight[] = {_mm256_castsi256_si128(low), _mm256_castsi256_si128(high),
                                     _mm256_extracti128_si256(low, 1),
                                     _mm256_extracti128_si256(high, 1)};
            for (size_t q = 0; q < 4; q++) {
                __m256i *to = (__m256i *)(total[r] + c * 32 + q * 8);
                const __m256i before = _mm256_loadu_si256(to);
                _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_add_epi32(before, before),
                                                         _mm256_cvtepu16_epi32(eight[q])));
            }
        }
}

/* A block of some rows with some of 64 outputs: out = from - factor x mismatches, or, but for the first
 * block, out -= that. */
ALWAYS_INLINE void look_up_tile(const size_t rows, const uint32_t *a, const struct bnnlab_walk *walk,
                                size_t planes, const struct block *block, const int32_t *from,
                                uint32_t factor, size_t outputs, size_t out_step, int32_t *out)
{
    int32_t total[TILE_ROWS][OUTPUTS] = {{0}};
    for (size_t p = planes; p-- > 0;)
        add_block(rows, a + p * walk->plane_step, walk->row_step, block, total);
    for (size_t r = 0; r < rows; r++, out += out_step)
        for (size_t j = 0; j < outputs; j++)
            out[j] = (int32_t)((uint32_t)(from ? from[j] : out[j]) - factor * (uint32_t)total[r][j]);
}

static void look_up(const struct region *of, size_t planes, const uint32_t *panels,
                    const int32_t *ones, size_t n, int32_t *out)
{
    const size_t words = of->walk.segments * of->walk.length;
    const int32_t largest = (int32_t)(1u << planes) - 1;
    struct block block;
    for (size_t j = 0; j < n; j += OUTPUTS) {
        const size_t outputs = smaller(n - j, OUTPUTS);
        int32_t from[OUTPUTS];
        for (size_t c = 0; c < outputs; c++)
            from[c] = ones ? ones[j + c] * largest : of->base;
        for (size_t first = 0; first < words; first += BLOCK) {
            lay_out(&of->walk, first, panels + j * of->walk.panel_words,
                    (outputs + BNNLAB_LANES - 1) / BNNLAB_LANES, &block);
            for (size_t l = 0; l < of->lines; l++)
                for (size_t i = 0, rows; i < of->rows; i += rows) {
                    rows = tile_rows(of->rows - i, TILE_ROWS);
                    WITH_ROWS(rows, look_up_tile,
                              of->image + l * of->line_step + i * of->walk.row_step, &of->walk, planes,
                              &block, first ? NULL : from, ones ? 1 : 2, outputs, of->out_row * n,
                              out + (l * of->out_line + i * of->out_row) * n + j)
                }
        }
    }
}

/* The sums of a region -> out [places, n]. */
static void multiply(const struct region *of, size_t planes, const uint32_t *panels,
                     const int32_t *ones, size_t n, int32_t *out)
{
    panels += of->panel * BNNLAB_LANES;
    out += of->place * n;
    if (of->lines * of->rows < LEAST_ROWS || of->walk.segments * of->walk.length == 0)
        count_bits(of, planes, panels, ones, n, out);
    else
        look_up(of, planes, panels, ones, n, out);
}

void bnnlab_avx2_product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                         const uint32_t *panels, const int32_t *ones, int32_t base, size_t m, size_t n,
                         int32_t *out)
{
    const struct region of = {
        .walk = *walk, .base = base, .lines = 1, .rows = m, .out_row = 1, .image = a};
    multiply(&of, planes, panels, ones, n, out);
}

int bnnlab_avx2_convolve(const struct bnnlab_field *field, const uint32_t *panels, const int32_t *ones,
                         size_t n, int32_t *out)
{
    EVERY_REGION(field, TILE_ROWS, multiply(&region, field->planes, panels, ones, n, out))
    return 1;
}
