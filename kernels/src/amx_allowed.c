/* Whether AMX may be used: its own file, for this runs on any processor.
 *
 * Linux gives the large state of tiles only to processes that ask (arch_prctl(2)); it says no where
 * the kernel does not know it, or a thread's alternate signal stack is too small for it. */
#include "family.h"

#include <cpuid.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18

static int ask(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return 0;
    return (d >> 24 & 1) && (d >> 25 & 1) /* AMX-TILE, AMX-INT8 */ &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

int bnnlab_amx_allowed(void)
{
    static atomic_int known; /* 0: not asked yet, 1: no, 2: yes */
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (!answer) {
        answer = 1 + ask();
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer == 2;
}
