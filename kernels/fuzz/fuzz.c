/* Differential fuzzing: every instruction set of this machine against the scalar one, and the scalar
 * one against what is written down plainly: formulas here, networks in plain.c.
 *
 *     fuzz [CASES [SEED [networks]]]
 *
 * A case is one set of sizes and data for one entry point, run by every instruction set. Sizes have a
 * liking for edges, one case in four hundred is large and one in sixty a whole network (or every one);
 * data are random or adversarial (all ones, signed zeros, denormals, infinities, NaN). Arrays hold
 * exactly what a call may touch (see cases.h). Every sixteenth case gets one size or length wrong: a
 * wrong length must be refused, a wrong size must be refused or harmless, by all alike. Prints the
 * number of cases; exits with 1 at the first difference.
 */
#include "cases.h"
#include "bnnlab_limits.h"

#include <stdlib.h>

/* Each instruction set's outputs and status. */
struct outcome {
    int isa, status;
    void *out;
};

static struct outcome results[16];

static struct outcome *begin(size_t bytes)
{
    for (size_t i = 0; i < isa_count; i++)
        results[i] = (struct outcome){isas[i], -1, make(bytes)};
    return results;
}

#define EVERY(r, bytes) \
    for (struct outcome *r = begin(bytes); r != results + isa_count; r++)

/* What went wrong, if anything. `expected` is the status of a sound call. */
static int judge(const char *name, enum spoilt spoilt, int expected, size_t bytes, const size_t *v)
{
    const struct outcome *plain = results;
    int bad = spoilt == WRONG_LENGTH ? plain->status == BNNLAB_OK || plain->status == BNNLAB_NOT_A_NUMBER
                                     : spoilt == SOUND && plain->status != expected;
    if (bad)
        printf("MISMATCH %s: status %d\n", name, plain->status);
    for (const struct outcome *r = results; r != results + isa_count; r++)
        if (r->status != plain->status || (spoilt == SOUND && plain->status == BNNLAB_OK &&
                                           memcmp(r->out, plain->out, bytes))) {
            printf("MISMATCH %s: instruction set %d, status %d, and the scalar one %d\n", name, r->isa,
                   r->status, plain->status);
            bad = 1;
        }
    if (bad)
        printf("%s of %zu, %zu, %zu, %zu, %zu, %zu\n", spoilt ? "a spoilt case" : "a case", v[0], v[1],
               v[2], v[3], v[4], v[5]);
    return bad;
}

static int differs(const char *name, int different)
{
    if (different)
        printf("MISMATCH %s: with the formula\n", name);
    return different;
}

/* The formula is slow: it is held against a few places of a case. */
#define SOME_PLACES(e, count) \
    for (size_t tries = 0, e = 0; (count) > 0 && tries < 4 && ((e = below(count)), 1); tries++)

static int bit(const uint32_t *bits, size_t index)
{
    return bits[index / 32] >> (index % 32) & 1;
}

static int sign_of(const uint32_t *row, size_t index)
{
    return bit(row, index) ? 1 : -1;
}

static int same(float a, float b)
{
    return a == b || (a != a && b != b);
}

static int fuzz_signs(void)
{
    const size_t rows = draw_size(5, 40), k = draw_size(70, 3000), words = BNNLAB_WORDS(k);
    const float *x = make_floats(rows * k, below(16) == 0);
    size_t v[] = {rows, k, rows * k, rows * words, 0, 0};
    const enum spoilt spoilt = spoil(v, 2, 2);
    EVERY(r, rows * words * 4)
        r->status = bnnlab_pack_signs(r->isa, x, v[2], v[0], v[1], r->out, v[3]);
    const uint32_t *bits = results->out;
    int bad = 0;
    if (!spoilt && results->status == BNNLAB_OK) {
        SOME_PLACES(e, rows * words * 32) {
            const size_t i = e / 32 / words, j = e % (words * 32);
            bad |= bit(bits + i * words, j) != (j < k && x[i * k + j] >= 0.0f);
        }
    }
    return differs("pack_signs", bad) |
           judge("pack_signs", spoilt, has_nan(x, rows * k) ? BNNLAB_NOT_A_NUMBER : BNNLAB_OK,
                 rows * words * 4, v);
}

static int fuzz_codes(void)
{
    const size_t rows = draw_size(5, 40), k = draw_size(70, 1000), planes = 1 + below(8);
    const size_t words = BNNLAB_WORDS(k), length = planes * rows * words;
    uint8_t *codes = make(rows * k);
    for (size_t e = 0; e < rows * k; e++)
        codes[e] = (uint8_t)draw();
    size_t v[] = {rows, k, planes, rows * k, length, 0};
    const enum spoilt spoilt = spoil(v, 3, 2);
    EVERY(r, length * 4)
        r->status = bnnlab_pack_codes(r->isa, codes, v[3], v[0], v[1], v[2], r->out, v[4]);
    const uint32_t *bits = results->out;
    int bad = 0;
    if (!spoilt) {
        SOME_PLACES(e, length * 32) {
            const size_t p = e / 32 / words / rows, i = e / 32 / words % rows, j = e % (words * 32);
            bad |= bit(bits + (p * rows + i) * words, j) != (j < k && codes[i * k + j] >> p & 1);
        }
    }
    return differs("pack_codes", bad) | judge("pack_codes", spoilt, BNNLAB_OK, length * 4, v);
}

static int fuzz_panels(void)
{
    const size_t n = draw_size(40, 300), k = draw_size(70, 900), words = BNNLAB_WORDS(k);
    const size_t length = (n + 15) / 16 * 16 * words;
    const uint32_t *bits = make_bits(n, k);
    size_t v[] = {n, k, n * words, length, 0, 0};
    const enum spoilt spoilt = spoil(v, 2, 2);
    *begin(length * 4) = results[0];
    for (size_t i = 0; i < isa_count; i++)
        results[i].status = bnnlab_pack_panels(bits, v[2], v[0], v[1], results[i].out, v[3]);
    const uint32_t *panels = results->out;
    int bad = 0;
    if (!spoilt) {
        SOME_PLACES(e, length) {
            const size_t lane = e % 16, w = e / 16 % words, j = e / 16 / words * 16 + lane;
            bad |= panels[e] != (j < n ? bits[j * words + w] : 0);
        }
    }
    return differs("pack_panels", bad) | judge("pack_panels", spoilt, BNNLAB_OK, length * 4, v);
}

/* Rows of codes, or of signs, and the weights that they meet. */
struct product {
    int signs;
    size_t m, n, k, planes, words, a_length, panels_length, ones_length;
    const uint32_t *a, *b, *panels;
    const int32_t *ones;
};

static struct product draw_product(int signs, size_t outputs)
{
    const int many = signs && !large_case && below(128) == 0; /* as many as AMX begins with */
    struct product of = {.signs = signs, .planes = signs ? 1 : 1 + below(8)};
    of.m = many ? 20 + below(120) : draw_size(9, signs ? 300 : 200);
    of.n = many ? 110 + below(120) : draw_size(outputs, signs ? 300 : 200);
    of.k = many ? below(800) : draw_size(140, signs ? 2500 : 900);
    of.words = BNNLAB_WORDS(of.k);
    of.a_length = of.planes * of.m * of.words;
    of.a = make_bits(of.planes * of.m, of.k);
    of.b = make_bits(of.n, of.k);
    of.panels = make_panels(of.b, of.n, of.k, &of.panels_length);
    if (signs)
        return of;
    int32_t *ones = make(of.n * 4);
    for (size_t j = 0; j < of.n; j++) {
        ones[j] = 0;
        for (size_t w = 0; w < of.words; w++)
            ones[j] += __builtin_popcount(of.b[j * of.words + w]);
    }
    of.ones = ones;
    of.ones_length = of.n;
    return of;
}

static int32_t sum_plainly(const struct product *of, size_t i, size_t j)
{
    const uint32_t *b = of->b + j * of->words;
    int32_t sum = 0;
    for (size_t p = 0; p < of->planes; p++) {
        const uint32_t *a = of->a + (p * of->m + i) * of->words;
        for (size_t c = 0; c < of->k; c++)
            sum += (of->signs ? sign_of(a, c) : bit(a, c) << p) * sign_of(b, c);
    }
    return sum;
}

static int fuzz_product(int signs)
{
    const struct product of = draw_product(signs, 40);
    const char *name = signs ? "xnor_matmul" : "planes_matmul";
    const size_t count = of.m * of.n;
    size_t v[] = {of.m, of.n, of.k, of.planes, of.a_length, of.panels_length, count, of.ones_length};
    const enum spoilt spoilt = spoil(v, 4, signs ? 3 : 4);
    EVERY(r, count * 4)
        r->status = signs ? bnnlab_xnor_matmul(r->isa, of.a, v[4], of.panels, v[5], v[0], v[1], v[2],
                                               r->out, v[6])
                          : bnnlab_planes_matmul(r->isa, of.a, v[4], v[3], of.panels, v[5], of.ones,
                                                 v[7], v[0], v[1], v[2], r->out, v[6]);
    const int32_t *out = results->out;
    int bad = 0;
    if (!spoilt) {
        SOME_PLACES(e, count)
            bad |= out[e] != sum_plainly(&of, e / of.n, e % of.n);
    }
    return differs(name, bad) | judge(name, spoilt, BNNLAB_OK, count * 4, v);
}

static int fuzz_xnor(void)
{
    return fuzz_product(1);
}

static int fuzz_planes(void)
{
    return fuzz_product(0);
}

static int fuzz_bytes(void)
{
    const size_t m = draw_size(9, 200), n = draw_size(40, 200), k = draw_size(140, 1500);
    const size_t words = BNNLAB_WORDS(k);
    size_t panels_length;
    uint8_t *codes = make(m * k);
    const int largest = below(4) == 0;
    for (size_t e = 0; e < m * k; e++)
        codes[e] = largest ? 255 : (uint8_t)draw();
    const uint32_t *b = make_bits(n, k), *panels = make_panels(b, n, k, &panels_length);
    size_t v[] = {m, n, k, m * k, panels_length, m * n};
    const enum spoilt spoilt = spoil(v, 3, 3);
    EVERY(r, m * n * 4)
        r->status = bnnlab_bytes_matmul(r->isa, codes, v[3], panels, v[4], v[0], v[1], v[2], r->out,
                                        v[5]);
    const int32_t *out = results->out;
    int bad = 0;
    if (!spoilt) {
        SOME_PLACES(e, m * n) {
            int32_t sum = 0;
            for (size_t c = 0; c < k; c++)
                sum += codes[e / n * k + c] * sign_of(b + e % n * words, c);
            bad |= out[e] != sum;
        }
    }
    return differs("bytes_matmul", bad) | judge("bytes_matmul", spoilt, BNNLAB_OK, m * n * 4, v);
}

static int fuzz_reals(void)
{
    const size_t m = draw_size(9, 80), n = draw_size(40, 200), k = draw_size(140, 1500);
    size_t panels_length;
    const float *x = make_floats(m * k, below(16) == 0);
    const uint32_t *panels = make_panels(make_bits(n, k), n, k, &panels_length);
    size_t v[] = {m, n, k, m * k, panels_length, m * n};
    const enum spoilt spoilt = spoil(v, 3, 3);
    EVERY(r, m * n * 4) {
        r->status = bnnlab_sign_matmul(r->isa, x, v[3], panels, v[4], v[0], v[1], v[2], r->out, v[5]);
        if (!spoilt && r->status == BNNLAB_OK)
            same_nans(r->out, m * n);
    }
    const float *out = results->out;
    int bad = 0;
    if (!spoilt && results->status == BNNLAB_OK) {
        SOME_PLACES(e, m * n)
            bad |= !same(out[e], add_plainly(x + e / n * k, panels, e % n, k));
    }
    return differs("sign_matmul", bad) |
           judge("sign_matmul", spoilt, has_nan(x, m * k) ? BNNLAB_NOT_A_NUMBER : BNNLAB_OK, m * n * 4,
                 v);
}

/* Thresholds of n numbers each, and which of the codes count down. */
struct thresholds {
    size_t n, levels, planes, words, length;
    const int32_t *at;
    const uint32_t *flip;
};

static struct thresholds draw_thresholds(size_t n)
{
    const size_t levels = below(2) ? 1 : 1 + below(large_case ? 255 : 15);
    struct thresholds of = {n, levels, 0, BNNLAB_WORDS(n), levels * n, NULL, NULL};
    while (levels >> of.planes)
        of.planes++;
    of.at = make_values(of.length);
    of.flip = make_bits(1, n);
    return of;
}

static size_t code_plainly(const struct thresholds *of, int32_t key, size_t j)
{
    size_t code = 0;
    for (size_t l = 0; l < of->levels; l++)
        code += key >= of->at[l * of->n + j];
    return bit(of->flip, j) ? of->levels - code : code;
}

/* The code of row i and output j that is in the bits [planes, m, words]. */
static size_t code_in(const struct thresholds *of, const uint32_t *bits, size_t m, size_t i, size_t j)
{
    size_t found = 0;
    for (size_t p = 0; p < of->planes; p++)
        found |= (size_t)bit(bits + (p * m + i) * of->words, j) << p;
    return found;
}

static int fuzz_threshold(void)
{
    const size_t m = draw_size(5, 20), n = draw_size(70, 300);
    const int real = (int)below(2);
    const void *values = real ? (void *)make_floats(m * n, below(16) == 0) : (void *)make_values(m * n);
    const struct thresholds to = draw_thresholds(n);
    const size_t length = to.planes * m * to.words;
    size_t v[] = {m, n, to.levels, m * n, to.length, to.words, length};
    const enum spoilt spoilt = spoil(v, 3, 4);
    EVERY(r, length * 4)
        r->status = bnnlab_threshold(r->isa, values, v[3], real, v[0], v[1], to.at, v[4], v[2],
                                     to.flip, v[5], r->out, v[6]);
    int bad = 0;
    if (!spoilt && results->status == BNNLAB_OK) {
        SOME_PLACES(e, m * n) {
            int32_t key = ((const int32_t *)values)[e];
            if (real && key < 0)
                key ^= 0x7fffffff;
            bad |= code_in(&to, results->out, m, e / n, e % n) != code_plainly(&to, key, e % n);
        }
    }
    const int nan = real && has_nan(values, m * n);
    return differs("threshold", bad) |
           judge("threshold", spoilt, nan ? BNNLAB_NOT_A_NUMBER : BNNLAB_OK, length * 4, v);
}

static int fuzz_product_threshold(void)
{
    const struct product of = draw_product(below(3) != 0, 150);
    const struct thresholds to = draw_thresholds(of.n);
    const size_t length = to.planes * of.m * to.words;
    size_t v[] = {of.m, of.n, of.k, of.planes, to.levels, of.a_length, of.panels_length, of.ones_length,
                  to.length, to.words, length};
    const enum spoilt spoilt = spoil(v, 5, 6);
    EVERY(r, length * 4)
        r->status = bnnlab_product_threshold(r->isa, of.a, v[5], v[3], of.panels, v[6], of.ones, v[7],
                                             v[0], v[1], v[2], to.at, v[8], v[4], to.flip, v[9], r->out,
                                             v[10]);
    int bad = 0;
    if (!spoilt) {
        SOME_PLACES(e, of.m * of.n) {
            const size_t i = e / of.n, j = e % of.n;
            bad |= code_in(&to, results->out, of.m, i, j) !=
                   code_plainly(&to, sum_plainly(&of, i, j), j);
        }
    }
    return differs("product_threshold", bad) |
           judge("product_threshold", spoilt, BNNLAB_OK, length * 4, v);
}

static int fuzz_product_affine(void)
{
    const struct product of = draw_product(below(3) != 0, 150);
    const float *scale = make_floats(of.n, 0), *shift = make_floats(of.n, 0);
    const size_t count = of.m * of.n;
    size_t v[] = {of.m, of.n, of.k, of.planes, of.a_length, of.panels_length, of.ones_length,
                  of.n, of.n, count};
    const enum spoilt spoilt = spoil(v, 4, 6);
    EVERY(r, count * 4) {
        r->status = bnnlab_product_affine(r->isa, of.a, v[4], v[3], of.panels, v[5], of.ones, v[6],
                                          v[0], v[1], v[2], scale, v[7], shift, v[8], r->out, v[9]);
        if (!spoilt)
            same_nans(r->out, count);
    }
    const float *out = results->out;
    int bad = 0;
    if (!spoilt) {
        SOME_PLACES(e, count) {
            const size_t j = e % of.n;
            const float product = (float)sum_plainly(&of, e / of.n, j) * scale[j];
            bad |= !same(out[e], product + shift[j]);
        }
    }
    return differs("product_affine", bad) | judge("product_affine", spoilt, BNNLAB_OK, count * 4, v);
}

static int fuzz_channels(void)
{
    const size_t samples = below(4), channels = draw_size(40, 130), pixels = draw_size(20, 300);
    const size_t words = BNNLAB_WORDS(channels), count = samples * channels * pixels;
    const size_t length = samples * pixels * words;
    const float *x = make_floats(count, below(16) == 0);
    size_t v[] = {samples, channels, pixels, count, length, 0};
    const enum spoilt spoilt = spoil(v, 3, 2);
    EVERY(r, length * 4)
        r->status = bnnlab_pack_channels(r->isa, x, v[3], v[0], v[1], v[2], r->out, v[4]);
    const uint32_t *bits = results->out;
    int bad = 0;
    if (!spoilt && results->status == BNNLAB_OK) {
        SOME_PLACES(e, length * 32) {
            const size_t j = e % (words * 32), i = e / 32 / words % pixels, s = e / 32 / words / pixels;
            bad |= bit(bits + (s * pixels + i) * words, j) !=
                   (j < channels && x[(s * channels + j) * pixels + i] >= 0.0f);
        }
    }
    return differs("pack_channels", bad) |
           judge("pack_channels", spoilt, has_nan(x, count) ? BNNLAB_NOT_A_NUMBER : BNNLAB_OK,
                 length * 4, v);
}

/* Tap by tap and channel by channel, from rows of weights; codes of planes, or signs. */
static int32_t convolve_plainly(const uint32_t *image, size_t planes, size_t plane, int signs,
                                size_t height, size_t width, size_t channels,
                                const struct bnnlab_window *window, const uint32_t *row, size_t y,
                                size_t x)
{
    const size_t words = BNNLAB_WORDS(channels);
    int32_t sum = 0;
    for (size_t v = 0; v < window->height; v++)
        for (size_t u = 0; u < window->width; u++) {
            const size_t at_y = y * window->stride_down + v - window->padding_down;
            const size_t at_x = x * window->stride_across + u - window->padding_across;
            if (at_y >= height || at_x >= width) /* above and to the left they have wrapped */
                continue;
            const uint32_t *at = image + (at_y * width + at_x) * words;
            for (size_t c = 0; c < channels; c++) {
                const int sign = sign_of(row + (v * window->width + u) * words, c);
                if (signs)
                    sum += sign_of(at, c) * sign;
                for (size_t p = 0; !signs && p < planes; p++)
                    sum += (bit(at + p * plane, c) << p) * sign;
            }
        }
    return sum;
}

static int fuzz_convolve(void)
{
    const int many = !large_case && below(48) == 0; /* as many as AMX begins with */
    const size_t most = large_case ? 30 : 6;
    const int signs = below(3) != 0;
    const size_t planes = signs ? 1 : 1 + below(8), groups = 1 + (below(8) == 0);
    const size_t samples = many ? 1 : below(3);
    const size_t height = many ? 5 + below(12) : below(most), width = many ? 5 + below(30) : below(most);
    const size_t channels = many ? 30 + below(300) : draw_size(40, 600);
    const size_t n = many ? 16 + below(60) : draw_size(40, 90), steps = many ? 1 + below(2) : 3;
    const struct bnnlab_window window = {1 + below(4), 1 + below(4), 1 + below(steps), 1 + below(steps),
                                         signs ? below(5) : 0, signs ? below(5) : 0};
    const size_t words = BNNLAB_WORDS(channels), taps = window.height * window.width;
    const size_t row = taps * words, images = samples * groups;
    const size_t down = bnnlab_places(height, window.height, window.stride_down,
                                      window.padding_down);
    const size_t across = bnnlab_places(width, window.width, window.stride_across,
                                        window.padding_across);
    const size_t pixels = images * height * width, plane = pixels * words;
    const size_t length = images * down * across * n;
    size_t each = 0;
    const uint32_t *image = make_bits(planes * pixels, channels);
    const uint32_t *weights = make_bits(groups * n * taps, channels);
    const size_t panels_length =
        groups * ((n + BNNLAB_LANES - 1) / BNNLAB_LANES) * row * BNNLAB_LANES;
    uint32_t *panels = make(panels_length * 4);
    int32_t *ones = make(groups * n * 4);
    for (size_t g = 0; g < groups; g++) {
        const uint32_t *made = make_panels(weights + g * n * row, n, row * 32, &each);
        memcpy(panels + g * each, made, each * 4);
    }
    for (size_t j = 0; j < groups * n; j++) {
        ones[j] = 0;
        for (size_t w = 0; w < row; w++)
            ones[j] += __builtin_popcount(weights[j * row + w]);
    }
    size_t v[] = {samples, height, width, channels, n, window.height, window.width, window.stride_down,
                  window.stride_across, window.padding_down, window.padding_across, planes, groups,
                  planes * plane, panels_length, signs ? 0 : groups * n, length};
    const enum spoilt spoilt = spoil(v, 13, 4);
    const struct bnnlab_window given = {v[5], v[6], v[7], v[8], v[9], v[10]};
    /* Of signs without groups there is a shorter call. */
    const int shorter = signs && v[11] == 1 && v[12] == 1 && v[15] == 0;
    EVERY(r, length * 4)
        r->status =
            shorter ? bnnlab_xnor_convolve(r->isa, image, v[13], v[0], v[1], v[2], v[3], &given, panels,
                                           v[14], v[4], r->out, v[16])
                    : bnnlab_convolve(r->isa, image, v[13], v[11], v[0], v[12], v[1], v[2], v[3], &given,
                                      panels, v[14], signs ? NULL : ones, v[15], v[4], r->out, v[16]);
    const int32_t *out = results->out;
    int bad = 0;
    if (!spoilt && results->status == BNNLAB_OK) {
        SOME_PLACES(e, length) {
            const size_t j = e % n, x = e / n % across, y = e / n / across % down;
            const size_t i = e / n / across / down;
            bad |= out[e] != convolve_plainly(image + i * height * width * words, planes, plane, signs,
                                              height, width, channels, &window,
                                              weights + (i % groups * n + j) * row, y, x);
        }
    }
    return differs("convolve", bad) |
           judge("convolve", spoilt, down && across ? BNNLAB_OK : BNNLAB_BAD_WINDOW, length * 4, v);
}

static int fuzz_sign_convolve(void)
{
    const size_t most = large_case ? 20 : 6;
    const size_t samples = below(3), height = below(most), width = below(most);
    const size_t channels = draw_size(40, 300), n = draw_size(40, 90);
    const struct bnnlab_window window = {1 + below(4), 1 + below(4), 1 + below(3), 1 + below(3),
                                         below(5), below(5)};
    const size_t words = BNNLAB_WORDS(channels), row = window.height * window.width * words;
    const size_t down = bnnlab_places(height, window.height, window.stride_down,
                                      window.padding_down);
    const size_t across = bnnlab_places(width, window.width, window.stride_across,
                                        window.padding_across);
    const size_t pixels = height * width, count = samples * channels * pixels;
    const size_t length = samples * down * across * n;
    const float *x = make_floats(count, below(16) == 0);
    const uint32_t *weights = make_bits(n * window.height * window.width, channels);
    size_t panels_length = 0;
    const uint32_t *panels = make_panels(weights, n, row * 32, &panels_length);
    size_t v[] = {samples, height, width, channels, n, window.height, window.width, window.stride_down,
                  window.stride_across, window.padding_down, window.padding_across, count, panels_length,
                  pixels * words, length};
    const enum spoilt spoilt = spoil(v, 11, 4);
    const struct bnnlab_window given = {v[5], v[6], v[7], v[8], v[9], v[10]};
    EVERY(r, length * 4) {
        uint32_t *bits = make(pixels * words * 4);
        r->status = bnnlab_sign_convolve(r->isa, x, v[11], v[0], v[1], v[2], v[3], &given, panels, v[12],
                                         v[4], bits, v[13], r->out, v[14]);
    }
    const int32_t *out = results->out;
    int bad = 0;
    if (!spoilt && results->status == BNNLAB_OK) {
        uint32_t *bits = make(samples * pixels * words * 4);
        bnnlab_pack_channels(BNNLAB_SCALAR, x, count, samples, channels, pixels, bits,
                             samples * pixels * words);
        SOME_PLACES(e, length) {
            const size_t j = e % n, at = e / n % across, y = e / n / across % down;
            bad |= out[e] != convolve_plainly(bits + e / n / across / down * pixels * words, 1, 0, 1,
                                              height, width, channels, &window, weights + j * row, y, at);
        }
    }
    return differs("sign_convolve", bad) |
           judge("sign_convolve", spoilt,
                 !down || !across      ? BNNLAB_BAD_WINDOW
                 : has_nan(x, count)   ? BNNLAB_NOT_A_NUMBER
                                       : BNNLAB_OK,
                 length * 4, v);
}

static int fuzz_pool(void)
{
    const size_t samples = below(3), height = below(9), width = below(9), words = below(4);
    const size_t down = 1 + below(3), across = 1 + below(3);
    const size_t high = height / down, wide = width / across;
    const size_t length = samples * height * width * words, out_length = samples * high * wide * words;
    const uint32_t *bits = make_bits(samples * height * width, words * 32);
    size_t v[] = {samples, height, width, words, down, across, length, out_length};
    const enum spoilt spoilt = spoil(v, 6, 2);
    begin(out_length * 4);
    for (size_t i = 0; i < isa_count; i++)
        results[i].status = bnnlab_max_pool(bits, v[6], v[0], v[1], v[2], v[3], v[4], v[5],
                                            results[i].out, v[7]);
    const uint32_t *out = results->out;
    int bad = 0;
    for (size_t e = 0; !spoilt && e < out_length; e++) {
        const size_t w = e % words, x = e / words % wide, y = e / words / wide % high;
        const size_t s = e / words / wide / high;
        uint32_t expected = 0;
        for (size_t i = 0; i < down; i++)
            for (size_t u = 0; u < across; u++)
                expected |= bits[((s * height + y * down + i) * width + x * across + u) * words + w];
        bad |= out[e] != expected;
    }
    return differs("max_pool", bad) | judge("max_pool", spoilt, BNNLAB_OK, out_length * 4, v);
}

static int fuzz_pad(void)
{
    const size_t images = below(4), height = below(9), width = below(9), channels = draw_size(40, 100);
    const size_t down = below(4), across = below(4), words = BNNLAB_WORDS(channels);
    const size_t high = height + 2 * down, wide = width + 2 * across;
    const size_t length = images * height * width * words, out_length = images * high * wide * words;
    const int value = (int)below(2);
    const uint32_t *bits = make_bits(images * height * width, channels);
    size_t v[] = {images, height, width, channels, down, across, length, out_length};
    const enum spoilt spoilt = spoil(v, 6, 2);
    begin(out_length * 4);
    for (size_t i = 0; i < isa_count; i++)
        results[i].status = bnnlab_pad(bits, v[6], v[0], v[1], v[2], v[3], v[4], v[5], value,
                                       results[i].out, v[7]);
    const uint32_t *out = results->out;
    int bad = 0;
    for (size_t e = 0; !spoilt && e < out_length * 32; e++) {
        const size_t c = e % (words * 32), pixel = e / (words * 32);
        const size_t x = pixel % wide - across, y = pixel / wide % high - down; /* they may wrap */
        const size_t at = (pixel / wide / high * height + y) * width + x;
        const int expected = c >= channels               ? 0
                             : x >= width || y >= height ? value
                                                         : bit(bits + at * words, c);
        bad |= bit(out + pixel * words, c) != expected;
    }
    return differs("pad", bad) | judge("pad", spoilt, BNNLAB_OK, out_length * 4, v);
}

/* A loop that is run so many times adds up so many times what it does once; of words that are read, only
 * one has bits. */
static int fuzz_limits(void)
{
    const size_t count = draw_size(140, 3000), steps = below(6);
    uint32_t *words = make(count * 4), all = count ? draw() : 0, once, sum, seen;
    const int loop = (int)below(BNNLAB_LOOP_FLOATS + 2);
    memset(words, 0, count * 4);
    if (count)
        words[below(count)] = all;
    for (size_t i = 0; i < isa_count; i++) {
        const int isa = isas[i];
        const int expected = bnnlab_limit_work(isa, loop) ? BNNLAB_OK : BNNLAB_NO_SUCH_ISA;
        const int bad = bnnlab_limit_run(isa, loop, 1, &once) != expected ||
                        bnnlab_limit_run(isa, loop, steps, &sum) != expected ||
                        (expected == BNNLAB_OK && (once == 0 || sum != (uint32_t)(steps * once))) ||
                        bnnlab_limit_read(isa, words, count, &seen) != BNNLAB_OK || seen != all;
        if (differs("limits", bad))
            return 1;
    }
    return 0;
}

int main(int count, char **arguments)
{
    static int (*const families[])(void) = {
        fuzz_signs,    fuzz_codes,     fuzz_panels,   fuzz_xnor,
        fuzz_planes,   fuzz_bytes,     fuzz_reals,    fuzz_threshold,
        fuzz_channels, fuzz_convolve,  fuzz_pool,     fuzz_product_threshold,
        fuzz_pad,      fuzz_limits,    fuzz_product_affine,
        fuzz_sign_convolve};
    const unsigned long cases = count > 1 ? strtoul(arguments[1], NULL, 10) : 100000;
    random_state ^= count > 2 ? strtoul(arguments[2], NULL, 10) : 1;
    const int networks = count > 3 && strcmp(arguments[3], "networks") == 0;
    find_isas();
    printf("instruction sets:");
    for (size_t i = 0; i < isa_count; i++)
        printf(" %d", isas[i]);
    printf("\n");
    for (unsigned long c = 0; c < cases; c++) {
        large_case = below(400) == 0;
        const int bad = !networks && below(60)
                            ? families[below(sizeof families / sizeof *families)]()
                            : fuzz_network();
        forget(0);
        if (bad) {
            printf("failed at case %lu\n", c);
            return 1;
        }
    }
    printf("%lu cases, no difference\n", cases);
    return 0;
}
