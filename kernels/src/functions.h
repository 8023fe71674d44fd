/* The functions of networks, in plain C: their results are the same everywhere. */
#ifndef BNNLAB_FUNCTIONS_H
#define BNNLAB_FUNCTIONS_H

#include "bnnlab_network.h"

#include <string.h>

#ifdef __GNUC__ /* a loop with a call in it is not made one of wide registers */
#define BNNLAB_INLINE static inline __attribute__((always_inline))
#else
#define BNNLAB_INLINE static inline
#endif

#define BNNLAB_SMALLEST 1e-5f   /* of a sample's largest activation, in BNNLAB_ABSMAX */

/* e^x - 1 in double, without branches: x = k ln 2 + r with |r| <= ln(2) / 2 and the series in r, whose
 * first term left out is below 1e-15 of the result. |x| <= 700; a NaN stays one. */
BNNLAB_INLINE double less_one(double x)
{
    const double magic = 6755399441055744.0; /* 1.5 * 2**52: adding it rounds, and shows k in the bits */
    const double shown = x * 1.4426950408889634 + magic, k = shown - magic;
    const double r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
    double sum = 1.0 / 479001600, power;
    uint64_t bits;
    sum = sum * r + 1.0 / 39916800;
    sum = sum * r + 1.0 / 3628800;
    sum = sum * r + 1.0 / 362880;
    sum = sum * r + 1.0 / 40320;
    sum = sum * r + 1.0 / 5040;
    sum = sum * r + 1.0 / 720;
    sum = sum * r + 1.0 / 120;
    sum = sum * r + 1.0 / 24;
    sum = sum * r + 1.0 / 6;
    sum = sum * r + 0.5;
    sum = (sum * r + 1.0) * r;
    memcpy(&bits, &shown, 8);
    bits = (bits + 1023) << 52;
    memcpy(&power, &bits, 8);
    return power * sum + (power - 1.0);
}

/* Apart from what follows, which would otherwise be branched around for the constants. */
static void clamp(float *x, size_t n, float limit)
{
    for (size_t j = 0; j < n; j++)
        x[j] = x[j] > limit ? limit : x[j];
    for (size_t j = 0; j < n; j++)
        x[j] = x[j] < -limit ? -limit : x[j];
}

static void sigmoids(float *x, size_t n)
{
    clamp(x, n, 100.0f);
    for (size_t j = 0; j < n; j++)
        x[j] = (float)(1.0 / (2.0 + less_one(-(double)x[j])));
}

static void tanhs(float *x, size_t n)
{
    clamp(x, n, 20.0f);
    for (size_t j = 0; j < n; j++) {
        const double more = less_one(2.0 * x[j]);
        x[j] = (float)(more / (more + 2.0));
    }
}

static float size_of(float x)
{
    return x < 0.0f ? -x : x;
}

static float mean_size(const float *x, size_t n)
{
    double sum = 0;
    for (size_t j = 0; j < n; j++)
        sum += size_of(x[j]);
    return (float)(sum / (double)n);
}

/* max(x, 0) in 127 steps up to the largest. */
static void absmax(float *x, size_t n)
{
    const float magic = 12582912.0f; /* 1.5 * 2**23: adding it rounds to whole numbers, ties to even */
    float largest = BNNLAB_SMALLEST;
    for (size_t j = 0; j < n; j++)
        largest = x[j] > largest ? x[j] : largest;
    const float up = 127.0f / largest, down = largest / 127.0f;
    for (size_t j = 0; j < n; j++) {
        const float whole = (x[j] < 0.0f ? 0.0f : x[j]) * up + magic;
        x[j] = (whole - magic) * down;
    }
}

/* A function of rows of [pixels, channels], in place; ReLU is done with the sums. */
static void apply(int function, float *x, size_t rows, size_t pixels, size_t channels)
{
    switch (function) {
    case BNNLAB_TANH:
        tanhs(x, rows * pixels * channels);
        break;
    case BNNLAB_ABSMAX:
        for (size_t s = 0; s < rows; s++)
            absmax(x + s * pixels * channels, pixels * channels);
        break;
    case BNNLAB_SIGN_MEAN:
        for (size_t i = 0; i < rows * pixels; i++, x += channels) {
            const float mean = mean_size(x, channels);
            for (size_t j = 0; j < channels; j++)
                x[j] = x[j] >= 0.0f ? mean : x[j] < 0.0f ? -mean : x[j];
        }
        break;
    case BNNLAB_HARD_TANH:
        for (size_t e = 0; e < rows * pixels * channels; e++)
            x[e] = x[e] < -1.0f ? -1.0f : x[e] > 1.0f ? 1.0f : x[e];
        break;
    default:
        break;
    }
}

#endif
