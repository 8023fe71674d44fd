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

/* Bytes 0 and 1, or 2 and 3, of the words of a panel: each in 128 bits, outputs in the order 0 .. 3,
 * 8 .. 11, 4 .. 7, 12 .. 15. */
ALWAYS_INLINE __m256i bytes_of(const size_t pair, const uint32_t *panel)
{
    const __m256i by_byte = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
                                             0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m256i *b = (const __m256i *)panel;
    const __m256i low = _mm256_shuffle_epi8(_mm256_loadu_si256(b), by_byte);
    const __m256i high = _mm256_shuffle_epi8(_mm256_loadu_si256(b + 1), by_byte);
    return _mm256_permute4x64_epi64(
        pair ? _mm256_unpackhi_epi32(low, high) : _mm256_unpacklo_epi32(low, high), 0xD8);
}

/* Of both 128 bits the sums of bytes, from sums in 16 bits of pairs of them as they lie and of the upper
 * ones: those of outputs 0 .. 3 and 8 .. 11, or of 4 .. 7 and 12 .. 15. */
ALWAYS_INLINE __m256i sums_of_bytes(const size_t last, __m256i pairs, __m256i upper)
{
    const __m256i lower = _mm256_sub_epi16(pairs, _mm256_slli_epi16(upper, 8));
    const __m256i both =
        last ? _mm256_unpackhi_epi16(lower, upper) : _mm256_unpacklo_epi16(lower, upper);
    return _mm256_add_epi32(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(both)),
                            _mm256_cvtepu16_epi32(_mm256_extracti128_si256(both, 1)));
}

/* avx2_bits.c */
void bnnlab_avx2_product(const uint32_t *a, const struct bnnlab_walk *walk, size_t planes,
                         const uint32_t *panels, const int32_t *ones, int32_t base, size_t m, size_t n,
                         int32_t *out);
int bnnlab_avx2_convolve(const struct bnnlab_field *field, const uint32_t *panels, const int32_t *ones,
                         size_t n, int32_t *out);

/* avx2_bytes.c */
void bnnlab_avx2_bytes_product(const uint8_t *codes, const uint32_t *panels, size_t m, size_t n,
                               size_t k, int32_t *out);

#endif
