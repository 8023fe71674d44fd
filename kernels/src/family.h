/* What every instruction set implements. Of each that is its
 * first file: scalar.c, popcnt.c, avx2.c, avx512.c, amx.c, neon.c.
 *
 * The caller (dispatch.c) has checked every size, so these trust their arguments. Sizes may be zero.
 * All integer results are exact; the accumulator is 32 bits and wraps, which the bounds on k make
 * harmless: the final value always fits.
 */
#ifndef BNNLAB_FAMILY_H
#define BNNLAB_FAMILY_H

#include "bnnlab_kernels.h"

/* Which words of `a` meet which of the panels: of each row `segments` runs of `length` words. A
 * matrix product has one run; a convolution one for each row of its window. Steps in words. */
struct bnnlab_walk {
    size_t row_step, plane_step, segments, length, a_step;
    size_t b_step, panel_words;
};

/* Rows of places of a convolution of one image, `down` from the row `first` on, each of `across`. Words
 * from one plane to the next. */
struct bnnlab_field {
    const uint32_t *image;
    size_t planes, plane_step, height, width, channels;
    const struct bnnlab_window *window;
    size_t first, down, across;
};

/* Where sums go that become codes: thresholds [levels, n] and flips [words(n)] as bnnlab_threshold has
 * them, and of the bits the first, the words from a row to the next, and those from a plane to the
 * next. */
struct bnnlab_codes {
    const int32_t *thresholds;
    size_t levels;
    const uint32_t *flip;
    uint32_t *bits;
    size_t words, plane;
};

/* The same from a row on. */
static inline struct bnnlab_codes bnnlab_codes_from(const struct bnnlab_codes *codes, size_t row)
{
    struct bnnlab_codes from = *codes;
    from.bits += row * codes->words;
    return from;
}

struct bnnlab_family {
    /* Returns whether a NaN was met. */
    int (*pack_signs)(const float *x, size_t rows, size_t k, uint32_t *bits);

    /* One sample: x [channels, pixels] -> bits [pixels, words]. Returns whether a NaN was met. */
    int (*pack_channels)(const float *x, size_t channels, size_t pixels, uint32_t *bits);

    void (*pack_codes)(const uint8_t *codes, size_t rows, size_t k, size_t planes, uint32_t *bits);

    /* With mismatches = the sum over planes p of 2**p popcount(a_p[i] ^ b[j]):
     * out[i, j] = base - 2 mismatches, or, with `ones`, ones[j] (2**planes - 1) - mismatches. */
    void (*product)(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                    const uint32_t *panels, const int32_t *ones, int32_t base,
                    size_t m, size_t n, int32_t *out);

    /* out[i, j] = codes[i] . b[j] */
    void (*bytes_product)(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n,
                          size_t k, int32_t *out);

    /* out[i, j] = x[i] . b[j], as fixed.h says. Returns whether a NaN was met. */
    int (*sign_product)(const float *x, const uint32_t *panels, size_t m, size_t n, size_t k,
                        float *out);

    /* out[i, j] = x[i] . w[j] with real weights, as panels [ceil(n / 16), k, 16]; inputs in ascending
     * order, each product rounded, by every instruction set alike. */
    void (*real_product)(const float *x, const float *weights, size_t m, size_t n, size_t k,
                         float *out);

    /* Returns whether a NaN was met; never when `real` is 0. */
    int (*threshold)(const int32_t *values, int real, size_t m, size_t n, const int32_t *thresholds,
                     size_t levels, size_t planes, const uint32_t *flip, uint32_t *bits);

    /* The sums of `product` of all windows of the field -> out [down, across, n], where doing so at
     * once is faster than a product for every row of windows; returns whether it is. With `ones` all
     * windows must lie on the image. NULL where it never is. */
    int (*convolve)(const struct bnnlab_field *field, const uint32_t *panels, const int32_t *ones,
                    size_t n, int32_t *out);

    /* The codes of the sums of `product`, where making them at once is faster than making sums first;
     * returns whether it is. NULL where it never is. */
    int (*product_codes)(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                         const uint32_t *panels, const int32_t *ones, int32_t base,
                         size_t m, size_t n, const struct bnnlab_codes *to);

    /* The same of the sums of `bytes_product`. */
    int (*bytes_codes)(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n, size_t k,
                       const struct bnnlab_codes *to);
};

/* The codes of the sums of a family's `product`, which are made a tile at a time. */
void bnnlab_codes_by_tiles(const struct bnnlab_family *family, const uint32_t *a,
                           const struct bnnlab_walk *walk, size_t planes, const uint32_t *panels,
                           const int32_t *ones, int32_t base, size_t m, size_t n,
                           const struct bnnlab_codes *to);

/* The kernels a call with `isa` uses; NULL when there are none such. */
const struct bnnlab_family *bnnlab_family_of(int isa);

extern const struct bnnlab_family bnnlab_scalar;
#ifdef BNNLAB_ARM64
extern const struct bnnlab_family bnnlab_neon;
#endif
#ifdef BNNLAB_X86
extern const struct bnnlab_family bnnlab_popcnt;
extern const struct bnnlab_family bnnlab_avx2;
extern const struct bnnlab_family bnnlab_avx512;
extern const struct bnnlab_family bnnlab_avx512_carry;
#endif
#ifdef BNNLAB_AMX_BUILT
extern const struct bnnlab_family bnnlab_amx;

/* Of bnnlab_amx these are its own, the rest is that of AVX-512. */
void bnnlab_amx_product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                        const uint32_t *panels, const int32_t *ones, int32_t base, size_t m, size_t n,
                        int32_t *out);
int bnnlab_amx_product_codes(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                             const uint32_t *panels, const int32_t *ones, int32_t base, size_t m,
                             size_t n, const struct bnnlab_codes *to);
void bnnlab_amx_bytes_product(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n,
                              size_t k, int32_t *out);
int bnnlab_amx_bytes_codes(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n, size_t k,
                           const struct bnnlab_codes *to);
int bnnlab_amx_sign_product(const float *x, const uint32_t *panels, size_t m, size_t n, size_t k,
                            float *out);
int bnnlab_amx_convolve(const struct bnnlab_field *field, const uint32_t *panels, const int32_t *ones,
                        size_t n, int32_t *out);

/* For limits.c: four products of tiles in registers, `steps` times; the multiply-adds of a step. */
#define BNNLAB_AMX_WORK (4 * 16 * 16 * 64)
uint32_t bnnlab_amx_loop(size_t steps);

/* Whether the processor has AMX and the system lets this process use it. */
int bnnlab_amx_allowed(void);
#endif

#endif
