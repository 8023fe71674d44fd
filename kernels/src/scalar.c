/* Plain C, one element at a time: the oracle that the other instruction sets are held to.
 *
 * Compiled again for processors that count bits, whose product of bits is another, it is the rest of them. */
#include "fixed.h"

#include <string.h>

#ifndef BNNLAB_FAMILY
#define BNNLAB_FAMILY bnnlab_scalar
#define BNNLAB_PRODUCT product

static unsigned popcount(uint32_t v)
{
    v -= (v >> 1) & 0x55555555u;
    v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
    v = (v + (v >> 4)) & 0x0f0f0f0fu;
    return (v * 0x01010101u) >> 24;
}

static void product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                    const uint32_t *panels, const int32_t *ones, int32_t base, size_t m, size_t n,
                    int32_t *out)
{
    const uint32_t largest = ((uint32_t)1 << planes) - 1;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            const uint32_t *b =
                panels + j / BNNLAB_LANES * walk->panel_words * BNNLAB_LANES + j % BNNLAB_LANES;
            uint32_t mismatches = 0;
            for (size_t p = 0; p < planes; p++)
                for (size_t s = 0; s < walk->segments; s++)
                    for (size_t w = 0; w < walk->length; w++)
                        mismatches += popcount(a[p * walk->plane_step + i * walk->row_step +
                                                 s * walk->a_step + w] ^
                                               b[(s * walk->b_step + w) * BNNLAB_LANES])
                                      << p;
            out[i * n + j] = (int32_t)(ones ? (uint32_t)ones[j] * largest - mismatches
                                            : (uint32_t)base - 2 * mismatches);
        }
}

#else
void BNNLAB_PRODUCT(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                    const uint32_t *panels, const int32_t *ones, int32_t base, size_t m, size_t n,
                    int32_t *out);
#endif

static void set_bit(uint32_t *row, size_t index)
{
    row[index / 32] |= (uint32_t)1 << (index % 32);
}

static int pack_signs(const float *x, size_t rows, size_t k, uint32_t *bits)
{
    const size_t words = BNNLAB_WORDS(k);
    int nan = 0;
    for (size_t i = 0; i < rows; i++, x += k, bits += words) {
        for (size_t w = 0; w < words; w++)
            bits[w] = 0;
        for (size_t j = 0; j < k; j++) {
            nan |= x[j] != x[j];
            if (x[j] >= 0.0f)
                set_bit(bits, j);
        }
    }
    return nan;
}

static int pack_channels(const float *x, size_t channels, size_t pixels, uint32_t *bits)
{
    const size_t words = BNNLAB_WORDS(channels);
    int nan = 0;
    for (size_t e = 0; e < pixels * words; e++)
        bits[e] = 0;
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < pixels; i++, x++) {
            nan |= *x != *x;
            if (*x >= 0.0f)
                set_bit(bits + i * words, c);
        }
    return nan;
}

static void pack_codes(const uint8_t *codes, size_t rows, size_t k, size_t planes, uint32_t *bits)
{
    const size_t words = BNNLAB_WORDS(k);
    for (size_t p = 0; p < planes; p++)
        for (size_t i = 0; i < rows; i++, bits += words) {
            for (size_t w = 0; w < words; w++)
                bits[w] = 0;
            for (size_t j = 0; j < k; j++)
                if (codes[i * k + j] >> p & 1)
                    set_bit(bits, j);
        }
}

static void bytes_product(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n, size_t k,
                          int32_t *out)
{
    const size_t words = BNNLAB_WORDS(k);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            const uint32_t *b = panels + j / BNNLAB_LANES * words * BNNLAB_LANES + j % BNNLAB_LANES;
            int32_t sum = 0;
            uint32_t signs = 0;
            for (size_t c = 0; c < k; c++, signs >>= 1) {
                if (c % 32 == 0)
                    signs = b[c / 32 * BNNLAB_LANES];
                sum += (2 * (int32_t)(signs & 1) - 1) * codes[i * k + c];
            }
            out[i * n + j] = sum;
        }
}

/* As many outputs as one rounding of some inputs serves. */
enum { OUTPUTS = 64, INPUTS = 256 };

static void finite_row(const float *x, double unit, const uint32_t *panels, size_t n, size_t k,
                       float *out)
{
    const size_t words = BNNLAB_WORDS(k);
    /* Added and taken away again, it leaves a double without what comes after the point. */
    const double whole = 6755399441055744.0;
    for (size_t first = 0; first < n; first += OUTPUTS) {
        const size_t count = n - first < OUTPUTS ? n - first : OUTPUTS;
        int64_t sums[OUTPUTS] = {0};
        for (size_t from = 0; from < k; from += INPUTS) {
            const size_t inputs = k - from < INPUTS ? k - from : INPUTS;
            int32_t q[INPUTS];
            for (size_t c = 0; c < inputs; c++)
                q[c] = (int32_t)(x[from + c] / unit + whole - whole);
            for (size_t j = 0; j < count; j++) {
                const uint32_t *b = panels + (first + j) / BNNLAB_LANES * words * BNNLAB_LANES +
                                    from / 32 * BNNLAB_LANES + (first + j) % BNNLAB_LANES;
                uint32_t signs = 0;
                for (size_t c = 0; c < inputs; c++, signs >>= 1) {
                    if (c % 32 == 0)
                        signs = b[c / 32 * BNNLAB_LANES];
                    sums[j] += (2 * (int32_t)(signs & 1) - 1) * q[c];
                }
            }
        }
        for (size_t j = 0; j < count; j++)
            out[first + j] = (float)((double)sums[j] * unit);
    }
}

static int sign_product(const float *x, const uint32_t *panels, size_t m, size_t n, size_t k,
                        float *out)
{
    int nan = 0;
    for (size_t i = 0; i < m; i++, x += k, out += n) {
        const int exponent = row_exponent(x, k);
        nan |= exponent == NAN_ROW;
        if (exponent == INFINITE_ROW)
            infinite_row(x, panels, n, k, out);
        else if (exponent < INFINITE_ROW)
            finite_row(x, row_unit(exponent), panels, n, k, out);
    }
    return nan;
}

static void real_product(const float *x, const float *weights, size_t m, size_t n, size_t k, float *out)
{
    for (size_t j = 0; j < n; j += BNNLAB_LANES)
        for (size_t i = 0; i < m; i++) {
            float sums[BNNLAB_LANES] = {0};
            for (size_t c = 0; c < k; c++)
                for (size_t lane = 0; lane < BNNLAB_LANES; lane++)
                    sums[lane] += x[i * k + c] * weights[j * k + c * BNNLAB_LANES + lane];
            for (size_t lane = 0; lane < BNNLAB_LANES && j + lane < n; lane++)
                out[i * n + j + lane] = sums[lane];
        }
}

static int threshold(const int32_t *values, int real, size_t m, size_t n, const int32_t *thresholds,
                     size_t levels, size_t planes, const uint32_t *flip, uint32_t *bits)
{
    const size_t words = BNNLAB_WORDS(n);
    int nan = 0;
    for (size_t e = 0; e < planes * m * words; e++)
        bits[e] = 0;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            int32_t value;
            memcpy(&value, values + i * n + j, sizeof value); /* it may be a float's bits */
            if (real) {
                nan |= (value & 0x7fffffff) > 0x7f800000;
                if (value < 0)
                    value ^= 0x7fffffff;
            }
            size_t code = 0;
            for (size_t l = 0; l < levels; l++)
                code += value >= thresholds[l * n + j];
            if (flip[j / 32] >> (j % 32) & 1)
                code = levels - code;
            for (size_t p = 0; p < planes; p++)
                if (code >> p & 1)
                    set_bit(bits + (p * m + i) * words, j);
        }
    return nan;
}

const struct bnnlab_family BNNLAB_FAMILY = {
    pack_signs, pack_channels, pack_codes, BNNLAB_PRODUCT, bytes_product, sign_product, real_product,
    threshold, NULL, NULL, NULL,
};
