/* How the public functions check what they are given. */
#ifndef BNNLAB_CHECK_H
#define BNNLAB_CHECK_H

#include "bnnlab_kernels.h"

/* Overflow-checked products. Each returns whether it overflowed. */
static inline int multiply(size_t a, size_t b, size_t *product)
{
    *product = a * b;
    return a != 0 && *product / a != b;
}

static inline int multiply3(size_t a, size_t b, size_t c, size_t *product)
{
    size_t ab;
    return multiply(a, b, &ab) || multiply(ab, c, product);
}

static inline size_t panels_of(size_t n)
{
    return n / BNNLAB_LANES + (n % BNNLAB_LANES != 0);
}

/* Does the array hold exactly `length` elements (NULL only when that is none)? */
static inline int matches(const void *array, size_t given, size_t length)
{
    return given == length && (array != NULL || length == 0);
}

#define REFUSE_UNLESS(condition, status) \
    do {                                 \
        if (!(condition))                \
            return status;               \
    } while (0)

#endif
