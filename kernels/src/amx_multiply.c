/* Multiplying rows that are laid out as tiles, as amx.h says. */
#include "amx.h"

#define BLOCK 18        /* steps of weights, at most, that are in the first cache together; */
#define SMALL_BLOCK 16  /* and with waiting sums, where there are several blocks */
#define GROUP 8         /* tiles at most whose sums wait there for the next block */

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

/* Of a block, what is still to be made of weights' bits: bytes. */
struct making {
    const uint32_t *at;             /* the next two words, of one panel, */
    size_t other;                   /* and so many words later, of the other */
    size_t word, end, length;       /* where these are in their run; where its last step ends, of which
                                     * a word may be missing */
    size_t next;                    /* words from the last step to the next run */
    uint8_t *to;                    /* where the first panel's bytes go, */
    size_t second;                  /* and so many bytes later, the second one's */
    size_t left;                    /* steps */
};

/* Weights' bits on their way to bytes, a block of one or two panels at a time. While the last tiles of
 * rows go by, the next block takes the place of the one before, step by step: there lines of the first
 * cache have just been read, and another unit of the processor makes the bytes. */
struct maker {
    const struct bnnlab_walk *walk;
    const uint32_t *panel;          /* the one being made */
    size_t n;                       /* outputs from this panel on */
    size_t steps, step, block;      /* of a panel; those begun; of a block, at most */
    struct making now;
    _Alignas(64) uint8_t signs[2 * BLOCK * TILE_BYTES];
};

/* Where the sums of a tile of rows go: bytes from a row to the next, numbers from a panel to the next. */
struct place {
    int32_t *at;
    size_t row, panel;
};

/* What is multiplied, and where sums are that wait for more, or to be finished. */
struct task {
    const struct bnnlab_rows *rows;
    struct maker *maker;
    size_t first, last;             /* the tiles that the weights' bytes serve */
    struct place places[GROUP];     /* where those of a group go */
    int direct[GROUP];              /* whether that is where they stay */
    int started;                    /* whether sums begin with a number but 0 */
    _Alignas(64) int32_t start[BNNLAB_LANES];
    _Alignas(64) int32_t sums[GROUP][2][SUMS];
};

static void begin_block(struct maker *maker)
{
    const size_t steps = smaller(maker->steps - maker->step, maker->block);
    maker->step += steps;
    maker->now.left = steps;
    maker->now.to = maker->signs;
}

static void begin_panels(struct maker *maker)
{
    const struct bnnlab_walk *walk = maker->walk;
    maker->now.at = maker->panel;
    maker->now.other = maker->n > BNNLAB_LANES ? walk->panel_words * BNNLAB_LANES : 0;
    maker->now.word = maker->step = 0;
}

static void begin(struct maker *maker, const uint32_t *panels, const struct bnnlab_walk *walk, size_t n,
                  size_t steps)
{
    maker->walk = walk;
    maker->panel = panels;
    maker->n = n;
    maker->steps = steps;
    maker->block = steps <= BLOCK ? steps : tile_rows(steps, SMALL_BLOCK);
    maker->now.length = walk->length;
    maker->now.end = 2 * steps_of(walk->length * 32);
    maker->now.next = (walk->b_step + 2 - maker->now.end) * BNNLAB_LANES;
    maker->now.second = maker->block * TILE_BYTES;
    begin_panels(maker);
    begin_block(maker);
}

/* The next step as bytes, four inputs of 16 outputs in 64; two words take turns. */
ALWAYS_INLINE void make_step(struct making *now)
{
    UNROLL for (size_t half = 0; half < 2; half++) {
        const uint32_t *at = now->at + half * BNNLAB_LANES;
        const __mmask16 there = now->word + half < now->length ? 0xFFFF : 0;
        const __m512i b = _mm512_maskz_loadu_epi32(there, at);
        const __m512i c = _mm512_maskz_loadu_epi32(there, at + now->other);
        uint8_t *to = now->to + half * 64;
        UNROLL for (int bit = 0; bit < 8; bit++, to += 128) {
            const __m512i place = _mm512_set1_epi64(SIGN_OF(bit));
            _mm512_store_si512(to, _mm512_gf2p8affine_epi64_epi8(b, place, 0xFF));
            _mm512_store_si512(to + now->second, _mm512_gf2p8affine_epi64_epi8(c, place, 0xFF));
        }
    }
    const int ended = now->word + 2 == now->end;
    now->word = ended ? 0 : now->word + 2;
    now->at += ended ? now->next : 2 * BNNLAB_LANES;
    now->to += TILE_BYTES;
    now->left--;
}

/* Finishes the block that was begun last, and begins the one after it, of which nothing is made yet. */
static void finish_block(struct maker *maker)
{
    while (maker->now.left)
        make_step(&maker->now);
    if (maker->step == maker->steps) {
        maker->panel += 2 * maker->walk->panel_words * BNNLAB_LANES;
        maker->n -= smaller(maker->n, 2 * BNNLAB_LANES);
        begin_panels(maker);
    }
    if (maker->n)
        begin_block(maker);
}

/* A product of tiles: up to two of rows by up to two panels, some steps long. */
struct tiles {
    const uint8_t *rows[2], *signs[2];
    size_t row;                     /* bytes from a row to the next */
    const uint32_t *offsets;        /* of the steps */
    size_t steps;
    int begun;                      /* whether there are sums */
    const int32_t *start;           /* what these begin with, NULL for 0 */
    int32_t (*sums)[2][SUMS];
    struct place to[2];
    size_t fetched;                 /* rows a step of each tile whose lines are about to be written */
    struct making *making;          /* of the steps after these; NULL where others still need them */
};

/* The lines of a row that two panels are about to write: where it begins within one, three. */
ALWAYS_INLINE void fetch(const char *row)
{
    __builtin_prefetch(row, 1);
    __builtin_prefetch(row + 64, 1);
    __builtin_prefetch(row + 124, 1);
}

/* Registers 0 to 3 hold sums, 4 and 5 rows, 6 and 7 weights. */
ALWAYS_INLINE void multiply(const enum bnnlab_kind kind, const int tall, const int wide,
                            const struct tiles *tiles)
{
#define DOT(sum, row, sign)                 \
    do {                                    \
        if (kind == BNNLAB_BYTES)           \
            _tile_dpbusd(sum, row, sign);   \
        else                                \
            _tile_dpbssd(sum, row, sign);   \
    } while (0)
#define LOAD_ROWS(tile, at)                     \
    do {                                        \
        if (kind == BNNLAB_IMAGE)               \
            _tile_loadd(tile, at, row);         \
        else                                    \
            _tile_stream_loadd(tile, at, row);  \
    } while (0)
    const uint8_t *const first = tiles->rows[0], *const second = tiles->rows[1];
    const uint8_t *left = tiles->signs[0], *right = tiles->signs[1];
    const uint32_t *offset = tiles->offsets, *const last = offset + tiles->steps;
    const size_t row = tiles->row, fetched = tiles->fetched;
    const struct place to = tiles->to[0], next = tiles->to[1];
    const char *line = (const char *)to.at, *other = (const char *)next.at;
    struct making *const making = tiles->making;
    int32_t(*sums)[2][SUMS] = tiles->sums;
    struct making now = {0};
    if (making)
        now = *making;
    write_down(tiles);
    if (tiles->begun) {
        _tile_loadd(0, sums[0][0], 64);
        if (wide)
            _tile_loadd(1, sums[0][1], 64);
        if (tall)
            _tile_loadd(2, sums[1][0], 64);
        if (tall && wide)
            _tile_loadd(3, sums[1][1], 64);
    } else if (tiles->start) {
        _tile_loadd(0, tiles->start, 0);
        _tile_loadd(1, tiles->start, 0);
        _tile_loadd(2, tiles->start, 0);
        _tile_loadd(3, tiles->start, 0);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (; offset < last; offset++, left += TILE_BYTES, right += TILE_BYTES) {
        LOAD_ROWS(4, first + *offset);
        _tile_loadd(6, left, 64);
        DOT(0, 4, 6);
        if (wide) {
            _tile_loadd(7, right, 64);
            DOT(1, 4, 7);
        }
        if (tall) {
            LOAD_ROWS(5, second + *offset);
            DOT(2, 5, 6);
        }
        if (now.left) { /* beside products of tiles; in the place of what has been loaded, not before */
            write_down(left);
            make_step(&now);
        }
        if (tall && wide)
            DOT(3, 5, 7);
        for (size_t e = 0; e < fetched; e++, line += to.row, other += next.row) {
            fetch(line);
            if (tall)
                fetch(other);
        }
    }
    if (making)
        *making = now;
    _tile_stored(0, to.at, to.row);
    if (wide)
        _tile_stored(1, to.at + to.panel, to.row);
    if (tall)
        _tile_stored(2, next.at, next.row);
    if (tall && wide)
        _tile_stored(3, next.at + next.panel, next.row);
}

#define MULTIPLY(name, kind, tall, wide)                                        \
    static __attribute__((noinline)) void name(const struct tiles *tiles)       \
    {                                                                           \
        multiply(kind, tall, wide, tiles);                                      \
    }
#define MULTIPLY_ALL(name, kind)                                                \
    MULTIPLY(name, kind, 0, 0)                                                  \
    MULTIPLY(name##_wide, kind, 0, 1)                                           \
    MULTIPLY(name##_tall, kind, 1, 0)                                           \
    MULTIPLY(name##_both, kind, 1, 1)
MULTIPLY_ALL(multiply_bytes, BNNLAB_BYTES)
MULTIPLY_ALL(multiply_codes, BNNLAB_CODES)
MULTIPLY_ALL(multiply_image, BNNLAB_IMAGE)

/* By kind, whether there are two tiles of rows, and two panels. */
#define ALL_OF(name) {{name, name##_wide}, {name##_tall, name##_both}}
static void (*const multiply_by[3][2][2])(const struct tiles *tiles) = {
    [BNNLAB_BYTES] = ALL_OF(multiply_bytes),
    [BNNLAB_CODES] = ALL_OF(multiply_codes),
    [BNNLAB_IMAGE] = ALL_OF(multiply_image),
};

/* Of a group of `count` tiles of m rows from row `first` on, where its tiles go with `left` outputs: as
 * they are to their rows of `out`, or aside, where what comes is not yet to be stored. */
static void find_places(struct task *task, const struct bnnlab_finish *finish, size_t first,
                        size_t count, size_t m, size_t left, size_t out_step, int32_t *out)
{
    const size_t pitch = task->rows->pitch, kept = task->rows->kept;
    const int plain = !finish->ones && !finish->units && !finish->codes && left >= 2 * BNNLAB_LANES;
    for (size_t t = 0; t < count; t++) {
        const size_t row = first + t * TILE_ROWS, x = row % pitch;
        const struct place aside = {task->sums[t][0], 64, SUMS};
        const struct place there = {out + (row / pitch * kept + x) * out_step, 4 * out_step,
                                    BNNLAB_LANES};
        task->direct[t] = plain && (t + 1) * TILE_ROWS <= m && (pitch == 1 || x + TILE_ROWS <= kept);
        task->places[t] = task->direct[t] ? there : aside;
    }
}

/* The sums of `count` tiles of rows with one or two panels: the next ones, for the first tiles. */
static void multiply_panels(struct task *task, enum bnnlab_kind kind, int wide, size_t tile, size_t count)
{
    const struct bnnlab_rows *rows = task->rows;
    const size_t block = task->maker->block;
    for (size_t from = 0; from < rows->steps; from += block) {
        const size_t steps = smaller(rows->steps - from, block);
        if (tile == task->first)
            finish_block(task->maker);
        for (size_t t = 0, tall; t < count; t += tall) {
            tall = smaller(count - t, 2);
            const uint8_t *signs = task->maker->signs;
            const size_t next = tile + t + tall;
            struct tiles tiles = {
                .rows = {rows->bytes + rows->at[tile + t], rows->bytes + rows->at[next - 1]},
                .signs = {signs, signs + block * TILE_BYTES},
                .row = rows->row,
                .offsets = rows->offsets + from,
                .steps = steps,
                .begun = from != 0,
                .start = task->started ? task->start : NULL,
                .sums = task->sums + t,
                .making = next == task->last ? &task->maker->now : NULL,
            };
            for (size_t e = 0; e < 2; e++) {
                const struct place aside = {task->sums[t + e * (tall - 1)][0], 64, SUMS};
                tiles.to[e] = from + steps == rows->steps ? task->places[t + e * (tall - 1)] : aside;
            }
            if (from + steps == rows->steps)
                tiles.fetched = (TILE_ROWS + steps - 1) / steps;
            multiply_by[kind][tall - 1][wide](&tiles);
        }
    }
    write_down(task);
}

/* What sums of codes, as bytes, come to. */
ALWAYS_INLINE __m512i sums_of_codes(__m512i sum, __m512i from, __m512i every)
{
    return _mm512_sub_epi32(from, _mm512_srli_epi32(_mm512_sub_epi32(every, sum), 1));
}

/* What those of an output are without mismatches. */
ALWAYS_INLINE __m512i most_of(__mmask16 lanes, const int32_t *ones, size_t planes)
{
    return _mm512_mullo_epi32(_mm512_maskz_loadu_epi32(lanes, ones),
                              _mm512_set1_epi32((1 << planes) - 1));
}

/* Of a group of m rows that begins with row `first`, those that lie aside, with up to two panels. */
ALWAYS_INLINE void store_integers(const struct task *task, const struct bnnlab_finish *finish,
                                  const int32_t *ones, size_t first, size_t m, size_t n,
                                  size_t out_step, int32_t *out)
{
    const size_t pitch = task->rows->pitch, kept = task->rows->kept;
    const __m512i every = _mm512_set1_epi32(finish->every);
    __mmask16 lanes[2];
    __m512i from[2];
    for (size_t p = 0; p < 2; p++) {
        lanes[p] = (__mmask16)tail_mask(smaller(n - smaller(n, p * BNNLAB_LANES), BNNLAB_LANES));
        if (ones)
            from[p] = most_of(lanes[p], ones + p * BNNLAB_LANES, finish->planes);
    }
    size_t x = first % pitch;
    out += (first / pitch * kept + smaller(x, kept)) * out_step;
    for (size_t i = 0; i < m; i++) {
        const size_t tile = i / TILE_ROWS;
        if (task->direct[tile]) {
            i += TILE_ROWS - 1;
            x = pitch == 1 ? 0 : (x + TILE_ROWS) % pitch;
            out += TILE_ROWS * out_step;
            continue;
        }
        if (x < kept) {
            for (size_t p = 0; p < 2; p++) {
                __m512i sum = _mm512_load_si512(task->sums[tile][p] + i % TILE_ROWS * BNNLAB_LANES);
                if (ones)
                    sum = sums_of_codes(sum, from[p], every);
                _mm512_mask_storeu_epi32(out + p * BNNLAB_LANES, lanes[p], sum);
            }
            out += out_step;
        }
        x = x + 1 == pitch ? 0 : x + 1;
    }
}

/* The signs of m rows of sums with the 32 outputs from j on, a word of each: bit 1 where a sum reaches
 * its threshold, or does not. */
ALWAYS_INLINE void store_signs(const struct task *task, const struct bnnlab_finish *finish,
                               const int32_t *ones, size_t first, size_t m, size_t j, size_t n)
{
    const struct bnnlab_codes *to = finish->codes;
    const __m512i every = _mm512_set1_epi32(finish->every);
    uint32_t *word = to->bits + first * to->words + j / 32, there = 0;
    __m512i from[2], thresholds[2];
    for (size_t p = 0; p < 2; p++) {
        const size_t at = j + p * BNNLAB_LANES;
        const __mmask16 lanes = (__mmask16)tail_mask(smaller(n - smaller(n, at), BNNLAB_LANES));
        there |= (uint32_t)lanes << (p * BNNLAB_LANES);
        thresholds[p] = _mm512_maskz_loadu_epi32(lanes, to->thresholds + at);
        if (ones)
            from[p] = most_of(lanes, ones + at, finish->planes);
    }
    for (size_t i = 0; i < m; i++, word += to->words) {
        uint32_t bits = 0;
        UNROLL for (size_t p = 0; p < 2; p++) {
            __m512i sum =
                _mm512_load_si512(task->sums[i / TILE_ROWS][p] + i % TILE_ROWS * BNNLAB_LANES);
            if (ones)
                sum = sums_of_codes(sum, from[p], every);
            bits |= (uint32_t)_mm512_cmpge_epi32_mask(sum, thresholds[p]) << (p * BNNLAB_LANES);
        }
        *word = (bits ^ to->flip[j / 32]) & there;
    }
}

static void store_reals(const struct task *task, const double *units, size_t m, size_t n,
                        size_t out_step, float *out)
{
    const __m512d above = _mm512_set1_pd(0x1p16);
    for (size_t p = 0; p < 2 && n; p++, n -= smaller(n, BNNLAB_LANES), out += BNNLAB_LANES) {
        const __mmask16 lanes = (__mmask16)tail_mask(smaller(n, BNNLAB_LANES));
        for (size_t i = 0; i < m; i++) {
            const int32_t *sums = task->sums[i / 4][p] + i % 4 * 4 * BNNLAB_LANES;
            __m512i d[4];
            UNROLL for (size_t e = 0; e < 4; e++)
                d[e] = _mm512_load_si512(sums + e * BNNLAB_LANES);
            const __m512i high = _mm512_add_epi32(_mm512_slli_epi32(d[3], 8), d[2]);
            const __m512i low = _mm512_add_epi32(_mm512_slli_epi32(d[1], 8), d[0]);
            const __m512d unit = _mm512_set1_pd(units[i]);
            __m256 parts[2];
            UNROLL for (size_t h = 0; h < 2; h++) {
                const __m256i top =
                    h ? _mm512_extracti64x4_epi64(high, 1) : _mm512_castsi512_si256(high);
                const __m256i end = h ? _mm512_extracti64x4_epi64(low, 1) : _mm512_castsi512_si256(low);
                const __m512d sum =
                    _mm512_fmadd_pd(_mm512_cvtepi32_pd(top), above, _mm512_cvtepi32_pd(end));
                parts[h] = _mm512_cvtpd_ps(_mm512_mul_pd(sum, unit));
            }
            const __m512 both = _mm512_insertf32x8(_mm512_castps256_ps512(parts[0]), parts[1], 1);
            _mm512_mask_storeu_ps(out + i * out_step, lanes, both);
        }
    }
}

/* The rows from tile `first` to `last` - 1 with all panels, `together` tiles at a time. */
static void multiply_some(struct task *task, enum bnnlab_kind kind, const struct bnnlab_finish *finish,
                          size_t first, size_t last, size_t together, size_t m, size_t n, void *out)
{
    const size_t tile_rows = finish->units ? TILE_ROWS / 4 : TILE_ROWS; /* as they leave */
    task->first = first;
    task->last = last;
    for (size_t j = 0; j < n; j += 2 * BNNLAB_LANES)
        for (size_t t = first; t < last; t += together) {
            const size_t count = smaller(last - t, together), row = t * tile_rows;
            const size_t some = smaller(m - row, count * tile_rows), left = n - j;
            int32_t *to = out ? (int32_t *)out + j : NULL;
            find_places(task, finish, row, count, some, left, n, to);
            multiply_panels(task, kind, left > BNNLAB_LANES, t, count);
            if (finish->units)
                store_reals(task, finish->units + row, some, left, n, (float *)to + row * n);
            else if (finish->codes && finish->ones)
                store_signs(task, finish, finish->ones, row, some, j, n);
            else if (finish->codes)
                store_signs(task, finish, NULL, row, some, j, n);
            else if (finish->ones)
                store_integers(task, finish, finish->ones + j, row, some, left, n, to);
            else
                store_integers(task, finish, NULL, row, some, left, n, to);
        }
}

void bnnlab_amx_multiply(const struct bnnlab_rows *rows, enum bnnlab_kind kind,
                         const struct bnnlab_walk *walk, const uint32_t *panels,
                         const struct bnnlab_finish *finish, size_t m, size_t n, void *out)
{
    struct maker maker;
    struct task task;
    const size_t together = 2 * tile_rows((rows->tiles + 1) / 2, GROUP / 2);
    /* Weights of several blocks are made afresh for every group of tiles. */
    const size_t served = rows->steps > BLOCK ? together : rows->tiles;
    task.rows = rows;
    task.maker = &maker;
    task.started = finish->start != 0;
    _mm512_store_si512(task.start, _mm512_set1_epi32(finish->start));
    configure();
    for (size_t t = 0; t < rows->tiles; t += served) {
        begin(&maker, panels, walk, n, rows->steps);
        multiply_some(&task, kind, finish, t, smaller(t + served, rows->tiles), together, m, n, out);
    }
    _tile_release();
}

uint32_t bnnlab_amx_loop(size_t steps)
{
    _Alignas(64) uint8_t given[TILE_BYTES];
    _Alignas(64) int32_t sums[SUMS];
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
#define ADD_UP(tile)                            \
    _tile_stored(tile, sums, STEP);             \
    write_down(sums);                           \
    for (size_t i = 0; i < SUMS; i++)           \
        total += (uint32_t)sums[i];
    ADD_UP(0)
    ADD_UP(1)
    ADD_UP(2)
    ADD_UP(3)
    _tile_release();
    return total;
}
