/* AMX: products of bytes, 16 rows by 16 outputs by 64 inputs an instruction.
 *
 * The inputs are laid out as tiles once: bytes as they are, and of real ones (fixed.h) four rows of
 * signed digits, q = d0 + 2^8 d1 + 2^16 d2 + 2^24 d3. The weights' bits become bytes of +-1 for two
 * panels at a time, BLOCK inputs of them, so few that they stay in the first cache while all rows go
 * by; the sums of two tiles of rows by two panels are in tile registers meanwhile.
 *
 * Few rows are left to AVX-512: making bytes of bits is worth it only for some.
 */
#include "fixed.h"
#include "vector.h"

#include <immintrin.h>

#define TILE_ROWS 16
#define STEP 64             /* inputs of a tile */
#define TILE_BYTES (TILE_ROWS * STEP)
#define BLOCK 1024
#define MOST_TILES 32       /* of rows */
#define INPUT_BYTES 524288  /* laid out together */
#define LEAST_ROWS 3
#define LEAST_CODE_ROWS 16  /* times all planes but one: counting the bits of one is as fast */
#define MOST_PLANES 7       /* a byte holds -127 .. 127 */

/* Rows laid out: tiles [blocks of inputs, tiles of rows, steps of a block]. Zeros fill them up. */
struct rows {
    _Alignas(64) uint8_t bytes[INPUT_BYTES];
    _Alignas(64) int32_t sums[MOST_TILES][2][TILE_ROWS * BNNLAB_LANES];
    size_t tiles, steps;
};

/* The intrinsics of tiles do not tell the compiler what memory they read: without this, what was
 * written to it may be left out, or come later. */
ALWAYS_INLINE void write_down(const void *memory)
{
    __asm__ volatile("" : : "r"(memory) : "memory");
}

static void configure(void)
{
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } all = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) {
        all.row_bytes[tile] = STEP;
        all.rows[tile] = TILE_ROWS;
    }
    write_down(&all);
    _tile_loadconfig(&all);
}

static size_t steps_of(size_t k)
{
    return (k + STEP - 1) / STEP;
}

/* How many rows that take `each` rows of tiles are laid out together, of m: as many as fit, as evenly
 * as pairs of tiles allow, which are multiplied fastest. 0 where not even one tile fits. */
static size_t rows_together(size_t m, size_t k, size_t each)
{
    const size_t pair = 2 * TILE_ROWS / each;
    const size_t most =
        smaller(INPUT_BYTES / TILE_BYTES / (steps_of(k) + !k), MOST_TILES) * TILE_ROWS / each;
    return most < pair ? most : smaller(most, (tile_rows(m, most) + pair - 1) / pair * pair);
}

/* Where step `step` of row `row` lies. */
static uint8_t *row_at(struct rows *rows, size_t row, size_t step)
{
    const size_t block = step / (BLOCK / STEP) * (BLOCK / STEP);
    const size_t length = smaller(rows->steps - block, BLOCK / STEP);
    return rows->bytes + (block * rows->tiles + row / TILE_ROWS * length + step - block) * TILE_BYTES +
           row % TILE_ROWS * STEP;
}

static void lay_out_bytes(const uint8_t *codes, size_t m, size_t k, struct rows *rows)
{
    rows->tiles = (m + TILE_ROWS - 1) / TILE_ROWS;
    rows->steps = steps_of(k);
    for (size_t i = 0; i < rows->tiles * TILE_ROWS; i++)
        for (size_t s = 0; s < rows->steps; s++) {
            const size_t count = i < m ? smaller(k - s * STEP, STEP) : 0;
            const __mmask64 there = count == STEP ? ~(__mmask64)0 : ((__mmask64)1 << count) - 1;
            _mm512_store_si512(row_at(rows, i, s),
                               _mm512_maskz_loadu_epi8(there, codes + i * k * (count != 0) + s * STEP));
        }
}

/* Digits above 127 are negative, and the next one is larger by 1. Returns the largest exponent. */
static int lay_out_reals(const float *x, size_t m, size_t k, struct rows *rows, double *units)
{
    const __m512i carry = _mm512_set1_epi32(0x808080);
    const __m512 second = _mm512_set1_ps(0x1p27f);
    int largest = -126;
    rows->tiles = (4 * m + TILE_ROWS - 1) / TILE_ROWS;
    rows->steps = steps_of(k);
    for (size_t i = 0; i < rows->tiles * TILE_ROWS / 4; i++) {
        const size_t inputs = i < m ? k : 0;
        const int exponent = row_exponent(x + i * inputs, inputs);
        const __m512 first = _mm512_set1_ps(row_scale(exponent));
        units[i] = row_unit(exponent);
        largest = exponent > largest ? exponent : largest;
        for (size_t s = 0; s < rows->steps; s++) {
            uint8_t *to = row_at(rows, 4 * i, s);
            for (size_t part = 0; part < STEP; part += 16) {
                const size_t j = s * STEP + part, count = j < inputs ? smaller(inputs - j, 16) : 0;
                const __m512 v = _mm512_maskz_loadu_ps((__mmask16)tail_mask(count),
                                                       x + (count ? i * k + j : 0));
                __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_mul_ps(v, first), second));
                q = _mm512_xor_si512(_mm512_add_epi32(q, carry), carry);
                UNROLL for (size_t d = 0; d < 4; d++) {
                    _mm_store_si128((__m128i *)(to + d * STEP + part), _mm512_cvtepi32_epi8(q));
                    q = _mm512_srli_epi32(q, 8);
                }
            }
        }
    }
    return largest;
}

/* Of codes c of bit planes, 2 c - (2^planes - 1), which is +-1 of signs; so every input, also a tail
 * bit, adds (2^planes - 1) - 2 mismatches. */
static void lay_out_codes(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes, size_t m,
                          struct rows *rows)
{
    const size_t each = steps_of(walk->length * 32);
    const __m512i least = _mm512_set1_epi8((char)(1 - (1 << planes)));
    rows->tiles = (m + TILE_ROWS - 1) / TILE_ROWS;
    rows->steps = walk->segments * each;
    for (size_t i = 0; i < rows->tiles * TILE_ROWS; i++) {
        const uint32_t *run = a + i * walk->row_step;
        for (size_t s = 0, w = 0; s < rows->steps; s++, w += 2) {
            if (w == 2 * each) {
                run += walk->a_step;
                w = 0;
            }
            __m512i codes = _mm512_setzero_si512();
            if (i < m) {
                const int two = w + 2 <= walk->length;
                codes = _mm512_maskz_mov_epi8(two ? ~(__mmask64)0 : 0xFFFFFFFFu, least);
                for (size_t p = 0; p < planes; p++) {
                    uint64_t bits = 0;
                    memcpy(&bits, run + p * walk->plane_step + w, two ? 8 : 4);
                    codes = _mm512_mask_add_epi8(codes, bits, codes,
                                                 _mm512_set1_epi8((char)(2 << p)));
                }
            }
            _mm512_store_si512(row_at(rows, i, s), codes);
        }
    }
}

/* Steps `from` .. `from + steps - 1` of a panel's weights as bytes, four inputs of 16 outputs in 64.
 * Steps begin anew with every run of words. Tail bits are -1 and meet zeros, or their like; what is
 * missing of a step is 0. */
static void make_signs(const uint32_t *panel, const struct bnnlab_walk *walk, size_t from, size_t steps,
                       uint8_t *signs)
{
    const __m512i nibbles = _mm512_setr_epi32(
        (int)0xFFFFFFFFu, (int)0xFFFFFF01u, (int)0xFFFF01FFu, (int)0xFFFF0101u, (int)0xFF01FFFFu,
        (int)0xFF01FF01u, (int)0xFF0101FFu, (int)0xFF010101u, 0x01FFFFFF, 0x01FFFF01, 0x01FF01FF,
        0x01FF0101, 0x0101FFFF, 0x0101FF01, 0x010101FF, 0x01010101);
    const size_t each = steps_of(walk->length * 32);
    size_t w = from % each * 2;
    panel += from / each * walk->b_step * BNNLAB_LANES;
    for (size_t s = 0; s < 2 * steps; s++, w++) {
        if (w == 2 * each) {
            panel += walk->b_step * BNNLAB_LANES;
            w = 0;
        }
        const __mmask16 there = w < walk->length ? 0xFFFF : 0;
        __m512i b = _mm512_maskz_loadu_epi32(there, panel + w * BNNLAB_LANES);
        UNROLL for (size_t e = 0; e < 8; e++, signs += 64) {
            _mm512_store_si512(signs, _mm512_maskz_permutexvar_epi32(there, b, nibbles));
            b = _mm512_srli_epi32(b, 4);
        }
    }
}

/* `tall` tiles of rows by `wide` panels: registers 0 .. 3 hold sums, 4 and 5 rows, 6 and 7 weights. */
ALWAYS_INLINE void multiply(const int negative, const int tall, const int wide, const uint8_t *rows,
                            const uint8_t *signs, size_t steps, int first,
                            int32_t sums[][2][TILE_ROWS * BNNLAB_LANES])
{
#define DOT(sum, row, sign)                 \
    do {                                    \
        if (negative)                       \
            _tile_dpbssd(sum, row, sign);   \
        else                                \
            _tile_dpbusd(sum, row, sign);   \
    } while (0)
    write_down(rows);
    write_down(signs);
    write_down(sums);
    if (first) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, sums[0][0], 64);
        if (wide)
            _tile_loadd(1, sums[0][1], 64);
        if (tall)
            _tile_loadd(2, sums[1][0], 64);
        if (tall && wide)
            _tile_loadd(3, sums[1][1], 64);
    }
    for (size_t s = 0; s < steps; s++, rows += TILE_BYTES, signs += TILE_BYTES) {
        _tile_stream_loadd(4, rows, STEP);
        _tile_loadd(6, signs, 64);
        DOT(0, 4, 6);
        if (wide) {
            _tile_loadd(7, signs + BLOCK * BNNLAB_LANES, 64);
            DOT(1, 4, 7);
        }
        if (tall) {
            _tile_stream_loadd(5, rows + steps * TILE_BYTES, STEP);
            DOT(2, 5, 6);
            if (wide)
                DOT(3, 5, 7);
        }
    }
    _tile_stored(0, sums[0][0], 64);
    if (wide)
        _tile_stored(1, sums[0][1], 64);
    if (tall)
        _tile_stored(2, sums[1][0], 64);
    if (tall && wide)
        _tile_stored(3, sums[1][1], 64);
}

/* The sums of all rows with one or two panels. */
ALWAYS_INLINE void multiply_panels(const int negative, const int wide, struct rows *rows,
                                   const uint32_t *panels, const struct bnnlab_walk *walk)
{
    _Alignas(64) uint8_t signs[2 * BLOCK * BNNLAB_LANES];
    for (size_t from = 0; from < rows->steps; from += BLOCK / STEP) {
        const size_t steps = smaller(rows->steps - from, BLOCK / STEP);
        make_signs(panels, walk, from, steps, signs);
        if (wide)
            make_signs(panels + walk->panel_words * BNNLAB_LANES, walk, from, steps,
                       signs + BLOCK * BNNLAB_LANES);
        size_t t = 0;
        for (; t + 2 <= rows->tiles; t += 2)
            multiply(negative, 1, wide, row_at(rows, t * TILE_ROWS, from), signs, steps, from == 0,
                     rows->sums + t);
        if (t < rows->tiles)
            multiply(negative, 0, wide, row_at(rows, t * TILE_ROWS, from), signs, steps, from == 0,
                     rows->sums + t);
    }
}

/* The same of one or two panels as they are there, for rows of bytes below 0 too, or above 127. */
static size_t multiply_next(const int negative, struct rows *rows, const uint32_t *panels,
                            const struct bnnlab_walk *walk, size_t n)
{
    if (negative && n > BNNLAB_LANES)
        multiply_panels(1, 1, rows, panels, walk);
    else if (negative)
        multiply_panels(1, 0, rows, panels, walk);
    else if (n > BNNLAB_LANES)
        multiply_panels(0, 1, rows, panels, walk);
    else
        multiply_panels(0, 0, rows, panels, walk);
    return n > BNNLAB_LANES ? 2 : 1;
}

static __mmask16 lanes_below(size_t n)
{
    return (__mmask16)tail_mask(smaller(n, BNNLAB_LANES));
}

static __m512i sums_of(const struct rows *rows, size_t row, size_t panel)
{
    return _mm512_load_si512(rows->sums[row / TILE_ROWS][panel] + row % TILE_ROWS * BNNLAB_LANES);
}

static void store_bytes(const struct rows *rows, size_t panel, size_t m, size_t n, size_t out_step,
                        int32_t *out)
{
    for (size_t i = 0; i < m; i++)
        _mm512_mask_storeu_epi32(out + i * out_step, lanes_below(n), sums_of(rows, i, panel));
}

static void store_reals(const struct rows *rows, const double *units, size_t panel, size_t m, size_t n,
                        size_t out_step, float *out)
{
    const __m512d above = _mm512_set1_pd(0x1p16);
    for (size_t i = 0; i < m; i++) {
        __m512i d[4];
        UNROLL for (size_t e = 0; e < 4; e++)
            d[e] = sums_of(rows, 4 * i + e, panel);
        const __m512i high = _mm512_add_epi32(_mm512_slli_epi32(d[3], 8), d[2]);
        const __m512i low = _mm512_add_epi32(_mm512_slli_epi32(d[1], 8), d[0]);
        const __m512d unit = _mm512_set1_pd(units[i]);
        const __m512d left = _mm512_fmadd_pd(_mm512_cvtepi32_pd(_mm512_castsi512_si256(high)), above,
                                             _mm512_cvtepi32_pd(_mm512_castsi512_si256(low)));
        const __m512d right =
            _mm512_fmadd_pd(_mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(high, 1)), above,
                            _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(low, 1)));
        const __m256 sums = _mm512_cvtpd_ps(_mm512_mul_pd(left, unit));
        const __m256 more = _mm512_cvtpd_ps(_mm512_mul_pd(right, unit));
        _mm512_mask_storeu_ps(out + i * out_step, lanes_below(n),
                              _mm512_insertf32x8(_mm512_castps256_ps512(sums), more, 1));
    }
}

/* All words of the weights in one run. */
static struct bnnlab_walk one_run(size_t words)
{
    const struct bnnlab_walk walk = {
        .segments = 1, .length = words, .b_step = words, .panel_words = words};
    return walk;
}

/* `every` is what all inputs add where nothing mismatches. */
static void store_codes(const struct rows *rows, size_t panel, size_t planes, uint32_t every,
                        const int32_t *ones, int32_t base, size_t m, size_t n, size_t out_step,
                        int32_t *out)
{
    const __mmask16 lanes = lanes_below(n);
    const __m512i all = _mm512_set1_epi32((int)every);
    __m512i from = _mm512_set1_epi32(base);
    if (ones)
        from = _mm512_mullo_epi32(_mm512_maskz_loadu_epi32(lanes, ones),
                                  _mm512_set1_epi32((1 << planes) - 1));
    for (size_t i = 0; i < m; i++) {
        __m512i off = _mm512_sub_epi32(all, sums_of(rows, i, panel));
        if (ones)
            off = _mm512_srli_epi32(off, 1);
        _mm512_mask_storeu_epi32(out + i * out_step, lanes, _mm512_sub_epi32(from, off));
    }
}

void bnnlab_amx_product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                        const uint32_t *panels, const int32_t *ones, int32_t base, size_t m, size_t n,
                        int32_t *out)
{
    const size_t each = steps_of(walk->length * 32);
    const size_t together = rows_together(m, walk->segments * each * STEP, 1);
    if (planes > MOST_PLANES || m * (planes - 1) < LEAST_CODE_ROWS || !together || !walk->segments ||
        !each) {
        bnnlab_avx512_carry.product(a, walk, planes, panels, ones, base, m, n, out);
        return;
    }
    const uint32_t every = (uint32_t)(32 * walk->length * walk->segments) * ((1u << planes) - 1);
    struct rows rows;
    configure();
    for (size_t i = 0, some; i < m; i += some) {
        some = smaller(m - i, together);
        lay_out_codes(a + i * walk->row_step, walk, planes, some, &rows);
        for (size_t j = 0; j < n; j += 2 * BNNLAB_LANES) {
            const size_t count = multiply_next(1, &rows, panels + j * walk->panel_words, walk, n - j);
            for (size_t p = 0, at = j; p < count; p++, at += BNNLAB_LANES)
                store_codes(&rows, p, planes, every, ones ? ones + at : NULL, base, some, n - at, n,
                            out + i * n + at);
        }
    }
    _tile_release();
}

void bnnlab_amx_bytes_product(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n,
                              size_t k, int32_t *out)
{
    const size_t words = BNNLAB_WORDS(k), together = rows_together(m, k, 1);
    if (m < LEAST_ROWS || !together || !k) {
        bnnlab_avx512.bytes_product(codes, panels, m, n, k, out);
        return;
    }
    const struct bnnlab_walk walk = one_run(words);
    struct rows rows;
    configure();
    for (size_t i = 0, some; i < m; i += some) {
        some = smaller(m - i, together);
        lay_out_bytes(codes + i * k, some, k, &rows);
        for (size_t j = 0; j < n; j += 2 * BNNLAB_LANES) {
            const size_t count = multiply_next(0, &rows, panels + j * words, &walk, n - j);
            for (size_t p = 0, at = j; p < count; p++, at += BNNLAB_LANES)
                store_bytes(&rows, p, some, n - at, n, out + i * n + at);
        }
    }
    _tile_release();
}

int bnnlab_amx_sign_product(const float *x, const uint32_t *panels, size_t m, size_t n, size_t k,
                            float *out)
{
    const size_t words = BNNLAB_WORDS(k), together = rows_together(m, k, 4);
    if (m < LEAST_ROWS || !together || !k)
        return bnnlab_avx512.sign_product(x, panels, m, n, k, out);
    const struct bnnlab_walk walk = one_run(words);
    struct rows rows;
    double units[MOST_TILES * TILE_ROWS / 4];
    int nan = 0;
    configure();
    for (size_t i = 0, some; i < m; i += some) {
        some = smaller(m - i, together);
        const int largest = lay_out_reals(x + i * k, some, k, &rows, units);
        nan |= largest == NAN_ROW;
        for (size_t j = 0; j < n; j += 2 * BNNLAB_LANES) {
            const size_t count = multiply_next(1, &rows, panels + j * words, &walk, n - j);
            for (size_t p = 0, at = j; p < count; p++, at += BNNLAB_LANES)
                store_reals(&rows, units, p, some, n - at, n, out + i * n + at);
        }
        for (size_t r = i; largest >= INFINITE_ROW && r < i + some; r++)
            if (row_exponent(x + r * k, k) == INFINITE_ROW)
                infinite_row(x + r * k, panels, n, k, out + r * n);
    }
    _tile_release();
    return nan;
}

uint32_t bnnlab_amx_loop(size_t steps)
{
    _Alignas(64) uint8_t given[TILE_BYTES];
    _Alignas(64) int32_t sums[TILE_ROWS * BNNLAB_LANES];
    uint32_t total = 0;
    memset(given, 1, sizeof given);
    write_down(given);
    configure();
    _tile_loadd(4, given, STEP);
    _tile_loadd(5, given, STEP);
    _tile_loadd(6, given, STEP);
    _tile_loadd(7, given, STEP);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t s = 0; s < steps; s++) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
#define ADD_UP(tile)                                           \
    _tile_stored(tile, sums, STEP);                            \
    write_down(sums);                                          \
    for (size_t i = 0; i < TILE_ROWS * BNNLAB_LANES; i++)      \
        total += (uint32_t)sums[i];
    ADD_UP(0)
    ADD_UP(1)
    ADD_UP(2)
    ADD_UP(3)
    _tile_release();
    return total;
}
