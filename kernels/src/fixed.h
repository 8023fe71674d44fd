/* Real inputs as integers, for products with signs.
 *
 * An input x of a row whose largest magnitude lies in [2^e, 2^(e + 1)) becomes q = x 2^(28 - e),
 * rounded to even, so |q| < 2^29. Sums of +-q are exact in any order, and below 2^52 while
 * 255 k < 2^31, so that a double holds them; times 2^(e - 28) they round once, to float32.
 *
 * Vector files look sums of four inputs up byte by byte (as T-MAC does, arXiv:2407.00088): where
 * table s of four inputs holds 2^31 + the sum with +q_i where bit i of s is 1 (32 bits, never
 * negative), its four bytes are four tables of 16 bytes.
 */
#ifndef BNNLAB_FIXED_H
#define BNNLAB_FIXED_H

#include "family.h"

#include <string.h>

#define TABLE_BYTES 512     /* of the 32 inputs of a word */
#define TABLE_INPUTS 2048   /* that have their tables at once */
#define TABLE_OUTPUTS 4096  /* whose sums are kept while the tables change */

/* Where the table of nibble 2 q + half of a word's inputs and of byte `digit` of their sums begins. */
#define TABLE_AT(half, digit, q) ((half) * 256 + (digit) * 64 + (q) * 16)

#define INFINITE_ROW 128
#define NAN_ROW 129

/* e of a row, or that it has an infinity, or a NaN. */
static inline int row_exponent(const float *x, size_t k)
{
    uint32_t largest = 0;
    for (size_t j = 0; j < k; j++) {
        uint32_t bits;
        memcpy(&bits, x + j, sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    if (largest > 0x7f800000)
        return NAN_ROW;
    return largest < 0x00800000 ? -126 : (int)(largest >> 23) - 127;
}

/* 2^(1 - e), the most that a float holds of 2^(28 - e); 2^27 is what is left. */
static inline float row_scale(int exponent)
{
    const uint32_t bits = (uint32_t)(128 - exponent) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

/* 2^(e - 28) */
static inline double row_unit(int exponent)
{
    const uint64_t bits = (uint64_t)(exponent - 28 + 1023) << 52;
    double unit;
    memcpy(&unit, &bits, sizeof unit);
    return unit;
}

/* A row with an infinity: it, or NaN where infinities of both signs meet. */
static inline void infinite_row(const float *x, const uint32_t *panels, size_t n, size_t k, float *out)
{
    const size_t words = BNNLAB_WORDS(k);
    for (size_t j = 0; j < n; j++) {
        const uint32_t *b = panels + j / BNNLAB_LANES * words * BNNLAB_LANES + j % BNNLAB_LANES;
        float sum = 0.0f;
        for (size_t c = 0; c < k; c++)
            if (x[c] - x[c] != 0.0f)
                sum += b[c / 32 * BNNLAB_LANES] >> (c % 32) & 1 ? x[c] : -x[c];
        out[j] = sum;
    }
}

#endif
