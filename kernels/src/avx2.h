/* What the files of AVX2 share. */
#ifndef BNNLAB_AVX2_H
#define BNNLAB_AVX2_H

#include "vector.h"

#include <immintrin.h>

#define TILE_ROWS 4

/* Lanes below `count` as all-ones words, as vpmaskmov wants them. */
ALWAYS_INLINE __m256i lane_mask(size_t count)
{
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const uint32_t mask = tail_mask(smaller(count, 8));
    const __m256i bits = _mm256_srlv_epi32(_mm256_set1_epi32((int)mask), index);
    return _mm256_sub_epi32(_mm256_setzero_si256(),
                            _mm256_and_si256(bits, _mm256_set1_epi32(1)));
}

/* avx2_bits.c */
void bnnlab_avx2_product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                         const uint32_t *panels, const int32_t *ones, int32_t base, size_t m, size_t n,
                         int32_t *out);
int bnnlab_avx2_convolve(const struct bnnlab_field *field, const uint32_t *panels, const int32_t *ones,
                         size_t n, int32_t *out);

#endif
