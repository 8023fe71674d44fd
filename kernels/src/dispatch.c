/* The public functions: sizes checked here once, then the chosen instruction set does the work. */
#include "check.h"
#include "family.h"

/* Nothing to write means return at once, before any loop: a size beside a zero is bounded by no
 * array. */

const struct bnnlab_family *bnnlab_family_of(int isa)
{
    switch (bnnlab_resolve_isa(isa)) {
    case BNNLAB_SCALAR:
        return &bnnlab_scalar;
#ifdef BNNLAB_X86
    case BNNLAB_POPCNT:
        return &bnnlab_popcnt;
    case BNNLAB_AVX2:
        return &bnnlab_avx2;
    case BNNLAB_AVX512:
        return &bnnlab_avx512;
    case BNNLAB_AVX512_CARRY:
        return &bnnlab_avx512_carry;
#endif
#ifdef BNNLAB_AMX_BUILT
    case BNNLAB_AMX:
        return &bnnlab_amx;
#endif
#ifdef BNNLAB_ARM64
    case BNNLAB_NEON:
        return &bnnlab_neon;
#endif
    default:
        return NULL;
    }
}

int bnnlab_resolve_isa(int isa)
{
#ifdef BNNLAB_X86
    /* The compiler's probe also asks whether the operating system saves the registers. */
    const int popcnt = __builtin_cpu_supports("popcnt");
    const int avx2 = popcnt && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const int avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                       __builtin_cpu_supports("avx512vl") &&
                       __builtin_cpu_supports("avx512vbmi") &&
                       __builtin_cpu_supports("avx512vnni") &&
                       __builtin_cpu_supports("avx512vpopcntdq");
    /* Where one port of two counts bits, adding carry-save first is worth it; AMD has two of four. */
    const int carry = avx512 && __builtin_cpu_is("intel");
#else
    const int popcnt = 0, avx2 = 0, avx512 = 0, carry = 0;
#endif
#ifdef BNNLAB_AMX_BUILT
    const int amx = avx512 && __builtin_cpu_supports("gfni") && bnnlab_amx_allowed();
#else
    const int amx = 0;
#endif
#ifdef BNNLAB_ARM64
    const int neon = 1;
#else
    const int neon = 0;
#endif
    switch (isa) {
    case BNNLAB_BEST:
        return amx ? BNNLAB_AMX
               : carry ? BNNLAB_AVX512_CARRY
               : avx512 ? BNNLAB_AVX512
               : avx2 ? BNNLAB_AVX2
               : popcnt ? BNNLAB_POPCNT
               : neon ? BNNLAB_NEON
                      : BNNLAB_SCALAR;
    case BNNLAB_SCALAR:
        return BNNLAB_SCALAR;
    case BNNLAB_POPCNT:
        return popcnt ? BNNLAB_POPCNT : 0;
    case BNNLAB_AVX2:
        return avx2 ? BNNLAB_AVX2 : 0;
    case BNNLAB_AVX512:
        return avx512 ? BNNLAB_AVX512 : 0;
    case BNNLAB_AVX512_CARRY:
        return avx512 ? BNNLAB_AVX512_CARRY : 0;
    case BNNLAB_AMX:
        return amx ? BNNLAB_AMX : 0;
    case BNNLAB_NEON:
        return neon ? BNNLAB_NEON : 0;
    default:
        return 0;
    }
}

int bnnlab_pack_signs(int isa, const float *x, size_t x_length, size_t rows, size_t k,
                      uint32_t *bits, size_t bits_length)
{
    const struct bnnlab_family *family = bnnlab_family_of(isa);
    size_t inputs, words;
    REFUSE_UNLESS(family, BNNLAB_NO_SUCH_ISA);
    REFUSE_UNLESS(!multiply(rows, k, &inputs) && !multiply(rows, BNNLAB_WORDS(k), &words),
                  BNNLAB_TOO_LARGE);
    REFUSE_UNLESS(matches(x, x_length, inputs) && matches(bits, bits_length, words),
                  BNNLAB_BAD_LENGTH);
    if (words == 0)
        return BNNLAB_OK;
    return family->pack_signs(x, rows, k, bits) ? BNNLAB_NOT_A_NUMBER : BNNLAB_OK;
}

int bnnlab_pack_codes(int isa, const uint8_t *codes, size_t codes_length, size_t rows, size_t k,
                      size_t planes, uint32_t *bits, size_t bits_length)
{
    const struct bnnlab_family *family = bnnlab_family_of(isa);
    size_t inputs, words;
    REFUSE_UNLESS(family, BNNLAB_NO_SUCH_ISA);
    REFUSE_UNLESS(planes >= 1 && planes <= 8 && !multiply(rows, k, &inputs) &&
                      !multiply3(planes, rows, BNNLAB_WORDS(k), &words),
                  BNNLAB_TOO_LARGE);
    REFUSE_UNLESS(matches(codes, codes_length, inputs) && matches(bits, bits_length, words),
                  BNNLAB_BAD_LENGTH);
    if (words == 0)
        return BNNLAB_OK;
    family->pack_codes(codes, rows, k, planes, bits);
    return BNNLAB_OK;
}

int bnnlab_pack_panels(const uint32_t *bits, size_t bits_length, size_t n, size_t k,
                       uint32_t *panels, size_t panels_length)
{
    const size_t words = BNNLAB_WORDS(k);
    size_t length, panels_needed;
    REFUSE_UNLESS(!multiply(n, words, &length) &&
                      !multiply3(panels_of(n), words, BNNLAB_LANES, &panels_needed),
                  BNNLAB_TOO_LARGE);
    REFUSE_UNLESS(matches(bits, bits_length, length) &&
                      matches(panels, panels_length, panels_needed),
                  BNNLAB_BAD_LENGTH);
    for (size_t p = 0; panels_needed != 0 && p < panels_of(n); p++)
        for (size_t w = 0; w < words; w++)
            for (size_t lane = 0; lane < BNNLAB_LANES; lane++) {
                const size_t j = p * BNNLAB_LANES + lane;
                *panels++ = j < n ? bits[j * words + w] : 0;
            }
    return BNNLAB_OK;
}

int bnnlab_xnor_matmul(int isa, const uint32_t *a, size_t a_length,
                       const uint32_t *panels, size_t panels_length,
                       size_t m, size_t n, size_t k, int32_t *out, size_t out_length)
{
    const struct bnnlab_family *family = bnnlab_family_of(isa);
    const size_t words = BNNLAB_WORDS(k);
    size_t a_needed, panels_needed, out_needed;
    REFUSE_UNLESS(family, BNNLAB_NO_SUCH_ISA);
    REFUSE_UNLESS(k <= INT32_MAX && !multiply(m, words, &a_needed) &&
                      !multiply3(panels_of(n), words, BNNLAB_LANES, &panels_needed) &&
                      !multiply(m, n, &out_needed),
                  BNNLAB_TOO_LARGE);
    REFUSE_UNLESS(matches(a, a_length, a_needed) &&
                      matches(panels, panels_length, panels_needed) &&
                      matches(out, out_length, out_needed),
                  BNNLAB_BAD_LENGTH);
    if (out_needed == 0)
        return BNNLAB_OK;
    const struct bnnlab_walk walk = {words, a_needed, 1, words, words, words, words};
    family->product(a, &walk, 1, panels, NULL, (int32_t)k, m, n, out);
    return BNNLAB_OK;
}

int bnnlab_planes_matmul(int isa, const uint32_t *a, size_t a_length, size_t planes,
                         const uint32_t *panels, size_t panels_length,
                         const int32_t *ones, size_t ones_length,
                         size_t m, size_t n, size_t k, int32_t *out, size_t out_length)
{
    const struct bnnlab_family *family = bnnlab_family_of(isa);
    const size_t words = BNNLAB_WORDS(k);
    size_t a_needed, panels_needed, out_needed;
    REFUSE_UNLESS(family, BNNLAB_NO_SUCH_ISA);
    REFUSE_UNLESS(planes >= 1 && planes <= 8 && k <= INT32_MAX / (((size_t)1 << planes) - 1) &&
                      !multiply3(planes, m, words, &a_needed) &&
                      !multiply3(panels_of(n), words, BNNLAB_LANES, &panels_needed) &&
                      !multiply(m, n, &out_needed),
                  BNNLAB_TOO_LARGE);
    REFUSE_UNLESS(matches(a, a_length, a_needed) &&
                      matches(panels, panels_length, panels_needed) &&
                      matches(ones, ones_length, n) && matches(out, out_length, out_needed),
                  BNNLAB_BAD_LENGTH);
    if (out_needed == 0)
        return BNNLAB_OK;
    const struct bnnlab_walk walk = {words, m * words, 1, words, words, words, words};
    family->product(a, &walk, planes, panels, ones, 0, m, n, out);
    return BNNLAB_OK;
}

int bnnlab_bytes_matmul(int isa, const uint8_t *codes, size_t codes_length,
                        const uint32_t *panels, size_t panels_length,
                        size_t m, size_t n, size_t k, int32_t *out, size_t out_length)
{
    const struct bnnlab_family *family = bnnlab_family_of(isa);
    const size_t words = BNNLAB_WORDS(k);
    size_t codes_needed, panels_needed, out_needed;
    REFUSE_UNLESS(family, BNNLAB_NO_SUCH_ISA);
    REFUSE_UNLESS(k <= INT32_MAX / 255 && !multiply(m, k, &codes_needed) &&
                      !multiply3(panels_of(n), words, BNNLAB_LANES, &panels_needed) &&
                      !multiply(m, n, &out_needed),
                  BNNLAB_TOO_LARGE);
    REFUSE_UNLESS(matches(codes, codes_length, codes_needed) &&
                      matches(panels, panels_length, panels_needed) &&
                      matches(out, out_length, out_needed),
                  BNNLAB_BAD_LENGTH);
    if (out_needed != 0)
        family->bytes_product(codes, panels, m, n, k, out);
    return BNNLAB_OK;
}

int bnnlab_sign_matmul(int isa, const float *x, size_t x_length,
                       const uint32_t *panels, size_t panels_length,
                       size_t m, size_t n, size_t k, float *out, size_t out_length)
{
    const struct bnnlab_family *family = bnnlab_family_of(isa);
    const size_t words = BNNLAB_WORDS(k);
    size_t x_needed, panels_needed, out_needed;
    REFUSE_UNLESS(family, BNNLAB_NO_SUCH_ISA);
    REFUSE_UNLESS(k <= INT32_MAX / 255 && !multiply(m, k, &x_needed) &&
                      !multiply3(panels_of(n), words, BNNLAB_LANES, &panels_needed) &&
                      !multiply(m, n, &out_needed),
                  BNNLAB_TOO_LARGE);
    REFUSE_UNLESS(matches(x, x_length, x_needed) &&
                      matches(panels, panels_length, panels_needed) &&
                      matches(out, out_length, out_needed),
                  BNNLAB_BAD_LENGTH);
    if (out_needed == 0) {
        int nan = 0;
        for (size_t e = 0; e < x_needed; e++)
            nan |= x[e] != x[e];
        return nan ? BNNLAB_NOT_A_NUMBER : BNNLAB_OK;
    }
    return family->sign_product(x, panels, m, n, k, out) ? BNNLAB_NOT_A_NUMBER : BNNLAB_OK;
}

int bnnlab_threshold(int isa, const void *values, size_t values_length, int real,
                     size_t m, size_t n,
                     const int32_t *thresholds, size_t thresholds_length, size_t levels,
                     const uint32_t *flip, size_t flip_length,
                     uint32_t *bits, size_t bits_length)
{
    const struct bnnlab_family *family = bnnlab_family_of(isa);
    const size_t words = BNNLAB_WORDS(n);
    size_t planes = 0, values_needed, thresholds_needed, bits_needed;
    REFUSE_UNLESS(family, BNNLAB_NO_SUCH_ISA);
    REFUSE_UNLESS(levels >= 1 && levels <= 255, BNNLAB_TOO_LARGE);
    while (levels >> planes)
        planes++;
    REFUSE_UNLESS(!multiply(m, n, &values_needed) && !multiply(levels, n, &thresholds_needed) &&
                      !multiply3(planes, m, words, &bits_needed),
                  BNNLAB_TOO_LARGE);
    REFUSE_UNLESS(matches(values, values_length, values_needed) &&
                      matches(thresholds, thresholds_length, thresholds_needed) &&
                      matches(flip, flip_length, words) && matches(bits, bits_length, bits_needed),
                  BNNLAB_BAD_LENGTH);
    if (bits_needed == 0)
        return BNNLAB_OK;
    const int nan = family->threshold(values, real, m, n, thresholds, levels, planes, flip, bits);
    return nan ? BNNLAB_NOT_A_NUMBER : BNNLAB_OK;
}

int bnnlab_pack_channels(int isa, const float *x, size_t x_length, size_t samples, size_t channels,
                         size_t pixels, uint32_t *bits, size_t bits_length)
{
    const struct bnnlab_family *family = bnnlab_family_of(isa);
    const size_t words = BNNLAB_WORDS(channels);
    size_t inputs, needed;
    REFUSE_UNLESS(family, BNNLAB_NO_SUCH_ISA);
    REFUSE_UNLESS(!multiply3(samples, channels, pixels, &inputs) &&
                      !multiply3(samples, pixels, words, &needed),
                  BNNLAB_TOO_LARGE);
    REFUSE_UNLESS(matches(x, x_length, inputs) && matches(bits, bits_length, needed),
                  BNNLAB_BAD_LENGTH);
    int nan = 0;
    for (size_t s = 0; needed != 0 && s < samples; s++)
        nan |= family->pack_channels(x + s * channels * pixels, channels, pixels,
                                     bits + s * pixels * words);
    return nan ? BNNLAB_NOT_A_NUMBER : BNNLAB_OK;
}

int bnnlab_max_pool(const uint32_t *bits, size_t bits_length, size_t samples, size_t height,
                    size_t width, size_t words, size_t down, size_t across,
                    uint32_t *out, size_t out_length)
{
    size_t row, needed, out_row, out_needed;
    REFUSE_UNLESS(down && across, BNNLAB_BAD_WINDOW);
    const size_t high = height / down, wide = width / across;
    REFUSE_UNLESS(!multiply(width, words, &row) && !multiply3(samples, height, row, &needed) &&
                      !multiply(wide, words, &out_row) &&
                      !multiply3(samples, high, out_row, &out_needed),
                  BNNLAB_TOO_LARGE);
    REFUSE_UNLESS(matches(bits, bits_length, needed) && matches(out, out_length, out_needed),
                  BNNLAB_BAD_LENGTH);
    for (size_t e = 0; e < out_needed; e++)
        out[e] = 0;
    for (size_t s = 0; out_needed != 0 && s < samples; s++)
        for (size_t y = 0; y < high * down; y++)
            for (size_t x = 0; x < wide * across; x++) {
                const uint32_t *from = bits + (s * height + y) * row + x * words;
                uint32_t *to = out + (s * high + y / down) * out_row + x / across * words;
                for (size_t w = 0; w < words; w++)
                    to[w] |= from[w];
            }
    return BNNLAB_OK;
}
