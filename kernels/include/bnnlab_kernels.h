/* Kernels for networks whose weights are one bit each.
 *
 * Signs are packed 32 to a word, input j of a row in bit j % 32 of word j / 32; bit 1 means +1 and
 * bit 0 means -1. The bits beyond the last input (the tail) are zero in every operand, so that they
 * cancel in a ^ b. A row of k inputs takes BNNLAB_WORDS(k) words.
 *
 * Weights are further laid out in panels of BNNLAB_LANES outputs: word w of outputs 16 p .. 16 p + 15
 * lies in 16 adjacent words, so that a vector register holds one word of 16 outputs and no product
 * ends in a horizontal sum. Outputs beyond the last are zero bits and are never stored.
 *
 * Every function takes the length of every array (in elements) and checks that it is exactly what
 * the sizes ask for, with products checked for overflow; it allocates nothing, keeps no state, and
 * returns a status. Arrays of one call must not overlap. `isa` is one of enum bnnlab_isa.
 */
#ifndef BNNLAB_KERNELS_H
#define BNNLAB_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define BNNLAB_LANES 16
#define BNNLAB_WORDS(k) ((k) / 32 + ((k) % 32 != 0))

enum bnnlab_status {
    BNNLAB_OK = 0,
    BNNLAB_BAD_LENGTH = 1,      /* an array is not as long as the sizes say, or is NULL */
    BNNLAB_TOO_LARGE = 2,       /* the sizes overflow size_t or the int32 accumulator */
    BNNLAB_NOT_A_NUMBER = 3,    /* a NaN where a sign was to be taken */
    BNNLAB_NO_SUCH_ISA = 4,     /* unknown, or this processor does not have it */
    BNNLAB_BAD_WINDOW = 5,      /* a window that stands nowhere on the image */
};

enum bnnlab_isa {
    BNNLAB_BEST = 0,
    BNNLAB_SCALAR = 1,          /* plain C, built without vectorization: the oracle of the others */
    BNNLAB_AVX2 = 2,            /* AVX2 + FMA */
    BNNLAB_AVX512 = 3,          /* AVX-512 F, BW, DQ, VL, VBMI, VNNI and VPOPCNTDQ */
    BNNLAB_AVX512_CARRY = 4,    /* the same, adding bits carry-save before it counts them */
    BNNLAB_AMX = 5,             /* that, GFNI, and AMX-INT8 for products of several rows and images */
    BNNLAB_NEON = 6,            /* of 64-bit Arm */
    BNNLAB_POPCNT = 7,          /* plain C but for products of bits, which x86's POPCNT counts */
};

/* The instruction set a call with `isa` would use, or 0 when there is none such. The first call asks
 * the system for AMX, where the processor has it: for the whole process, once. */
int bnnlab_resolve_isa(int isa);

/* x [rows, k] -> bits [rows, words]: bit 1 where x >= 0 (so also for -0.0). NaN is refused. */
int bnnlab_pack_signs(int isa, const float *x, size_t x_length, size_t rows, size_t k,
                      uint32_t *bits, size_t bits_length);

/* codes [rows, k], each below 2**planes -> bits [planes, rows, words]: bit p of every code in plane
 * p. Higher bits of a code are ignored. 1 <= planes <= 8. */
int bnnlab_pack_codes(int isa, const uint8_t *codes, size_t codes_length, size_t rows, size_t k,
                      size_t planes, uint32_t *bits, size_t bits_length);

/* bits [n, words] -> panels [ceil(n / 16), words, 16]. */
int bnnlab_pack_panels(const uint32_t *bits, size_t bits_length, size_t n, size_t k,
                       uint32_t *panels, size_t panels_length);

/* out[i, j] = sum over k of a[i, k] * b[j, k], both +-1: k - 2 popcount(a ^ b), exactly.
 * a [m, words], panels of b [n, k], out [m, n]. k < 2**31. */
int bnnlab_xnor_matmul(int isa, const uint32_t *a, size_t a_length,
                       const uint32_t *panels, size_t panels_length,
                       size_t m, size_t n, size_t k, int32_t *out, size_t out_length);

/* out[i, j] = sum over k of code[i, k] * b[j, k] with codes of `planes` bits and b +-1, exactly:
 * the sum over planes p of 2**p (ones[j] - popcount(a_p ^ b)), where ones[j] counts the +1 of b[j].
 * a [planes, m, words], ones [n]. k (2**planes - 1) < 2**31, 1 <= planes <= 8. */
int bnnlab_planes_matmul(int isa, const uint32_t *a, size_t a_length, size_t planes,
                         const uint32_t *panels, size_t panels_length,
                         const int32_t *ones, size_t ones_length,
                         size_t m, size_t n, size_t k, int32_t *out, size_t out_length);

/* out[i, j] = sum over k of codes[i, k] * b[j, k] with b +-1, exactly: first layers, whose inputs are
 * bytes. codes [m, k]. 255 k < 2**31. */
int bnnlab_bytes_matmul(int isa, const uint8_t *codes, size_t codes_length,
                        const uint32_t *panels, size_t panels_length,
                        size_t m, size_t n, size_t k, int32_t *out, size_t out_length);

/* out[i, j] = sum over k of x[i, k] * b[j, k] with b +-1, in fixed point: with 2**e the power of two at
 * or below the largest magnitude of a row (or 2**-126), its inputs are rounded to multiples of
 * 2**(e - 28), their sum is exact, and that is rounded to float32. So the result is off by at most
 * 2**-24 of itself and k 2**(e - 29), where float32 sums may be off by k 2**-24 times the sum of all
 * magnitudes; inputs of at least 2**(e - 5), and all on a grid of 2**(e - 28), count exactly. Every
 * instruction set gives the same bits, and a row's result does not depend on the other rows. A row
 * with an infinity gives infinities, or NaN where those of both signs meet. NaN is refused.
 * 255 k < 2**31. */
int bnnlab_sign_matmul(int isa, const float *x, size_t x_length,
                       const uint32_t *panels, size_t panels_length,
                       size_t m, size_t n, size_t k, float *out, size_t out_length);

/* values [m, n] -> bits [planes, m, words(n)] of the codes
 *   code[i, j] = number of levels l with values[i, j] >= thresholds[l, j],
 * counted down from `levels` instead where bit j of flip [words(n)] is set. planes = bits of `levels`,
 * 1 <= levels <= 255. With one level this is a sign: bit 1 where the value reaches the threshold
 * (or does not, when flipped).
 *
 * With real != 0 the values are float32 and compared by their keys: the bits as int32, i ^ 0x7fffffff
 * where negative, which orders floats as integers (-0.0 just below +0.0). NaN is then refused. */
int bnnlab_threshold(int isa, const void *values, size_t values_length, int real,
                     size_t m, size_t n,
                     const int32_t *thresholds, size_t thresholds_length, size_t levels,
                     const uint32_t *flip, size_t flip_length,
                     uint32_t *bits, size_t bits_length);

/* The two above in one, tile by tile: the sums of bnnlab_planes_matmul (of bnnlab_xnor_matmul where
 * `ones` is NULL, its length 0, and planes 1) go through bnnlab_threshold and never lie in memory as
 * a whole. bits [planes of levels, m, words(n)]. */
int bnnlab_product_threshold(int isa, const uint32_t *a, size_t a_length, size_t planes,
                             const uint32_t *panels, size_t panels_length,
                             const int32_t *ones, size_t ones_length,
                             size_t m, size_t n, size_t k,
                             const int32_t *thresholds, size_t thresholds_length, size_t levels,
                             const uint32_t *flip, size_t flip_length,
                             uint32_t *bits, size_t bits_length);

/* The same sums as real numbers: out[i, j] = sum * scale[j] + shift[j], in float32, each operation
 * rounded. */
int bnnlab_product_affine(int isa, const uint32_t *a, size_t a_length, size_t planes,
                          const uint32_t *panels, size_t panels_length,
                          const int32_t *ones, size_t ones_length,
                          size_t m, size_t n, size_t k,
                          const float *scale, size_t scale_length,
                          const float *shift, size_t shift_length,
                          float *out, size_t out_length);

/* x [samples, channels, pixels] -> bits [samples, pixels, words(channels)]: bit 1 where x >= 0. NaN
 * is refused. This is how images come to the convolution. */
int bnnlab_pack_channels(int isa, const float *x, size_t x_length, size_t samples, size_t channels,
                         size_t pixels, uint32_t *bits, size_t bits_length);

/* Where a window of height x width taps stands on an image: `stride` apart, over an image with
 * `padding` pixels more on every side. */
struct bnnlab_window {
    size_t height, width, stride_down, stride_across, padding_down, padding_across;
};

/* How many windows stand along `size` pixels, or 0 when none fits or the stride or window is 0. */
size_t bnnlab_places(size_t size, size_t window, size_t stride, size_t padding);

/* out[s, y, x, j] = sum over taps and channels of image * b[j], both +-1, exactly; outside the image
 * there are zeros, which add nothing. image [samples, height, width, words(channels)], panels of
 * b [n, taps * words(channels) * 32] in the order tap row, tap column, channel, each tap beginning at
 * a word, out [samples, down, across, n]. taps * channels < 2**31. */
int bnnlab_xnor_convolve(int isa, const uint32_t *image, size_t image_length, size_t samples,
                         size_t height, size_t width, size_t channels,
                         const struct bnnlab_window *window,
                         const uint32_t *panels, size_t panels_length, size_t n,
                         int32_t *out, size_t out_length);

/* bnnlab_pack_channels and then that, sample by sample: x [samples, channels, height, width] -> out, with
 * `bits` [height, width, words(channels)] to write one sample's to. With a NaN `out` holds nothing that
 * counts. */
int bnnlab_sign_convolve(int isa, const float *x, size_t x_length, size_t samples,
                         size_t height, size_t width, size_t channels,
                         const struct bnnlab_window *window,
                         const uint32_t *panels, size_t panels_length, size_t n,
                         uint32_t *bits, size_t bits_length, int32_t *out, size_t out_length);

/* The same for codes of several planes, and in groups: image [planes, samples, groups, height, width,
 * words(channels)] with the channels of one group, panels [groups] and ones [groups, n] of weights that
 * see these alone, out [samples, groups, down, across, n]. With `ones` (each output's number of +1) the
 * sums are those of codes, as in bnnlab_planes_matmul, and there is no padding: see bnnlab_pad. Without
 * (NULL, length 0, planes 1) they are those of signs. taps * channels (2**planes - 1) < 2**31. */
int bnnlab_convolve(int isa, const uint32_t *image, size_t image_length, size_t planes,
                    size_t samples, size_t groups, size_t height, size_t width, size_t channels,
                    const struct bnnlab_window *window,
                    const uint32_t *panels, size_t panels_length,
                    const int32_t *ones, size_t ones_length, size_t n,
                    int32_t *out, size_t out_length);

/* bits [images, height, width, words(channels)] -> out [images, height + 2 down, width + 2 across,
 * words]: with `value`, 0 or 1, in all channels around. So signs have -1 or +1 as their border, and
 * codes, plane by plane, any code; code 0 adds nothing to a sum. */
int bnnlab_pad(const uint32_t *bits, size_t bits_length, size_t images, size_t height, size_t width,
               size_t channels, size_t down, size_t across, int value,
               uint32_t *out, size_t out_length);

/* bits [samples, height, width, words] -> out [samples, height / down, width / across, words]: the
 * largest sign of every down x across pixels. What is left at the right and below is dropped. */
int bnnlab_max_pool(const uint32_t *bits, size_t bits_length, size_t samples, size_t height,
                    size_t width, size_t words, size_t down, size_t across,
                    uint32_t *out, size_t out_length);

#endif
