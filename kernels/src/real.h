/* Real inputs times real weights, for the vector files: REAL_BYTES is the size of a register. */
#ifndef BNNLAB_REAL_H
#define BNNLAB_REAL_H

#include "vector.h"

#define REAL_PARTS (64 / REAL_BYTES)    /* registers of a panel's 16 lanes */
#define REAL_SUMS 8                     /* registers of sums: enough to hide an addition's latency */

typedef float real_register __attribute__((vector_size(REAL_BYTES)));

ALWAYS_INLINE real_register real_load(const float *x)
{
    real_register register_;
    memcpy(&register_, x, sizeof register_);
    return register_;
}

ALWAYS_INLINE void real_tile(size_t rows, size_t panels, const float *x, const float *weights, size_t n,
                             size_t k, size_t stride, float *out)
{
    real_register sums[REAL_SUMS] = {0};
    for (size_t c = 0; c < k; c++) {
        UNROLL
        for (size_t p = 0; p < panels * REAL_PARTS; p++) {
            const size_t part = p % REAL_PARTS * (REAL_BYTES / 4);
            const real_register w =
                real_load(weights + p / REAL_PARTS * k * BNNLAB_LANES + c * BNNLAB_LANES + part);
            UNROLL
            for (size_t r = 0; r < rows; r++)
                sums[r * panels * REAL_PARTS + p] += w * x[r * k + c];
        }
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t p = 0; p < panels; p++)
            memcpy(out + r * stride + p * BNNLAB_LANES, sums + (r * panels + p) * REAL_PARTS,
                   4 * smaller(BNNLAB_LANES, n - p * BNNLAB_LANES));
}

#define REAL_ROWS(rows)                                                                           \
    for (; m - i >= rows; i += rows) {                                                            \
        size_t j = 0;                                                                             \
        const size_t panels = REAL_SUMS / REAL_PARTS / rows;                                      \
        for (; j + panels * BNNLAB_LANES <= n; j += panels * BNNLAB_LANES)                        \
            real_tile(rows, panels, x + i * k, weights + j * k, n - j, k, n, out + i * n + j);    \
        for (; j < n; j += BNNLAB_LANES)                                                          \
            real_tile(rows, 1, x + i * k, weights + j * k, n - j, k, n, out + i * n + j);         \
    }

static void real_product(const float *x, const float *weights, size_t m, size_t n, size_t k, float *out)
{
    size_t i = 0;
#if REAL_PARTS == 1
    REAL_ROWS(8)
#endif
    REAL_ROWS(4)
    REAL_ROWS(2)
    REAL_ROWS(1)
}

#endif
