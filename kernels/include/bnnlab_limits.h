/* What this machine could do at best: the innermost loops of the products with everything in
 * registers, and reading. Whoever measures a kernel measures these beside it.
 *
 * It is the limit of the way the kernels of an instruction set go about it: another way may have a
 * higher one. */
#ifndef BNNLAB_LIMITS_H
#define BNNLAB_LIMITS_H

#include "bnnlab_kernels.h"

enum bnnlab_loop {
    BNNLAB_LOOP_BITS = 1,   /* signs by signs: exclusive or, count, add; of AVX2: look up, add; of
                             * AMX: as BYTES */
    BNNLAB_LOOP_BYTES = 2,  /* bytes by signs, which are bytes of +-1 by then; of AVX2: sums of four,
                             * looked up as two digits */
    BNNLAB_LOOP_REALS = 3,  /* real inputs by signs: sums looked up byte by byte, see fixed.h */
    BNNLAB_LOOP_FLOATS = 4, /* real inputs by real weights: multiply, add */
};

/* The multiply-adds of a step of a loop; 0 where `isa` has none such, or the processor not `isa`. */
size_t bnnlab_limit_work(int isa, int loop);

/* Runs a loop. *sum is what it added up, modulo 2**32 (of bytes, modulo 2**8 in each): so that no
 * compiler leaves it out. BNNLAB_NO_SUCH_ISA where bnnlab_limit_work is 0. */
int bnnlab_limit_run(int isa, int loop, size_t steps, uint32_t *sum);

/* Reads words once, in order. *seen is all of them or-ed together. */
int bnnlab_limit_read(int isa, const uint32_t *words, size_t words_length, uint32_t *seen);

#endif
