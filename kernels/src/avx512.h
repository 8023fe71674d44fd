/* What the files of AVX-512 share. */
#ifndef BNNLAB_AVX512_H
#define BNNLAB_AVX512_H

#include "vector.h"

#include <immintrin.h>

/* Which lanes of panel `panel` are outputs below n. */
ALWAYS_INLINE __mmask16 lanes_of(size_t n, size_t panel)
{
    return (__mmask16)tail_mask(smaller(n - panel * BNNLAB_LANES, BNNLAB_LANES));
}

#define TILE_ROWS 6     /* of a tile of sums in registers, at most */
#define TILE_PANELS 4

/* The signs of a tile's values, as bnnlab_threshold has them, to rows of bits that lie `step` words apart.
 * Thresholds, flips and bits begin at its first output, of a word of its own; `lanes` are those of the
 * last panel that are outputs. */
ALWAYS_INLINE void store_signs(const size_t rows, const size_t count,
                               __m512i values[TILE_ROWS][TILE_PANELS], __mmask16 lanes,
                               const int32_t *thresholds, const uint32_t *flip, uint32_t *bits,
                               size_t step)
{
    UNROLL for (size_t c = 0; c < count; c += 2) {
        const int pair = c + 1 < count;
        const __mmask16 low = c + 1 == count ? lanes : 0xffff, high = c + 2 == count ? lanes : 0xffff;
        const uint32_t there = pair ? low | (uint32_t)high << 16 : low, flipped = flip[c / 2] & there;
        const __m512i t0 = _mm512_maskz_loadu_epi32(low, thresholds + c * BNNLAB_LANES);
        __m512i t1 = t0;
        if (pair)
            t1 = _mm512_maskz_loadu_epi32(high, thresholds + (c + 1) * BNNLAB_LANES);
        UNROLL for (size_t r = 0; r < rows; r++) {
            uint32_t code = _mm512_mask_cmpge_epi32_mask(low, values[r][c], t0);
            if (pair)
                code = _mm512_kunpackw(_mm512_mask_cmpge_epi32_mask(high, values[r][c + 1], t1),
                                       (__mmask16)code);
            bits[r * step + c / 2] = code ^ flipped;
        }
    }
}

/* avx512_bits.c; the others count carries, see there. */
void bnnlab_avx512_product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                           const uint32_t *panels, const int32_t *ones, int32_t base, size_t m,
                           size_t n, int32_t *out);
void bnnlab_avx512_carry_product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                                 const uint32_t *panels, const int32_t *ones, int32_t base, size_t m,
                                 size_t n, int32_t *out);
int bnnlab_avx512_product_codes(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                                const uint32_t *panels, const int32_t *ones, int32_t base, size_t m,
                                size_t n, const struct bnnlab_codes *to);
int bnnlab_avx512_carry_product_codes(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                                      const uint32_t *panels, const int32_t *ones, int32_t base,
                                      size_t m, size_t n, const struct bnnlab_codes *to);
int bnnlab_avx512_convolve(const struct bnnlab_field *field, const uint32_t *panels,
                           const int32_t *ones, size_t n, int32_t *out);
int bnnlab_avx512_carry_convolve(const struct bnnlab_field *field, const uint32_t *panels,
                                 const int32_t *ones, size_t n, int32_t *out);

#endif
