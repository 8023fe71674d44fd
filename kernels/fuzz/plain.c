/* Networks written down plainly, from what bnnlab_network.h says: sample by sample, one number after
 * another, without tiles, workspaces or kernels. */
#include "cases.h"
#include "../src/functions.h"

#include <math.h>

/* What runs between layers, [height, width, channels]: numbers, or the b of codes. */
struct plain {
    size_t channels, height, width;
    float *reals;
    uint32_t *codes;
};

static int met_nan; /* where a sign or a code was to be taken */

static struct plain make_plain(size_t channels, size_t height, size_t width)
{
    const size_t bytes = 4 * channels * height * width;
    return (struct plain){channels, height, width, make(bytes), make(bytes)};
}

static float value(const struct bnnlab_values *values, uint32_t code)
{
    return (float)(((double)values->gap * code + values->low) * values->step);
}

static int sign_in(const uint32_t *panels, size_t words, size_t output, size_t index)
{
    const uint32_t *row =
        panels + output / BNNLAB_LANES * words * BNNLAB_LANES + output % BNNLAB_LANES;
    return row[index / 32 * BNNLAB_LANES] >> (index % 32) & 1 ? 1 : -1;
}

float add_plainly(const float *x, const uint32_t *panels, size_t output, size_t k)
{
    const size_t words = BNNLAB_WORDS(k);
    float largest = 0.0f, infinite = 0.0f;
    double sum = 0.0;
    int exponent;
    met_nan |= has_nan(x, k);
    for (size_t c = 0; c < k; c++) {
        largest = fabsf(x[c]) > largest ? fabsf(x[c]) : largest;
        if (isinf(x[c]))
            infinite += (float)sign_in(panels, words, output, c) * x[c];
    }
    if (isinf(largest))
        return infinite;
    frexpf(largest, &exponent); /* of a fraction in [0.5, 1) */
    exponent = largest < 0x1p-126f ? -126 : exponent - 1;
    for (size_t c = 0; c < k; c++)
        sum += sign_in(panels, words, output, c) * rint(ldexp(x[c], 28 - exponent));
    return (float)ldexp(sum, exponent - 28);
}

static const uint32_t *plane(const struct bnnlab_layer *layer, size_t j)
{
    return layer->panels.at + layer->panels.length / layer->sign_planes * j;
}

/* Numbers times the signs or the weights of one output. */
static float real_sum(const struct bnnlab_layer *layer, const float *x, size_t k, size_t output)
{
    float sum = 0.0f;
    if (layer->operands == BNNLAB_REALS_BY_REALS) {
        const float *weights = layer->weights.at + output / 16 * 16 * k + output % 16;
        for (size_t c = 0; c < k; c++)
            sum += x[c] * weights[c * 16];
        return layer->bias.length ? sum + layer->bias.at[output] : sum;
    }
    for (size_t j = 0; j < layer->sign_planes; j++) {
        const float factor = (float)layer->factors.at[j] * (layer->halved ? 0.5f : 1.0f);
        const float part = add_plainly(x, plane(layer, j), output, k) * factor;
        sum = j ? sum + part : part;
    }
    return sum;
}

/* Whether codes are the two signs, of which a zero bit, also beyond the border, is -1. */
static int are_signs(const struct bnnlab_layer *layer)
{
    return layer->operands == BNNLAB_SCALED_SIGNS ||
           (layer->given.planes == 1 && layer->given.low == -1 && layer->given.gap == 2);
}

/* Codes times the signs of one output: wrapping integers. */
static int32_t integer_sum(const struct bnnlab_layer *layer, const uint32_t *codes, size_t taps,
                           size_t output, size_t way)
{
    const size_t channels = layer->channels, apart = BNNLAB_WORDS(channels);
    const int by_words = taps > 1 && channels >= BNNLAB_FEW;
    const size_t words = by_words ? taps * apart : BNNLAB_WORDS(taps * channels);
    uint32_t sum = 0;
    for (size_t j = 0; j < layer->sign_planes; j++)
        for (size_t e = 0; e < taps * channels; e++) {
            const size_t index = by_words ? e / channels * apart * 32 + e % channels : e;
            const uint32_t s = (uint32_t)sign_in(plane(layer, j), words, output, index);
            const uint32_t given = are_signs(layer) ? 2 * codes[e] - 1 : codes[e];
            sum += (uint32_t)layer->factors.at[j] * s * given;
        }
    if (!are_signs(layer))
        sum *= (uint32_t)layer->given.gap;
    if (layer->offsets.length)
        sum += (uint32_t)layer->offsets.at[way * layer->outputs + output];
    return layer->halved ? (int32_t)(sum >> 1 | (sum & 0x80000000u)) : (int32_t)sum;
}

/* The code of a sum; `key`: an integer, or the bits of a float. */
static uint32_t code_of(const struct bnnlab_layer *layer, size_t outputs, size_t j, int32_t key, int real)
{
    const size_t block = j / BNNLAB_BLOCK * BNNLAB_BLOCK;
    const size_t some = outputs - block < BNNLAB_BLOCK ? outputs - block : BNNLAB_BLOCK;
    size_t place = 0;
    met_nan |= real && (key & 0x7fffffff) > 0x7f800000;
    if (real && key < 0)
        key ^= 0x7fffffff;
    for (size_t l = 0; l < layer->levels; l++)
        place += key >= layer->thresholds.at[layer->levels * block + l * some + j - block];
    if (layer->flip.at[j / 32] >> (j % 32) & 1)
        place = layer->levels - place;
    return layer->patterns.length ? layer->patterns.at[place] : (uint32_t)place;
}

static int32_t bits_of_float(float x)
{
    int32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

/* What becomes of a sum, but for the function of a sample. */
static void finish(const struct bnnlab_layer *layer, int32_t integer, float number, int real, size_t j,
                   struct plain *to, size_t place)
{
    if (layer->levels) {
        to->codes[place] = code_of(layer, layer->outputs, j, real ? bits_of_float(number) : integer, real);
        return;
    }
    const float scale = layer->scale.at[layer->scale.length > 1 ? j : 0];
    const float shift = layer->shift.at[layer->shift.length > 1 ? j : 0];
    number = (real ? number : (float)integer) * scale + shift;
    to->reals[place] = layer->function == BNNLAB_RELU && number < 0.0f ? 0.0f : number;
}

/* Which way a window lies on the image. */
static size_t way_of(const struct bnnlab_layer *layer, size_t y, size_t x)
{
    size_t across = 1;
    for (size_t i = 0; i < layer->ways_across.length; i++)
        across = layer->ways_across.at[i] >= across ? layer->ways_across.at[i] + (size_t)1 : across;
    return layer->ways_down.length ? layer->ways_down.at[y] * across + layer->ways_across.at[x] : 0;
}

/* What a window sees, tap by tap: numbers, and codes or signs as bits. Returns XNOR-Net's K. */
static float look(const struct bnnlab_layer *layer, const struct plain *image, size_t y, size_t x,
                  float *numbers, uint32_t *codes)
{
    const struct bnnlab_window *window = &layer->window;
    const size_t channels = image->channels, taps = window->height * window->width;
    double size = 0.0;
    for (size_t t = 0; t < taps; t++, numbers += channels, codes += channels) {
        const size_t above = y * window->stride_down + t / window->width - window->padding_down;
        const size_t left = x * window->stride_across + t % window->width - window->padding_across;
        const size_t at = (above * image->width + left) * channels;
        memset(numbers, 0, channels * 4);
        memset(codes, 0, channels * 4);
        if (above >= image->height || left >= image->width) /* before the image they have wrapped */
            continue;
        for (size_t c = 0; c < channels; c++) {
            codes[c] = image->codes[at + c];
            numbers[c] = layer->given.planes ? value(&layer->given, codes[c]) : image->reals[at + c];
            if (layer->operands != BNNLAB_SCALED_SIGNS)
                continue;
            codes[c] = numbers[c] >= 0.0f;
        }
        size += mean_size(numbers, channels);
    }
    if (window->height == image->height && window->width == image->width && !window->padding_down &&
        !window->padding_across) /* of all at once */
        return mean_size(numbers - taps * channels, taps * channels);
    return (float)(size / (double)taps);
}

/* Of every down x across pixels the largest. */
#define POOL(type, name)                                                                           \
    static void name(const type *x, size_t height, size_t width, size_t n, size_t down,            \
                     size_t across, type *to)                                                      \
    {                                                                                              \
        for (size_t y = 0; y < height / down; y++)                                                 \
            for (size_t z = 0; z < width / across; z++)                                            \
                for (size_t j = 0; j < n; j++, to++) {                                             \
                    *to = x[(y * down * width + z * across) * n + j];                              \
                    for (size_t e = 1; e < down * across; e++) {                                   \
                        const size_t at = (y * down + e / across) * width + z * across + e % across; \
                        *to = *to < x[at * n + j] ? x[at * n + j] : *to;                           \
                    }                                                                              \
                }                                                                                  \
    }
POOL(int32_t, pool_integers)
POOL(uint32_t, pool_codes)
POOL(float, pool_reals)

static struct plain sums(const struct bnnlab_layer *layer, const struct plain *image)
{
    const struct bnnlab_window *window = &layer->window;
    const size_t taps = window->height * window->width, k = taps * layer->channels, n = layer->outputs;
    const size_t down = layer->pool_down, across = layer->pool_across;
    size_t high = bnnlab_places(image->height, window->height, window->stride_down,
                                window->padding_down);
    size_t wide = bnnlab_places(image->width, window->width, window->stride_across,
                                window->padding_across);
    const int whole = layer->operands == BNNLAB_BITS_BY_SIGNS;
    const int scaled = layer->operands == BNNLAB_SCALED_SIGNS;
    int32_t *integers = make(high * wide * n * 4), *largest = make(high * wide * n * 4);
    float *numbers = make(k * 4), *reals = make(high * wide * n * 4), *most = make(high * wide * n * 4);
    uint32_t *codes = make(k * 4);
    if (scaled) /* signs are taken of the whole image, of pixels between strides too */
        met_nan |= has_nan(image->reals, image->height * image->width * layer->channels);
    for (size_t place = 0; place < high * wide; place++) {
        const size_t y = place / wide, x = place % wide, way = way_of(layer, y, x);
        const float factor = look(layer, image, y, x, numbers, codes);
        for (size_t j = 0; j < n; j++) {
            const size_t at = place * n + j;
            integers[at] = whole || scaled ? integer_sum(layer, codes, taps, j, way) : 0;
            reals[at] = whole    ? 0.0f
                        : scaled ? (float)integers[at] * factor
                                 : real_sum(layer, numbers, k, j);
        }
    }
    if (!layer->pool_last) {
        pool_integers(integers, high, wide, n, down, across, largest);
        pool_reals(reals, high, wide, n, down, across, most);
        integers = largest;
        reals = most;
        high /= down;
        wide /= across;
    }
    struct plain out = make_plain(n, high, wide);
    for (size_t e = 0; e < high * wide * n; e++)
        finish(layer, integers[e], reals[e], !whole, e % n, &out, e);
    if (layer->levels == 0)
        apply(layer->function, out.reals, 1, high * wide, n);
    if (!layer->pool_last)
        return out;
    struct plain pooled = make_plain(n, high / down, wide / across);
    pool_codes(out.codes, high, wide, n, down, across, pooled.codes);
    pool_reals(out.reals, high, wide, n, down, across, pooled.reals);
    return pooled;
}

static struct plain codes(const struct bnnlab_layer *layer, const struct plain *image)
{
    const size_t n = image->channels;
    struct plain out = make_plain(n, image->height, image->width);
    for (size_t e = 0; e < image->height * image->width * n; e++)
        out.codes[e] = code_of(layer, n, e % n, bits_of_float(image->reals[e]), 1);
    return out;
}

/* W_h h of one gate; weights of several planes are numbers. */
static float recurrent_sum(const struct bnnlab_layer *layer, const float *h, size_t gate)
{
    const size_t k = layer->channels;
    float sum = 0.0f;
    if (layer->operands == BNNLAB_REALS_BY_REALS || layer->sign_planes == 1)
        return real_sum(layer, h, k, gate);
    for (size_t c = 0; c < k; c++) {
        float weight = 0.0f;
        for (size_t j = 0; j < layer->sign_planes; j++)
            weight += (float)(sign_in(plane(layer, j), BNNLAB_WORDS(k), gate, c) *
                              layer->factors.at[j]) * (layer->halved ? 0.5f : 1.0f);
        sum += h[c] * weight;
    }
    return sum;
}

/* The weight of W_x that a symbol takes. */
static float column(const struct bnnlab_layer *layer, size_t symbol, size_t gate)
{
    const size_t n = layer->outputs, words = BNNLAB_WORDS(n);
    size_t pattern = 0;
    if (layer->column_planes == 0)
        return layer->column_values.at[symbol * n + gate];
    for (size_t p = 0; p < layer->column_planes; p++) {
        const uint32_t *row = layer->columns.at + (p * layer->symbols + symbol) * words;
        pattern |= (size_t)(row[gate / 32] >> (gate % 32) & 1) << p;
    }
    return layer->column_values.at[pattern];
}

/* A step of an LSTM: h and c [cells]. */
static void step(const struct bnnlab_layer *layer, size_t symbol, float *h, float *c)
{
    const size_t n = layer->outputs, cells = n / 4;
    float *gates = make(n * 4), *leaving = make(cells * 4);
    for (size_t j = 0; j < n; j++) {
        const float given = column(layer, symbol, j) *
                                layer->column_scale.at[layer->column_scale.length > 1 ? j : 0] +
                            layer->shift.at[j];
        gates[j] = given + recurrent_sum(layer, h, j) * layer->scale.at[layer->scale.length > 1 ? j : 0];
    }
    sigmoids(gates, 2 * cells);
    tanhs(gates + 2 * cells, cells);
    sigmoids(gates + 3 * cells, cells);
    for (size_t j = 0; j < cells; j++) {
        c[j] = gates[cells + j] * c[j] + gates[j] * gates[2 * cells + j];
        leaving[j] = c[j];
        if (layer->levels)
            leaving[j] = value(&layer->taken, code_of(layer, cells, j, bits_of_float(c[j]), 1));
    }
    if (!layer->levels)
        apply(layer->function, leaving, 1, 1, cells);
    for (size_t j = 0; j < cells; j++)
        h[j] = gates[3 * cells + j] * leaving[j];
}

/* What a network says of one pixel's worth of numbers, or of an image, [channels, height, width]. */
static void answer(const struct bnnlab_network *network, size_t first, struct plain image, float *out)
{
    for (size_t i = first; i < network->count; i++)
        image = network->layers[i].kind == BNNLAB_CODES ? codes(network->layers + i, &image)
                                                        : sums(network->layers + i, &image);
    const struct bnnlab_layer *last = network->layers + network->count - 1;
    const size_t pixels = image.height * image.width, n = image.channels;
    const int coded = last->kind != BNNLAB_LSTM && last->levels != 0;
    for (size_t e = 0; e < pixels * n; e++) {
        const size_t at = e % pixels * n + e / pixels;
        out[e] = coded ? value(&last->taken, image.codes[at]) : image.reals[at];
    }
}

int run_plainly(const struct bnnlab_network *network, const void *x, size_t length, float *out)
{
    const struct bnnlab_layer *first = network->layers;
    const size_t n = first->channels, pixels = first->height * first->width;
    const size_t outputs = bnnlab_network_outputs(network);
    struct plain image = make_plain(n, first->height, first->width);
    met_nan = 0;
    if (first->kind != BNNLAB_LSTM) {
        for (size_t e = 0; e < n * pixels; e++)
            image.reals[e % pixels * n + e / pixels] = ((const float *)x)[e];
        answer(network, 0, image, out);
        return met_nan;
    }
    float *c = make(n * 4);
    memset(image.reals, 0, n * 4);
    memset(c, 0, n * 4);
    for (size_t t = 0; t < length; t++) {
        const size_t before = made();
        step(first, (size_t)((const int64_t *)x)[t], image.reals, c);
        answer(network, 1, image, out + t * outputs);
        forget(before);
    }
    return met_nan;
}
