/* Differential fuzzing: every instruction set of this machine against the scalar one.
 *
 *     fuzz CASES [SEED]
 *
 * Shapes are random with a liking for edges (0, 1, 31 .. 33, 63 .. 65, ...), data random or adversarial
 * (all ones, signed zeros, denormals, NaN). Arrays hold exactly what a call may touch: mostly in a
 * malloc block, for AddressSanitizer, every fourth time ending at an unreadable page, for masked
 * vector loads that the sanitizer does not see. Some calls get one length wrong and must
 * be refused. Prints the number of cases; exits with 1 at the first difference.
 */
#include "bnnlab_kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t state;

static uint32_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

static size_t below(size_t bound)
{
    return draw() % bound;
}

static size_t draw_size(size_t largest)
{
    static const size_t edges[] = {0,  1,  2,  7,  8,   9,   15,  16,  17,  31,  32,
                                   33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511};
    const size_t size = below(2) ? edges[below(sizeof edges / sizeof *edges)] : below(largest + 1);
    return size <= largest ? size : below(largest + 1);
}

struct array {
    void *data;
    void *block;
    size_t mapped;
};

/* A block of exactly `bytes` bytes, filled with a pattern that no kernel leaves behind by chance. */
static struct array make(size_t bytes)
{
    struct array a = {NULL, NULL, 0};
    if (below(4)) {
        a.data = a.block = malloc(bytes ? bytes : 1);
    } else {
        const size_t page = (size_t)sysconf(_SC_PAGESIZE);
        const size_t whole = (bytes + page - 1) / page * page;
        a.mapped = whole + page;
        a.block = mmap(NULL, a.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (a.block == MAP_FAILED || mprotect((char *)a.block + whole, page, PROT_NONE))
            exit(2);
        a.data = (char *)a.block + whole - bytes;
    }
    if (a.data == NULL)
        exit(2);
    memset(a.data, 0xA5, bytes);
    return a;
}

static void drop(struct array a)
{
    if (a.mapped)
        munmap(a.block, a.mapped);
    else
        free(a.block);
}

/* Rows of `k` random bits; the tail is zero. */
static struct array make_bits(size_t rows, size_t k)
{
    const size_t words = BNNLAB_WORDS(k);
    struct array a = make(rows * words * 4);
    const unsigned kind = draw() % 4;
    for (size_t i = 0; i < rows; i++)
        for (size_t w = 0; w < words; w++) {
            uint32_t v = kind == 0 ? 0 : kind == 1 ? 0xffffffffu : draw();
            if (w == words - 1 && k % 32)
                v &= ((uint32_t)1 << (k % 32)) - 1;
            ((uint32_t *)a.data)[i * words + w] = v;
        }
    return a;
}

static struct array make_panels(size_t n, size_t k)
{
    const size_t words = BNNLAB_WORDS(k), length = (n + 15) / 16 * words * 16;
    struct array bits = make_bits(n, k), panels = make(length * 4);
    if (bnnlab_pack_panels(bits.data, n * words, n, k, panels.data, length) != BNNLAB_OK)
        exit(2);
    drop(bits);
    return panels;
}

static struct array make_floats(size_t count, int with_nan)
{
    static const float odd[] = {0.0f, -0.0f, 1e-45f, -1e-45f, 3.4e38f, -3.4e38f, 1.0f, -1.0f};
    struct array a = make(count * 4);
    const unsigned kind = draw() % 3;
    float *x = a.data;
    for (size_t i = 0; i < count; i++)
        x[i] = kind == 0 ? odd[below(6)] : kind == 1 ? odd[6 + below(2)]
                                                     : ((float)draw() - 2147483648.0f) / 1e8f;
    if (with_nan && count)
        x[below(count)] = (float)(1e308 * 10 - 1e308 * 10);
    return a;
}

static struct array make_values(size_t count)
{
    struct array a = make(count * 4);
    const int small = below(4) != 0;
    for (size_t i = 0; i < count; i++)
        ((int32_t *)a.data)[i] = small ? (int32_t)below(41) - 20 : (int32_t)draw();
    return a;
}

/* Every case writes out its outputs and status for one instruction set. */
struct outcome {
    int status;
    struct array out;
    size_t bytes;
};

enum { OUTPUTS = 4 };
static int isas[OUTPUTS], isa_count;

static int compare(const char *name, const struct outcome *results, size_t m, size_t n, size_t k)
{
    int bad = 0;
    for (int i = 1; i < isa_count; i++) {
        const int same = results[i].status == results[0].status &&
                         (results[0].status != BNNLAB_OK || results[0].bytes == 0 ||
                          !memcmp(results[i].out.data, results[0].out.data, results[0].bytes));
        if (!same) {
            printf("MISMATCH %s isa=%d m=%zu n=%zu k=%zu status %d, scalar %d\n", name, isas[i], m,
                   n, k, results[i].status, results[0].status);
            bad = 1;
        }
    }
    for (int i = 0; i < isa_count; i++)
        drop(results[i].out);
    return bad;
}

/* For a few cases, how much to add to the length of one array: the call must then be refused. */
static size_t wrong;

static int fuzz_pack(void)
{
    const size_t rows = draw_size(9), k = draw_size(600), planes = 1 + below(8);
    const int codes = (int)below(2);
    struct array x = codes ? make(rows * k) : make_floats(rows * k, below(8) == 0);
    const size_t length = (codes ? planes : 1) * rows * BNNLAB_WORDS(k);
    struct outcome results[OUTPUTS];
    for (size_t e = 0; codes && e < rows * k; e++)
        ((uint8_t *)x.data)[e] = (uint8_t)draw();
    for (int i = 0; i < isa_count; i++) {
        struct outcome *r = &results[i];
        r->bytes = length * 4;
        r->out = make(r->bytes);
        r->status = codes ? bnnlab_pack_codes(isas[i], x.data, rows * k, rows, k, planes,
                                              r->out.data, length + wrong)
                          : bnnlab_pack_signs(isas[i], x.data, rows * k, rows, k, r->out.data,
                                              length + wrong);
    }
    drop(x);
    return (wrong && results[0].status != BNNLAB_BAD_LENGTH) |
           compare(codes ? "pack_codes" : "pack_signs", results, rows, planes, k);
}

static int fuzz_xnor(void)
{
    const size_t m = draw_size(14), n = draw_size(140), k = draw_size(below(8) ? 300 : 2500);
    const size_t planes = below(2) ? 1 + below(8) : 0, words = BNNLAB_WORDS(k);
    const size_t a_length = (planes ? planes : 1) * m * words, b_length = (n + 15) / 16 * 16 * words;
    struct array a = make_bits((planes ? planes : 1) * m, k), b = make_panels(n, k);
    struct array ones = make_values(n);
    struct outcome results[OUTPUTS];
    for (int i = 0; i < isa_count; i++) {
        struct outcome *r = &results[i];
        r->bytes = m * n * 4;
        r->out = make(r->bytes);
        r->status = planes ? bnnlab_planes_matmul(isas[i], a.data, a_length, planes, b.data,
                                                  b_length + wrong, ones.data, n, m, n, k,
                                                  r->out.data, m * n)
                           : bnnlab_xnor_matmul(isas[i], a.data, a_length + wrong, b.data, b_length,
                                                m, n, k, r->out.data, m * n);
    }
    drop(a);
    drop(b);
    drop(ones);
    return (wrong && results[0].status != BNNLAB_BAD_LENGTH) |
           compare(planes ? "planes_matmul" : "xnor_matmul", results, m, n, k);
}

static int fuzz_sign(void)
{
    const size_t m = draw_size(14), n = draw_size(100), k = draw_size(below(8) ? 200 : 900);
    const size_t b_length = (n + 15) / 16 * 16 * BNNLAB_WORDS(k);
    struct array x = make_floats(m * k, below(8) == 0), b = make_panels(n, k);
    struct outcome results[OUTPUTS];
    for (int i = 0; i < isa_count; i++) {
        struct outcome *r = &results[i];
        r->bytes = m * n * 4;
        r->out = make(r->bytes);
        r->status = bnnlab_sign_matmul(isas[i], x.data, m * k, b.data, b_length, m, n, k,
                                       r->out.data, m * n + wrong);
        /* The payload of a NaN (infinity minus infinity) is nobody's promise. */
        float *out = r->out.data;
        for (size_t e = 0; r->status == BNNLAB_OK && e < m * n; e++)
            if (out[e] != out[e])
                out[e] = 0.0f;
    }
    drop(x);
    drop(b);
    return (wrong && results[0].status != BNNLAB_BAD_LENGTH) |
           compare("sign_matmul", results, m, n, k);
}

static int fuzz_bytes(void)
{
    const size_t m = draw_size(14), n = draw_size(100), k = draw_size(below(8) ? 200 : 900);
    const size_t b_length = (n + 15) / 16 * 16 * BNNLAB_WORDS(k);
    struct array codes = make(m * k), b = make_panels(n, k);
    struct outcome results[OUTPUTS];
    const int largest = below(4) == 0;
    for (size_t e = 0; e < m * k; e++)
        ((uint8_t *)codes.data)[e] = largest ? 255 : (uint8_t)draw();
    for (int i = 0; i < isa_count; i++) {
        struct outcome *r = &results[i];
        r->bytes = m * n * 4;
        r->out = make(r->bytes);
        r->status = bnnlab_bytes_matmul(isas[i], codes.data, m * k + wrong, b.data, b_length, m, n,
                                        k, r->out.data, m * n);
    }
    drop(codes);
    drop(b);
    return (wrong && results[0].status != BNNLAB_BAD_LENGTH) |
           compare("bytes_matmul", results, m, n, k);
}

static int fuzz_threshold(void)
{
    const size_t m = draw_size(6), n = draw_size(200), levels = below(2) ? 1 : 1 + below(255);
    const int real = (int)below(2);
    struct array values = real ? make_floats(m * n, below(8) == 0) : make_values(m * n);
    struct array thresholds = make_values(levels * n), flip = make_bits(1, n);
    size_t planes = 0;
    while (levels >> planes)
        planes++;
    const size_t length = planes * m * BNNLAB_WORDS(n);
    struct outcome results[OUTPUTS];
    for (int i = 0; i < isa_count; i++) {
        struct outcome *r = &results[i];
        r->bytes = length * 4;
        r->out = make(r->bytes);
        r->status = bnnlab_threshold(isas[i], values.data, m * n, real, m, n, thresholds.data,
                                     levels * n + wrong, levels, flip.data, BNNLAB_WORDS(n),
                                     r->out.data, length);
    }
    drop(values);
    drop(thresholds);
    drop(flip);
    return (wrong && results[0].status != BNNLAB_BAD_LENGTH) |
           compare("threshold", results, m, n, levels);
}

static int fuzz_channels(void)
{
    const size_t samples = below(4), channels = draw_size(130), pixels = draw_size(70);
    const size_t count = samples * channels * pixels;
    const size_t length = samples * pixels * BNNLAB_WORDS(channels);
    struct array x = make_floats(count, below(8) == 0);
    struct outcome results[OUTPUTS];
    for (int i = 0; i < isa_count; i++) {
        struct outcome *r = &results[i];
        r->bytes = length * 4;
        r->out = make(r->bytes);
        r->status = bnnlab_pack_channels(isas[i], x.data, count + wrong, samples, channels, pixels,
                                         r->out.data, length);
    }
    drop(x);
    return (wrong && results[0].status != BNNLAB_BAD_LENGTH) |
           compare("pack_channels", results, samples, channels, pixels);
}

static int sign_of(const uint32_t *row, size_t index)
{
    return row[index / 32] >> (index % 32) & 1 ? 1 : -1;
}

/* Tap by tap and channel by channel, from rows of weights. */
static int32_t convolve_plainly(const uint32_t *image, size_t height, size_t width, size_t channels,
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
            for (size_t c = 0; c < channels; c++)
                sum += sign_of(image + (at_y * width + at_x) * words, c) *
                       sign_of(row + (v * window->width + u) * words, c);
        }
    return sum;
}

static int fuzz_convolve(void)
{
    const size_t samples = below(3), height = below(12), width = below(16);
    const size_t channels = below(2) ? below(70) : below(200), n = draw_size(below(4) ? 20 : 70);
    const struct bnnlab_window window = {1 + below(4), 1 + below(4), 1 + below(3),
                                         1 + below(3), below(5),     below(5)};
    const size_t words = BNNLAB_WORDS(channels), row = window.height * window.width * words;
    const size_t down = bnnlab_places(height, window.height, window.stride_down,
                                      window.padding_down);
    const size_t across = bnnlab_places(width, window.width, window.stride_across,
                                        window.padding_across);
    const size_t pixels = samples * height * width, length = samples * down * across * n;
    const size_t b_length = (n + 15) / 16 * 16 * row;
    struct array image = make_bits(pixels, channels);
    struct array weights = make_bits(n * window.height * window.width, channels);
    struct array panels = make(b_length * 4);
    struct outcome results[OUTPUTS];
    if (bnnlab_pack_panels(weights.data, n * row, n, row * 32, panels.data, b_length) != BNNLAB_OK)
        exit(2);
    for (int i = 0; i < isa_count; i++) {
        struct outcome *r = &results[i];
        r->bytes = length * 4;
        r->out = make(r->bytes);
        r->status = bnnlab_xnor_convolve(isas[i], image.data, pixels * words + wrong, samples, height,
                                         width, channels, &window, panels.data, b_length, n,
                                         r->out.data, length);
    }
    int bad = results[0].status !=
              (!down || !across ? BNNLAB_BAD_WINDOW : wrong ? BNNLAB_BAD_LENGTH : BNNLAB_OK);
    /* The plain reference is slow: a few places of every case. */
    for (int sample = 0; results[0].status == BNNLAB_OK && length && sample < 4; sample++) {
        const size_t e = below(length), j = e % n, x = e / n % across, y = e / n / across % down;
        const uint32_t *at = (uint32_t *)image.data + e / n / across / down * height * width * words;
        const int32_t expected = convolve_plainly(at, height, width, channels, &window,
                                                  (uint32_t *)weights.data + j * row, y, x);
        if (((int32_t *)results[0].out.data)[e] != expected) {
            printf("MISMATCH xnor_convolve with the plain one\n");
            bad = 1;
        }
    }
    drop(image);
    drop(weights);
    drop(panels);
    return bad | compare("xnor_convolve", results, samples, n, channels);
}

static int fuzz_pool(void)
{
    const size_t samples = below(3), height = below(9), width = below(9), words = below(4);
    const size_t down = 1 + below(3), across = 1 + below(3);
    const size_t high = height / down, wide = width / across;
    const size_t length = samples * height * width * words, out_length = samples * high * wide * words;
    struct array bits = make_bits(samples * height * width, words * 32);
    struct array out = make(out_length * 4);
    const int status = bnnlab_max_pool(bits.data, length + wrong, samples, height, width, words,
                                       down, across, out.data, out_length);
    int bad = status != (wrong ? BNNLAB_BAD_LENGTH : BNNLAB_OK);
    for (size_t e = 0; status == BNNLAB_OK && e < out_length; e++) {
        const size_t w = e % words, x = e / words % wide, y = e / words / wide % high;
        const size_t s = e / words / wide / high;
        uint32_t expected = 0;
        for (size_t v = 0; v < down; v++)
            for (size_t u = 0; u < across; u++)
                expected |= ((uint32_t *)bits.data)[((s * height + y * down + v) * width +
                                                     x * across + u) * words + w];
        bad |= ((uint32_t *)out.data)[e] != expected;
    }
    if (bad)
        printf("MISMATCH max_pool\n");
    drop(bits);
    drop(out);
    return bad;
}

int main(int count, char **arguments)
{
    static int (*const families[])(void) = {fuzz_pack,     fuzz_xnor,     fuzz_sign, fuzz_threshold,
                                           fuzz_channels, fuzz_convolve, fuzz_pool, fuzz_bytes};
    static const char *const names[] = {"", "scalar", "avx2", "avx512", "avx512_carry"};
    const unsigned long cases = count > 1 ? strtoul(arguments[1], NULL, 10) : 100000;
    state = 0x9E3779B97F4A7C15u ^ (count > 2 ? strtoul(arguments[2], NULL, 10) : 1);
    printf("instruction sets:");
    for (int isa = BNNLAB_SCALAR; isa <= BNNLAB_AVX512_CARRY; isa++)
        if (bnnlab_resolve_isa(isa)) {
            isas[isa_count++] = isa;
            printf(" %s", names[isa]);
        }
    printf("\n");
    for (unsigned long c = 0; c < cases; c++) {
        wrong = below(50) ? 0 : 1 + below(3);
        if (families[below(sizeof families / sizeof *families)]()) {
            printf("failed at case %lu\n", c);
            return 1;
        }
    }
    printf("%lu cases, no difference\n", cases);
    return 0;
}
