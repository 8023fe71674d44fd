/* Multiplying rows that are laid out as tiles, as amx.h says. */
#include "amx.h"

#define BLOCK 18        /* steps of weights, at most, that are in the first cache together; */
#define SMALL_BLOCK 16  /* and beside sums that come and go, where there are several blocks */
#define GROUP 32        /* tiles at most whose sums wait for the next block */

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
    const struct bnnlab_finish *finish;
    size_t m, n;                    /* rows, as they leave, and outputs */
    void *out;
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

/* Products of tiles of rows by up to two panels, some steps long. */
struct strip {
    const uint8_t *rows, *signs[2];
    const uint32_t *at;             /* where the tiles begin, */
    size_t row;                     /* bytes from a row to the next, */
    const uint32_t *offsets;        /* and the steps */
    size_t steps;
    int begun;                      /* whether there are sums */
    const int32_t *start;           /* what these begin with, NULL for 0 */
    int32_t (*sums)[2][SUMS];
    const struct place *places;     /* where sums go when they end; NULL where they wait */
    struct making *making;          /* of the steps after these, while the last tiles go by; NULL where
                                     * others still need them */
};

/* The lines of a row that two panels are about to write: where it begins within one, three. */
ALWAYS_INLINE void fetch(const char *row)
{
    __builtin_prefetch(row, 1);
    __builtin_prefetch(row + 64, 1);
    __builtin_prefetch(row + 124, 1);
}

/* Of a tile, or of two, from tile t on. Registers 0 to 3 hold sums, 4 and 5 rows, 6 and 7 weights. */
ALWAYS_INLINE void multiply(const enum bnnlab_kind kind, const int tall, const int wide,
                            const struct strip *strip, size_t t, struct making *making)
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
    const uint8_t *const first = strip->rows + strip->at[t];
    const uint8_t *const second = strip->rows + strip->at[t + tall];
    const uint8_t *left = strip->signs[0], *right = strip->signs[1];
    const uint32_t *offset = strip->offsets, *const last = offset + strip->steps;
    const size_t row = strip->row;
    int32_t(*sums)[2][SUMS] = strip->sums + t;
    const struct place aside = {sums[0][0], 64, SUMS}, under = {sums[tall][0], 64, SUMS};
    const struct place to = strip->places ? strip->places[t] : aside;
    const struct place next = strip->places ? strip->places[t + tall] : under;
    const char *line = (const char *)to.at, *other = (const char *)next.at;
    const size_t fetched = strip->places ? (TILE_ROWS + strip->steps - 1) / strip->steps : 0;
    struct making now = {0};
    if (making)
        now = *making;
    if (strip->begun) {
        _tile_loadd(0, sums[0][0], 64);
        if (wide)
            _tile_loadd(1, sums[0][1], 64);
        if (tall)
            _tile_loadd(2, sums[1][0], 64);
        if (tall && wide)
            _tile_loadd(3, sums[1][1], 64);
    } else if (strip->start) {
        _tile_loadd(0, strip->start, 0);
        _tile_loadd(1, strip->start, 0);
        _tile_loadd(2, strip->start, 0);
        _tile_loadd(3, strip->start, 0);
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

/* Of `count` tiles. */
ALWAYS_INLINE void multiply_strip(const enum bnnlab_kind kind, const int wide, const struct strip *strip,
                                  size_t count)
{
    const size_t last = count - (count % 2 ? 1 : 2);
    size_t t = 0;
    write_down(strip);
    for (; t < last; t += 2)
        multiply(kind, 1, wide, strip, t, NULL);
    if (t + 2 == count)
        multiply(kind, 1, wide, strip, t, strip->making);
    else
        multiply(kind, 0, wide, strip, t, strip->making);
    write_down(strip);
}

#define MULTIPLY(name, kind, wide)                                                                \
    static __attribute__((noinline)) void name(const struct strip *strip, size_t count)           \
    {                                                                                             \
        multiply_strip(kind, wide, strip, count);                                                 \
    }
MULTIPLY(multiply_bytes, BNNLAB_BYTES, 0)
MULTIPLY(multiply_bytes_wide, BNNLAB_BYTES, 1)
MULTIPLY(multiply_codes, BNNLAB_CODES, 0)
MULTIPLY(multiply_codes_wide, BNNLAB_CODES, 1)
MULTIPLY(multiply_image, BNNLAB_IMAGE, 0)
MULTIPLY(multiply_image_wide, BNNLAB_IMAGE, 1)

/* By kind, and whether there are two panels. */
static void (*const multiply_by[3][2])(const struct strip *strip, size_t count) = {
    [BNNLAB_BYTES] = {multiply_bytes, multiply_bytes_wide},
    [BNNLAB_CODES] = {multiply_codes, multiply_codes_wide},
    [BNNLAB_IMAGE] = {multiply_image, multiply_image_wide},
};

/* Where the `count` tiles of a group from tile `tile` on go with the outputs from j on: as they are to
 * their rows of `out`, or aside, where what comes is not yet to be stored. Returns whether most go there
 * as they are. */
static int find_places(struct task *task, size_t tile, size_t count, size_t j)
{
    const struct bnnlab_finish *finish = task->finish;
    const size_t pitch = task->rows->pitch, kept = task->rows->kept, out_step = task->n;
    const int plain = !finish->ones && !finish->units && !finish->codes &&
                      task->n - j >= 2 * BNNLAB_LANES;
    for (size_t t = 0; t < count; t++) {
        const size_t row = (tile + t) * TILE_ROWS, x = row % pitch;
        const struct place aside = {task->sums[t][0], 64, SUMS};
        task->direct[t] = plain && row + TILE_ROWS <= task->m && (pitch == 1 || x + TILE_ROWS <= kept);
        task->places[t] = aside;
        if (task->direct[t]) {
            const struct place there = {
                (int32_t *)task->out + (row / pitch * kept + x) * out_step + j, 4 * out_step,
                BNNLAB_LANES};
            task->places[t] = there;
        }
    }
    return plain;
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

/* Of m rows from row `first` on, which begin with tile t of a group, those that lie aside, with the
 * outputs from j on. */
ALWAYS_INLINE void store_integers(const struct task *task, const int32_t *ones, size_t t, size_t first,
                                  size_t m, size_t j)
{
    const size_t pitch = task->rows->pitch, kept = task->rows->kept, out_step = task->n;
    const __m512i every = _mm512_set1_epi32(task->finish->every);
    __mmask16 lanes[2];
    __m512i from[2];
    for (size_t p = 0; p < 2; p++) {
        const size_t at = j + p * BNNLAB_LANES;
        lanes[p] = (__mmask16)tail_mask(smaller(task->n - smaller(task->n, at), BNNLAB_LANES));
        if (ones)
            from[p] = most_of(lanes[p], ones + at, task->finish->planes);
    }
    size_t x = first % pitch;
    int32_t *out = (int32_t *)task->out + (first / pitch * kept + smaller(x, kept)) * out_step + j;
    for (size_t i = 0; i < m; i++) {
        const size_t tile = t + i / TILE_ROWS;
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

/* The signs of m rows with the 32 outputs from j on, a word of each: bit 1 where a sum reaches its
 * threshold, or does not. */
ALWAYS_INLINE void store_signs(const struct task *task, const int32_t *ones, size_t t, size_t first,
                               size_t m, size_t j)
{
    const struct bnnlab_codes *to = task->finish->codes;
    const __m512i every = _mm512_set1_epi32(task->finish->every);
    uint32_t *word = to->bits + first * to->words + j / 32, there = 0;
    const uint32_t flip = to->flip[j / 32];
    __m512i from[2], thresholds[2];
    for (size_t p = 0; p < 2; p++) {
        const size_t at = j + p * BNNLAB_LANES;
        const __mmask16 lanes =
            (__mmask16)tail_mask(smaller(task->n - smaller(task->n, at), BNNLAB_LANES));
        there |= (uint32_t)lanes << (p * BNNLAB_LANES);
        thresholds[p] = _mm512_maskz_loadu_epi32(lanes, to->thresholds + at);
        if (ones)
            from[p] = most_of(lanes, ones + at, task->finish->planes);
    }
    for (size_t i = 0; i < m; i++, word += to->words) {
        __mmask16 bits[2];
        UNROLL for (size_t p = 0; p < 2; p++) {
            __m512i sum = _mm512_load_si512(task->sums[t + i / TILE_ROWS][p] +
                                            i % TILE_ROWS * BNNLAB_LANES);
            if (ones)
                sum = sums_of_codes(sum, from[p], every);
            bits[p] = _mm512_cmpge_epi32_mask(sum, thresholds[p]);
        }
        *word = (_mm512_kunpackw(bits[1], bits[0]) ^ flip) & there;
    }
}

/* Of m rows that are real, four rows of sums each. */
static void store_reals(const struct task *task, size_t t, size_t first, size_t m, size_t j)
{
    const __m512d above = _mm512_set1_pd(0x1p16);
    const double *units = task->finish->units + first;
    const size_t n = task->n;
    for (size_t p = 0; p < 2 && j < n; p++, j += BNNLAB_LANES) {
        const __mmask16 lanes = (__mmask16)tail_mask(smaller(n - j, BNNLAB_LANES));
        float *out = (float *)task->out + first * n + j;
        for (size_t i = 0; i < m; i++, out += n) {
            const int32_t *sums = task->sums[t + i / 4][p] + i % 4 * 4 * BNNLAB_LANES;
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
            _mm512_mask_storeu_ps(out, lanes, both);
        }
    }
}

/* Stores what `count` tiles come to, from tile t of a group that begins with tile `tile`, with the outputs
 * from j on. */
static void store(const struct task *task, size_t tile, size_t t, size_t count, size_t j)
{
    const struct bnnlab_finish *finish = task->finish;
    const size_t tile_rows = finish->units ? TILE_ROWS / 4 : TILE_ROWS; /* as they leave */
    const size_t first = (tile + t) * tile_rows, m = smaller(task->m - first, count * tile_rows);
    if (finish->units)
        store_reals(task, t, first, m, j);
    else if (finish->codes && finish->ones)
        store_signs(task, finish->ones, t, first, m, j);
    else if (finish->codes)
        store_signs(task, NULL, t, first, m, j);
    else if (finish->ones)
        store_integers(task, finish->ones, t, first, m, j);
    else
        store_integers(task, NULL, t, first, m, j);
}

/* A group of `count` tiles from tile `tile` on with the one or two panels from output j on: the next ones,
 * for the first tiles. Where sums become something else, that is stored two tiles behind the products, in
 * which other units of the processor take part. */
static void multiply_group(struct task *task, enum bnnlab_kind kind, size_t tile, size_t count, size_t j)
{
    const struct bnnlab_rows *rows = task->rows;
    const size_t block = task->maker->block, most = find_places(task, tile, count, j) ? count : 2;
    const uint8_t *signs = task->maker->signs;
    struct strip strip = {
        .rows = rows->bytes,
        .signs = {signs, signs + block * TILE_BYTES},
        .row = rows->row,
        .start = task->started ? task->start : NULL,
    };
    for (size_t from = 0; from < rows->steps; from += block) {
        const int last = from + block >= rows->steps;
        const size_t together = last ? most : count;
        if (tile == task->first)
            finish_block(task->maker);
        strip.offsets = rows->offsets + from;
        strip.steps = smaller(rows->steps - from, block);
        strip.begun = from != 0;
        for (size_t t = 0; t < count; t += together) {
            const size_t some = smaller(count - t, together);
            strip.at = rows->at + tile + t;
            strip.sums = task->sums + t;
            strip.places = last ? task->places + t : NULL;
            strip.making = tile + t + some == task->last ? &task->maker->now : NULL;
            multiply_by[kind][task->n - j > BNNLAB_LANES](&strip, some);
            if (last && t)
                store(task, tile, t - together, together, j);
        }
    }
    store(task, tile, (count - 1) / most * most, (count - 1) % most + 1, j);
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
    task.finish = finish;
    task.m = m;
    task.n = n;
    task.out = out;
    task.maker = &maker;
    task.started = finish->start != 0;
    _mm512_store_si512(task.start, _mm512_set1_epi32(finish->start));
    configure();
    for (size_t t = 0; t < rows->tiles; t += served) {
        begin(&maker, panels, walk, n, rows->steps);
        task.first = t;
        task.last = smaller(t + served, rows->tiles);
        for (size_t j = 0; j < n; j += 2 * BNNLAB_LANES)
            for (size_t from = t; from < task.last; from += together)
                multiply_group(&task, kind, from, smaller(task.last - from, together), j);
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
