/* AMX: products of bytes, 16 rows by 16 outputs by 64 inputs an instruction.
 *
 * The inputs are laid out as tiles once: bytes as they are, signs and other codes as bytes, and of real
 * ones (fixed.h) four rows of signed digits, q = d0 + 2^8 d1 + 2^16 d2 + 2^24 d3. The weights' bits
 * become bytes of +-1 for two panels at a time, BLOCK inputs of them, so few that they and the block
 * that is made meanwhile stay in the first cache while all rows go by; the sums of two tiles of rows by
 * two panels are in tile registers.
 *
 * Few rows are left to AVX-512: making bytes of bits is worth it only for some.
 */
#include "fixed.h"
#include "vector.h"

#include <immintrin.h>

#define TILE_ROWS 16
#define STEP 64             /* inputs of a tile */
#define TILE_BYTES (TILE_ROWS * STEP)
#define SUMS (TILE_ROWS * BNNLAB_LANES)
#define BLOCK 512
#define MOST_TILES 7        /* of rows: their sums are in the first cache, too */
#define INPUT_BYTES 524288  /* laid out together, at most */
#define LEAST_ROWS 3
#define LEAST_CODE_ROWS 16  /* times all planes but one */
#define LEAST_SIGN_ROWS 48  /* and outputs, which one layout of these rows must be worth */
#define LEAST_SIGN_OUTPUTS 192
#define FEW_SIGN_ROWS 8     /* beyond whole tiles: counting bits is faster than one more tile */
#define MOST_PLANES 7       /* a byte holds -127 .. 127 */

/* Rows laid out: tiles [blocks of inputs, tiles of rows, steps of a block]. Zeros fill them up. */
struct rows {
    _Alignas(64) uint8_t bytes[INPUT_BYTES];
    _Alignas(64) int32_t sums[MOST_TILES][2][SUMS];
    _Alignas(64) int32_t start[BNNLAB_LANES];   /* what all sums begin with, one number */
    size_t tiles, steps;
};

static void start_at(int32_t number, struct rows *rows)
{
    _mm512_store_si512(rows->start, _mm512_set1_epi32(number));
}

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

/* How many tiles of so many steps are laid out together, at most; 0 where not even one fits. */
static size_t tiles_together(size_t steps)
{
    return smaller(INPUT_BYTES / TILE_BYTES / (steps + !steps), MOST_TILES);
}

/* How many rows that take `each` rows of tiles are laid out together, of m that are left: as evenly as
 * whole tiles allow. */
static size_t rows_together(size_t m, size_t most, size_t each)
{
    const size_t tile = TILE_ROWS / each;
    return smaller(m, tile * tile_rows((m + tile - 1) / tile, most));
}

/* Where step `step` of row `row` lies. */
static uint8_t *row_at(struct rows *rows, size_t row, size_t step)
{
    const size_t block = step / (BLOCK / STEP) * (BLOCK / STEP);
    const size_t length = smaller(rows->steps - block, BLOCK / STEP);
    return rows->bytes + (block * rows->tiles + row / TILE_ROWS * length + step - block) * TILE_BYTES +
           row % TILE_ROWS * STEP;
}

/* The place after `to`, which is that of the step before. */
static uint8_t *next_at(struct rows *rows, size_t row, size_t step, uint8_t *to)
{
    return step % (BLOCK / STEP) ? to + TILE_BYTES : row_at(rows, row, step);
}

static void lay_out_bytes(const uint8_t *codes, size_t m, size_t k, struct rows *rows)
{
    uint8_t *to = NULL;
    rows->tiles = (m + TILE_ROWS - 1) / TILE_ROWS;
    rows->steps = steps_of(k);
    for (size_t i = 0; i < rows->tiles * TILE_ROWS; i++)
        for (size_t s = 0; s < rows->steps; s++) {
            const size_t count = i < m ? smaller(k - s * STEP, STEP) : 0;
            const __mmask64 there = count == STEP ? ~(__mmask64)0 : ((__mmask64)1 << count) - 1;
            to = next_at(rows, i, s, to);
            _mm512_store_si512(to,
                               _mm512_maskz_loadu_epi8(there, codes + i * k * (count != 0) + s * STEP));
        }
}

/* Digits above 127 are negative, and the next one is larger by 1. Returns the largest exponent. */
static int lay_out_reals(const float *x, size_t m, size_t k, struct rows *rows, double *units)
{
    const __m512i carry = _mm512_set1_epi32(0x808080);
    const __m512 second = _mm512_set1_ps(0x1p27f);
    int largest = -126;
    uint8_t *to = NULL;
    rows->tiles = (4 * m + TILE_ROWS - 1) / TILE_ROWS;
    rows->steps = steps_of(k);
    for (size_t i = 0; i < rows->tiles * TILE_ROWS / 4; i++) {
        const size_t inputs = i < m ? k : 0;
        const int exponent = row_exponent(x + i * inputs, inputs);
        const __m512 first = _mm512_set1_ps(row_scale(exponent));
        units[i] = row_unit(exponent);
        largest = exponent > largest ? exponent : largest;
        for (size_t s = 0; s < rows->steps; s++) {
            to = next_at(rows, 4 * i, s, to);
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
    uint8_t *to = NULL;
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
                    const uint32_t *at = run + p * walk->plane_step + w;
                    uint64_t bits = *at;
                    if (two)
                        memcpy(&bits, at, 8);
                    codes = _mm512_mask_add_epi8(codes, bits, codes, _mm512_set1_epi8((char)(2 << p)));
                }
            }
            to = next_at(rows, i, s, to);
            _mm512_store_si512(to, codes);
        }
    }
}

/* Weights' bits on their way to bytes, a block of one or two panels at a time: while one is multiplied,
 * the next is made, a word between products of tiles, which another unit of the processor makes. */
struct maker {
    _Alignas(64) uint8_t signs[2][2 * BLOCK * BNNLAB_LANES];
    int turn;
    const struct bnnlab_walk *walk;
    const uint32_t *panel, *run;    /* the panel being made, and a run of its words */
    size_t n;                       /* outputs from this panel on */
    size_t steps, step;             /* of a panel; those begun */
    size_t word, left;              /* of the run; of the block, to be made */
    uint8_t *to;
};

static void begin_block(struct maker *maker)
{
    const size_t steps = smaller(maker->steps - maker->step, BLOCK / STEP);
    maker->step += steps;
    maker->left = 2 * steps;
    maker->to = maker->signs[maker->turn];
}

static void begin(struct maker *maker, const uint32_t *panels, const struct bnnlab_walk *walk, size_t n,
                  size_t steps)
{
    maker->walk = walk;
    maker->panel = maker->run = panels;
    maker->n = n;
    maker->steps = steps;
    maker->step = maker->word = 0;
    maker->turn = 0;
    begin_block(maker);
}

/* The next word as bytes, four inputs of 16 outputs in 64. Steps begin anew with every run of words.
 * Tail bits are -1 and meet zeros, or their like; what is missing of a step is 0. */
ALWAYS_INLINE void make_word(struct maker *maker)
{
    const __m512i nibbles = _mm512_setr_epi32(
        (int)0xFFFFFFFFu, (int)0xFFFFFF01u, (int)0xFFFF01FFu, (int)0xFFFF0101u, (int)0xFF01FFFFu,
        (int)0xFF01FF01u, (int)0xFF0101FFu, (int)0xFF010101u, 0x01FFFFFF, 0x01FFFF01, 0x01FF01FF,
        0x01FF0101, 0x0101FFFF, 0x0101FF01, 0x010101FF, 0x01010101);
    const struct bnnlab_walk *walk = maker->walk;
    const size_t other = maker->n > BNNLAB_LANES ? walk->panel_words * BNNLAB_LANES : 0;
    const __mmask16 there = maker->word < walk->length ? 0xFFFF : 0;
    const uint32_t *at = maker->run + maker->word * BNNLAB_LANES;
    uint8_t *to = maker->to;
    __m512i b = _mm512_maskz_loadu_epi32(there, at), c = _mm512_maskz_loadu_epi32(there, at + other);
    UNROLL for (size_t e = 0; e < 8; e++, to += 64) {
        _mm512_store_si512(to, _mm512_maskz_permutexvar_epi32(there, b, nibbles));
        _mm512_store_si512(to + BLOCK * BNNLAB_LANES, _mm512_maskz_permutexvar_epi32(there, c, nibbles));
        b = _mm512_srli_epi32(b, 4);
        c = _mm512_srli_epi32(c, 4);
    }
    maker->to = to;
    maker->left--;
    if (++maker->word == 2 * steps_of(walk->length * 32)) {
        maker->word = 0;
        maker->run += walk->b_step * BNNLAB_LANES;
    }
}

/* The block begun last, which is finished, and begins the one after it. */
static const uint8_t *next_block(struct maker *maker)
{
    while (maker->left)
        make_word(maker);
    const uint8_t *made = maker->signs[maker->turn];
    maker->turn ^= 1;
    if (maker->step == maker->steps) {
        const size_t outputs = 2 * BNNLAB_LANES;
        maker->panel += 2 * maker->walk->panel_words * BNNLAB_LANES;
        maker->n -= smaller(maker->n, outputs);
        maker->run = maker->panel;
        maker->step = maker->word = 0;
    }
    if (maker->n)
        begin_block(maker);
    return made;
}

/* Where tiles of sums go: bytes from a row to the next, numbers from a panel and from a tile. */
struct place {
    int32_t *at;
    size_t row, panel, tile;
};

/* One or two (`tall`) tiles of rows by one or two (`wide`) panels: registers 0 .. 3 hold sums, 4 and 5 rows, 6 and 7 weights. */
ALWAYS_INLINE void multiply(const int negative, const int tall, const int wide, const uint8_t *rows,
                            const uint8_t *signs, size_t steps, int32_t sums[][2][SUMS],
                            const int32_t *start, const struct place *to, size_t words, struct maker *maker)
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
    if (start) {
        _tile_loadd(0, start, 0);
        _tile_loadd(1, start, 0);
        _tile_loadd(2, start, 0);
        _tile_loadd(3, start, 0);
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
        for (size_t w = 0; w < words && maker->left; w++)
            make_word(maker);
    }
    _tile_stored(0, to->at, to->row);
    if (wide)
        _tile_stored(1, to->at + to->panel, to->row);
    if (tall)
        _tile_stored(2, to->at + to->tile, to->row);
    if (tall && wide)
        _tile_stored(3, to->at + to->tile + to->panel, to->row);
}

/* The sums of all rows with one or two panels. Those of the first `direct` tiles are not kept, but go
 * to rows of `out`, which are `out_step` apart. */
ALWAYS_INLINE void multiply_panels(const int negative, const int wide, struct rows *rows,
                                   struct maker *maker, size_t direct, int32_t *out, size_t out_step)
{
    const size_t words = rows->tiles > 2 ? 1 : 2; /* a step, so that both blocks are done at once */
    for (size_t from = 0; from < rows->steps; from += BLOCK / STEP) {
        const size_t steps = smaller(rows->steps - from, BLOCK / STEP);
        const int last = from + steps == rows->steps;
        const int32_t *start = from == 0 ? rows->start : NULL;
        const uint8_t *signs = next_block(maker);
        for (size_t t = 0, tall; t < rows->tiles; t += tall) {
            tall = t < direct ? smaller(direct - t, 2) : smaller(rows->tiles - t, 2);
            const uint8_t *at = row_at(rows, t * TILE_ROWS, from);
            struct place to = {rows->sums[t][0], 64, SUMS, 2 * SUMS};
            if (last && t < direct) {
                const struct place outside = {out + t * TILE_ROWS * out_step, 4 * out_step,
                                              BNNLAB_LANES, TILE_ROWS * out_step};
                to = outside;
            }
            if (tall == 2)
                multiply(negative, 1, wide, at, signs, steps, rows->sums + t, start, &to, words, maker);
            else
                multiply(negative, 0, wide, at, signs, steps, rows->sums + t, start, &to, words, maker);
        }
    }
}

/* The same of the next one or two panels of `n` outputs, for rows of bytes below 0 too, or above 127. Of
 * `m` rows those from the one returned on have their sums kept; the ones before went to `out`, if
 * there is one. */
static size_t multiply_next(const int negative, struct rows *rows, struct maker *maker, size_t m,
                            size_t n, int32_t *out, size_t out_step)
{
    const size_t direct = out && n >= 2 * BNNLAB_LANES ? m / TILE_ROWS : 0;
    if (negative && n > BNNLAB_LANES)
        multiply_panels(1, 1, rows, maker, direct, out, out_step);
    else if (negative)
        multiply_panels(1, 0, rows, maker, direct, out, out_step);
    else if (n > BNNLAB_LANES)
        multiply_panels(0, 1, rows, maker, direct, out, out_step);
    else
        multiply_panels(0, 0, rows, maker, direct, out, out_step);
    return direct * TILE_ROWS;
}

static __mmask16 lanes_below(size_t n)
{
    return (__mmask16)tail_mask(smaller(n, BNNLAB_LANES));
}

static __m512i sums_of(const struct rows *rows, size_t row, size_t panel)
{
    return _mm512_load_si512(rows->sums[row / TILE_ROWS][panel] + row % TILE_ROWS * BNNLAB_LANES);
}

static void store_sums(const struct rows *rows, size_t panel, size_t first, size_t m, size_t n,
                        size_t out_step, int32_t *out)
{
    for (size_t i = first; i < m; i++)
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

/* Of codes; `every` is what all inputs add where nothing mismatches. */
static void store_codes(const struct rows *rows, size_t panel, size_t planes, uint32_t every,
                        const int32_t *ones, size_t m, size_t n, size_t out_step, int32_t *out)
{
    const __mmask16 lanes = lanes_below(n);
    const __m512i all = _mm512_set1_epi32((int)every);
    const __m512i from = _mm512_mullo_epi32(_mm512_maskz_loadu_epi32(lanes, ones),
                                            _mm512_set1_epi32((1 << planes) - 1));
    for (size_t i = 0; i < m; i++) {
        const __m512i off = _mm512_srli_epi32(_mm512_sub_epi32(all, sums_of(rows, i, panel)), 1);
        _mm512_mask_storeu_epi32(out + i * out_step, lanes, _mm512_sub_epi32(from, off));
    }
}

void bnnlab_amx_product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                        const uint32_t *panels, const int32_t *ones, int32_t base, size_t m, size_t n,
                        int32_t *out)
{
    const size_t each = steps_of(walk->length * 32);
    const size_t most = tiles_together(walk->segments * each);
    const int too_few = planes == 1 ? m < LEAST_SIGN_ROWS || n < LEAST_SIGN_OUTPUTS
                                     : m * (planes - 1) < LEAST_CODE_ROWS;
    if (too_few || planes > MOST_PLANES || !most || !walk->segments || !each) {
        bnnlab_avx512_carry.product(a, walk, planes, panels, ones, base, m, n, out);
        return;
    }
    const size_t few = planes == 1 && m % TILE_ROWS <= FEW_SIGN_ROWS ? m % TILE_ROWS : 0;
    m -= few;
    bnnlab_avx512_carry.product(a + m * walk->row_step, walk, planes, panels, ones, base, few, n,
                                out + m * n);
    const uint32_t every = (uint32_t)(32 * walk->length * walk->segments) * ((1u << planes) - 1);
    struct rows rows;
    struct maker maker;
    /* Tail bits add to sums, too. */
    start_at(ones ? 0 : (int32_t)((uint32_t)base - every), &rows);
    configure();
    for (size_t i = 0, some; i < m; i += some) {
        some = rows_together(m - i, most, 1);
        lay_out_codes(a + i * walk->row_step, walk, planes, some, &rows);
        begin(&maker, panels, walk, n, rows.steps);
        for (size_t j = 0; j < n; j += 2 * BNNLAB_LANES) {
            int32_t *to = out + i * n + j;
            const size_t kept = multiply_next(1, &rows, &maker, some, n - j, ones ? NULL : to, n);
            for (size_t p = 0, at = j; p < 2 && at < n; p++, at += BNNLAB_LANES, to += BNNLAB_LANES)
                if (ones)
                    store_codes(&rows, p, planes, every, ones + at, some, n - at, n, to);
                else
                    store_sums(&rows, p, kept, some, n - at, n, to);
        }
    }
    _tile_release();
}

void bnnlab_amx_bytes_product(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n,
                              size_t k, int32_t *out)
{
    const size_t words = BNNLAB_WORDS(k), most = tiles_together(steps_of(k));
    if (m < LEAST_ROWS || !most || !k) {
        bnnlab_avx512.bytes_product(codes, panels, m, n, k, out);
        return;
    }
    const struct bnnlab_walk walk = one_run(words);
    struct rows rows;
    struct maker maker;
    start_at(0, &rows);
    configure();
    for (size_t i = 0, some; i < m; i += some) {
        some = rows_together(m - i, most, 1);
        lay_out_bytes(codes + i * k, some, k, &rows);
        begin(&maker, panels, &walk, n, rows.steps);
        for (size_t j = 0; j < n; j += 2 * BNNLAB_LANES) {
            const size_t kept = multiply_next(0, &rows, &maker, some, n - j, out + i * n + j, n);
            for (size_t p = 0, at = j; p < 2 && at < n; p++, at += BNNLAB_LANES)
                store_sums(&rows, p, kept, some, n - at, n, out + i * n + at);
        }
    }
    _tile_release();
}

int bnnlab_amx_sign_product(const float *x, const uint32_t *panels, size_t m, size_t n, size_t k,
                            float *out)
{
    const size_t words = BNNLAB_WORDS(k), most = tiles_together(steps_of(k));
    if (m < LEAST_ROWS || !most || !k)
        return bnnlab_avx512.sign_product(x, panels, m, n, k, out);
    const struct bnnlab_walk walk = one_run(words);
    struct rows rows;
    struct maker maker;
    double units[MOST_TILES * TILE_ROWS / 4];
    int nan = 0;
    start_at(0, &rows);
    configure();
    for (size_t i = 0, some; i < m; i += some) {
        some = rows_together(m - i, most, 4);
        const int largest = lay_out_reals(x + i * k, some, k, &rows, units);
        nan |= largest == NAN_ROW;
        begin(&maker, panels, &walk, n, rows.steps);
        for (size_t j = 0; j < n; j += 2 * BNNLAB_LANES) {
            multiply_next(1, &rows, &maker, 4 * some, n - j, NULL, n);
            for (size_t p = 0, at = j; p < 2 && at < n; p++, at += BNNLAB_LANES)
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
    for (size_t i = 0; i < sizeof given; i++) /* as good as random: a core is slower at these */
        given[i] = (uint8_t)((uint32_t)(i + 1) * 2654435761u >> 24);
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
