/* What is known of a network before it runs: sizes, and its workspace. */
#ifndef BNNLAB_PLAN_H
#define BNNLAB_PLAN_H

#include "bnnlab_network.h"

#define MOST_ROWS 128           /* samples (or symbols of texts) that go through a layer together */
#define LEAST_ROWS 8
#define IMAGE_BYTES 1048576     /* what an image of so many samples should take */
#define TILE 65536              /* sums of a tile of integers */
#define DENSE_TILE 131072       /* where the rows of a layer are laid out before, which serves all outputs */
#define REAL_TILE 65536         /* of real ones, whose products begin with tables that serve all outputs */
#define WINDOWS 64              /* windows of an image whose sums are made together */
#define BIT_WINDOWS 512         /* of bits, which weights are laid out for once */
#define ALIGNED 64

/* Sizes saturate: what overflows is SIZE_MAX, which no array has. */
static size_t times(size_t a, size_t b)
{
    return a != 0 && b > SIZE_MAX / a ? SIZE_MAX : a * b;
}

static size_t plus(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

static size_t rounded(size_t bytes)
{
    return bytes > SIZE_MAX - ALIGNED ? SIZE_MAX : (bytes + ALIGNED - 1) / ALIGNED * ALIGNED;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t panels_of(size_t n)
{
    return n / BNNLAB_LANES + (n % BNNLAB_LANES != 0);
}

static size_t bits_of(size_t levels)
{
    size_t bits = 0;
    while (bits < 8 * sizeof levels && levels >> bits)
        bits++;
    return bits;
}

/* What is known of a layer from its sizes. */
struct sizes {
    size_t down, across;        /* places of its window */
    size_t high, wide;          /* of what it gives */
    size_t taps, inputs;
    size_t words;               /* of a pixel's bits */
    size_t row_words;           /* of the panels' rows */
    size_t ways, ways_across;   /* in which a window lies on the image: all, and across it */
    int dense, by_words, signs;
};

/* Of an array of another length, which fits no layer, nothing is read. */
static size_t ways_of(struct bnnlab_bytes ways, size_t places)
{
    size_t count = 1;
    for (size_t i = 0; ways.at && ways.length == places && i < places; i++)
        count = larger(count, (size_t)ways.at[i] + 1);
    return count;
}

static struct sizes sizes_of(const struct bnnlab_layer *layer)
{
    const struct bnnlab_window *window = &layer->window;
    struct sizes is = {0};
    if (layer->kind != BNNLAB_SUMS) {
        is.high = layer->kind == BNNLAB_CODES ? layer->height : 1;
        is.wide = layer->kind == BNNLAB_CODES ? layer->width : 1;
        is.taps = is.dense = is.down = is.across = 1;
        is.inputs = layer->channels;
        is.words = is.row_words = BNNLAB_WORDS(layer->channels);
        is.ways = is.ways_across = 1;
        return is;
    }
    is.down = bnnlab_places(layer->height, window->height, window->stride_down, window->padding_down);
    is.across = bnnlab_places(layer->width, window->width, window->stride_across,
                              window->padding_across);
    is.high = layer->pool_down ? is.down / layer->pool_down : 0;
    is.wide = layer->pool_across ? is.across / layer->pool_across : 0;
    is.taps = times(window->height, window->width);
    is.inputs = times(is.taps, layer->channels);
    is.words = BNNLAB_WORDS(layer->channels);
    is.dense = window->height == layer->height && window->width == layer->width &&
               !window->padding_down && !window->padding_across;
    is.by_words = is.taps > 1 && layer->channels >= BNNLAB_FEW &&
                  (layer->operands == BNNLAB_BITS_BY_SIGNS || layer->operands == BNNLAB_SCALED_SIGNS);
    is.row_words = is.by_words ? times(is.taps, is.words) : BNNLAB_WORDS(is.inputs);
    is.signs = layer->operands == BNNLAB_SCALED_SIGNS ||
               (layer->given.planes == 1 && layer->given.low == -1 && layer->given.gap == 2);
    is.ways_across = ways_of(layer->ways_across, is.across);
    is.ways = times(ways_of(layer->ways_down, is.down), is.ways_across);
    return is;
}

/* Whether the bits of the layer's windows are laid out afresh: whole words do not begin at each tap. */
static int laid_out(const struct sizes *is)
{
    return is->taps > 1 && !is->by_words;
}

/* What runs between layers, of so many samples: numbers, or bits with a border of zero bits. */
struct image {
    size_t channels, high, wide, planes, pad_down, pad_across, words;
    size_t plane;               /* words from one plane to the next */
    float *reals;
    uint32_t *bits;
};

/* An image of the size of a layer's input; with the layer's border where it multiplies bits. */
static struct image image_of(const struct bnnlab_layer *layer, size_t planes, size_t rows, void *at)
{
    const int bordered = layer->kind == BNNLAB_SUMS && planes != 0 &&
                         (layer->operands == BNNLAB_BITS_BY_SIGNS ||
                          layer->operands == BNNLAB_SCALED_SIGNS);
    struct image image = {layer->channels, layer->height, layer->width, planes, 0, 0,
                          BNNLAB_WORDS(layer->channels), 0, at, at};
    if (bordered) {
        image.pad_down = layer->window.padding_down;
        image.pad_across = layer->window.padding_across;
    }
    image.plane = times(times(rows, image.words),
                        times(plus(image.high, times(2, image.pad_down)),
                              plus(image.wide, times(2, image.pad_across))));
    return image;
}

/* The image of a layer's outputs, where nothing follows. */
static struct image outputs_of(const struct bnnlab_layer *layer, size_t high, size_t wide, size_t rows,
                               void *at)
{
    const size_t channels = layer->kind == BNNLAB_LSTM   ? layer->outputs / 4
                            : layer->kind == BNNLAB_SUMS ? layer->outputs
                                                         : layer->channels;
    const size_t planes = layer->kind == BNNLAB_LSTM ? 0 : layer->taken.planes;
    struct image image = {channels, high, wide, planes, 0, 0, BNNLAB_WORDS(channels), 0, at, at};
    image.plane = times(times(rows, image.words), times(high, wide));
    return image;
}

static size_t bytes_of(const struct image *image, size_t rows)
{
    if (image->planes)
        return times(4, times(image->planes, image->plane));
    return times(4, times(times(rows, image->channels), times(image->high, image->wide)));
}

static size_t pixel_at(const struct image *image, size_t sample, size_t y, size_t x)
{
    return (sample * (image->high + 2 * image->pad_down) + y + image->pad_down) *
               (image->wide + 2 * image->pad_across) +
           x + image->pad_across;
}

static int integers(const struct bnnlab_layer *layer)
{
    return layer->operands == BNNLAB_BITS_BY_SIGNS || layer->operands == BNNLAB_SCALED_SIGNS;
}

/* How many windows are multiplied together, by how many outputs. */
struct group {
    size_t windows, rows, outputs;  /* rows: of windows, where the image has more than one place */
};

static struct group group_of(const struct bnnlab_layer *layer, const struct sizes *is, size_t samples,
                             int whole)
{
    struct group group = {samples, 1, layer->outputs};
    if (!is->dense) {
        const size_t together = layer->pool_last ? 1 : layer->pool_down;
        const size_t least = times(together, is->across), pooled = is->down / together;
        const size_t windows = integers(layer) && !laid_out(is) ? BIT_WINDOWS : WINDOWS;
        group.rows = times(together, smaller(pooled, larger(1, windows / larger(1, least))));
        group.windows = times(group.rows, is->across);
    }
    if (whole) {
        const size_t tile = is->dense ? DENSE_TILE : TILE;
        size_t most = tile / larger(1, group.windows) / BNNLAB_BLOCK * BNNLAB_BLOCK;
        if (most < BNNLAB_BLOCK || layer->levels > 1)
            most = BNNLAB_BLOCK;
        group.outputs = smaller(group.outputs, most);
    } else if (is->dense) {
        group.windows = smaller(samples, larger(LEAST_ROWS, REAL_TILE / larger(1, layer->outputs)));
    }
    return group;
}

/* The workspace, in bytes. Each part is rounded to whole cache lines. */
struct plan {
    size_t samples;             /* that go through the network together, */
    size_t steps;               /* so many symbols of each at a time */
    size_t state;               /* of an LSTM, which stays from some symbols to the next */
    size_t image;               /* two: what comes into a layer, and what comes out */
    size_t aside;               /* a layer's input in another form */
    size_t rows;                /* windows laid out */
    size_t tile;                /* two: sums */
    size_t bits;                /* a tile as bits */
    size_t total;
};

/* What a layer needs beside its image, of so many rows. */
static void plan_layer(const struct bnnlab_layer *layer, size_t rows, size_t samples, struct plan *plan)
{
    const struct sizes is = sizes_of(layer);
    const size_t pixels = times(times(rows, layer->height), layer->width);
    const size_t numbers = times(pixels, layer->channels);
    const size_t unpooled = layer->kind == BNNLAB_SUMS && layer->pool_last;
    struct image image = outputs_of(layer, unpooled ? is.down : is.high, unpooled ? is.across : is.wide,
                                    rows, NULL);
    plan->image = larger(plan->image, rounded(bytes_of(&image, rows)));
    if (layer->kind == BNNLAB_LSTM) {
        const size_t cells = layer->outputs / 4;
        plan->state = times(4, times(cells, times(samples, 2)));
        plan->aside = larger(plan->aside, times(4, times(cells, plus(times(samples, 5),
                                                                      BNNLAB_LANES + 4))));
        plan->tile = larger(plan->tile, times(4, times(samples, BNNLAB_LANES)));
        return;
    }
    image = image_of(layer, layer->given.planes, rows, NULL);
    plan->image = larger(plan->image, rounded(bytes_of(&image, rows)));
    if (layer->kind == BNNLAB_CODES) {
        const size_t tile = times(4, times(MOST_ROWS, layer->channels));
        plan->tile = larger(plan->tile, tile);
        plan->bits = larger(plan->bits, times(bits_of(layer->levels), tile));
        return;
    }
    size_t aside = 0;
    if (layer->operands == BNNLAB_SCALED_SIGNS) {
        image = image_of(layer, 1, rows, NULL);
        aside = plus(rounded(bytes_of(&image, rows)),
                     times(4, plus(pixels, times(rows, times(is.down, is.across)))));
    } else if (layer->given.planes && layer->operands != BNNLAB_BITS_BY_SIGNS) {
        aside = times(4, numbers);
    } else if (layer->totals.length) {
        aside = numbers;
    }
    plan->aside = larger(plan->aside, aside);
    for (int whole = 0; whole < 2; whole++) {
        if (integers(layer) ? !whole : whole && !layer->totals.length)
            continue;
        const struct group group = group_of(layer, &is, rows, whole);
        const size_t sums = times(group.windows, group.outputs);
        plan->tile = larger(plan->tile, times(4, sums));
        plan->bits = larger(plan->bits, times(times(4, larger(bits_of(layer->levels), layer->taken.planes)),
                                              times(group.windows, BNNLAB_WORDS(group.outputs))));
        size_t laid = 0;
        if (integers(layer))
            laid = laid_out(&is) ? times(times(4, larger(1, layer->given.planes)),
                                         times(group.windows, is.row_words))
                                 : 0;
        else if (!is.dense)
            laid = times(whole ? 1 : 4, times(group.windows, is.inputs));
        plan->rows = larger(plan->rows, laid);
    }
}

static struct plan plan_of(const struct bnnlab_network *network, size_t samples, size_t length)
{
    struct plan plan = {1, 1, 0, 0, 0, 0, 0, 0, 0};
    for (size_t i = 0; i < network->count; i++)
        plan_layer(network->layers + i, 1, 1, &plan);
    if (plan.image == SIZE_MAX)
        return plan.total = SIZE_MAX, plan;
    const size_t together =
        smaller(MOST_ROWS, larger(LEAST_ROWS, IMAGE_BYTES / larger(1, plan.image)));
    plan.samples = larger(1, smaller(samples, together));
    plan.steps = larger(1, smaller(length, together / plan.samples));
    for (size_t i = 0; i < network->count; i++)
        plan_layer(network->layers + i, times(plan.samples, plan.steps), plan.samples, &plan);
    plan.image = rounded(plan.image);
    plan.state = rounded(plan.state);
    plan.aside = rounded(plan.aside);
    plan.rows = rounded(plan.rows);
    plan.tile = rounded(plan.tile);
    plan.bits = rounded(plan.bits);
    plan.total = plus(plus(times(2, plan.image), times(2, plan.tile)),
                      plus(plus(plan.state, plan.aside), plus(plan.rows, plan.bits)));
    return plan;
}

#endif
