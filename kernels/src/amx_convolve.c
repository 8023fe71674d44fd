/* Convolution by AMX, as amx.h says: an image is laid out as bytes, with zeros where there is none, and
 * tiles are loaded from it as they lie, once for every tap of a window.
 *
 * Either every pixel lies there once. Then windows that stand beside one another begin a stride apart,
 * also those of the next row of places; only, at the end of every row, there are some too many. Or of
 * every place the pixels of its window's row lie together, for themselves, which takes longer, but then
 * there are none too many. With a stride down, every so many rows of the image follow one another.
 */
#include "amx.h"

#define LEAST_PLACES 48     /* which the weights' bytes must be worth */
#define LEAST_WORK 4194304  /* multiply-adds: with fewer, what comes before them takes longer */

/* How an image is laid out, as entries of one pixel or of a window's row of them. */
struct layout {
    const struct bnnlab_field *field;
    int once;                           /* whether every pixel lies there but once */
    int masked;                         /* whether not all bits are inputs */
    size_t words;                       /* of a pixel */
    size_t taps, run, steps;            /* of an entry: pixels, words, steps */
    size_t stride, entries, skip;       /* pixels from an entry to the next; entries of a row; from
                                         * a place to the next */
    size_t each, row;                   /* bytes of an entry, and of a row */
    size_t residues, quota;             /* of rows of the image down a stride; rows of each residue */
    size_t pitch;                       /* places from one row of them to the next */
};

/* For which bits signs_of gives +1. */
ALWAYS_INLINE __mmask64 mask_of(uint64_t bits)
{
    return ~_mm512_movepi8_mask(signs_of(bits));
}

/* Of two words from word `step` x 2 of an entry on, the bits that are inputs, where the words from
 * `first` to `last` - 1 are on the image. */
static uint64_t inputs_of(const struct layout *layout, size_t step, size_t first, size_t last)
{
    const size_t tail = layout->field->channels % 32;
    uint64_t bits = 0;
    for (size_t half = 0, w = 2 * step; half < 2; half++, w++)
        if (w >= first && w < last) {
            const int cut = tail && w % layout->words == layout->words - 1;
            bits |= (uint64_t)(cut ? tail_mask(tail) : 0xFFFFFFFFu) << (32 * half);
        }
    return bits;
}

/* An entry that is on the image but for some pixels; `at` is the first that is. */
static void lay_out_part(const struct layout *layout, const uint32_t *at, size_t first, size_t last,
                         uint8_t *to)
{
    const size_t planes = layout->field->planes, plane_step = layout->field->plane_step;
    first *= layout->words;
    last *= layout->words;
    for (size_t s = 0; s < layout->steps; s++, to += STEP) {
        __m512i codes = _mm512_setzero_si512();
        for (size_t p = planes; p-- > 0;) {
            uint64_t bits = 0;
            for (size_t half = 0, w = 2 * s; half < 2; half++, w++)
                if (w >= first && w < last)
                    bits |= (uint64_t)at[p * plane_step + w - first] << (32 * half);
            codes = _mm512_add_epi8(_mm512_add_epi8(codes, codes), signs_of(bits));
        }
        _mm512_store_si512(to, _mm512_maskz_mov_epi8(mask_of(inputs_of(layout, s, first, last)), codes));
    }
}

/* `count` entries that are wholly on the image. */
ALWAYS_INLINE void lay_out_whole(const struct layout *layout, const __mmask64 *masks, const int masked,
                                 const uint32_t *from, size_t count, size_t planes, uint8_t *to)
{
    const size_t plane_step = layout->field->plane_step, pairs = layout->run / 2;
    const size_t step = layout->stride * layout->words;
    for (size_t e = 0; e < count; e++, from += step, to += layout->each) {
        for (size_t s = 0; s < pairs; s++) {
            const __m512i codes = codes_of(from + 2 * s, planes, plane_step, 1);
            _mm512_store_si512(to + s * STEP,
                               masked ? _mm512_maskz_mov_epi8(masks[s], codes) : codes);
        }
        if (masked && pairs < layout->steps) {
            const __m512i codes = codes_of(from + 2 * pairs, planes, plane_step, 0);
            _mm512_store_si512(to + pairs * STEP, _mm512_maskz_mov_epi8(masks[pairs], codes));
        }
    }
}

static void lay_out_row(const struct layout *layout, const __mmask64 *masks, const uint32_t *image,
                        uint8_t *to)
{
    const struct bnnlab_field *field = layout->field;
    const size_t before = field->window->padding_across, edge = field->width + before;
    for (size_t e = 0, some; e < layout->entries; e += some, to += some * layout->each) {
        const size_t at = e * layout->stride; /* on the padded image */
        const size_t first = at < before ? before - at : 0;
        const size_t last = at < edge ? smaller(edge - at, layout->taps) : 0;
        const uint32_t *from = image + (at < before ? 0 : at - before) * layout->words;
        some = 1;
        if (first >= last) {
            memset(to, 0, layout->each);
        } else if (last - first < layout->taps) {
            lay_out_part(layout, from, first, last, to);
        } else {
            some = smaller(layout->entries - e, (edge - at - layout->taps) / layout->stride + 1);
            if (layout->masked)
                lay_out_whole(layout, masks, 1, from, some, field->planes, to);
            else if (field->planes > 1)
                lay_out_whole(layout, masks, 0, from, some, field->planes, to);
            else
                lay_out_whole(layout, masks, 0, from, some, 1, to);
        }
    }
}

/* The rows that `down` rows of places need, from one on; masks say which bits of steps are inputs. */
static void lay_out(const struct layout *layout, const __mmask64 *masks, size_t first, size_t down,
                    struct bnnlab_rows *rows)
{
    const struct bnnlab_field *field = layout->field;
    const struct bnnlab_window *window = field->window;
    const size_t stride = window->stride_down;
    for (size_t r = 0; r < layout->residues; r++)
        for (size_t q = 0; q <= down - 1 + (window->height - 1 - r) / stride; q++) {
            const size_t y = (first + q) * stride + r - window->padding_down; /* wraps above it */
            uint8_t *to = rows->bytes + (r * layout->quota + q) * layout->row;
            if (y < field->height)
                lay_out_row(layout, masks, field->image + y * field->width * layout->words, to);
            else
                memset(to, 0, layout->row);
        }
}

/* Tiles of places where `down` rows of them are laid out. Where whole tiles fill a row of places, none
 * needs more than that row. */
static size_t rows_of(const struct layout *layout, size_t down)
{
    const size_t across = layout->field->across;
    return across % TILE_ROWS ? (down - 1) * layout->pitch + across : down * across;
}

static size_t tiles_of(const struct layout *layout, size_t down)
{
    return (rows_of(layout, down) + TILE_ROWS - 1) / TILE_ROWS;
}

static void find_tiles(const struct layout *layout, size_t down, struct bnnlab_rows *rows)
{
    const size_t across = layout->field->across, pitch = layout->pitch;
    const int dense = across % TILE_ROWS == 0 || pitch == across;
    rows->row = layout->skip * layout->each;
    rows->pitch = dense ? 1 : pitch;
    rows->kept = dense ? 1 : across;
    rows->tiles = tiles_of(layout, down);
    for (size_t t = 0; t < rows->tiles; t++) {
        const size_t place = t * TILE_ROWS, y = across % TILE_ROWS ? 0 : place / across;
        rows->at[t] = (uint32_t)(y * layout->row + (place - y * across) * rows->row);
    }
}

static void find_steps(const struct layout *layout, struct bnnlab_rows *rows)
{
    const struct bnnlab_window *window = layout->field->window;
    rows->steps = 0;
    for (size_t v = 0; v < window->height; v++)
        for (size_t u = 0; u < window->width; u += layout->taps)
            for (size_t s = 0; s < layout->steps; s++)
                rows->offsets[rows->steps++] = (uint32_t)(
                    (v % window->stride_down * layout->quota + v / window->stride_down) * layout->row +
                    u * layout->each + s * STEP);
}

/* The layout of every pixel once, or of every window's row. */
static struct layout layout_of(const struct bnnlab_field *field, int once)
{
    const struct bnnlab_window *window = field->window;
    const size_t stride = field->across > 1 ? window->stride_across : 1;
    const size_t padded = field->width + 2 * window->padding_across;
    struct layout layout = {.field = field, .once = once, .words = BNNLAB_WORDS(field->channels)};
    layout.taps = once ? 1 : window->width;
    layout.run = layout.taps * layout.words;
    layout.steps = steps_of(layout.run * 32);
    layout.masked = field->channels % 32 || layout.run % 2;
    layout.stride = once ? 1 : stride;
    layout.skip = once ? stride : 1;
    layout.entries = once ? (padded + stride - 1) / stride * stride : field->across;
    layout.pitch = layout.entries / layout.skip;
    /* Rows a multiple of 2 KiB apart would share few places in the first cache. */
    layout.each = STEP * (layout.steps + (layout.steps % 32 == 0));
    layout.row = layout.entries * layout.each;
    layout.residues = smaller(window->stride_down, window->height);
    return layout;
}

int bnnlab_amx_convolve(const struct bnnlab_field *field, const uint32_t *panels, const int32_t *ones,
                        size_t n, int32_t *out)
{
    const struct bnnlab_window *window = field->window;
    const size_t places = field->down * field->across, longest = ROW_BYTES / STEP;
    const size_t inputs = window->height * window->width * field->channels;
    if (field->planes > MOST_PLANES || places < LEAST_PLACES || places * n < LEAST_WORK / inputs ||
        field->width > longest || window->padding_across > longest)
        return 0;
    const struct layout once = layout_of(field, 1), apart = layout_of(field, 0);
    /* An eighth more tiles are worth it. */
    const int single = 8 * tiles_of(&once, field->down) * window->width * once.steps <=
                       9 * tiles_of(&apart, field->down) * apart.steps;
    struct layout layout = single ? once : apart;
    const size_t segments = window->height * (single ? window->width : 1);
    /* Tiles go on beyond the last place: by their own rows, and what a window takes of the next. */
    const size_t beyond = layout.each * (TILE_ROWS * layout.skip + window->width);
    const size_t beside = (window->height - 1) / window->stride_down;
    if (segments * layout.steps > MOST_STEPS || beyond > ROW_BYTES)
        return 0;
    const size_t fit = (ROW_BYTES - beyond) / layout.row / layout.residues;
    if (fit <= beside)
        return 0;
    const size_t most = tile_rows(field->down, fit - beside);
    layout.quota = most + beside;
    __mmask64 masks[MOST_STEPS];
    for (size_t s = 0; s < layout.steps; s++)
        masks[s] = mask_of(inputs_of(&layout, s, 0, layout.run));
    const struct bnnlab_walk walk = {.segments = segments, .length = layout.run, .b_step = layout.run,
                                     .panel_words = segments * layout.run};
    const struct bnnlab_finish finish = {.every = (int32_t)(inputs * ((1u << field->planes) - 1)),
                                         .planes = field->planes, .ones = ones};
    /* Many channels of a window's rows would not stay there. */
    const enum bnnlab_kind kind = single && segments * layout.steps <= 36 ? BNNLAB_IMAGE : BNNLAB_CODES;
    struct bnnlab_rows rows;
    find_steps(&layout, &rows);
    for (size_t y = 0, some; y < field->down; y += some) {
        some = smaller(most, field->down - y);
        lay_out(&layout, masks, field->first + y, some, &rows);
        find_tiles(&layout, some, &rows);
        bnnlab_amx_multiply(&rows, kind, &walk, panels, &finish, rows_of(&layout, some), n,
                            out + y * field->across * n);
    }
    return 1;
}
