/* Small pieces that both vector files use. Static: no copy compiled for one processor can be linked
 * into the path of another. */
#ifndef BNNLAB_VECTOR_H
#define BNNLAB_VECTOR_H

#include "family.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Loops over the registers of a tile must be unrolled, or the accumulators live in memory. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* The lowest `count` bits, count < 32. BNNLAB_MUTANT_TAIL plants a wrong one, which the fuzz program
 * must notice. */
ALWAYS_INLINE uint32_t tail_mask(size_t count)
{
#ifdef BNNLAB_MUTANT_TAIL
    count += count > 5;
#endif
    return ((uint32_t)1 << count) - 1;
}

ALWAYS_INLINE size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* A tile of the float product's inputs as [input][row], adjacent: rows a power of two apart would
 * share cache sets. */
ALWAYS_INLINE void interleave_rows(const float *x, size_t rows, size_t k, size_t inputs, float *tile)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < inputs; j++)
            tile[j * rows + r] = x[r * k + j];
}

#endif
