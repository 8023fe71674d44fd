/* Whole networks, in plain C: no allocation, no state, nothing of any operating system or processor.
 *
 * A batch goes through all layers some samples at a time, so that what runs between layers stays in
 * the cache; of a layer, sums are made a tile at a time, which becomes codes or numbers before the next
 * one is begun. Integer sums wrap like unsigned numbers: the final ones fit where a program is sound,
 * and nothing is undefined where it is not.
 */
#include "family.h"
#include "functions.h"
#include "plan.h"

#include <float.h>
#include <string.h>

/* This file is compiled once for each instruction set, under a name of its own: its loops are plain C,
 * and the wider registers are, the faster they go. The sizes are one for all. */
#ifndef BNNLAB_RUN_WITH
#define BNNLAB_RUN_WITH bnnlab_network_run_with

#include "fits.h"

size_t bnnlab_places(size_t size, size_t window, size_t stride, size_t padding)
{
    const size_t padded = plus(size, times(2, padding));
    if (window == 0 || stride == 0 || padded == SIZE_MAX || padded < window)
        return 0;
    return (padded - window) / stride + 1;
}

size_t bnnlab_network_outputs(const struct bnnlab_network *network)
{
    if (!network || !network->layers || network->count == 0)
        return 0;
    struct image taken = {0};
    for (size_t i = 0; i < network->count; i++) {
        const struct bnnlab_layer *layer = network->layers + i;
        if (!layer_fits(layer) || (i != 0 && layer->kind != BNNLAB_SUMS) ||
            (i != 0 && (layer->channels != taken.channels || layer->height != taken.high ||
                        layer->width != taken.wide || layer->given.planes != taken.planes)) ||
            (i == 0 && layer->given.planes != 0) ||
            (!NONE(layer->totals) && layer->given.planes != 0))
            return 0;
        taken = taken_of(layer);
    }
    const size_t outputs = times(taken.channels, times(taken.high, taken.wide));
    return outputs == SIZE_MAX ? 0 : outputs;
}

size_t bnnlab_network_workspace(const struct bnnlab_network *network, size_t samples, size_t length,
                                size_t threads)
{
    if (bnnlab_network_outputs(network) == 0 || threads == 0 || length == 0)
        return 0;
    const size_t each = samples / threads + (samples % threads != 0);
    const size_t total = times(threads, plan_of(network, each, length).total);
    return total == SIZE_MAX ? 0 : total;
}

#endif

struct run {
    const struct bnnlab_family *family;
    const struct bnnlab_network *network;
    struct plan plan;
    size_t length;
    unsigned char *images[2], *state, *aside, *rows, *tiles[2], *bits;
};

/* Numbers [rows, channels, pixels] as [rows, pixels, channels]. */
static void innermost(const float *x, size_t rows, size_t channels, size_t pixels, float *out)
{
    if (channels == 1 || pixels == 1) {
        memcpy(out, x, 4 * rows * channels * pixels);
        return;
    }
    for (size_t s = 0; s < rows; s++, x += channels * pixels, out += channels * pixels)
        for (size_t c = 0; c < channels; c++)
            for (size_t i = 0; i < pixels; i++)
                out[i * channels + c] = x[c * pixels + i];
}

static uint32_t code_at(const struct image *image, size_t pixel, size_t channel)
{
    const uint32_t *word = image->bits + pixel * image->words + channel / 32;
    uint32_t code = 0;
    for (size_t p = 0; p < image->planes; p++)
        code |= (word[p * image->plane] >> (channel % 32) & 1) << p;
    return code;
}

static float value_of(const struct bnnlab_values *values, uint32_t code)
{
    return (float)(((double)values->gap * code + values->low) * values->step);
}

/* What codes stand for, [rows, pixels, channels]. */
static void decode(const struct image *image, const struct bnnlab_values *values, size_t rows, float *out)
{
    for (size_t s = 0; s < rows; s++)
        for (size_t y = 0; y < image->high; y++)
            for (size_t x = 0; x < image->wide; x++) {
                const size_t pixel = pixel_at(image, s, y, x);
                for (size_t c = 0; c < image->channels; c++)
                    *out++ = value_of(values, code_at(image, pixel, c));
            }
}

/* Where the pixel of that number lies among those with a border. */
static size_t pixel_of(const struct image *image, size_t number)
{
    const size_t pixels = image->high * image->wide;
    if (!image->pad_down && !image->pad_across)
        return number;
    const size_t at = number % pixels;
    return pixel_at(image, number / pixels, at / image->wide, at % image->wide);
}

/* How many pixels from that one on lie one after another: as far as its row goes, where there is a border. */
static size_t pixels_from(const struct image *image, size_t number)
{
    return image->pad_down || image->pad_across ? image->wide - number % image->wide : SIZE_MAX;
}

/* A pixel's codes to its bits, as their patterns; the planes of `bits` are `step` words apart. */
static void write_patterns(const struct bnnlab_layer *layer, const uint32_t *bits, size_t step, size_t n,
                           const struct image *to, uint32_t *row)
{
    const size_t planes = bits_of(layer->levels);
    for (size_t p = 0; p < to->planes; p++)
        for (size_t w = 0; w < BNNLAB_WORDS(n); w++)
            row[p * to->plane + w] = 0;
    for (size_t j = 0; j < n; j++) {
        size_t place = 0;
        for (size_t p = 0; p < planes; p++)
            place |= (size_t)(bits[p * step + j / 32] >> (j % 32) & 1) << p;
        const uint32_t pattern = layer->patterns.at[smaller(place, layer->levels)];
        for (size_t p = 0; p < to->planes; p++)
            row[p * to->plane + j / 32] |= (pattern >> p & 1) << (j % 32);
    }
}

/* Bits of a tile, planes [m, words], to where they belong: as they are, or as the patterns of codes. */
static void scatter(const struct bnnlab_layer *layer, const uint32_t *bits, size_t m, size_t n,
                    size_t first_output, const struct image *to, size_t first_pixel)
{
    const size_t words = BNNLAB_WORDS(n), planes = bits_of(layer->levels);
    for (size_t i = 0, some; i < m; i += some, bits += some * words) {
        uint32_t *row = to->bits + pixel_of(to, first_pixel + i) * to->words + first_output / 32;
        some = smaller(m - i, pixels_from(to, first_pixel + i));
        for (size_t e = 0; e < some; e++, row += to->words) {
            if (layer->patterns.length) {
                write_patterns(layer, bits + e * words, m * words, n, to, row);
                continue;
            }
            for (size_t p = 0; p < planes; p++)
                for (size_t w = 0; w < words; w++)
                    row[p * to->plane + w] = bits[(p * m + e) * words + w];
        }
    }
}

/* What becomes of a tile of sums [m, n], the m following one another from a pixel on. */
static int finish(const struct run *run, const struct bnnlab_layer *layer, void *sums, int real, size_t m,
                  size_t n, size_t first_output, const struct image *to, size_t first_pixel)
{
    if (layer->levels == 0) {
        const size_t scales = layer->scale.length > 1, shifts = layer->shift.length > 1;
        const float *scale = layer->scale.at + scales * first_output;
        const float *shift = layer->shift.at + shifts * first_output;
        const float *given = sums;
        const int32_t *whole = sums;
        for (size_t i = 0; i < m; i++) {
            float *out = to->reals + (first_pixel + i) * to->channels + first_output;
            for (size_t j = 0; j < n; j++)
                out[j] = (real ? given[i * n + j] : (float)whole[i * n + j]) * scale[scales * j] +
                         shift[shifts * j];
            if (layer->function == BNNLAB_RELU)
                for (size_t j = 0; j < n; j++)
                    out[j] = out[j] < 0.0f ? 0.0f : out[j];
        }
        return 0;
    }
    const size_t planes = bits_of(layer->levels);
    const size_t block = layer->levels == 1 ? n : smaller(n, BNNLAB_BLOCK);
    const int direct = m == 1 && planes == 1 && layer->patterns.length == 0;
    int nan = 0;
    for (size_t j = 0; j < n; j += block) {
        const size_t some = smaller(block, n - j), output = first_output + j;
        const int32_t *values = sums;
        if (some != n) {
            int32_t *copy = (int32_t *)run->tiles[1];
            for (size_t i = 0; i < m; i++)
                memcpy(copy + i * some, (const int32_t *)sums + i * n + j, 4 * some);
            values = copy;
        }
        uint32_t *bits = (uint32_t *)run->bits;
        if (direct) {
            bits = to->bits + pixel_of(to, first_pixel) * to->words + output / 32;
        }
        nan |= run->family->threshold(values, real, m, some, layer->thresholds.at + layer->levels * output,
                                      layer->levels, planes, layer->flip.at + output / 32, bits);
        if (!direct)
            scatter(layer, bits, m, some, output, to, first_pixel);
    }
    return nan;
}

/* Of every down x across rows of n numbers the largest, in place. */
#define POOL(type, name)                                                                             \
    static void name(type *x, size_t high, size_t wide, size_t row, size_t n, size_t down,           \
                     size_t across)                                                                  \
    {                                                                                                \
        type *to = x;                                                                                \
        for (size_t y = 0; y < high; y++)                                                            \
            for (size_t z = 0; z < wide; z++, to += n) {                                             \
                const type *from = x + (y * down * row + z * across) * n;                            \
                if (to != from)                                                                      \
                    memmove(to, from, n * sizeof *x);                                                \
                for (size_t e = 1; e < down * across; e++) {                                         \
                    const type *other = from + (e / across * row + e % across) * n;                  \
                    for (size_t j = 0; j < n; j++)                                                   \
                        to[j] = to[j] < other[j] ? other[j] : to[j];                                 \
                }                                                                                    \
            }                                                                                        \
    }
POOL(int32_t, pool_integers)
POOL(float, pool_reals)

/* Of the pixels of a whole image. */
static void pool_image(const struct bnnlab_layer *layer, const struct image *from, size_t rows,
                       const struct image *to)
{
    const size_t down = layer->pool_down, across = layer->pool_across;
    if (from->planes == 0) {
        const size_t size = from->high * from->wide * from->channels;
        for (size_t s = 0; s < rows; s++) {
            pool_reals(from->reals + s * size, to->high, to->wide, from->wide, from->channels, down, across);
            memcpy(to->reals + s * to->high * to->wide * to->channels, from->reals + s * size,
                   4 * to->high * to->wide * to->channels);
        }
        return;
    }
    for (size_t s = 0; s < rows; s++)
        for (size_t y = 0; y < to->high; y++)
            for (size_t x = 0; x < to->wide; x++) {
                uint32_t *row = to->bits + pixel_at(to, s, y, x) * to->words;
                for (size_t p = 0; p < to->planes; p++)
                    for (size_t w = 0; w < to->words; w++)
                        row[p * to->plane + w] = 0;
                for (size_t c = 0; c < to->channels; c++) {
                    uint32_t largest = 0;
                    for (size_t e = 0; e < down * across; e++) {
                        const size_t pixel =
                            pixel_at(from, s, y * down + e / across, x * across + e % across);
                        const uint32_t code = code_at(from, pixel, c);
                        largest = code > largest ? code : largest;
                    }
                    for (size_t p = 0; p < to->planes; p++)
                        row[p * to->plane + c / 32] |= (largest >> p & 1) << (c % 32);
                }
            }
}

/* Tiles -------------------------------------------------------------------------------------------- */

/* The windows from `first` on (of an image: of one sample), as rows of bits that leave no gaps. */
static void lay_bits(const struct bnnlab_layer *layer, const struct sizes *is, const struct image *image,
                     size_t sample, size_t first, size_t count, uint32_t *rows)
{
    const struct bnnlab_window *window = &layer->window;
    const size_t channels = image->channels;
    for (size_t p = 0; p < image->planes; p++)
        for (size_t i = first; i < first + count; i++, rows += is->row_words) {
            const size_t s = is->dense ? sample + i : sample;
            const size_t top = is->dense ? 0 : i / is->across * window->stride_down;
            const size_t left = is->dense ? 0 : i % is->across * window->stride_across;
            const size_t wide = image->wide + 2 * image->pad_across;
            const uint32_t *from = image->bits + p * image->plane +
                                   ((s * (image->high + 2 * image->pad_down) + top) * wide + left);
            size_t bit = 0;
            memset(rows, 0, 4 * is->row_words);
            for (size_t y = 0; y < window->height; y++, from += wide)
                for (size_t x = 0; x < window->width; x++, bit += channels) {
                    const uint64_t word = (uint64_t)from[x] << (bit % 32);
                    rows[bit / 32] |= (uint32_t)word;
                    if (bit % 32 + channels > 32)
                        rows[bit / 32 + 1] |= (uint32_t)(word >> 32);
                }
        }
}

/* A few bytes, for which a call would take longer than the copy. */
static void copy(unsigned char *to, const unsigned char *from, size_t bytes)
{
    for (; bytes >= 4; bytes -= 4, to += 4, from += 4)
        memcpy(to, from, 4);
    for (; bytes; bytes--)
        *to++ = *from++;
}

/* The windows of one sample from `first` on, as rows of numbers of `size` bytes, zeros beyond. */
static void lay_numbers(const struct bnnlab_layer *layer, const struct sizes *is,
                        const unsigned char *image, size_t size, size_t first, size_t count,
                        unsigned char *rows)
{
    const struct bnnlab_window *window = &layer->window;
    const size_t pixel = layer->channels * size, run = window->width * pixel;
    for (size_t i = first; i < first + count; i++) {
        const size_t top = i / is->across * window->stride_down;
        const size_t left = i % is->across * window->stride_across;
        /* Of the taps of a row, those from `begin` to `end` lie on the image. */
        const size_t begin = left < window->padding_across ? window->padding_across - left : 0;
        const size_t edge = layer->width + window->padding_across;
        const size_t end = smaller(window->width, edge > left ? edge - left : 0);
        for (size_t y = 0; y < window->height; y++, rows += run) {
            const size_t at = top + y - window->padding_down; /* wraps above the image */
            if (at >= layer->height || begin >= end) {
                memset(rows, 0, run);
                continue;
            }
            const unsigned char *from =
                image + (at * layer->width + left + begin - window->padding_across) * pixel;
            if (end - begin < window->width)
                memset(rows, 0, run);
            if (run > 64)
                memcpy(rows + begin * pixel, from, (end - begin) * pixel);
            else
                copy(rows + begin * pixel, from, (end - begin) * pixel);
        }
    }
}

/* sums = or += factor * part, wrapping. */
static void accumulate(uint32_t *sums, const uint32_t *part, uint32_t factor, size_t count, int begun)
{
    for (size_t e = 0; e < count; e++)
        sums[e] = (begun ? sums[e] : 0) + factor * part[e];
}

/* In which way windows lie on the image, one after another. */
struct ways {
    const struct bnnlab_layer *layer;
    const struct sizes *is;
    size_t down, across;
};

static struct ways ways_from(const struct bnnlab_layer *layer, const struct sizes *is, size_t place)
{
    const struct ways ways = {layer, is, place / is->across, place % is->across};
    return ways;
}

static size_t next_way(struct ways *ways)
{
    if (ways->layer->ways_down.length == 0)
        return 0;
    const size_t way = ways->layer->ways_down.at[ways->down] * ways->is->ways_across +
                       ways->layer->ways_across.at[ways->across];
    if (++ways->across == ways->is->across) {
        ways->across = 0;
        ways->down++;
    }
    return way;
}

/* Not 0 where there is a number but 0. */
static uint32_t any_of(const int32_t *numbers, size_t count)
{
    uint32_t any = 0;
    for (size_t e = 0; e < count; e++)
        any |= (uint32_t)numbers[e];
    return any;
}

/* Integer sums of the windows `first` ... of a sample (dense: of the samples from that one on) with the
 * outputs from `output` on, as the tile [windows, n]. */
static void integer_tile(const struct run *run, const struct bnnlab_layer *layer, const struct sizes *is,
                         const struct image *image, size_t sample, size_t first, size_t count,
                         size_t output, size_t n, const uint32_t *laid)
{
    const struct bnnlab_window *window = &layer->window;
    const size_t planes = image->planes, words = is->words;
    const size_t wide = image->wide + 2 * image->pad_across;
    const size_t image_words = (image->high + 2 * image->pad_down) * wide * words;
    const size_t panel = is->row_words * BNNLAB_LANES;
    const int32_t base = (int32_t)is->inputs;
    const struct bnnlab_window bordered = {window->height, window->width, window->stride_down,
                                           window->stride_across, 0, 0}; /* the image has its border */
    struct bnnlab_walk walk = {is->row_words, count * is->row_words, 1, is->row_words, 0, 0, is->row_words};
    size_t calls = 1, m = count;
    const uint32_t *a = laid, *from = laid;
    size_t call_step = 0;
    if (!laid && is->dense) {
        walk.row_step = image_words;
        walk.plane_step = image->plane;
        from = image->bits + (sample + first) * image_words;
    } else if (!laid) {
        const struct bnnlab_walk rows = {window->stride_across * words, image->plane, window->height,
                                         window->width * words, wide * words, window->width * words,
                                         is->row_words};
        walk = rows;
        m = is->across;
        calls = count / m;
        call_step = window->stride_down * wide * words;
        from = image->bits + sample * image_words + first / m * call_step;
    }
    int begun = 0;
    for (size_t j = 0; j < layer->sign_planes; j++)
        for (size_t p = 0; p < planes; p += 8, begun = 1) {
            const size_t some = smaller(8, planes - p);
            const uint32_t factor = (uint32_t)layer->factors.at[j] << p;
            const int alone = layer->sign_planes == 1 && planes <= 8 && factor == 1;
            int32_t *tile = (int32_t *)run->tiles[alone ? 0 : 1];
            const uint32_t *b = layer->panels.at +
                                (j * panels_of(layer->outputs) + output / BNNLAB_LANES) * panel;
            const int32_t *ones = is->signs ? NULL : layer->ones.at + j * layer->outputs + output;
            a = from + p * walk.plane_step;
            const struct bnnlab_field field = {
                image->bits + sample * image_words + p * image->plane, some, image->plane,
                image->high + 2 * image->pad_down, wide, image->channels, &bordered,
                first / is->across, calls, m};
            const int convolved = !laid && !is->dense && run->family->convolve &&
                                  run->family->convolve(&field, b, ones, n, tile);
            for (size_t c = 0; !convolved && c < calls; c++)
                run->family->product(a + c * call_step, &walk, some, b, ones, base, m, n,
                                     tile + c * m * n);
            if (!alone)
                accumulate((uint32_t *)run->tiles[0], (const uint32_t *)tile, factor, count * n, begun);
        }
    uint32_t *sums = (uint32_t *)run->tiles[0];
    if (!is->signs && layer->given.gap != 1)
        for (size_t e = 0; e < count * n; e++)
            sums[e] *= (uint32_t)layer->given.gap;
    struct ways ways = ways_from(layer, is, first);
    uint32_t any = 0; /* of the offsets of windows that lie as the last one: inside an image often none */
    for (size_t i = 0, last = SIZE_MAX; layer->offsets.length && i < count; i++) {
        const size_t way = next_way(&ways);
        const int32_t *offsets = layer->offsets.at + way * layer->outputs + output;
        if (way != last)
            any = any_of(offsets, n);
        for (size_t e = 0; any && e < n; e++)
            sums[i * n + e] += (uint32_t)offsets[e];
        last = way;
    }
    if (layer->halved) /* they are even; shifted like signed numbers */
        for (size_t e = 0; e < count * n; e++)
            sums[e] = sums[e] >> 1 | (sums[e] & 0x80000000u);
}

/* Whether nothing but thresholds comes between the sums of one product and signs, which lie one after
 * another. */
static int straight(const struct bnnlab_layer *layer, const struct sizes *is, const struct image *to)
{
    return is->dense && layer->levels == 1 && layer->patterns.length == 0 && layer->sign_planes == 1 &&
           layer->factors.at[0] == 1 && !to->pad_down && !to->pad_across;
}

/* Signs straight from a product of codes, where the kernels have that. Returns whether they are done. */
static int codes_to_signs(const struct run *run, const struct bnnlab_layer *layer,
                          const struct sizes *is, const struct image *image, size_t rows,
                          const struct image *to)
{
    if (!run->family->product_codes || layer->operands != BNNLAB_BITS_BY_SIGNS ||
        !straight(layer, is, to) || laid_out(is) || image->planes > 8 ||
        !(is->signs || layer->given.gap == 1) || layer->offsets.length || layer->halved)
        return 0;
    const struct bnnlab_walk walk = {is->row_words, image->plane, 1, is->row_words, 0, 0, is->row_words};
    const struct bnnlab_codes codes = {layer->thresholds.at, 1, layer->flip.at, to->bits, to->words, 0};
    return run->family->product_codes(image->bits, &walk, image->planes, layer->panels.at,
                                      is->signs ? NULL : layer->ones.at, (int32_t)is->inputs, rows,
                                      layer->outputs, &codes);
}

static float part_of(const struct bnnlab_layer *layer, size_t plane)
{
    return (float)layer->factors.at[plane] * (layer->halved ? 0.5f : 1.0f);
}

/* Real sums of rows [m, inputs] with all outputs. Returns whether a NaN was met. */
static int real_tile(const struct run *run, const struct bnnlab_layer *layer, const struct sizes *is,
                     const float *rows, size_t m)
{
    const size_t n = layer->outputs;
    float *sums = (float *)run->tiles[0], *part = (float *)run->tiles[1];
    if (layer->operands == BNNLAB_REALS_BY_REALS) {
        run->family->real_product(rows, layer->weights.at, m, n, is->inputs, sums);
        for (size_t e = 0; layer->bias.length && e < m * n; e++)
            sums[e] += layer->bias.at[e % n];
        return 0;
    }
    const size_t panels = panels_of(n) * is->row_words * BNNLAB_LANES;
    int nan = 0;
    for (size_t j = 0; j < layer->sign_planes; j++) {
        const float factor = part_of(layer, j);
        nan |= run->family->sign_product(rows, layer->panels.at + j * panels, m, n, is->inputs,
                                         j ? part : sums);
        for (size_t e = 0; factor != 1.0f && j == 0 && e < m * n; e++)
            sums[e] *= factor;
        for (size_t e = 0; j != 0 && e < m * n; e++)
            sums[e] += part[e] * factor;
    }
    return nan;
}

/* Whether all numbers are within +-limit; a NaN is not. */
static int within(const float *x, size_t count, float limit)
{
    int32_t off = 0;
    for (size_t e = 0; e < count; e++)
        off |= !(x[e] <= limit) | !(x[e] >= -limit);
    return !off;
}

/* A first layer's inputs as bytes: numbers of the form (low + 2**shift * byte) / 256. */
struct grid {
    int32_t low;
    unsigned shift;
    size_t largest;
};

/* Whether the numbers lie on such a grid, and are not too many for exact sums in float32. */
static int on_a_grid(const float *x, size_t count, struct grid *grid)
{
    int32_t low = INT32_MAX, high = INT32_MIN, different = 0, off = 0;
    if (count == 0 || !within(x, count, 128.0f))
        return 0;
    const int32_t first = (int32_t)(x[0] * 256.0f);
    for (size_t e = 0; e < count; e++) {
        const float unit = x[e] * 256.0f;
        const int32_t value = (int32_t)unit;
        off |= (float)value != unit;
        different |= value ^ first;
        low = value < low ? value : low;
        high = value > high ? value : high;
    }
    /* All differences are multiples of the lowest bit in which any two numbers differ. */
    grid->low = low;
    grid->shift = 0;
    while (different != 0 && !(different >> grid->shift & 1))
        grid->shift++;
    grid->largest = (size_t)(high > -low ? high : -low);
    return !off && ((high - low) >> grid->shift) <= 255;
}

static void as_bytes(const float *x, size_t count, const struct grid *grid, uint8_t *bytes)
{
    for (size_t e = 0; e < count; e++)
        bytes[e] = (uint8_t)(((int32_t)(x[e] * 256.0f) - grid->low) >> grid->shift);
}

/* Real sums again, of bytes, with some outputs: exact, as those of the numbers are. */
static void byte_tile(const struct run *run, const struct bnnlab_layer *layer, const struct sizes *is,
                      const uint8_t *rows, const struct grid *grid, size_t first, size_t count,
                      size_t output, size_t n)
{
    const size_t panel = is->row_words * BNNLAB_LANES;
    uint32_t *sums = (uint32_t *)run->tiles[0], *part = (uint32_t *)run->tiles[1];
    for (size_t j = 0; j < layer->sign_planes; j++) {
        const uint32_t factor = (uint32_t)layer->factors.at[j];
        const uint32_t *b =
            layer->panels.at + (j * panels_of(layer->outputs) + output / BNNLAB_LANES) * panel;
        const int alone = layer->sign_planes == 1 && factor == 1;
        run->family->bytes_product(rows, b, count, n, is->inputs, (int32_t *)(alone ? sums : part));
        if (!alone)
            accumulate(sums, part, factor, count * n, j != 0);
    }
    /* What the bytes leave out of the numbers, of the windows that lie in the same way. */
    const float unit = layer->halved ? 1.0f / 512 : 1.0f / 256;
    float *reals = (float *)run->tiles[0];
    struct ways ways = ways_from(layer, is, first);
    for (size_t i = 0, last = SIZE_MAX; i < count; i++) {
        const size_t way = next_way(&ways);
        const int32_t *totals = layer->totals.at + way * layer->outputs + output;
        for (size_t e = 0; way != last && e < n; e++)
            part[e] = (uint32_t)grid->low * (uint32_t)totals[e];
        last = way;
        for (size_t e = i * n; e < (i + 1) * n; e++) {
            int32_t sum;
            memcpy(&sum, sums + e, 4);
            const float exact = (float)(int32_t)(((uint32_t)sum << grid->shift) + part[e - i * n]) * unit;
            memcpy(reals + e, &exact, 4);
        }
    }
}

/* The least sum of bytes that reaches a threshold, the key of a real sum: both are whole numbers times
 * a power of two, so that nothing is lost. */
static int32_t least_sum(int32_t key, const struct grid *grid, int32_t total, float units)
{
    const int32_t pattern = key < 0 ? key ^ 0x7fffffff : key;
    float number;
    memcpy(&number, &pattern, 4);
    number *= units;
    /* Sums are below 2**24: what is beyond, all of them reach, or none, as with keys of no number. */
    const float beyond = key < 0 ? -0x1p30f : 0x1p30f;
    const float real = size_of(number) < 0x1p30f ? number : beyond;
    const int32_t least = (int32_t)real + ((float)(int32_t)real < real); /* rounded up */
    const int64_t left = least - (int64_t)grid->low * total, last = ((int64_t)1 << grid->shift) - 1;
    return (int32_t)(left > 0 ? (left + last) >> grid->shift : -(-left >> grid->shift));
}

/* Signs straight from a product of bytes, the same way; of a few rows, their sums are made faster than
 * these thresholds. */
static int bytes_to_signs(const struct run *run, const struct bnnlab_layer *layer,
                          const struct sizes *is, const uint8_t *bytes, const struct grid *grid,
                          size_t rows, const struct image *to)
{
    const size_t n = layer->outputs;
    int32_t *least = (int32_t *)run->tiles[0];
    if (!run->family->bytes_codes || rows < LEAST_ROWS || !straight(layer, is, to) ||
        n > run->plan.tile / 4)
        return 0;
    for (size_t j = 0; j < n; j++)
        least[j] = least_sum(layer->thresholds.at[j], grid, layer->totals.at[j],
                             layer->halved ? 512.0f : 256.0f);
    const struct bnnlab_codes codes = {least, 1, layer->flip.at, to->bits, to->words, 0};
    return run->family->bytes_codes(bytes, layer->panels.at, rows, n, is->inputs, &codes);
}

/* XNOR-Net's K of every place of a sample: the mean over its window of the mean size of a pixel's
 * channels. */
static void mean_sizes(const struct bnnlab_layer *layer, const struct sizes *is, const float *x,
                       float *pixels, float *places)
{
    const struct bnnlab_window *window = &layer->window;
    for (size_t i = 0; i < layer->height * layer->width; i++)
        pixels[i] = mean_size(x + i * layer->channels, layer->channels);
    for (size_t y = 0; y < is->down; y++)
        for (size_t z = 0; z < is->across; z++) {
            double sum = 0;
            for (size_t e = 0; e < is->taps; e++) {
                const size_t at = y * window->stride_down + e / window->width - window->padding_down;
                const size_t side =
                    z * window->stride_across + e % window->width - window->padding_across;
                if (at < layer->height && side < layer->width) /* they wrap before the image */
                    sum += pixels[at * layer->width + side];
            }
            *places++ = (float)(sum / (double)is->taps);
        }
}

/* Integer sums as numbers, those of each window times its factor. */
static void scale_tile(void *sums, const float *factors, size_t windows, size_t n)
{
    for (size_t i = 0; i < windows; i++)
        for (size_t j = 0; j < n; j++) {
            int32_t sum;
            memcpy(&sum, (int32_t *)sums + i * n + j, 4);
            const float scaled = (float)sum * factors[i];
            memcpy((float *)sums + i * n + j, &scaled, 4);
        }
}

/* Signs of an image of numbers, [rows, height, width, channels]. */
static int take_signs(const struct run *run, const float *x, size_t rows, const struct image *to)
{
    int nan = 0;
    memset(to->bits, 0, 4 * to->plane);
    for (size_t y = 0; y < rows * to->high; y++, x += to->wide * to->channels)
        nan |= run->family->pack_signs(x, to->wide, to->channels,
                                       to->bits + pixel_at(to, y / to->high, y % to->high, 0) * to->words);
    return nan;
}

/* A dense or convolutional layer, without the pooling that comes last. Returns whether a NaN was met. */
static int run_sums(const struct run *run, const struct bnnlab_layer *layer, const struct image *from,
                    size_t rows, const struct image *to)
{
    const struct sizes is = sizes_of(layer);
    const size_t numbers = rows * layer->height * layer->width * layer->channels;
    const size_t size = layer->height * layer->width * layer->channels, n = layer->outputs;
    const int whole = integers(layer), scaled = layer->operands == BNNLAB_SCALED_SIGNS;
    struct image bits = *from;
    const float *given = from->reals;
    float *pixels = NULL, *places = NULL;
    struct grid grid = {0, 0, 0};
    int nan = 0, bytes = 0;
    if (scaled) {
        bits = image_of(layer, 1, rows, run->aside);
        pixels = (float *)(run->aside + rounded(bytes_of(&bits, rows)));
        places = pixels + layer->height * layer->width;
        nan |= take_signs(run, given, rows, &bits);
    } else if (!whole && from->planes) {
        decode(from, &layer->given, rows, (float *)run->aside);
        given = (const float *)run->aside;
    } else if (layer->totals.length && on_a_grid(given, numbers, &grid)) {
        size_t largest = times(is.inputs, grid.largest), factors = 0;
        for (size_t j = 0; j < layer->sign_planes; j++)
            factors = plus(factors, (size_t)layer->factors.at[j]);
        bytes = times(largest, factors) < 1 << 24 && is.inputs <= INT32_MAX / 255;
        if (bytes)
            as_bytes(given, numbers, &grid, run->aside);
    }
    if (bytes ? bytes_to_signs(run, layer, &is, run->aside, &grid, rows, to)
              : codes_to_signs(run, layer, &is, from, rows, to))
        return 0;
    const struct group group = group_of(layer, &is, rows, whole || bytes);
    const size_t down = layer->pool_last ? 1 : layer->pool_down;
    const size_t across = layer->pool_last ? 1 : layer->pool_across;
    const size_t windows = is.dense ? rows : is.down / down * down * is.across;
    for (size_t s = 0; s < (is.dense ? 1 : rows); s++) {
        if (scaled && !is.dense)
            mean_sizes(layer, &is, given + s * size, pixels, places);
        for (size_t first = 0; first < windows; first += group.windows) {
            const size_t count = smaller(group.windows, windows - first);
            const void *laid = NULL;
            if (scaled && is.dense)
                for (size_t i = 0; i < count; i++)
                    places[i] = mean_size(given + (first + i) * size, size);
            if (whole && laid_out(&is)) {
                lay_bits(layer, &is, &bits, s, first, count, (uint32_t *)run->rows);
                laid = run->rows;
            } else if (!whole && is.dense) {
                laid = bytes ? (const void *)(run->aside + first * size) : given + first * size;
            } else if (!whole) {
                const unsigned char *image =
                    bytes ? run->aside + s * size : (const unsigned char *)(given + s * size);
                lay_numbers(layer, &is, image, bytes ? 1 : 4, first, count, run->rows);
                laid = run->rows;
            }
            for (size_t output = 0; output < n; output += group.outputs) {
                const size_t some = smaller(group.outputs, n - output);
                void *sums = run->tiles[0];
                size_t pixel = first, done = count;
                if (whole)
                    integer_tile(run, layer, &is, &bits, s, first, count, output, some, laid);
                else if (bytes)
                    byte_tile(run, layer, &is, laid, &grid, is.dense ? 0 : first, count, output, some);
                else
                    nan |= real_tile(run, layer, &is, laid, count);
                if (scaled)
                    scale_tile(sums, places + (is.dense ? 0 : first), count, some);
                if (!is.dense) {
                    const size_t y = first / is.across / down, high = count / is.across / down;
                    const size_t wide = is.across / across;
                    pixel = (s * (is.down / down) + y) * wide;
                    done = high * wide;
                    if (down * across > 1 && whole && !scaled)
                        pool_integers(sums, high, wide, is.across, some, down, across);
                    else if (down * across > 1)
                        pool_reals(sums, high, wide, is.across, some, down, across);
                }
                nan |= finish(run, layer, sums, !whole || scaled, done, some, output, to, pixel);
            }
        }
    }
    if (layer->levels == 0)
        apply(layer->function, to->reals, rows, to->high * to->wide, to->channels);
    return nan;
}

/* Numbers to codes, by thresholds. */
static int run_codes(const struct run *run, const struct bnnlab_layer *layer, const float *x, size_t rows,
                     const struct image *to)
{
    const size_t pixels = rows * layer->height * layer->width, n = layer->channels;
    int nan = 0;
    for (size_t first = 0; first < pixels; first += MOST_ROWS) {
        const size_t count = smaller(MOST_ROWS, pixels - first);
        memcpy(run->tiles[0], x + first * n, 4 * count * n);
        nan |= finish(run, layer, run->tiles[0], 1, count, n, 0, to, first);
    }
    return nan;
}

/* The products of h with W_h, [samples, 4 cells]. Weights of several planes are made numbers, a panel at
 * a time: what a zero weight adds to sums of signs would cancel up to rounding alone. Returns whether a
 * NaN met signs, of which the sums are then left undefined. */
static int recur(const struct run *run, const struct bnnlab_layer *layer, const float *h, size_t samples,
                  float *panel, float *sums)
{
    const size_t n = layer->outputs, k = layer->channels, words = BNNLAB_WORDS(k);
    if (layer->operands == BNNLAB_REALS_BY_REALS) {
        run->family->real_product(h, layer->weights.at, samples, n, k, sums);
        return 0;
    }
    if (layer->sign_planes == 1) {
        const float factor = part_of(layer, 0);
        const int nan = run->family->sign_product(h, layer->panels.at, samples, n, k, sums);
        for (size_t e = 0; factor != 1.0f && e < samples * n; e++)
            sums[e] *= factor;
        return nan;
    }
    float *tile = (float *)run->tiles[0];
    for (size_t first = 0; first < n; first += BNNLAB_LANES) {
        const size_t some = smaller(BNNLAB_LANES, n - first);
        memset(panel, 0, 4 * k * BNNLAB_LANES);
        for (size_t j = 0; j < layer->sign_planes; j++) {
            const uint32_t *signs =
                layer->panels.at + (j * panels_of(n) + first / BNNLAB_LANES) * words * BNNLAB_LANES;
            const float factor = part_of(layer, j);
            for (size_t c = 0; c < k; c++)
                for (size_t lane = 0; lane < BNNLAB_LANES; lane++) {
                    const uint32_t word = signs[c / 32 * BNNLAB_LANES + lane];
                    panel[c * BNNLAB_LANES + lane] += word >> (c % 32) & 1 ? factor : -factor;
                }
        }
        run->family->real_product(h, panel, samples, some, k, tile);
        for (size_t s = 0; s < samples; s++)
            memcpy(sums + s * n + first, tile + s * some, 4 * some);
    }
    return 0;
}

/* The weights that a symbol takes, [4 cells]. */
static void take_column(const struct bnnlab_layer *layer, size_t symbol, float *weights)
{
    const size_t n = layer->outputs, words = BNNLAB_WORDS(n), planes = layer->column_planes;
    const float *values = layer->column_values.at;
    if (planes == 0) {
        memcpy(weights, values + symbol * n, 4 * n);
        return;
    }
    for (size_t w = 0; w < words; w++) {
        uint32_t patterns[32] = {0};
        for (size_t p = 0; p < planes; p++) {
            const uint32_t word = layer->columns.at[(p * layer->symbols + symbol) * words + w];
            for (uint32_t b = 0; b < 32; b++)
                patterns[b] |= (word >> b & 1) << p;
        }
        const size_t some = smaller(32, n - 32 * w);
        for (size_t b = 0; b < some; b++)
            weights[32 * w + b] = values[patterns[b]];
    }
}

/* What a symbol and the state give the gates: column_scale * column + shift + scale * sum. */
static void add_column(const struct bnnlab_layer *layer, const float *weights, float *sums)
{
    const size_t n = layer->outputs;
    const size_t scales = layer->scale.length > 1, column_scales = layer->column_scale.length > 1;
    const float *scale = layer->scale.at, *column_scale = layer->column_scale.at;
    for (size_t j = 0; j < n; j++) {
        const float given = weights[j] * column_scale[column_scales * j] + layer->shift.at[j];
        sums[j] = given + sums[j] * scale[scales * j];
    }
}

/* What cells are before they leave: the values of their codes. Returns whether a NaN was met. */
static int cell_codes(const struct bnnlab_layer *layer, size_t cells, const float *cell, float *leaving)
{
    float values[256];
    int nan = 0;
    for (size_t place = 0; place <= layer->levels; place++)
        values[place] = value_of(&layer->taken, layer->patterns.length ? layer->patterns.at[place]
                                                                       : (uint32_t)place);
    for (size_t block = 0; block < cells; block += BNNLAB_BLOCK) {
        const size_t some = smaller(BNNLAB_BLOCK, cells - block);
        uint32_t places[BNNLAB_BLOCK] = {0};
        for (size_t l = 0; l < layer->levels; l++)
            for (size_t j = 0; j < some; j++) {
                int32_t key;
                memcpy(&key, cell + block + j, 4);
                key ^= key < 0 ? 0x7fffffff : 0;
                places[j] += key >= layer->thresholds.at[layer->levels * block + l * some + j];
            }
        for (size_t j = 0; j < some; j++) {
            const int flip = layer->flip.at[(block + j) / 32] >> ((block + j) % 32) & 1;
            leaving[block + j] = values[flip ? layer->levels - places[j] : places[j]];
            nan |= cell[block + j] != cell[block + j];
        }
    }
    return nan;
}

/* h of some symbols of some texts from the symbol `begin` on, [samples, steps, cells]. Returns whether a
 * NaN met signs or codes. */
static int run_lstm(const struct run *run, const struct bnnlab_layer *layer, const int64_t *symbols,
                     size_t samples, size_t begin, size_t steps, float *out)
{
    const size_t cells = layer->outputs / 4, all = samples * cells;
    float *h = (float *)run->state, *c = h + all;
    float *gates = (float *)run->aside, *left = gates + 4 * all;
    float *panel = left + all, *weights = panel + BNNLAB_LANES * cells;
    int nan = 0;
    for (size_t e = 0; begin == 0 && e < all; e++)
        h[e] = c[e] = 0.0f;
    for (size_t t = 0; t < steps; t++) {
        nan |= recur(run, layer, h, samples, panel, gates);
        for (size_t s = 0; s < samples; s++) {
            float *i = gates + s * 4 * cells, *f = i + cells, *g = f + cells, *o = g + cells;
            float *cell = c + s * cells, *leaving = left + s * cells;
            take_column(layer, (size_t)symbols[s * run->length + begin + t], weights);
            add_column(layer, weights, i);
            sigmoids(i, 2 * cells);
            tanhs(g, cells);
            sigmoids(o, cells);
            for (size_t j = 0; j < cells; j++) {
                const float kept = f[j] * cell[j], added = i[j] * g[j];
                leaving[j] = cell[j] = kept + added;
            }
            if (layer->levels)
                nan |= cell_codes(layer, cells, cell, leaving);
            else
                apply(layer->function, leaving, 1, 1, cells);
            for (size_t j = 0; j < cells; j++)
                h[s * cells + j] = o[j] * leaving[j];
            memcpy(out + (s * steps + t) * cells, h + s * cells, 4 * cells);
        }
    }
    return nan;
}

/* What a network ends with, as numbers [samples, length, channels, height, width]; of each sample some
 * steps from one on. */
static void hand_over(const struct run *run, const struct bnnlab_layer *layer, const struct image *image,
                      size_t rows, size_t begin, size_t steps, float *to)
{
    const size_t pixels = image->high * image->wide;
    for (size_t s = 0; s < rows; s++) {
        float *out = to + (s / steps * run->length + begin + s % steps) * image->channels * pixels;
        for (size_t c = 0; c < image->channels; c++)
            for (size_t i = 0; i < pixels; i++) {
                const size_t pixel = s * pixels + i; /* without a border */
                *out++ = image->planes ? value_of(&layer->taken, code_at(image, pixel, c))
                                       : image->reals[pixel * image->channels + c];
            }
    }
}

/* Some samples through all layers; of texts, some steps from one on. */
static int run_samples(const struct run *run, const void *x, size_t samples, size_t begin, size_t steps,
                       float *out)
{
    const struct bnnlab_layer *layers = run->network->layers, *layer = layers;
    const size_t count = run->network->count, rows = samples * steps;
    struct image from = image_of(layer, 0, rows, run->images[0]);
    int nan = 0, at = 0;
    if (layer->kind != BNNLAB_LSTM) {
        if (layer->channels == 1 || layer->height * layer->width == 1)
            from.reals = (float *)x; /* it is only read */
        else
            innermost(x, rows, layer->channels, layer->height * layer->width, from.reals);
    }
    for (size_t i = 0; i < count; i++, layer++) {
        const struct sizes is = sizes_of(layer);
        const int last = i + 1 == count, pooled = layer->kind == BNNLAB_SUMS && layer->pool_last;
        unsigned char *other = run->images[!at], *into = pooled ? run->images[at] : other;
        struct image to = last ? outputs_of(layer, is.high, is.wide, rows, into)
                               : image_of(layer + 1, layer[1].given.planes, rows, into);
        if (last && !pooled && !to.planes && steps == run->length &&
            (to.channels == 1 || to.high * to.wide == 1))
            to.reals = out;
        const struct image whole = pooled ? outputs_of(layer, is.down, is.across, rows, other) : to;
        if (!pooled && (to.pad_down || to.pad_across))
            memset(to.bits, 0, bytes_of(&to, rows));
        if (layer->kind == BNNLAB_CODES)
            nan |= run_codes(run, layer, from.reals, rows, &whole);
        else if (layer->kind == BNNLAB_LSTM)
            nan |= run_lstm(run, layer, x, samples, begin, steps, whole.reals);
        else
            nan |= run_sums(run, layer, &from, rows, &whole);
        if (pooled && to.planes)
            memset(to.bits, 0, bytes_of(&to, rows));
        if (pooled)
            pool_image(layer, &whole, rows, &to);
        at ^= !pooled;
        from = to;
    }
    if (from.reals != out)
        hand_over(run, layer - 1, &from, rows, begin, steps, out);
    return nan;
}

static int are_symbols(const int64_t *x, size_t count, size_t symbols)
{
    int off = 0;
    for (size_t e = 0; e < count; e++)
        off |= x[e] < 0 || (uint64_t)x[e] >= symbols;
    return !off;
}

int BNNLAB_RUN_WITH(const struct bnnlab_family *family, const struct bnnlab_network *network,
                    const void *x, size_t x_length, size_t samples, size_t length,
                    float *out, size_t out_length, void *workspace, size_t workspace_length)
{
    const size_t outputs = bnnlab_network_outputs(network);
    if (!family)
        return BNNLAB_NO_SUCH_ISA;
    if (outputs == 0)
        return BNNLAB_BAD_PROGRAM;
    const struct bnnlab_layer *first = network->layers;
    const int text = first->kind == BNNLAB_LSTM;
    const size_t inputs =
        text ? length : times(times(first->channels, first->height), first->width);
    struct run run = {family, network, {0}, length, {0}, NULL, NULL, NULL, {0}, NULL};
    if (length == 0 || (!text && length != 1))
        return BNNLAB_BAD_LENGTH;
    run.plan = plan_of(network, samples, length);
    if (run.plan.total == SIZE_MAX || times(samples, inputs) == SIZE_MAX ||
        times(times(samples, length), outputs) == SIZE_MAX)
        return BNNLAB_TOO_LARGE;
    if (x_length != samples * inputs || out_length != samples * length * outputs ||
        workspace_length < run.plan.total || (samples && (!x || !out || !workspace)))
        return BNNLAB_BAD_LENGTH;
    if (!(text ? are_symbols(x, x_length, first->symbols) : within(x, x_length, FLT_MAX)))
        return BNNLAB_BAD_INPUT;
    unsigned char *at = workspace;
    for (int i = 0; i < 2; i++, at += run.plan.image)
        run.images[i] = at;
    for (int i = 0; i < 2; i++, at += run.plan.tile)
        run.tiles[i] = at;
    run.state = at;
    run.aside = at += run.plan.state;
    run.rows = at += run.plan.aside;
    run.bits = at + run.plan.rows;
    int nan = 0;
    for (size_t s = 0; s < samples; s += run.plan.samples) {
        const size_t some = smaller(run.plan.samples, samples - s);
        const void *given = text ? (const void *)((const int64_t *)x + s * length)
                                 : (const void *)((const float *)x + s * inputs);
        for (size_t t = 0; t < length; t += run.plan.steps)
            nan |= run_samples(&run, given, some, t, smaller(run.plan.steps, length - t),
                               out + s * length * outputs);
    }
    return nan ? BNNLAB_NOT_A_NUMBER : BNNLAB_OK;
}
