/* What products and convolutions by AMX share: tiles of bytes, 16 rows by 16 outputs by 64 inputs an
 * instruction.
 *
 * The rows are laid out as bytes once, as many as the second cache holds. The weights' bits become bytes
 * of +-1 for two panels at a time, a block of inputs after another, so few that a block stays in the
 * first cache while a group of tiles goes by; the sums of two tiles of rows by two panels are in tile
 * registers.
 *
 * Of 64 inputs, as eight bytes of bits, those in place b of every byte stand together, in rows and
 * weights alike: input 8 c + b in place 8 b + c. So one instruction makes 64 bytes of bits.
 */
#ifndef BNNLAB_AMX_H
#define BNNLAB_AMX_H

#include "vector.h"

#include <immintrin.h>

#define TILE_ROWS 16
#define STEP 64             /* inputs of a tile */
#define TILE_BYTES (TILE_ROWS * STEP)
#define SUMS (TILE_ROWS * BNNLAB_LANES)
#define ROW_BYTES 524288    /* laid out together, at most */
#define MOST_STEPS 512
#define MOST_TILES 512
#define MOST_PLANES 7       /* of codes: a byte holds -127 .. 127 */

static size_t steps_of(size_t k)
{
    return (k + STEP - 1) / STEP;
}

/* For gf2p8affineqb: a byte's bit `place` as +-1, that is, in the highest seven bits its opposite. */
#define SIGN_OF(place) (0x0001010101010101 << (place))

/* 64 bits as bytes of +-1. */
ALWAYS_INLINE __m512i signs_of(uint64_t bits)
{
    const __m512i places = _mm512_setr_epi64(SIGN_OF(0), SIGN_OF(1), SIGN_OF(2), SIGN_OF(3),
                                             SIGN_OF(4), SIGN_OF(5), SIGN_OF(6), SIGN_OF(7));
    return _mm512_gf2p8affine_epi64_epi8(_mm512_set1_epi64((long long)bits), places, 0xFF);
}

/* Codes c of bit planes as 2 c - (2^planes - 1), which is +-1 of signs. The bits of every plane begin
 * `plane_step` words after those of the one before; `two` words of them, or one. */
ALWAYS_INLINE __m512i codes_of(const uint32_t *bits, size_t planes, size_t plane_step, const int two)
{
    __m512i codes = _mm512_setzero_si512();
    for (size_t p = planes; p-- > 0;) {
        uint64_t word = bits[p * plane_step];
        if (two)
            memcpy(&word, bits + p * plane_step, 8);
        codes = _mm512_add_epi8(_mm512_add_epi8(codes, codes), signs_of(word));
    }
    return codes;
}

/* Rows laid out, in tiles: where each begins, how many bytes lie from a row to the next, and where the
 * steps of all of them lie from there. Of every `pitch` rows only the first `kept` matter; of the last
 * tile, those that there are. */
struct bnnlab_rows {
    size_t tiles, steps, row, pitch, kept;
    uint32_t at[MOST_TILES], offsets[MOST_STEPS];
    _Alignas(64) uint8_t bytes[ROW_BYTES];
};

/* What becomes of sums, which begin with `start`: they are stored; or with `ones`, those of codes of
 * bit planes come of them, where `every` is what all inputs add if nothing mismatches; or with `units`,
 * those of real inputs, four rows of sums each. With `codes`, of one level, only signs are stored. */
struct bnnlab_finish {
    int32_t start, every;
    size_t planes;
    const int32_t *ones;
    const double *units;
    const struct bnnlab_codes *codes;
};

/* What rows hold: bytes 0 .. 255; codes, which are signed; codes that several steps of a tile, or tiles,
 * share, so that the first cache should keep them. */
enum bnnlab_kind { BNNLAB_BYTES, BNNLAB_CODES, BNNLAB_IMAGE };

/* The sums of m rows, as they leave, with the signs of n outputs -> out [rows kept, n], or NULL. Where a run of
 * the weights' words ends within a step, the rows' bytes must be 0 for the rest of it. */
void bnnlab_amx_multiply(const struct bnnlab_rows *rows, enum bnnlab_kind kind,
                         const struct bnnlab_walk *walk, const uint32_t *panels,
                         const struct bnnlab_finish *finish, size_t m, size_t n, void *out);

#endif
