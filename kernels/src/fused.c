/* Products whose sums never lie in memory as a whole: tile by tile they become the next layer's bits,
 * or real numbers, while they are in the cache. */
#include "check.h"
#include "family.h"

#include <string.h>

#define COLUMNS 64
#define ROWS 128

/* Rows of codes times panels, one tile at a time. */
struct product {
    const struct bnnlab_family *family;
    const uint32_t *a, *panels;
    const int32_t *ones;
    struct bnnlab_walk walk;
    size_t planes, m, n;
    int32_t base;
};

static void tile_of(const struct product *of, size_t i, size_t j, size_t rows, size_t columns,
                    int32_t *tile)
{
    of->family->product(of->a + i * of->walk.row_step, &of->walk, of->planes,
                        of->panels + j * of->walk.panel_words, of->ones ? of->ones + j : NULL,
                        of->base, rows, columns, tile);
}

static void codes_by_tiles(const struct product *of, const struct bnnlab_codes *to)
{
    size_t planes = 0;
    while (to->levels >> planes)
        planes++;
    for (size_t j = 0; j < of->n; j += COLUMNS) {
        const size_t columns = of->n - j < COLUMNS ? of->n - j : COLUMNS, wide = BNNLAB_WORDS(columns);
        int32_t level[255 * COLUMNS], tile[ROWS * COLUMNS];
        uint32_t codes[8 * ROWS * (COLUMNS / 32)];
        for (size_t l = 0; l < to->levels; l++)
            memcpy(level + l * columns, to->thresholds + l * of->n + j, columns * sizeof *level);
        for (size_t i = 0; i < of->m; i += ROWS) {
            const size_t rows = of->m - i < ROWS ? of->m - i : ROWS;
            tile_of(of, i, j, rows, columns, tile);
            of->family->threshold(tile, 0, rows, columns, level, to->levels, planes, to->flip + j / 32,
                                  codes);
            for (size_t p = 0; p < planes; p++)
                for (size_t r = 0; r < rows; r++)
                    memcpy(to->bits + p * to->plane + (i + r) * to->words + j / 32,
                           codes + (p * rows + r) * wide, wide * sizeof *codes);
        }
    }
}

void bnnlab_codes_by_tiles(const struct bnnlab_family *family, const uint32_t *a,
                           const struct bnnlab_walk *walk, size_t planes, const uint32_t *panels,
                           const int32_t *ones, int32_t base, size_t m, size_t n,
                           const struct bnnlab_codes *to)
{
    const struct product product = {family, a, panels, ones, *walk, planes, m, n, base};
    codes_by_tiles(&product, to);
}

static int check(int isa, const uint32_t *a, size_t a_length, size_t planes, const uint32_t *panels,
                 size_t panels_length, const int32_t *ones, size_t ones_length, size_t m, size_t n,
                 size_t k, struct product *product)
{
    const size_t words = BNNLAB_WORDS(k);
    size_t a_needed, panels_needed;
    const struct product all = {bnnlab_family_of(isa), a, panels, ones,
                                {words, m * words, 1, words, words, words, words}, planes, m, n,
                                (int32_t)k};
    *product = all;
    REFUSE_UNLESS(all.family, BNNLAB_NO_SUCH_ISA);
    REFUSE_UNLESS(planes >= 1 && planes <= 8 && k <= INT32_MAX / (((size_t)1 << planes) - 1) &&
                      !multiply3(planes, m, words, &a_needed) &&
                      !multiply3(panels_of(n), words, BNNLAB_LANES, &panels_needed),
                  BNNLAB_TOO_LARGE);
    REFUSE_UNLESS(matches(a, a_length, a_needed) && matches(panels, panels_length, panels_needed) &&
                      (ones ? ones_length == n : ones_length == 0 && (planes == 1 || n == 0)),
                  BNNLAB_BAD_LENGTH);
    return BNNLAB_OK;
}

int bnnlab_product_threshold(int isa, const uint32_t *a, size_t a_length, size_t planes,
                             const uint32_t *panels, size_t panels_length,
                             const int32_t *ones, size_t ones_length,
                             size_t m, size_t n, size_t k,
                             const int32_t *thresholds, size_t thresholds_length, size_t levels,
                             const uint32_t *flip, size_t flip_length,
                             uint32_t *bits, size_t bits_length)
{
    struct product product;
    const int status = check(isa, a, a_length, planes, panels, panels_length, ones, ones_length, m, n,
                             k, &product);
    const size_t words = BNNLAB_WORDS(n);
    size_t out_planes = 0, thresholds_needed, bits_needed;
    REFUSE_UNLESS(status == BNNLAB_OK, status);
    REFUSE_UNLESS(levels >= 1 && levels <= 255, BNNLAB_TOO_LARGE);
    while (levels >> out_planes)
        out_planes++;
    REFUSE_UNLESS(!multiply(levels, n, &thresholds_needed) &&
                      !multiply3(out_planes, m, words, &bits_needed),
                  BNNLAB_TOO_LARGE);
    REFUSE_UNLESS(matches(thresholds, thresholds_length, thresholds_needed) &&
                      matches(flip, flip_length, words) && matches(bits, bits_length, bits_needed),
                  BNNLAB_BAD_LENGTH);
    if (bits_needed == 0)
        return BNNLAB_OK;
    const struct bnnlab_codes to = {thresholds, levels, flip, bits, words, m * words};
    if (!product.family->product_codes ||
        !product.family->product_codes(a, &product.walk, planes, panels, ones, (int32_t)k, m, n, &to))
        codes_by_tiles(&product, &to);
    return BNNLAB_OK;
}

int bnnlab_product_affine(int isa, const uint32_t *a, size_t a_length, size_t planes,
                          const uint32_t *panels, size_t panels_length,
                          const int32_t *ones, size_t ones_length,
                          size_t m, size_t n, size_t k,
                          const float *scale, size_t scale_length,
                          const float *shift, size_t shift_length,
                          float *out, size_t out_length)
{
    struct product product;
    const int status = check(isa, a, a_length, planes, panels, panels_length, ones, ones_length, m, n,
                             k, &product);
    size_t out_needed;
    REFUSE_UNLESS(status == BNNLAB_OK, status);
    REFUSE_UNLESS(!multiply(m, n, &out_needed), BNNLAB_TOO_LARGE);
    REFUSE_UNLESS(matches(scale, scale_length, n) && matches(shift, shift_length, n) &&
                      matches(out, out_length, out_needed),
                  BNNLAB_BAD_LENGTH);
    if (out_needed == 0)
        return BNNLAB_OK;
    for (size_t j = 0; j < n; j += COLUMNS)
        for (size_t i = 0; i < m; i += ROWS) {
            const size_t columns = n - j < COLUMNS ? n - j : COLUMNS;
            const size_t rows = m - i < ROWS ? m - i : ROWS;
            int32_t tile[ROWS * COLUMNS];
            tile_of(&product, i, j, rows, columns, tile);
            for (size_t r = 0; r < rows; r++)
                for (size_t c = 0; c < columns; c++)
                    out[(i + r) * n + j + c] =
                        (float)tile[r * columns + c] * scale[j + c] + shift[j + c];
        }
    return BNNLAB_OK;
}
