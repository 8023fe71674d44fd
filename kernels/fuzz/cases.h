/* What random cases are made of: numbers, and arrays that hold exactly what a call may touch. */
#ifndef BNNLAB_CASES_H
#define BNNLAB_CASES_H

#include "bnnlab_network.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

extern uint64_t random_state;

/* xorshift64 (Marsaglia 2003). */
static inline uint32_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

static inline size_t below(size_t bound)
{
    return (size_t)(((uint64_t)draw() * bound) >> 32);
}

/* Whether the case may be a large one: most are tiny, where edges lie close together. */
extern int large_case;

/* A size up to a bound, half of the time next to a multiple of a power of two. */
size_t draw_size(size_t tiny, size_t large);

#define SLOT ((size_t)1 << 22)  /* the longest array */

/* An array of exactly so many bytes, filled with a pattern that no kernel leaves behind by chance:
 * mostly ending at an unreadable page, for masked vector loads that AddressSanitizer does not see,
 * else beginning after one; what is around it is poisoned. It lives until those that were made from
 * some number on are forgotten. */
void *make(size_t bytes);
size_t made(void);
void forget(size_t from);

/* Rows of `k` random bits (or all ones, or all zeros); the tail is zero. */
uint32_t *make_bits(size_t rows, size_t k);

/* The panels of rows of bits; `length` is how many words they take. */
uint32_t *make_panels(const uint32_t *bits, size_t n, size_t k, size_t *length);

/* Ordinary numbers, signs, or signed zeros, denormals, infinities and other odd ones; with a NaN
 * where asked for. */
float *make_floats(size_t count, int with_nan);

/* Ordinary finite numbers, or multiples of 1/256 that bytes can hold. */
float *make_finite(size_t count);

int32_t *make_values(size_t count);

int has_nan(const float *x, size_t count);

/* Makes all NaN alike: their signs and payloads (of infinity minus infinity) are nobody's promise. */
void same_nans(float *x, size_t count);

/* Changes one of `sizes` sizes or of the `lengths` lengths after them, now and then. */
enum spoilt { SOUND, WRONG_SIZE, WRONG_LENGTH };
enum spoilt spoil(size_t *values, size_t sizes, size_t lengths);

/* A number of no use as a size. */
size_t spoilt_size(size_t was);

/* The instruction sets of this processor, the plain one first. */
extern int isas[16];
extern size_t isa_count;
void find_isas(void);

/* A random network whose layers fit one another, at most `most` of them. `*exact`: whether every
 * instruction set must give the same bits. */
struct bnnlab_network make_network(size_t most, int *exact);

/* A batch for it: float32 numbers, or int64 symbols of texts of `length`. */
void *make_batch(const struct bnnlab_network *network, size_t samples, size_t length,
                 size_t *x_length);

/* Written down plainly, in plain.c: x times signs in fixed point, as bnnlab_sign_matmul promises; */
float add_plainly(const float *x, const uint32_t *panels, size_t output, size_t k);

/* one sample through a network; returns whether a NaN met signs or thresholds. */
int run_plainly(const struct bnnlab_network *network, const void *x, size_t length, float *out);

/* One case each; they return whether something was wrong. */
int fuzz_network(void);

#endif
