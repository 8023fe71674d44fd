/* Random networks: what the driver computes, and what it refuses. */
#include "cases.h"
#include "../src/family.h"

#include <stddef.h>

#define MOST 5

static struct bnnlab_ints ints(size_t count, int small)
{
    int32_t *at = make(count * 4);
    for (size_t i = 0; i < count; i++)
        at[i] = small ? (int32_t)below(9) - 4 : (int32_t)draw();
    return (struct bnnlab_ints){at, count};
}

/* Constants, now and then infinite: infinities that meet make NaNs, which are passed on as NaNs of some
 * kind, or reported where they meet signs or thresholds: by every instruction set alike. */
static struct bnnlab_floats floats(size_t count)
{
    return (struct bnnlab_floats){below(4) ? make_finite(count) : make_floats(count, 0), count};
}

static struct bnnlab_bytes ways(size_t count, size_t kinds)
{
    uint8_t *at = make(count);
    for (size_t i = 0; i < count; i++)
        at[i] = (uint8_t)below(kinds);
    return (struct bnnlab_bytes){at, count};
}

static size_t kinds_of(struct bnnlab_bytes given)
{
    size_t most = 0;
    for (size_t i = 0; i < given.length; i++)
        most = given.at[i] > most ? given.at[i] : most;
    return most + 1;
}

static size_t bits_for(size_t levels)
{
    size_t planes = 0;
    while (levels >> planes)
        planes++;
    return planes;
}

/* Codes by thresholds for so many outputs. */
static void add_thresholds(struct bnnlab_layer *layer, size_t outputs)
{
    layer->levels = below(2) ? 1 : 1 + below(large_case ? 255 : 7);
    layer->thresholds = ints(layer->levels * outputs, (int)below(2));
    /* No threshold lies between -0.0 and 0.0 (the keys -1 and 0), which are one number. */
    for (size_t i = 0; i < layer->thresholds.length; i++)
        ((int32_t *)layer->thresholds.at)[i] -= layer->thresholds.at[i] == 0;
    layer->flip = (struct bnnlab_words){make_bits(1, outputs), BNNLAB_WORDS(outputs)};
    layer->taken.planes = bits_for(layer->levels);
    layer->taken.low = below(2) ? -1 : (int32_t)below(9) - 4;
    layer->taken.gap = 2 - (int32_t)below(2);
    layer->taken.step = below(2) ? 1.0 : 0.25;
    if (below(4) == 0) {
        uint32_t *patterns = make((layer->levels + 1) * 4);
        layer->taken.planes = 1 + below(6);
        for (size_t i = 0; i <= layer->levels; i++)
            patterns[i] = draw() & (((uint32_t)1 << layer->taken.planes) - 1);
        layer->patterns = (struct bnnlab_words){patterns, layer->levels + 1};
    }
}

/* Sign planes of a product: of each row, `parts` runs of `each` bits that begin with a word. */
static void add_signs(struct bnnlab_layer *layer, size_t parts, size_t each)
{
    const size_t words = parts * BNNLAB_WORDS(each), n = layer->outputs;
    const size_t length = (n + 15) / 16 * 16 * words;
    layer->sign_planes = 1 + (below(3) ? 0 : below(3));
    uint32_t *panels = make(layer->sign_planes * length * 4);
    int32_t *ones = make(layer->sign_planes * n * 4);
    for (size_t p = 0; p < layer->sign_planes; p++) {
        const uint32_t *bits = make_bits(n * parts, each);
        if (bnnlab_pack_panels(bits, n * words, n, words * 32, panels + p * length, length))
            printf("panels are refused\n");
        for (size_t j = 0; j < n; j++) {
            ones[p * n + j] = 0;
            for (size_t w = 0; w < words; w++)
                ones[p * n + j] += __builtin_popcount(bits[j * words + w]);
        }
    }
    layer->panels = (struct bnnlab_words){panels, layer->sign_planes * length};
    layer->ones = (struct bnnlab_ints){ones, layer->sign_planes * n};
    layer->factors = ints(layer->sign_planes, 1);
    if (layer->sign_planes == 1 && below(2))
        ((int32_t *)layer->factors.at)[0] = 1;
    layer->halved = (int)below(2);
}

/* Of windows that lie within the image: the sums of factors times signs. */
static struct bnnlab_ints totals_of(const struct bnnlab_layer *layer, size_t inputs)
{
    int32_t *at = make(layer->outputs * 4);
    for (size_t j = 0; j < layer->outputs; j++) {
        at[j] = 0;
        for (size_t p = 0; p < layer->sign_planes; p++)
            at[j] += layer->factors.at[p] *
                     (2 * layer->ones.at[p * layer->outputs + j] - (int32_t)inputs);
    }
    return (struct bnnlab_ints){at, layer->outputs};
}

static void add_reals(struct bnnlab_layer *layer, size_t inputs)
{
    layer->operands = BNNLAB_REALS_BY_REALS;
    layer->weights = floats((layer->outputs + 15) / 16 * 16 * inputs);
    if (below(2))
        layer->bias = floats(layer->outputs);
}

static void add_numbers(struct bnnlab_layer *layer, size_t outputs, int first_function)
{
    layer->scale = floats(below(2) ? outputs : 1);
    layer->shift = floats(below(2) ? outputs : 1);
    layer->function = first_function + (int)below(5 - (size_t)first_function);
}

static struct bnnlab_layer make_lstm(int *exact)
{
    struct bnnlab_layer layer = {.kind = BNNLAB_LSTM, .height = 1, .width = 1, .pool_down = 1,
                                 .pool_across = 1};
    layer.channels = 1 + draw_size(9, 40);
    layer.outputs = 4 * layer.channels;
    layer.symbols = 1 + below(9);
    if (below(3)) {
        layer.operands = BNNLAB_REALS_BY_SIGNS;
        add_signs(&layer, 1, layer.channels);
        *exact &= layer.sign_planes == 1;
    } else {
        add_reals(&layer, layer.channels);
        layer.bias.length = 0;
        *exact = 0;
    }
    layer.column_planes = below(4);
    const size_t columns = layer.column_planes * layer.symbols;
    layer.columns = (struct bnnlab_words){make_bits(columns, layer.outputs),
                                          columns * BNNLAB_WORDS(layer.outputs)};
    layer.column_values = floats(layer.column_planes ? (size_t)1 << layer.column_planes
                                                     : layer.symbols * layer.outputs);
    layer.column_scale = floats(below(2) ? layer.outputs : 1);
    add_numbers(&layer, layer.outputs, BNNLAB_TANH);
    layer.shift = floats(layer.outputs);
    if (below(2)) {
        layer.function = 0;
        add_thresholds(&layer, layer.channels);
        layer.taken.planes = layer.patterns.length ? layer.taken.planes : bits_for(layer.levels);
    }
    return layer;
}

static struct bnnlab_layer make_codes(size_t channels, size_t height, size_t width)
{
    struct bnnlab_layer layer = {.kind = BNNLAB_CODES, .channels = channels, .height = height,
                                 .width = width, .outputs = channels, .pool_down = 1,
                                 .pool_across = 1};
    add_thresholds(&layer, channels);
    return layer;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static struct bnnlab_layer make_sums(size_t channels, size_t height, size_t width,
                                     struct bnnlab_values given, int first, int *exact)
{
    struct bnnlab_layer layer = {.kind = BNNLAB_SUMS, .channels = channels, .height = height,
                                 .width = width, .given = given, .pool_down = 1, .pool_across = 1};
    struct bnnlab_window *window = &layer.window;
    layer.outputs = 1 + draw_size(20, 140);
    if (below(3) == 0) {
        *window = (struct bnnlab_window){height, width, 1, 1, 0, 0};
    } else {
        window->height = 1 + below(smaller(height + 1, 4));
        window->width = 1 + below(smaller(width + 1, 4));
        window->stride_down = 1 + below(3);
        window->stride_across = 1 + below(3);
        /* No more than that every window meets the image. */
        window->padding_down = window->height > height ? 1 : below(window->height);
        window->padding_across = window->width > width ? 1 : below(window->width);
    }
    const size_t down = bnnlab_places(height, window->height, window->stride_down,
                                      window->padding_down);
    const size_t across = bnnlab_places(width, window->width, window->stride_across,
                                        window->padding_across);
    const size_t taps = window->height * window->width;
    const int real = given.planes == 0;
    const int whole = window->height == height && window->width == width &&
                      !window->padding_down && !window->padding_across;
    const int way = draw() % 4, fits = layer.outputs * taps * channels * sizeof(float) <= SLOT / 2;
    if (way == 0 && fits) {
        add_reals(&layer, taps * channels);
        *exact = 0;
    } else if (way <= 1) {
        layer.operands = BNNLAB_REALS_BY_SIGNS;
        add_signs(&layer, 1, taps * channels);
    } else {
        layer.operands = real ? BNNLAB_SCALED_SIGNS : BNNLAB_BITS_BY_SIGNS;
        if (taps > 1 && channels >= BNNLAB_FEW)
            add_signs(&layer, taps, channels);
        else
            add_signs(&layer, 1, taps * channels);
    }
    if (layer.operands != BNNLAB_REALS_BY_REALS) {
        if (!whole && below(2)) {
            layer.ways_down = ways(down, 1 + below(3));
            layer.ways_across = ways(across, 1 + below(3));
        }
        const size_t every = kinds_of(layer.ways_down) * kinds_of(layer.ways_across) * layer.outputs;
        if (layer.operands == BNNLAB_REALS_BY_SIGNS) {
            if (real && first && every == layer.outputs && !window->padding_down &&
                !window->padding_across && below(2))
                layer.totals = totals_of(&layer, taps * channels);
        } else if (below(2)) {
            layer.offsets = ints(every, below(8) != 0);
        }
    }
    layer.pool_down = 1 + (below(2) ? 0 : below(smaller(down, 3)));
    layer.pool_across = 1 + (below(2) ? 0 : below(smaller(across, 3)));
    layer.pool_last = (int)below(2);
    if (below(2))
        add_thresholds(&layer, layer.outputs);
    else
        add_numbers(&layer, layer.outputs, BNNLAB_IDENTITY);
    return layer;
}

struct bnnlab_network make_network(size_t most, int *exact)
{
    struct bnnlab_layer *layers = make(most * sizeof *layers);
    const size_t count = 1 + below(most);
    size_t made = 0, channels = 1 + draw_size(33, 70), height = 1, width = 1;
    struct bnnlab_values given = {0, 0, 0, 0.0};
    *exact = 1;
    if (below(3)) {
        channels = 1 + below(20);
        height = 1 + below(large_case ? 12 : 5);
        width = 1 + below(large_case ? 12 : 5);
    }
    if (below(4) == 0) {
        layers[made] = make_lstm(exact);
        channels = layers[made].channels;
        height = width = 1;
        made++;
    } else if (below(4) == 0) {
        layers[made] = make_codes(channels, height, width);
        given = layers[made++].taken;
    }
    while (made < count) {
        struct bnnlab_layer *layer = layers + made;
        *layer = make_sums(channels, height, width, given, made == 0, exact);
        const struct bnnlab_window *window = &layer->window;
        height = bnnlab_places(height, window->height, window->stride_down, window->padding_down) /
                 layer->pool_down;
        width = bnnlab_places(width, window->width, window->stride_across, window->padding_across) /
                layer->pool_across;
        channels = layer->outputs;
        given = layer->taken;
        made++;
    }
    return (struct bnnlab_network){layers, made};
}

void *make_batch(const struct bnnlab_network *network, size_t samples, size_t length,
                 size_t *x_length)
{
    const struct bnnlab_layer *first = network->layers;
    if (first->kind != BNNLAB_LSTM) {
        *x_length = samples * first->channels * first->height * first->width;
        return make_finite(*x_length);
    }
    *x_length = samples * length;
    int64_t *symbols = make(*x_length * 8);
    for (size_t i = 0; i < *x_length; i++)
        symbols[i] = (int64_t)below(first->symbols);
    return symbols;
}

struct batch {
    const struct bnnlab_network *network;
    const void *x;
    size_t x_length, samples, length, out_length;
};

/* Runs a batch on arrays of exactly the right size, in so many threads, or, in none, as programs do that
 * hold no more than the file of an instruction set. */
static int run(int isa, const struct batch *batch, size_t threads, float *out)
{
    const size_t bytes = bnnlab_network_workspace(batch->network, batch->samples, batch->length,
                                                  threads ? threads : 1);
    void *workspace = make(bytes);
    const int status =
        threads ? bnnlab_network_run(isa, batch->network, batch->x, batch->x_length, batch->samples,
                                     batch->length, out, batch->out_length, workspace, bytes, threads)
                : bnnlab_network_run_with(bnnlab_family_of(isa), batch->network, batch->x,
                                          batch->x_length, batch->samples, batch->length, out,
                                          batch->out_length, workspace, bytes);
    if (status == BNNLAB_OK)
        same_nans(out, batch->out_length);
    return status;
}

static int wrong(const char *what, const struct bnnlab_network *network)
{
    printf("MISMATCH network: %s\n", what);
    for (size_t i = 0; i < network->count; i++) {
        const struct bnnlab_layer *l = network->layers + i;
        const struct bnnlab_window *w = &l->window;
        printf("kind %d: %zu x %zu x %zu, %zu planes from %d by %d; operands %d, %zu outputs, window "
               "%zu %zu, %zu %zu, %zu %zu, %zu sign planes, halved %d, %zu offsets, %zu totals, %zu "
               "ways, pool %zu %zu last %d, %zu levels, %zu patterns, function %d, column planes %zu\n",
               l->kind, l->channels, l->height, l->width, l->given.planes, l->given.low, l->given.gap,
               l->operands, l->outputs, w->height, w->width, w->stride_down, w->stride_across,
               w->padding_down, w->padding_across, l->sign_planes, l->halved, l->offsets.length,
               l->totals.length, l->ways_down.length, l->pool_down, l->pool_across, l->pool_last,
               l->levels, l->patterns.length, l->function, l->column_planes);
    }
    return 1;
}

/* Whether the plain kernels say what is written down plainly; the two zeros are one number. */
static int as_written(const struct batch *batch, int status, const float *out)
{
    const size_t each = batch->out_length / batch->samples, given = batch->x_length / batch->samples;
    const int text = batch->network->layers->kind == BNNLAB_LSTM;
    float *plain = make(each * 4);
    int nan = 0;
    for (size_t s = 0; s < batch->samples; s++) {
        const char *x = (const char *)batch->x + s * given * (text ? 8 : 4);
        const size_t before = made();
        nan |= run_plainly(batch->network, x, batch->length, plain);
        forget(before);
        for (size_t e = 0; status == BNNLAB_OK && e < each; e++)
            if (plain[e] != out[s * each + e] &&
                (plain[e] == plain[e] || out[s * each + e] == out[s * each + e]))
                return 0;
    }
    return nan == (status == BNNLAB_NOT_A_NUMBER);
}

/* Arrays that are too short by one, numbers that are not finite, no symbols: all refused. */
static int refuses(const struct batch *batch)
{
    const struct bnnlab_layer *first = batch->network->layers;
    const size_t bytes = bnnlab_network_workspace(batch->network, batch->samples, batch->length, 1);
    size_t v[] = {batch->x_length, batch->out_length, bytes};
    if (batch->samples == 0)
        return 0;
    const size_t which = below(4);
    int expected = BNNLAB_BAD_LENGTH;
    if (which < 3) {
        v[which] -= 1;
    } else if (first->kind == BNNLAB_LSTM) {
        ((int64_t *)batch->x)[below(batch->x_length)] = below(2) ? -1 : (int64_t)first->symbols;
        expected = BNNLAB_BAD_INPUT;
    } else {
        ((float *)batch->x)[below(batch->x_length)] = below(2) ? __builtin_inff() : __builtin_nanf("");
        expected = BNNLAB_BAD_INPUT;
    }
    void *workspace = make(v[2]), *out = make(v[1] * 4);
    if (bnnlab_network_run(BNNLAB_BEST, batch->network, batch->x, v[0], batch->samples, batch->length,
                           out, v[1], workspace, v[2], 1) != expected)
        return wrong("a wrong length or input is taken", batch->network);
    return 0;
}

/* One number of one layer changed, or one array cut short: refused, or what the network then reads and
 * writes is still its own. */
static int survives(struct batch *batch)
{
#define AT(field) offsetof(struct bnnlab_layer, field)
    static const size_t sizes[] = {
        AT(channels), AT(height), AT(width), AT(given.planes), AT(outputs), AT(window.height),
        AT(window.width), AT(window.stride_down), AT(window.stride_across), AT(window.padding_down),
        AT(window.padding_across), AT(sign_planes), AT(pool_down), AT(pool_across), AT(levels),
        AT(taken.planes), AT(symbols), AT(column_planes),
    };
    static const size_t lengths[] = {
        AT(panels.length), AT(factors.length), AT(ones.length), AT(offsets.length), AT(totals.length),
        AT(ways_down.length), AT(ways_across.length), AT(weights.length), AT(bias.length),
        AT(thresholds.length), AT(flip.length), AT(patterns.length), AT(scale.length),
        AT(shift.length), AT(columns.length), AT(column_values.length), AT(column_scale.length),
    };
    static const size_t kinds[] = {AT(kind), AT(operands), AT(halved), AT(pool_last), AT(function)};
#undef AT
    char *layer = (char *)(batch->network->layers + below(batch->network->count));
    size_t *size = (size_t *)(layer + sizes[below(sizeof sizes / sizeof *sizes)]);
    size_t *length = (size_t *)(layer + lengths[below(sizeof lengths / sizeof *lengths)]);
    switch (draw() % 4) {
    case 0:
        *(int *)(layer + kinds[below(sizeof kinds / sizeof *kinds)]) = (int)below(7) - 1;
        break;
    case 1:
        *length = below(*length + 1);
        break;
    default:
        *size = spoilt_size(*size);
    }
    size_t bytes = bnnlab_network_workspace(batch->network, batch->samples, batch->length, 1);
    if (bytes > SLOT)
        bytes = 64; /* too little, and refused for it */
    bnnlab_network_run(BNNLAB_BEST, batch->network, batch->x, batch->x_length, batch->samples,
                       batch->length, make(batch->out_length * 4), batch->out_length, make(bytes), bytes,
                       1);
    return 0;
}

int fuzz_network(void)
{
    int exact;
    const struct bnnlab_network network = make_network(large_case ? MOST : 3, &exact);
    const int text = network.layers->kind == BNNLAB_LSTM;
    struct batch batch = {&network, NULL, 0, below(5), text ? 1 + below(4) : 1, 0};
    /* More than go through a network together, now and then, where they are small. */
    if (!large_case && network.layers->height * network.layers->width == 1 && below(12) == 0)
        *(text ? &batch.length : &batch.samples) = 8 + below(160);
    const size_t outputs = bnnlab_network_outputs(&network);
    if (outputs == 0)
        return wrong("layers that fit are refused", &network);
    const size_t each = outputs * batch.length;
    if (bnnlab_network_workspace(&network, batch.samples, batch.length, 4) > SLOT)
        return 0; /* too large to be a case */
    batch.x = make_batch(&network, batch.samples, batch.length, &batch.x_length);
    batch.out_length = batch.samples * each;
    float *first = NULL;
    int status = -1;
    for (size_t i = 0; i < isa_count; i++) {
        float *out = make(batch.out_length * 4);
        const int found = run(isas[i], &batch, below(16) ? 1 : below(5), out);
        if (found != BNNLAB_OK && found != BNNLAB_NOT_A_NUMBER)
            return wrong("a batch is refused", &network);
        if (exact && first &&
            (found != status ||
             (found == BNNLAB_OK && memcmp(out, first, batch.out_length * 4))))
            return wrong("instruction sets differ", &network);
        if (!first && batch.samples && !as_written(&batch, found, out))
            return wrong("not as it is written down plainly", &network);
        first = out;
        status = found;
        if (found != BNNLAB_OK || batch.samples == 0)
            continue;
        /* A sample by itself. */
        const size_t s = below(batch.samples), given = batch.x_length / batch.samples;
        struct batch alone = batch;
        alone.x = text ? (const void *)((const int64_t *)batch.x + s * given)
                       : (const void *)((const float *)batch.x + s * given);
        alone.x_length = given;
        alone.samples = 1;
        alone.out_length = each;
        float *again = make(each * 4);
        if (run(isas[i], &alone, 1, again) != BNNLAB_OK || memcmp(again, out + s * each, each * 4))
            return wrong("a sample depends on its batch", &network);
    }
    return below(2) ? refuses(&batch) : survives(&batch);
}
