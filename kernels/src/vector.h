/* Small pieces that files of vectors, or of wide words, use. Static: no copy compiled for one processor
 * can be linked into the path of another. */
#ifndef BNNLAB_VECTOR_H
#define BNNLAB_VECTOR_H

#include "family.h"

#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Loops over the registers of a tile must be unrolled, or the accumulators live in memory. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* Calls `tile` with a constant number of rows, at most four, so that each is compiled for itself. */
#define WITH_ROWS(rows, tile, ...)              \
    switch (rows) {                             \
    case 1: tile(1, __VA_ARGS__); break;        \
    case 2: tile(2, __VA_ARGS__); break;        \
    case 3: tile(3, __VA_ARGS__); break;        \
    default: tile(4, __VA_ARGS__); break;       \
    }

/* The lowest `count` bits, count < 32. */
ALWAYS_INLINE uint32_t tail_mask(size_t count)
{
    return ((uint32_t)1 << count) - 1;
}

ALWAYS_INLINE size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Four bytes from `codes`, of which `count` are there; zeros beyond. */
ALWAYS_INLINE int32_t four_codes(const uint8_t *codes, size_t count)
{
    int32_t four = 0;
    memcpy(&four, codes, count < 4 ? count : 4);
    return four;
}

/* How many rows of `m` the next tile takes, at most `most`: as evenly as possible, for a tile of one
 * row waits for its own sums. */
ALWAYS_INLINE size_t tile_rows(size_t m, size_t most)
{
    const size_t tiles = (m + most - 1) / most;
    return (m + tiles - 1) / tiles;
}

#endif
