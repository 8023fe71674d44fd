/* What every instruction set implements. One file each: scalar.c, avx2.c, avx512.c.
 *
 * The caller (dispatch.c) has checked every size, so these trust their arguments. Sizes may be zero.
 * All integer results are exact; the accumulator is 32 bits and wraps, which the bounds on k make
 * harmless: the final value always fits.
 *
 * The float product must add in the order that bnnlab_kernels.h promises. Multiplying by +-1 is
 * exact, so an FMA and an addition round alike.
 */
#ifndef BNNLAB_FAMILY_H
#define BNNLAB_FAMILY_H

#include "bnnlab_kernels.h"

#define BNNLAB_BLOCK_WORDS 8    /* inputs summed before their sum is added to the total: 256 */

struct bnnlab_family {
    /* Returns whether a NaN was met. */
    int (*pack_signs)(const float *x, size_t rows, size_t k, uint32_t *bits);

    void (*pack_codes)(const uint8_t *codes, size_t rows, size_t k, size_t planes, uint32_t *bits);

    /* out[i, j] -= popcount(a[i] ^ b[j]) << shift */
    void (*subtract_mismatches)(const uint32_t *a, const uint32_t *panels, size_t m, size_t n,
                                size_t words, unsigned shift, int32_t *out);

    /* out[i, j] += x[i] . b[j] over the inputs of words first .. last - 1. x has k floats a row. */
    void (*add_signed_block)(const float *x, const uint32_t *panels, size_t m, size_t n, size_t k,
                             size_t first, size_t last, float *out);

    /* Returns whether a NaN was met; never when `real` is 0. */
    int (*threshold)(const int32_t *values, int real, size_t m, size_t n, const int32_t *thresholds,
                     size_t levels, size_t planes, const uint32_t *flip, uint32_t *bits);
};

extern const struct bnnlab_family bnnlab_scalar;
#ifdef BNNLAB_X86
extern const struct bnnlab_family bnnlab_avx2;
extern const struct bnnlab_family bnnlab_avx512;
#endif

#endif
