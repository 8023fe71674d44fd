#include "cases.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

#define SLOTS 512

uint64_t random_state = 0x9E3779B97F4A7C15u;
int large_case;
int isas[16];
size_t isa_count;

size_t draw_size(size_t tiny, size_t large)
{
    static const size_t edges[] = {0,  1,  2,  3,  7,  8,  9,   15,  16,  17,  31,  32,  33,
                                   63, 64, 65, 95, 97, 127, 128, 129, 255, 256, 257, 511, 513, 1024,
                                   1025};
    const size_t most = large_case ? large : tiny;
    size_t count = 0;
    while (count < sizeof edges / sizeof *edges && edges[count] <= most)
        count++;
    return draw() % 2 ? edges[below(count)] : below(most + 1);
}

static unsigned char *slots;
static struct { void *at; size_t bytes; } taken[SLOTS];
static size_t used;

static size_t page_size(void)
{
    static size_t page;
    return page ? page : (page = (size_t)sysconf(_SC_PAGESIZE));
}

static void prepare(void)
{
    const size_t page = page_size(), each = page + SLOT, all = SLOTS * each + page;
    slots = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (slots == MAP_FAILED)
        exit(2);
    for (size_t i = 0; i <= SLOTS; i++)
        if (mprotect(slots + i * each, page, PROT_NONE))
            exit(2);
    slots += page;
    ASAN_POISON_MEMORY_REGION(slots, all - 2 * page);
}

void *make(size_t bytes)
{
    if (!slots)
        prepare();
    if (bytes > SLOT || used == SLOTS) {
        printf("a case wants too many or too long arrays (%zu bytes)\n", bytes);
        exit(2);
    }
    unsigned char *slot = slots + used * (SLOT + page_size());
    unsigned char *at = below(4) ? slot + SLOT - bytes : slot;
    taken[used].at = at;
    taken[used++].bytes = bytes;
    ASAN_UNPOISON_MEMORY_REGION(at, bytes);
    memset(at, 0xA5, bytes);
    return at;
}

size_t made(void)
{
    return used;
}

void forget(size_t from)
{
    while (used > from) {
        used--;
        ASAN_POISON_MEMORY_REGION(taken[used].at, taken[used].bytes);
    }
}

uint32_t *make_bits(size_t rows, size_t k)
{
    const size_t words = BNNLAB_WORDS(k);
    uint32_t *bits = make(rows * words * 4);
    const unsigned kind = draw() % (large_case ? 4 : 8); /* sums that overflow are the largest */
    for (size_t e = 0; e < rows * words; e++)
        bits[e] = kind == 0 ? 0 : kind == 1 ? 0xffffffffu : draw();
    for (size_t i = 0; k % 32 && i < rows; i++)
        bits[(i + 1) * words - 1] &= ((uint32_t)1 << (k % 32)) - 1;
    return bits;
}

uint32_t *make_panels(const uint32_t *bits, size_t n, size_t k, size_t *length)
{
    const size_t words = BNNLAB_WORDS(k);
    *length = (n + BNNLAB_LANES - 1) / BNNLAB_LANES * words * BNNLAB_LANES;
    uint32_t *panels = make(*length * 4);
    if (bnnlab_pack_panels(bits, n * words, n, k, panels, *length) != BNNLAB_OK)
        exit(2);
    return panels;
}

static float ordinary(void)
{
    return ((float)draw() - 2147483648.0f) / 1e8f;
}

float *make_floats(size_t count, int with_nan)
{
    static const float odd[] = {0.0f, -0.0f, 1e-45f, -1e-45f, 1e30f, -1e30f, 3.4e38f, -3.4e38f,
                                1e-38f, -1e-38f, __builtin_inff(), -__builtin_inff(), 1.0f, -1.0f};
    float *x = make(count * 4);
    const unsigned kind = draw() % 4;
    for (size_t i = 0; i < count; i++)
        x[i] = kind == 0   ? odd[below(sizeof odd / sizeof *odd)]
               : kind == 1 ? odd[12 + below(2)]
               : kind == 2 ? (float)(int)(draw() % 7) - 3.0f
                           : ordinary();
    if (with_nan && count)
        x[below(count)] = below(2) ? __builtin_nanf("") : -__builtin_nanf("");
    return x;
}

float *make_finite(size_t count)
{
    float *x = make(count * 4);
    const unsigned kind = draw() % 3;
    for (size_t i = 0; i < count; i++)
        x[i] = kind == 0 ? (float)below(256) / 256 : kind == 1 ? (float)below(17) / 8 - 1 : ordinary();
    return x;
}

int32_t *make_values(size_t count)
{
    int32_t *values = make(count * 4);
    const int small = below(4) != 0;
    for (size_t i = 0; i < count; i++)
        values[i] = small ? (int32_t)below(41) - 20 : (int32_t)draw();
    return values;
}

int has_nan(const float *x, size_t count)
{
    int found = 0;
    for (size_t i = 0; i < count; i++)
        found |= x[i] != x[i];
    return found;
}

void same_nans(float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (x[i] != x[i])
            x[i] = __builtin_nanf("");
}

size_t spoilt_size(size_t was)
{
    static const size_t odd[] = {SIZE_MAX, SIZE_MAX - 15, SIZE_MAX / 2 + 1, SIZE_MAX / 4 + 1,
                                 SIZE_MAX / 32, SIZE_MAX / 16 + 1, (size_t)1 << 32,
                                 ((size_t)1 << 32) - 1, (size_t)1 << 31, ((size_t)1 << 31) - 1};
    switch (draw() % 4) {
    case 0: return odd[below(sizeof odd / sizeof *odd)];
    case 1: return was + 1 + below(3);
    case 2: return was ? was - 1 : 1;
    default: return below(2) ? 0 : 2 * was;
    }
}

enum spoilt spoil(size_t *values, size_t sizes, size_t lengths)
{
    if (below(16))
        return SOUND;
    const size_t i = below(sizes + lengths), was = values[i];
    values[i] = spoilt_size(was);
    return values[i] == was ? SOUND : i < sizes ? WRONG_SIZE : WRONG_LENGTH;
}

void find_isas(void)
{
    for (int isa = BNNLAB_SCALAR; isa < BNNLAB_SCALAR + 16; isa++)
        if (bnnlab_resolve_isa(isa))
            isas[isa_count++] = isa;
}
