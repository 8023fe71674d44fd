/* Products of bits by POPCNT; scalar.c has the rest.
 *
 * Of several rows 64 bits at a time: weights of a panel are laid out anew, each output's words together,
 * so that two of them are one operand; and so are a tile's rows.
 */
#include "vector.h"

#define TILE_ROWS 2
#define TILE_OUTPUTS 4
#define HALF 8      /* outputs of half a panel */
#define BLOCK 128   /* pairs of words laid out at once */

/* Pairs of words of a walk: where the first of each is in a row, whether there is a second, and the
 * weights of a panel. */
struct block {
    size_t pairs, at[BLOCK];
    int both[BLOCK];
    uint64_t weights[BNNLAB_LANES][BLOCK];
};

static void lay_out(const struct bnnlab_walk *walk, size_t first, const uint32_t *panel,
                    struct block *block)
{
    const size_t each = (walk->length + 1) / 2; /* of a run */
    block->pairs = smaller(walk->segments * each - first, BLOCK);
    for (size_t i = 0; i < block->pairs; i++) {
        const size_t s = (first + i) / each, w = (first + i) % each * 2;
        const uint32_t *from = panel + (s * walk->b_step + w) * BNNLAB_LANES;
        block->at[i] = s * walk->a_step + w;
        block->both[i] = w + 1 < walk->length;
        for (size_t lane = 0; lane < BNNLAB_LANES; lane++) {
            const uint64_t second = block->both[i] ? from[BNNLAB_LANES + lane] : 0;
            block->weights[lane][i] = from[lane] | second << 32;
        }
    }
}

static void gather(const struct block *block, const uint32_t *row, uint64_t *pairs)
{
    for (size_t i = 0; i < block->pairs; i++) {
        const uint32_t *at = row + block->at[i];
        pairs[i] = at[0] | (block->both[i] ? (uint64_t)at[1] << 32 : 0);
    }
}

/* Mismatches of two rows with four outputs, [rows, outputs]: total = 2 total + these. */
static void add_mismatches(size_t pairs, const uint64_t *a0, const uint64_t *a1,
                           const uint64_t (*b)[BLOCK], uint32_t total[TILE_ROWS][TILE_OUTPUTS])
{
    uint64_t s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
    for (size_t i = 0; i < pairs; i++) {
        s00 += (uint64_t)__builtin_popcountll(a0[i] ^ b[0][i]);
        s01 += (uint64_t)__builtin_popcountll(a0[i] ^ b[1][i]);
        s02 += (uint64_t)__builtin_popcountll(a0[i] ^ b[2][i]);
        s03 += (uint64_t)__builtin_popcountll(a0[i] ^ b[3][i]);
        s10 += (uint64_t)__builtin_popcountll(a1[i] ^ b[0][i]);
        s11 += (uint64_t)__builtin_popcountll(a1[i] ^ b[1][i]);
        s12 += (uint64_t)__builtin_popcountll(a1[i] ^ b[2][i]);
        s13 += (uint64_t)__builtin_popcountll(a1[i] ^ b[3][i]);
    }
    const uint64_t sums[TILE_ROWS][TILE_OUTPUTS] = {{s00, s01, s02, s03}, {s10, s11, s12, s13}};
    for (size_t r = 0; r < TILE_ROWS; r++)
        for (size_t c = 0; c < TILE_OUTPUTS; c++)
            total[r][c] = 2 * total[r][c] + (uint32_t)sums[r][c];
}

/* One row, as weights lie: half a panel at a time, whose sums stay in registers. */
static void row_product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                        const uint32_t *panels, const int32_t *ones, int32_t base, size_t n,
                        int32_t *out)
{
    const uint32_t largest = ((uint32_t)1 << planes) - 1, factor = ones ? 1 : 2;
    for (size_t j = 0; j < n; j += HALF) {
        const uint32_t *panel =
            panels + j / BNNLAB_LANES * walk->panel_words * BNNLAB_LANES + j % BNNLAB_LANES;
        uint32_t total[HALF] = {0};
        for (size_t p = planes; p-- > 0;) {
            uint32_t sum[HALF] = {0};
            for (size_t s = 0; s < walk->segments; s++) {
                const uint32_t *at = a + p * walk->plane_step + s * walk->a_step;
                const uint32_t *b = panel + s * walk->b_step * BNNLAB_LANES;
                for (size_t w = 0; w < walk->length; w++, b += BNNLAB_LANES)
                    for (size_t lane = 0; lane < HALF; lane++)
                        sum[lane] += (uint32_t)__builtin_popcount(at[w] ^ b[lane]);
            }
            for (size_t lane = 0; lane < HALF; lane++)
                total[lane] = 2 * total[lane] + sum[lane];
        }
        for (size_t c = 0; c < smaller(n - j, HALF); c++)
            out[j + c] = (int32_t)((ones ? (uint32_t)ones[j + c] * largest : (uint32_t)base) -
                                   factor * total[c]);
    }
}

void bnnlab_popcnt_product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                           const uint32_t *panels, const int32_t *ones, int32_t base, size_t m,
                           size_t n, int32_t *out)
{
    const size_t pairs = walk->segments * ((walk->length + 1) / 2);
    const uint32_t largest = ((uint32_t)1 << planes) - 1, factor = ones ? 1 : 2;
    struct block block;
    if (m == 1) {
        row_product(a, walk, planes, panels, ones, base, n, out);
        return;
    }
    for (size_t j = 0; j < n; j += BNNLAB_LANES) {
        const size_t outputs = smaller(n - j, BNNLAB_LANES);
        for (size_t first = 0; first < pairs || first == 0; first += BLOCK) {
            lay_out(walk, first, panels + j * walk->panel_words, &block);
            for (size_t i = 0; i < m; i += TILE_ROWS) {
                const size_t rows = smaller(m - i, TILE_ROWS);
                uint32_t total[BNNLAB_LANES / TILE_OUTPUTS][TILE_ROWS][TILE_OUTPUTS] = {{{0}}};
                for (size_t p = planes; p-- > 0;) {
                    uint64_t row[TILE_ROWS][BLOCK];
                    for (size_t r = 0; r < TILE_ROWS; r++)
                        gather(&block, a + p * walk->plane_step + (i + r % rows) * walk->row_step,
                               row[r]);
                    for (size_t c = 0; c < outputs; c += TILE_OUTPUTS)
                        add_mismatches(block.pairs, row[0], row[1],
                                       (const uint64_t(*)[BLOCK])(block.weights + c),
                                       total[c / TILE_OUTPUTS]);
                }
                for (size_t r = 0; r < rows; r++)
                    for (size_t c = 0; c < outputs; c++) {
                        int32_t *to = out + (i + r) * n + j + c;
                        const uint32_t from = first  ? (uint32_t)*to
                                              : ones ? (uint32_t)ones[j + c] * largest
                                                     : (uint32_t)base;
                        *to = (int32_t)(from - factor * total[c / TILE_OUTPUTS][r][c % TILE_OUTPUTS]);
                    }
            }
        }
    }
}
