/* Products and convolutions of bits by AVX-512 with VPOPCNTDQ, a tile of the results in registers.
 *
 * Each step of the plain one is one xor, one vpopcntd and one vpaddd for 512 multiply-adds. The other one
 * adds two words at a time to a word of ones, carry-save, and counts the carries: five instructions
 * for 1024. Every tile is a function of its own, with constant sizes, that no register is spilled in.
 */
#include "avx512.h"
#include "taps.h"

#define CARRY_ROWS 4    /* of a tile of carries, which takes twice the registers */
#define CARRY_PANELS 2  /* of several rows */
#define ROW_CHAINS 4    /* sums of a single row, so that none waits for itself */
#define AHEAD 2048      /* words: how far a single row's weights are fetched ahead */
#define NEAR 131072     /* words of weights that stay in the second cache, where that takes longer */

/* What tiles of the same panels have in common. Of these panels: `ones` as family.h has them, or NULL;
 * thresholds and flips where signs are wanted instead of sums, or NULL; how many panels, and which lanes
 * of the last are outputs. Results lie `step` words from one row to the next. Lines of rows lie so many
 * words apart, and their results. */
struct group {
    struct bnnlab_walk walk;
    size_t planes;
    int32_t base;
    const int32_t *ones, *thresholds;
    const uint32_t *flip;
    size_t count;
    __mmask16 lanes;
    size_t step;
    size_t lines, line_step, out_line;
};

/* So many tiles of each line, one below another, from the first row of bits, the first panel and the
 * first result on: int32 sums, or words. What tiles take beside counting is some hundred instructions,
 * most of which a strip needs once. */
typedef void strip(const struct group *of, const uint32_t *a, const uint32_t *panels, void *out,
                   size_t tiles);

/* How a strip counts: the one plane there is, of one word at least; any planes; any, by carries. */
enum way { PLAIN, PLANES, CARRIES };

ALWAYS_INLINE __m512i load_panel(const uint32_t *b, const struct bnnlab_walk *walk, size_t c)
{
    return _mm512_loadu_si512(b + c * walk->panel_words * BNNLAB_LANES);
}

/* sum += popcount(u ^ v). As one piece: compilers would make the xors of a whole tile first, for which
 * there are not enough registers. */
ALWAYS_INLINE void add_mismatches(__m512i *sum, __m512i u, __m512i v)
{
    __m512i x;
    __asm__("vpxord %2, %3, %1\n\tvpopcntd %1, %1\n\tvpaddd %1, %0, %0"
            : "+v"(*sum), "=&v"(x)
            : "v"(u), "v"(v));
}

/* sum = popcount(u ^ v) */
ALWAYS_INLINE void begin_mismatches(__m512i *sum, __m512i u, __m512i v)
{
    __asm__("vpxord %1, %2, %0\n\tvpopcntd %0, %0" : "=v"(*sum) : "v"(u), "v"(v));
}

/* The mismatches of one word of each row: added to `sum`, or what that begins with. */
ALWAYS_INLINE void count_word(const int begin, const size_t rows, const size_t count, const uint32_t *a,
                              const uint32_t *b, const struct bnnlab_walk *walk,
                              __m512i sum[TILE_ROWS][TILE_PANELS])
{
    __m512i v[TILE_PANELS];
    UNROLL for (size_t c = 0; c < count; c++)
        v[c] = load_panel(b, walk, c);
    UNROLL for (size_t r = 0; r < rows; r++) {
        const __m512i u = _mm512_set1_epi32((int)a[r * walk->row_step]);
        UNROLL for (size_t c = 0; c < count; c++) {
            if (begin)
                begin_mismatches(&sum[r][c], u, v[c]);
            else
                add_mismatches(&sum[r][c], u, v[c]);
        }
    }
}

/* The mismatches of one plane: added to `sum`, or, where there is a word at least, what that begins with. */
ALWAYS_INLINE void count_plainly(const int begin, const size_t rows, const size_t count,
                                 const uint32_t *a, const struct bnnlab_walk *walk, const uint32_t *b,
                                 __m512i sum[TILE_ROWS][TILE_PANELS])
{
    const uint32_t *end = a + walk->length;
    if (begin) {
        count_word(1, rows, count, a, b, walk, sum);
        a++, b += BNNLAB_LANES;
    }
    for (size_t s = walk->segments; s;) {
        for (; a != end; a++, b += BNNLAB_LANES)
            count_word(0, rows, count, a, b, walk, sum);
        if (--s == 0) /* there is nothing that pointers could go on to */
            break;
        a += walk->a_step - walk->length, end += walk->a_step;
        b += (walk->b_step - walk->length) * BNNLAB_LANES;
    }
}

/* A single row by the carries streams through several panels: fetches what comes after these, or further
 * along them where they are long. */
ALWAYS_INLINE void fetch_ahead(const uint32_t *b, const struct bnnlab_walk *walk, size_t count)
{
    const size_t ahead = smaller(count * walk->panel_words * BNNLAB_LANES, AHEAD);
    UNROLL for (size_t c = 0; c < count; c++)
        _mm_prefetch((const char *)(b + c * walk->panel_words * BNNLAB_LANES + ahead), _MM_HINT_T0);
}

/* The same with full adders: of `one`, u0 ^ v0 and u1 ^ v1, the sum stays in `one` and the carry, of
 * value 2, is counted. */
ALWAYS_INLINE void count_carries(const size_t rows, const size_t count, const uint32_t *a,
                                 const struct bnnlab_walk *walk, const uint32_t *panels,
                                 __m512i sum[TILE_ROWS][TILE_PANELS])
{
    const size_t row_step = walk->row_step, length = walk->length;
    __m512i one[CARRY_ROWS][TILE_PANELS];
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < count; c++)
            one[r][c] = _mm512_setzero_si512();
    for (size_t s = 0; s < walk->segments; s++, a += walk->a_step) {
        const uint32_t *b = panels + s * walk->b_step * BNNLAB_LANES;
        size_t w = 0;
        for (; w + 2 <= length; w += 2, b += 2 * BNNLAB_LANES) {
            __m512i v0[TILE_PANELS], v1[TILE_PANELS];
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

/* The mismatches of all planes, from the highest down. A plane's carries count twice already, so that
 * what the higher planes left is doubled with them. */
ALWAYS_INLINE void count_planes(const size_t rows, const size_t count, const enum way way,
                                const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                                const uint32_t *panels, __m512i sum[TILE_ROWS][TILE_PANELS])
{
    UNROLL for (size_t r = 0; r < rows; r++)
        UNROLL for (size_t c = 0; c < count; c++)
            sum[r][c] = _mm512_setzero_si512();
    for (size_t p = planes; p-- > 0;) {
        const uint32_t *plane = a + p * walk->plane_step;
        if (way == CARRIES) {
            count_carries(rows, count, plane, walk, panels, sum);
            continue;
        }
        UNROLL for (size_t r = 0; r < rows; r++)
            UNROLL for (size_t c = 0; c < count; c++)
                sum[r][c] = _mm512_add_epi32(sum[r][c], sum[r][c]);
        count_plainly(0, rows, count, plane, walk, panels, sum);
    }
}

/* What mismatches, once or twice, are taken from. */
ALWAYS_INLINE __m512i from_of(const int32_t *ones, size_t output, __mmask16 lanes, size_t planes,
                              int32_t base)
{
    if (!ones)
        return _mm512_set1_epi32(base);
    return _mm512_mullo_epi32(_mm512_maskz_loadu_epi32(lanes, ones + output),
                              _mm512_set1_epi32((1 << planes) - 1));
}

/* The sums of a tile, from its mismatches, or their signs. */
ALWAYS_INLINE void finish_tile(const size_t rows, const size_t count, const int signs,
                               const struct group *of, __m512i sum[TILE_ROWS][TILE_PANELS], void *out)
{
    if (of->ones) {
        UNROLL for (size_t c = 0; c < count; c++) {
            const __mmask16 lanes = c + 1 == count ? of->lanes : 0xffff;
            const __m512i from = from_of(of->ones, c * BNNLAB_LANES, lanes, of->planes, 0);
            UNROLL for (size_t r = 0; r < rows; r++)
                sum[r][c] = _mm512_sub_epi32(from, sum[r][c]);
        }
    } else {
        const __m512i from = _mm512_set1_epi32(of->base);
        UNROLL for (size_t r = 0; r < rows; r++)
            UNROLL for (size_t c = 0; c < count; c++)
                sum[r][c] = _mm512_sub_epi32(from, _mm512_add_epi32(sum[r][c], sum[r][c]));
    }
    if (signs) {
        store_signs(rows, count, sum, of->lanes, of->thresholds, of->flip, out, of->step);
        return;
    }
    UNROLL for (size_t r = 0; r < rows; r++) {
        int32_t *to = (int32_t *)out + r * of->step;
        UNROLL for (size_t c = 0; c + 1 < count; c++)
            _mm512_storeu_si512(to + c * BNNLAB_LANES, sum[r][c]);
        _mm512_mask_storeu_epi32(to + (count - 1) * BNNLAB_LANES, of->lanes, sum[r][count - 1]);
    }
}

ALWAYS_INLINE void make_strip(const size_t rows, const size_t count, const enum way way, const int signs,
                              const struct group *given, const uint32_t *a, const uint32_t *panels,
                              void *out, size_t tiles)
{
    const struct group of = *given; /* which no result can change */
    const size_t a_step = rows * of.walk.row_step, out_step = rows * of.step;
    for (size_t l = 0; l < of.lines; l++) {
        size_t at = l * of.line_step, to = l * of.out_line;
        for (size_t t = 0; t < tiles; t++, at += a_step, to += out_step) {
            __m512i sum[TILE_ROWS][TILE_PANELS];
            if (way == PLAIN)
                count_plainly(1, rows, count, a + at, &of.walk, panels, sum);
            else
                count_planes(rows, count, way, a + at, &of.walk, of.planes, panels, sum);
            finish_tile(rows, count, signs, &of, sum, (int32_t *)out + to);
        }
    }
}

#define STRIP(name, way, signs, rows, count)                                                        \
    static void name##_##rows##x##count(const struct group *of, const uint32_t *a,                  \
                                        const uint32_t *panels, void *out, size_t tiles)            \
    {                                                                                               \
        make_strip(rows, count, way, signs, of, a, panels, out, tiles);                             \
    }
#define TWO_WIDE(name, way, signs, rows) STRIP(name, way, signs, rows, 1) STRIP(name, way, signs, rows, 2)
#define FOUR_WIDE(name, way, signs, rows)                                                           \
    TWO_WIDE(name, way, signs, rows) STRIP(name, way, signs, rows, 3) STRIP(name, way, signs, rows, 4)
#define WORDWISE(name, way, signs)                                                                  \
    FOUR_WIDE(name, way, signs, 1) FOUR_WIDE(name, way, signs, 2) FOUR_WIDE(name, way, signs, 3)    \
    FOUR_WIDE(name, way, signs, 4) FOUR_WIDE(name, way, signs, 5) FOUR_WIDE(name, way, signs, 6)
#define CARRYWISE(name, signs)                                                                      \
    FOUR_WIDE(name, CARRIES, signs, 1) TWO_WIDE(name, CARRIES, signs, 2)                            \
    TWO_WIDE(name, CARRIES, signs, 3) TWO_WIDE(name, CARRIES, signs, 4)
WORDWISE(plain, PLAIN, 0)
WORDWISE(plain_signs, PLAIN, 1)
WORDWISE(planes, PLANES, 0)
WORDWISE(planes_signs, PLANES, 1)
CARRYWISE(carries, 0)
CARRYWISE(carries_signs, 1)

#define TWO(name, rows) name##_##rows##x1, name##_##rows##x2
#define FOUR(name, rows) TWO(name, rows), name##_##rows##x3, name##_##rows##x4
#define ALL(name)                                                                                   \
    {{FOUR(name, 1)}, {FOUR(name, 2)}, {FOUR(name, 3)}, {FOUR(name, 4)}, {FOUR(name, 5)},           \
     {FOUR(name, 6)}}
#define SMALL(name) {{FOUR(name, 1)}, {TWO(name, 2)}, {TWO(name, 3)}, {TWO(name, 4)}}
/* By the way they count, whether they give signs, rows of a tile, and panels. */
static strip *const strips[3][2][TILE_ROWS][TILE_PANELS] = {
    [PLAIN] = {ALL(plain), ALL(plain_signs)},
    [PLANES] = {ALL(planes), ALL(planes_signs)},
    [CARRIES] = {SMALL(carries), SMALL(carries_signs)},
};

/* How few tiles so many rows take. */
ALWAYS_INLINE size_t tiles_of(size_t rows, size_t most)
{
    return (rows + most - 1) / most;
}

/* Each line's m rows of bits times the panels of a group; all tiles as large as one another, or one row
 * larger. */
static void multiply(const struct group *of, int carry, const uint32_t *a, const uint32_t *panels,
                     size_t m, void *out)
{
    const struct bnnlab_walk *walk = &of->walk;
    const int plain = of->planes == 1 && walk->segments && walk->length;
    const enum way way = carry ? CARRIES : plain ? PLAIN : PLANES;
    strip *const(*every)[TILE_PANELS] = strips[way][of->thresholds != NULL];
    const size_t tiles = tiles_of(m, carry ? CARRY_ROWS : TILE_ROWS);
    const size_t rows = m / tiles, larger = m % tiles, first = larger * (rows + 1);
    if (larger)
        every[rows][of->count - 1](of, a, panels, out, larger);
    every[rows - 1][of->count - 1](of, a + first * walk->row_step, panels,
                                   (int32_t *)out + first * of->step, tiles - larger);
}

/* Begins the group of the outputs from j to, at most, j + most - 1, of n. */
static void begin(struct group *of, size_t j, size_t most, const int32_t *ones, size_t n,
                  const struct bnnlab_codes *to)
{
    const size_t some = smaller(n - j, most);
    of->ones = ones ? ones + j : NULL;
    of->thresholds = to ? to->thresholds + j : NULL;
    of->flip = to ? to->flip + j / 32 : NULL;
    of->count = (some + BNNLAB_LANES - 1) / BNNLAB_LANES;
    of->lanes = lanes_of(some, of->count - 1);
}

/* One row of bits: its weights are read in the order in which they lie, which is as fast as reading. */
ALWAYS_INLINE void stream(const int far, const size_t planes, size_t plane_step, const uint32_t *a,
                          size_t words, const uint32_t *panels, const int32_t *ones, int32_t base,
                          size_t n, int32_t *out, const struct bnnlab_codes *to)
{
    for (size_t j = 0; j < n; j += BNNLAB_LANES, panels += words * BNNLAB_LANES) {
        const __mmask16 lanes = lanes_of(n - j, 0);
        __m512i sum = _mm512_setzero_si512();
        for (size_t p = planes; p-- > 0;) {
            const uint32_t *u = a + p * plane_step, *v = panels;
            __m512i part[ROW_CHAINS];
            part[0] = _mm512_add_epi32(sum, sum);
            UNROLL for (size_t i = 1; i < ROW_CHAINS; i++)
                part[i] = _mm512_setzero_si512();
            size_t w = 0;
            for (; w + ROW_CHAINS <= words; w += ROW_CHAINS, v += ROW_CHAINS * BNNLAB_LANES)
                UNROLL for (size_t i = 0; i < ROW_CHAINS; i++) {
                    if (far)
                        _mm_prefetch((const char *)(v + i * BNNLAB_LANES + AHEAD), _MM_HINT_T0);
                    add_mismatches(&part[i], _mm512_set1_epi32((int)u[w + i]),
                                   _mm512_loadu_si512(v + i * BNNLAB_LANES));
                }
            for (; w < words; w++, v += BNNLAB_LANES)
                add_mismatches(&part[0], _mm512_set1_epi32((int)u[w]), _mm512_loadu_si512(v));
            sum = _mm512_add_epi32(_mm512_add_epi32(part[0], part[1]),
                                   _mm512_add_epi32(part[2], part[3]));
        }
        const __m512i off = ones ? sum : _mm512_add_epi32(sum, sum);
        const __m512i value = _mm512_sub_epi32(from_of(ones, j, lanes, planes, base), off);
        if (to) {
            const __m512i least = _mm512_maskz_loadu_epi32(lanes, to->thresholds + j);
            const uint32_t code = _mm512_mask_cmpge_epi32_mask(lanes, value, least);
            const uint32_t half = code ^ (to->flip[j / 32] >> j % 32 & lanes);
            to->bits[j / 32] = j % 32 ? to->bits[j / 32] | half << 16 : half;
        } else {
            _mm512_mask_storeu_epi32(out + j, lanes, value);
        }
    }
}

static void product_of_row(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                           const uint32_t *panels, const int32_t *ones, int32_t base, size_t n,
                           int32_t *out, const struct bnnlab_codes *to)
{
    const size_t words = walk->length;
    if (planes > 1 || ones)
        stream(1, planes, walk->plane_step, a, words, panels, ones, base, n, out, to);
    else if (words * n > NEAR)
        stream(1, 1, 0, a, words, panels, NULL, base, n, out, to);
    else
        stream(0, 1, 0, a, words, panels, NULL, base, n, out, to);
}

/* The sums -> out [m, n], or their signs -> `to`. */
static void product(int carry, const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                    const uint32_t *panels, const int32_t *ones, int32_t base, size_t m, size_t n,
                    int32_t *out, const struct bnnlab_codes *to)
{
    if (m == 1 && !carry && walk->segments == 1 && walk->length == walk->panel_words) {
        product_of_row(a, walk, planes, panels, ones, base, n, out, to);
        return;
    }
    struct group of = {.walk = *walk, .planes = planes, .base = base, .step = to ? to->words : n,
                       .lines = 1};
    const size_t most = (carry && m > 1 ? CARRY_PANELS : TILE_PANELS) * BNNLAB_LANES;
    for (size_t j = 0; j < n; j += most) {
        begin(&of, j, most, ones, n, to);
        multiply(&of, carry, a, panels + j * walk->panel_words, m,
                 to ? (void *)(to->bits + j / 32) : (void *)(out + j));
    }
}

void bnnlab_avx512_product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                           const uint32_t *panels, const int32_t *ones, int32_t base, size_t m,
                           size_t n, int32_t *out)
{
    product(0, a, walk, planes, panels, ones, base, m, n, out, NULL);
}

void bnnlab_avx512_carry_product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                                 const uint32_t *panels, const int32_t *ones, int32_t base, size_t m,
                                 size_t n, int32_t *out)
{
    product(1, a, walk, planes, panels, ones, base, m, n, out, NULL);
}

int bnnlab_avx512_product_codes(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                                const uint32_t *panels, const int32_t *ones, int32_t base, size_t m,
                                size_t n, const struct bnnlab_codes *to)
{
    if (to->levels == 1)
        product(0, a, walk, planes, panels, ones, base, m, n, NULL, to);
    return to->levels == 1;
}

int bnnlab_avx512_carry_product_codes(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                                      const uint32_t *panels, const int32_t *ones, int32_t base,
                                      size_t m, size_t n, const struct bnnlab_codes *to)
{
    if (to->levels == 1)
        product(1, a, walk, planes, panels, ones, base, m, n, NULL, to);
    return to->levels == 1;
}

/* A region of a convolution by a group's panels. */
static void convolve_region(struct group *of, int carry, const struct region *region,
                            const uint32_t *panels, size_t n, int32_t *out)
{
    of->walk = region->walk;
    of->base = region->base;
    of->step = region->out_row * n;
    of->lines = region->lines;
    of->line_step = region->line_step;
    of->out_line = region->out_line * n;
    multiply(of, carry, region->image, panels + region->panel * BNNLAB_LANES, region->rows,
             out + region->place * n);
}

static void convolve(int carry, const struct bnnlab_field *field, const uint32_t *panels,
                     const int32_t *ones, size_t n, int32_t *out)
{
    const struct bnnlab_window *window = field->window;
    const size_t weights = window->height * window->width * BNNLAB_WORDS(field->channels);
    const size_t most = (carry ? CARRY_PANELS : TILE_PANELS) * BNNLAB_LANES;
    struct group of = {.planes = field->planes};
    for (size_t j = 0; j < n; j += most) {
        begin(&of, j, most, ones, n, NULL);
        EVERY_REGION(field, carry ? CARRY_ROWS : TILE_ROWS,
                     convolve_region(&of, carry, &region, panels + j * weights, n, out + j))
    }
}

int bnnlab_avx512_convolve(const struct bnnlab_field *field, const uint32_t *panels,
                           const int32_t *ones, size_t n, int32_t *out)
{
    convolve(0, field, panels, ones, n, out);
    return 1;
}

int bnnlab_avx512_carry_convolve(const struct bnnlab_field *field, const uint32_t *panels,
                                 const int32_t *ones, size_t n, int32_t *out)
{
    convolve(1, field, panels, ones, n, out);
    return 1;
}
