/* The limits that benchmarks/kernels.py holds the kernels to: what a core does with everything in
 * registers, and how fast it reads. A library of its own, never part of bnnlab. */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

/* Keeps the compiler from knowing a register's value, and so from computing anything but once. */
#define OPAQUE(v) __asm__ volatile("" : "+v"(v))

#define TWELVE(what) \
    what(0) what(1) what(2) what(3) what(4) what(5) what(6) what(7) what(8) what(9) what(10) what(11)
#define SIX(what) what(0) what(1) what(2) what(3) what(4) what(5)

/* Xor, popcount and add of 512 bits in 12 chains, `steps` times. */
EXPORT __attribute__((target("avx512f,avx512vpopcntdq"))) int limit_avx512(size_t steps)
{
    __m512i a = _mm512_set1_epi32(0x12345678), b = _mm512_set1_epi32((int)0x9abcdef0u);
#define DECLARE(i) __m512i sum##i = _mm512_setzero_si512();
#define STEP(i)                                                                           \
    sum##i = _mm512_add_epi32(sum##i, _mm512_popcnt_epi32(_mm512_xor_si512(a, b)));       \
    OPAQUE(a);
#define GATHER(i) total = _mm512_add_epi32(total, sum##i);
    TWELVE(DECLARE)
    for (size_t s = 0; s < steps; s++) {
        TWELVE(STEP)
    }
    __m512i total = _mm512_setzero_si512();
    TWELVE(GATHER)
#undef DECLARE
#undef STEP
#undef GATHER
    return _mm512_reduce_add_epi32(total);
}

/* The same for 256 bits in 6 chains: a byte's popcount from two look-ups, added in bytes. */
EXPORT __attribute__((target("avx2"))) int limit_avx2(size_t steps)
{
    const __m256i counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
                                            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i half = _mm256_set1_epi8(15);
    __m256i a = _mm256_set1_epi32(0x12345678), b = _mm256_set1_epi32((int)0x9abcdef0u);
#define DECLARE(i) __m256i sum##i = _mm256_setzero_si256();
#define STEP(i)                                                                           \
    {                                                                                     \
        const __m256i x = _mm256_xor_si256(a, b);                                         \
        const __m256i low = _mm256_and_si256(x, half);                                    \
        const __m256i high = _mm256_and_si256(_mm256_srli_epi16(x, 4), half);             \
        sum##i = _mm256_add_epi8(sum##i, _mm256_add_epi8(_mm256_shuffle_epi8(counts, low), \
                                                         _mm256_shuffle_epi8(counts, high))); \
        OPAQUE(a);                                                                        \
    }
#define GATHER(i) total = _mm256_add_epi8(total, sum##i);
    SIX(DECLARE)
    for (size_t s = 0; s < steps; s++) {
        SIX(STEP)
    }
    __m256i total = _mm256_setzero_si256();
    SIX(GATHER)
#undef DECLARE
#undef STEP
#undef GATHER
    return _mm256_extract_epi32(total, 0);
}

/* Reads an array once, in order, fetching 8 KiB ahead. */
EXPORT __attribute__((target("avx2"))) int read_avx2(const uint32_t *data, size_t length)
{
    __m256i seen = _mm256_setzero_si256();
    for (size_t j = 0; j + 32 <= length; j += 32) {
        _mm_prefetch((const char *)(data + j) + 8192, _MM_HINT_T0);
        _mm_prefetch((const char *)(data + j) + 8256, _MM_HINT_T0);
        for (size_t i = 0; i < 32; i += 8)
            seen = _mm256_or_si256(seen, _mm256_loadu_si256((const __m256i *)(data + j + i)));
    }
    return _mm256_extract_epi32(seen, 0);
}

EXPORT __attribute__((target("avx512f"))) int read_avx512(const uint32_t *data, size_t length)
{
    __m512i seen = _mm512_setzero_si512(), also = seen;
    for (size_t j = 0; j + 32 <= length; j += 32) {
        _mm_prefetch((const char *)(data + j) + 8192, _MM_HINT_T0);
        _mm_prefetch((const char *)(data + j) + 8256, _MM_HINT_T0);
        seen = _mm512_or_si512(seen, _mm512_loadu_si512(data + j));
        also = _mm512_or_si512(also, _mm512_loadu_si512(data + j + 16));
    }
    return _mm512_reduce_or_epi32(_mm512_or_si512(seen, also));
}
