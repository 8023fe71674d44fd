/* Products by AMX, as amx.h says: the inputs are laid out as tiles, bytes as they are, signs and other
 * codes as bytes, and of real ones (fixed.h) four rows of signed digits,
 * q = d0 + 2^8 d1 + 2^16 d2 + 2^24 d3.
 *
 * Few rows are left to AVX-512: making bytes of bits is worth it only for some.
 */
#include "amx.h"
#include "fixed.h"

#define LEAST_ROWS 3
#define LEAST_CODE_ROWS 16  /* times all planes but one */
#define LEAST_SIGN_ROWS 28  /* and outputs, which one layout of these rows must be worth */
#define LEAST_SIGN_OUTPUTS 128
#define FEW_SIGN_ROWS 8     /* beyond whole tiles: counting bits is faster than one more tile */
#define APART(steps) (((steps) + 1) * TILE_BYTES) /* of tiles, for their lines to spread in caches */
#define MOST_TOGETHER 8     /* tiles; more only make sums wait where others are */
#define MOST_UNITS (MOST_TOGETHER * TILE_ROWS / 4)

/* How many tiles of so many steps are laid out together, at most; 0 where there is none, or not even
 * one fits. */
static size_t tiles_together(size_t steps)
{
    return steps ? smaller(ROW_BYTES / APART(steps), MOST_TOGETHER) : 0;
}

/* How many rows that take `each` rows of tiles are laid out together, of m that are left: as evenly as
 * whole tiles allow. */
static size_t rows_together(size_t m, size_t most, size_t each)
{
    const size_t tile = TILE_ROWS / each;
    return smaller(m, tile * tile_rows((m + tile - 1) / tile, most));
}

/* Room for `count` rows of so many steps, in tiles: a tile's steps follow one another. */
static void make_room(size_t count, size_t steps, struct bnnlab_rows *rows)
{
    rows->tiles = (count + TILE_ROWS - 1) / TILE_ROWS;
    rows->steps = steps;
    rows->row = STEP;
    rows->pitch = rows->kept = 1;
    for (size_t t = 0; t < rows->tiles; t++)
        rows->at[t] = (uint32_t)(t * APART(steps));
    for (size_t s = 0; s < steps; s++)
        rows->offsets[s] = (uint32_t)(s * TILE_BYTES);
}

static uint8_t *row_at(struct bnnlab_rows *rows, size_t row)
{
    return rows->bytes + rows->at[row / TILE_ROWS] + row % TILE_ROWS * STEP;
}

/* Input 8 c + b for place 8 b + c. */
static __m512i in_order(void)
{
    const __m512i first = _mm512_set1_epi64(0x3830282018100800);
    return _mm512_add_epi8(first, _mm512_setr_epi64(0, 0x0101010101010101, 0x0202020202020202,
                                                    0x0303030303030303, 0x0404040404040404,
                                                    0x0505050505050505, 0x0606060606060606,
                                                    0x0707070707070707));
}

static void lay_out_bytes(const uint8_t *codes, size_t m, size_t k, struct bnnlab_rows *rows)
{
    const __m512i order = in_order();
    make_room(m, steps_of(k), rows);
    for (size_t i = 0; i < m; i++) {
        uint8_t *to = row_at(rows, i);
        for (size_t j = 0; j < k; j += STEP, to += TILE_BYTES) {
            const size_t count = smaller(k - j, STEP);
            const __mmask64 there = count == STEP ? ~(__mmask64)0 : ((__mmask64)1 << count) - 1;
            const __m512i v = _mm512_maskz_loadu_epi8(there, codes + i * k + j);
            _mm512_store_si512(to, _mm512_permutexvar_epi8(order, v));
        }
    }
}

/* Digits above 127 are negative, and the next one is larger by 1. Returns the largest exponent. */
static int lay_out_reals(const float *x, size_t m, size_t k, struct bnnlab_rows *rows, double *units)
{
    const __m512i carry = _mm512_set1_epi32(0x808080);
    const __m512 second = _mm512_set1_ps(0x1p27f);
    /* Where the lowest digits of 32 inputs, in order, lie among those of all. */
    const __m512i lowest =
        _mm512_slli_epi32(_mm512_and_si512(in_order(), _mm512_set1_epi8(0x1f)), 2);
    int largest = -126;
    make_room(4 * m, steps_of(k), rows);
    for (size_t i = 0; i < m; i++, x += k) {
        const int exponent = row_exponent(x, k);
        const __m512 first = _mm512_set1_ps(row_scale(exponent));
        uint8_t *to = row_at(rows, 4 * i);
        units[i] = row_unit(exponent);
        largest = exponent > largest ? exponent : largest;
        for (size_t s = 0; s < k; s += STEP, to += TILE_BYTES) {
            __m512i q[4];
            UNROLL for (size_t part = 0; part < 4; part++) {
                const size_t j = s + part * 16, count = j < k ? smaller(k - j, 16) : 0;
                const __m512 v = _mm512_maskz_loadu_ps((__mmask16)tail_mask(count),
                                                       x + (count ? j : 0));
                q[part] = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_mul_ps(v, first), second));
                q[part] = _mm512_xor_si512(_mm512_add_epi32(q[part], carry), carry);
            }
            UNROLL for (size_t d = 0; d < 4; d++) {
                const __m512i digits = _mm512_add_epi8(lowest, _mm512_set1_epi8((char)d));
                const __m512i low = _mm512_permutex2var_epi8(q[0], digits, q[1]);
                const __m512i high = _mm512_permutex2var_epi8(q[2], digits, q[3]);
                _mm512_store_si512(to + d * STEP, _mm512_mask_blend_epi32(0xAAAA, low, high));
            }
        }
    }
    return largest;
}

/* Every input, also a tail bit, adds (2^planes - 1) - 2 mismatches. */
static void lay_out_codes(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes, size_t m,
                          struct bnnlab_rows *rows)
{
    make_room(m, walk->segments * steps_of(walk->length * 32), rows);
    for (size_t i = 0; i < m; i++) {
        uint8_t *to = row_at(rows, i);
        for (size_t segment = 0; segment < walk->segments; segment++) {
            const uint32_t *run = a + i * walk->row_step + segment * walk->a_step;
            size_t w = 0;
            for (; w + 2 <= walk->length; w += 2, to += TILE_BYTES)
                _mm512_store_si512(to, codes_of(run + w, planes, walk->plane_step, 1));
            if (w < walk->length) {
                const __m512i codes = codes_of(run + w, planes, walk->plane_step, 0);
                _mm512_store_si512(to, _mm512_maskz_mov_epi32(0x5555, codes));
                to += TILE_BYTES;
            }
        }
    }
}

/* All words of the weights in one run. */
static struct bnnlab_walk one_run(size_t words)
{
    const struct bnnlab_walk walk = {
        .segments = 1, .length = words, .b_step = words, .panel_words = words};
    return walk;
}

/* How many of m rows go through tiles: all; or none, where AVX-512 is faster; or whole tiles. */
static size_t rows_of_tiles(const struct bnnlab_walk *walk, size_t planes, size_t m, size_t n)
{
    const size_t each = steps_of(walk->length * 32);
    const int too_few = planes == 1 ? m < LEAST_SIGN_ROWS || n < LEAST_SIGN_OUTPUTS
                                    : m * (planes - 1) < LEAST_CODE_ROWS;
    if (too_few || planes > MOST_PLANES || !each || !tiles_together(walk->segments * each))
        return 0;
    return planes == 1 && m % TILE_ROWS <= FEW_SIGN_ROWS ? m - m % TILE_ROWS : m;
}

/* The sums of codes -> out [m, n], or what comes of them -> `codes`. */
static void codes_product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                          const uint32_t *panels, const int32_t *ones, int32_t base, size_t m, size_t n,
                          int32_t *out, const struct bnnlab_codes *codes)
{
    const size_t most = tiles_together(walk->segments * steps_of(walk->length * 32));
    const uint32_t every = (uint32_t)(32 * walk->length * walk->segments) * ((1u << planes) - 1);
    struct bnnlab_finish finish = {.start = ones ? 0 : (int32_t)((uint32_t)base - every),
                                   .every = (int32_t)every, .planes = planes, .ones = ones};
    struct bnnlab_rows rows;
    for (size_t i = 0, some; i < m; i += some) {
        const struct bnnlab_codes to = codes ? bnnlab_codes_from(codes, i) : (struct bnnlab_codes){0};
        some = rows_together(m - i, most, 1);
        finish.codes = codes ? &to : NULL;
        lay_out_codes(a + i * walk->row_step, walk, planes, some, &rows);
        bnnlab_amx_multiply(&rows, BNNLAB_CODES, walk, panels, &finish, some, n,
                            codes ? NULL : out + i * n);
    }
}

void bnnlab_amx_product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                        const uint32_t *panels, const int32_t *ones, int32_t base, size_t m, size_t n,
                        int32_t *out)
{
    const size_t tiled = rows_of_tiles(walk, planes, m, n);
    codes_product(a, walk, planes, panels, ones, base, tiled, n, out, NULL);
    bnnlab_avx512_carry.product(a + tiled * walk->row_step, walk, planes, panels, ones, base, m - tiled,
                                n, out + tiled * n);
}

int bnnlab_amx_product_codes(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                             const uint32_t *panels, const int32_t *ones, int32_t base, size_t m,
                             size_t n, const struct bnnlab_codes *to)
{
    const size_t tiled = to->levels == 1 ? rows_of_tiles(walk, planes, m, n) : 0;
    const struct bnnlab_codes left = bnnlab_codes_from(to, tiled);
    if (!tiled)
        return 0;
    codes_product(a, walk, planes, panels, ones, base, tiled, n, NULL, to);
    bnnlab_codes_by_tiles(&bnnlab_avx512_carry, a + tiled * walk->row_step, walk, planes, panels, ones,
                          base, m - tiled, n, &left);
    return 1;
}

/* The sums of bytes -> out [m, n], or their signs -> `to`. Returns whether this is faster than AVX-512;
 * otherwise nothing is done. */
static int bytes_product(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n, size_t k,
                         int32_t *out, const struct bnnlab_codes *to)
{
    const size_t most = tiles_together(steps_of(k));
    if (m < LEAST_ROWS || !most || !k)
        return 0;
    const struct bnnlab_walk walk = one_run(BNNLAB_WORDS(k));
    struct bnnlab_rows rows;
    for (size_t i = 0, some; i < m; i += some) {
        const struct bnnlab_codes from = to ? bnnlab_codes_from(to, i) : (struct bnnlab_codes){0};
        const struct bnnlab_finish finish = {.codes = to ? &from : NULL};
        some = rows_together(m - i, most, 1);
        lay_out_bytes(codes + i * k, some, k, &rows);
        bnnlab_amx_multiply(&rows, BNNLAB_BYTES, &walk, panels, &finish, some, n,
                            to ? NULL : out + i * n);
    }
    return 1;
}

void bnnlab_amx_bytes_product(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n,
                              size_t k, int32_t *out)
{
    if (!bytes_product(codes, panels, m, n, k, out, NULL))
        bnnlab_avx512.bytes_product(codes, panels, m, n, k, out);
}

int bnnlab_amx_bytes_codes(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n, size_t k,
                           const struct bnnlab_codes *to)
{
    return to->levels == 1 && bytes_product(codes, panels, m, n, k, NULL, to);
}

int bnnlab_amx_sign_product(const float *x, const uint32_t *panels, size_t m, size_t n, size_t k,
                            float *out)
{
    const size_t most = tiles_together(steps_of(k));
    if (m < LEAST_ROWS || !most || !k)
        return bnnlab_avx512.sign_product(x, panels, m, n, k, out);
    const struct bnnlab_walk walk = one_run(BNNLAB_WORDS(k));
    double units[MOST_UNITS];
    const struct bnnlab_finish finish = {.units = units};
    struct bnnlab_rows rows;
    int nan = 0;
    for (size_t i = 0, some; i < m; i += some) {
        some = rows_together(m - i, most, 4);
        const int largest = lay_out_reals(x + i * k, some, k, &rows, units);
        nan |= largest == NAN_ROW;
        bnnlab_amx_multiply(&rows, BNNLAB_CODES, &walk, panels, &finish, some, n, out + i * n);
        for (size_t r = i; largest >= INFINITE_ROW && r < i + some; r++)
            if (row_exponent(x + r * k, k) == INFINITE_ROW)
                infinite_row(x + r * k, panels, n, k, out + r * n);
    }
    return nan;
}
