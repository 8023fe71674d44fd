/* Limits: each loop has the instructions that the products' innermost loops have, in so many chains
 * that none waits for another, and no loads.
 *
 * OPAQUE keeps the compiler from knowing a register's value, and so from computing anything but once
 * or ahead of time. Where there is no such thing, a load does that. */
#include "bnnlab_limits.h"
#include "check.h"
#include "family.h"

#include <string.h>

#define ONE 0x12345678u
#define OTHER 0x9abcdef0u

#define FOUR(what) what(0) what(1) what(2) what(3)
#define EIGHT(what) FOUR(what) what(4) what(5) what(6) what(7)
#define TWELVE(what) EIGHT(what) what(8) what(9) what(10) what(11)

/* The chains of a loop, so many of them: declared, run, and gathered. */
#define RUN(chains)                      \
    chains(DECLARE)                      \
    for (size_t s = 0; s < steps; s++) { \
        chains(STEP)                     \
    }                                    \
    chains(GATHER)

struct loop {
    size_t work; /* multiply-adds of a step */
    uint32_t (*run)(size_t steps);
};

/* Plain C reads one operand from where it might change: a load, which counts for little here. */
static const volatile uint32_t one_word = ONE;
static const volatile float one_float = 1.0f;

#define DECLARE(i) uint32_t sum##i = 0;
#define STEP(i)                                           \
    {                                                     \
        uint32_t v = one_word ^ OTHER;                    \
        v -= (v >> 1) & 0x55555555u;                      \
        v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u); \
        v = (v + (v >> 4)) & 0x0f0f0f0fu;                 \
        sum##i += (v * 0x01010101u) >> 24;                \
    }
#define GATHER(i) total += sum##i;
static uint32_t plain_bits(size_t steps)
{
    uint32_t total = 0;
    RUN(FOUR)
    return total;
}
#undef DECLARE
#undef STEP

#define DECLARE(i) float sum##i = 0.0f;
#define STEP(i) sum##i += one_float * 2.0f;
static uint32_t plain_floats(size_t steps)
{
    float total = 0;
    RUN(EIGHT)
    return (uint32_t)(int64_t)total;
}
#undef DECLARE
#undef STEP
#undef GATHER

static uint32_t plain_read(const uint32_t *words, size_t length)
{
    uint32_t seen = 0;
    for (size_t j = 0; j < length; j++)
        seen |= words[j];
    return seen;
}

#ifdef BNNLAB_X86
#include <immintrin.h>

#define WITH_POPCNT __attribute__((target("popcnt")))
#define WITH_AVX2 __attribute__((target("avx2,fma")))
#define WITH_AVX512 __attribute__((target( \
    "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx512vpopcntdq")))
#define OPAQUE(v) __asm__ volatile("" : "+v"(v))
#define OPAQUE_WORD(v) __asm__ volatile("" : "+r"(v))
#define OPAQUE_AVX2(v) __asm__ volatile("" : "+x"(v))
#define AHEAD 8192 /* bytes that are fetched ahead */

#define DECLARE(i) uint64_t sum##i = 0;
#define STEP(i)                                            \
    sum##i += (uint64_t)__builtin_popcountll(one ^ other); \
    OPAQUE_WORD(one);
#define GATHER(i) total += (uint32_t)sum##i;
WITH_POPCNT static uint32_t popcnt_bits(size_t steps)
{
    uint64_t one = ONE * 0x100000001u, other = OTHER * 0x100000001u;
    uint32_t total = 0;
    RUN(EIGHT)
    return total;
}
#undef DECLARE
#undef STEP
#undef GATHER

WITH_AVX2 static uint32_t bytes_added(__m256i bytes)
{
    uint64_t four[4];
    const __m256i sums = _mm256_sad_epu8(bytes, _mm256_setzero_si256());
    memcpy(four, &sums, sizeof four);
    return (uint32_t)(four[0] + four[1] + four[2] + four[3]);
}

WITH_AVX2 static uint32_t words_added(__m256i words)
{
    uint32_t eight[8], total = 0;
    memcpy(eight, &words, sizeof eight);
    for (size_t i = 0; i < 8; i++)
        total += eight[i];
    return total;
}

/* In how many of four bits nibbles differ is looked up and added as bytes, or one of two digits of the sum
 * of four bytes. */
#define DECLARE(i) __m256i sum##i = _mm256_setzero_si256();
#define STEP(i)                                                              \
    sum##i = _mm256_add_epi8(sum##i, _mm256_shuffle_epi8(table, nibbles));   \
    OPAQUE_AVX2(nibbles);
#define GATHER(i) total += bytes_added(sum##i);
WITH_AVX2 static uint32_t avx2_lookups(size_t steps)
{
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
                                           0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    __m256i nibbles = _mm256_set1_epi8((ONE ^ OTHER) & 15);
    uint32_t total = 0;
    RUN(EIGHT)
    return total;
}
#undef STEP
#undef GATHER

/* Of a register of nibbles four digits are looked up, each added twice, as they lie and shifted. */
#define STEP(i)                                                                                  \
    {                                                                                            \
        const __m256i found = _mm256_shuffle_epi8(table, index);                                 \
        sum##i = _mm256_add_epi16(sum##i, _mm256_add_epi16(found, _mm256_srli_epi16(found, 8))); \
        OPAQUE_AVX2(index);                                                                      \
    }
#define GATHER(i) total += words_added(sum##i);
WITH_AVX2 static uint32_t avx2_reals(size_t steps)
{
    const __m256i table = _mm256_set1_epi8(1);
    __m256i index = _mm256_set1_epi8(5);
    uint32_t total = 0;
    RUN(EIGHT)
    return total;
}
#undef DECLARE
#undef STEP
#undef GATHER

#define DECLARE(i) __m256 sum##i = _mm256_setzero_ps();
#define STEP(i)                                              \
    sum##i = _mm256_add_ps(sum##i, _mm256_mul_ps(a, b));     \
    OPAQUE_AVX2(a);
#define GATHER(i) total += words_added(_mm256_cvtps_epi32(sum##i));
WITH_AVX2 static uint32_t avx2_floats(size_t steps)
{
    __m256 a = _mm256_set1_ps(1.0f), b = _mm256_set1_ps(2.0f);
    uint32_t total = 0;
    RUN(EIGHT)
    return total;
}
#undef DECLARE
#undef STEP
#undef GATHER

WITH_AVX2 static uint32_t avx2_read(const uint32_t *words, size_t length)
{
    __m256i seen = _mm256_setzero_si256();
    uint32_t eight[8], all = 0;
    size_t j = 0;
    for (; j + 32 <= length; j += 32) {
        _mm_prefetch((const char *)(words + j) + AHEAD, _MM_HINT_T0);
        _mm_prefetch((const char *)(words + j) + AHEAD + 64, _MM_HINT_T0);
        for (size_t i = 0; i < 32; i += 8)
            seen = _mm256_or_si256(seen, _mm256_loadu_si256((const __m256i *)(words + j + i)));
    }
    memcpy(eight, &seen, sizeof eight);
    for (size_t i = 0; i < 8; i++)
        all |= eight[i];
    return all | plain_read(words + j, length - j);
}

#define DECLARE(i) __m512i sum##i = _mm512_setzero_si512();
#define STEP(i)                                                                           \
    sum##i = _mm512_add_epi32(sum##i, _mm512_popcnt_epi32(_mm512_xor_si512(a, b)));       \
    OPAQUE(a);
#define GATHER(i) total = _mm512_add_epi32(total, sum##i);
WITH_AVX512 static uint32_t avx512_bits(size_t steps)
{
    __m512i a = _mm512_set1_epi32((int)ONE), b = _mm512_set1_epi32((int)OTHER);
    __m512i total = _mm512_setzero_si512();
    RUN(TWELVE)
    return (uint32_t)_mm512_reduce_add_epi32(total);
}
#undef STEP
#undef GATHER

/* A full adder of two words, of which only the carries are counted; see avx512.c. */
#define STEP(i)                                                                              \
    {                                                                                        \
        const __m512i before = one##i;                                                       \
        const __m512i half = _mm512_ternarylogic_epi32(before, a, b, 0x96);                  \
        one##i = _mm512_ternarylogic_epi32(half, a, b, 0x96);                                \
        OPAQUE(a);                                                                           \
        const __m512i carry = _mm512_ternarylogic_epi32(before, half, one##i, 0x74);         \
        sum##i = _mm512_add_epi32(sum##i, _mm512_popcnt_epi32(carry));                       \
    }
#define BEGIN(i) __m512i one##i = _mm512_setzero_si512();
#define GATHER(i)                                                                            \
    total = _mm512_add_epi32(total, _mm512_add_epi32(sum##i, sum##i));                       \
    total = _mm512_add_epi32(total, _mm512_popcnt_epi32(one##i));
WITH_AVX512 static uint32_t carry_bits(size_t steps)
{
    __m512i a = _mm512_set1_epi32((int)ONE), b = _mm512_set1_epi32((int)OTHER);
    __m512i total = _mm512_setzero_si512();
    EIGHT(BEGIN)
    RUN(EIGHT)
    return (uint32_t)_mm512_reduce_add_epi32(total);
}
#undef STEP
#undef BEGIN
#undef GATHER

#define STEP(i)                                        \
    sum##i = _mm512_dpbusd_epi32(sum##i, a, b);        \
    OPAQUE(a);
#define GATHER(i) total = _mm512_add_epi32(total, sum##i);
WITH_AVX512 static uint32_t avx512_bytes(size_t steps)
{
    __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(1), total = _mm512_setzero_si512();
    RUN(TWELVE)
    return (uint32_t)_mm512_reduce_add_epi32(total);
}
#undef STEP

/* A digit of 4 x 16 sums of four inputs is looked up and added. */
#define STEP(i)                                                                              \
    sum##i = _mm512_dpbusd_epi32(sum##i, _mm512_permutexvar_epi8(index, table), ones);       \
    OPAQUE(index);
WITH_AVX512 static uint32_t avx512_reals(size_t steps)
{
    const __m512i ones = _mm512_set1_epi8(1), table = _mm512_set1_epi8(1);
    __m512i index = _mm512_set1_epi8(5), total = _mm512_setzero_si512();
    RUN(TWELVE)
    return (uint32_t)_mm512_reduce_add_epi32(total);
}
#undef DECLARE
#undef STEP
#undef GATHER

#define DECLARE(i) __m512 sum##i = _mm512_setzero_ps();
#define STEP(i)                                              \
    sum##i = _mm512_add_ps(sum##i, _mm512_mul_ps(a, b));     \
    OPAQUE(a);
#define GATHER(i) total = _mm512_add_epi32(total, _mm512_cvtps_epi32(sum##i));
WITH_AVX512 static uint32_t avx512_floats(size_t steps)
{
    __m512 a = _mm512_set1_ps(1.0f), b = _mm512_set1_ps(2.0f);
    __m512i total = _mm512_setzero_si512();
    RUN(TWELVE)
    return (uint32_t)_mm512_reduce_add_epi32(total);
}
#undef DECLARE
#undef STEP
#undef GATHER

WITH_AVX512 static uint32_t avx512_read(const uint32_t *words, size_t length)
{
    __m512i seen = _mm512_setzero_si512(), also = seen;
    size_t j = 0;
    for (; j + 32 <= length; j += 32) {
        _mm_prefetch((const char *)(words + j) + AHEAD, _MM_HINT_T0);
        _mm_prefetch((const char *)(words + j) + AHEAD + 64, _MM_HINT_T0);
        seen = _mm512_or_si512(seen, _mm512_loadu_si512(words + j));
        also = _mm512_or_si512(also, _mm512_loadu_si512(words + j + 16));
    }
    const __m512i both = _mm512_or_si512(seen, also);
    return (uint32_t)_mm512_reduce_or_epi32(both) | plain_read(words + j, length - j);
}
#endif

#ifdef BNNLAB_ARM64
#include <arm_neon.h>

#define DECLARE(i) uint8x16_t sum##i = vdupq_n_u8(0);
#define STEP(i)                                          \
    sum##i = vaddq_u8(sum##i, vcntq_u8(veorq_u8(a, b))); \
    __asm__ volatile("" : "+w"(a));
#define GATHER(i) total += vaddlvq_u8(sum##i);
static uint32_t neon_bits(size_t steps)
{
    uint8x16_t a = vreinterpretq_u8_u32(vdupq_n_u32(ONE));
    const uint8x16_t b = vreinterpretq_u8_u32(vdupq_n_u32(OTHER));
    uint32_t total = 0;
    RUN(TWELVE)
    return total;
}
#undef DECLARE
#undef STEP
#undef GATHER
#endif

/* The loop of an instruction set that has been resolved. Tables serve four inputs by four digits. */
static struct loop loop_of(int isa, int loop)
{
    static const struct loop none = {0, NULL};
    static const struct loop plain[] = {
        [BNNLAB_LOOP_BITS] = {4 * 32, plain_bits},
        [BNNLAB_LOOP_FLOATS] = {8, plain_floats},
    };
#ifdef BNNLAB_X86
    static const struct loop popcnt = {8 * 64, popcnt_bits};
    static const struct loop avx2[] = {
        [BNNLAB_LOOP_BITS] = {8 * 128, avx2_lookups},
        [BNNLAB_LOOP_BYTES] = {8 * 64, avx2_lookups},
        [BNNLAB_LOOP_REALS] = {8 * 32, avx2_reals},
        [BNNLAB_LOOP_FLOATS] = {8 * 8, avx2_floats},
    };
    static const struct loop avx512[] = {
        [BNNLAB_LOOP_BITS] = {12 * 512, avx512_bits},
        [BNNLAB_LOOP_BYTES] = {12 * 64, avx512_bytes},
        [BNNLAB_LOOP_REALS] = {12 * 64, avx512_reals},
        [BNNLAB_LOOP_FLOATS] = {12 * 16, avx512_floats},
    };
    static const struct loop carry = {8 * 1024, carry_bits};
#endif
#ifdef BNNLAB_AMX_BUILT
    static const struct loop amx[] = { /* a sign is a byte there, and a real input four */
        [BNNLAB_LOOP_BITS] = {BNNLAB_AMX_WORK, bnnlab_amx_loop},
        [BNNLAB_LOOP_BYTES] = {BNNLAB_AMX_WORK, bnnlab_amx_loop},
        [BNNLAB_LOOP_REALS] = {BNNLAB_AMX_WORK / 4, bnnlab_amx_loop},
        [BNNLAB_LOOP_FLOATS] = {12 * 16, avx512_floats},
    };
#endif
#ifdef BNNLAB_ARM64
    static const struct loop neon[] = {
        [BNNLAB_LOOP_BITS] = {12 * 128, neon_bits},
        [BNNLAB_LOOP_FLOATS] = {0, NULL},
    };
#endif
    if (loop < BNNLAB_LOOP_BITS || loop > BNNLAB_LOOP_FLOATS)
        return none;
    switch (isa) {
    case BNNLAB_SCALAR:
        return plain[loop];
#ifdef BNNLAB_X86
    case BNNLAB_POPCNT:
        return loop == BNNLAB_LOOP_BITS ? popcnt : plain[loop];
    case BNNLAB_AVX2:
        return avx2[loop];
    case BNNLAB_AVX512:
        return avx512[loop];
#ifdef BNNLAB_AMX_BUILT
    case BNNLAB_AMX:
        return amx[loop];
#endif
    case BNNLAB_AVX512_CARRY:
        return loop == BNNLAB_LOOP_BITS ? carry : avx512[loop];
#endif
#ifdef BNNLAB_ARM64
    case BNNLAB_NEON:
        return neon[loop];
#endif
    default:
        return none;
    }
}

size_t bnnlab_limit_work(int isa, int loop)
{
    return loop_of(bnnlab_resolve_isa(isa), loop).work;
}

int bnnlab_limit_run(int isa, int loop, size_t steps, uint32_t *sum)
{
    const struct loop found = loop_of(bnnlab_resolve_isa(isa), loop);
    REFUSE_UNLESS(found.run, BNNLAB_NO_SUCH_ISA);
    REFUSE_UNLESS(sum, BNNLAB_BAD_LENGTH);
    *sum = found.run(steps);
    return BNNLAB_OK;
}

int bnnlab_limit_read(int isa, const uint32_t *words, size_t words_length, uint32_t *seen)
{
    isa = bnnlab_resolve_isa(isa);
    REFUSE_UNLESS(isa, BNNLAB_NO_SUCH_ISA);
    REFUSE_UNLESS(seen && matches(words, words_length, words_length), BNNLAB_BAD_LENGTH);
#ifdef BNNLAB_X86
    if (isa == BNNLAB_AVX2)
        *seen = avx2_read(words, words_length);
    else if (isa != BNNLAB_SCALAR && isa != BNNLAB_POPCNT)
        *seen = avx512_read(words, words_length);
    else
#endif
        *seen = plain_read(words, words_length);
    return BNNLAB_OK;
}
