/* Which pixels the windows of a convolution meet. */
#ifndef BNNLAB_TAPS_H
#define BNNLAB_TAPS_H

#include "family.h"

/* Along one side of an image: the taps of the window at a place that lie on it, those from `first` to
 * `last` - 1, of which the first lies on pixel `start`; of `count` places from there on it is the same
 * taps, each a stride further. */
struct taps {
    size_t first, last, start, count;
};

/* Those at `place` of `places`. */
static inline struct taps taps_at(size_t place, size_t places, size_t size, size_t window, size_t stride,
                                  size_t padding)
{
    const size_t at = place * stride; /* on the padded image */
    struct taps taps = {at < padding ? padding - at : 0, window, at < padding ? 0 : at - padding, 1};
    const size_t left = at < size + padding ? size + padding - at : 0;
    if (taps.last > left)
        taps.last = left;
    if (taps.first >= taps.last) {
        taps.first = taps.last = taps.start = 0;
    } else if (taps.last - taps.first == window) {
        const size_t fit = (size - window - taps.start) / stride + 1;
        taps.count = fit < places - place ? fit : places - place;
    }
    return taps;
}

/* Places of a convolution whose windows meet the image with the same taps, as rows of products: lines of
 * `rows` places each, beside or below one another. Steps from one line's first row of bits to the next
 * one's, in words; from one's results to the next one's, and from a row's to the next one's, in places.
 * What comes first: in the image, in each panel (words), and among the places. */
struct region {
    struct bnnlab_walk walk;
    int32_t base;
    size_t lines, rows, line_step, out_line, out_row;
    const uint32_t *image;
    size_t panel, place;
};

/* The region of the place (y, x) and those after it, where tiles take up to `most` rows: whichever lines
 * take fewer tiles. */
static inline struct region region_at(const struct bnnlab_field *field, size_t y, size_t x,
                                      const struct taps *down, const struct taps *across, size_t most)
{
    const struct bnnlab_window *window = field->window;
    const size_t words = BNNLAB_WORDS(field->channels);
    const size_t image_row = field->width * words, tap_row = window->width * words;
    const size_t below = window->stride_down * image_row, beside = window->stride_across * words;
    const size_t high = down->last - down->first, wide = across->last - across->first;
    const int along = down->count * ((across->count + most - 1) / most) <=
                      across->count * ((down->count + most - 1) / most);
    const struct region region = {
        .walk = {along ? beside : below, field->plane_step, high, wide * words, image_row, tap_row,
                 window->height * tap_row},
        .base = (int32_t)(high * wide * field->channels),
        .lines = along ? down->count : across->count,
        .rows = along ? across->count : down->count,
        .line_step = along ? below : beside,
        .out_line = along ? field->across : 1,
        .out_row = along ? 1 : field->across,
        .image = field->image + down->start * image_row + across->start * words,
        .panel = down->first * tap_row + across->first * words,
        .place = y * field->across + x,
    };
    return region;
}

/* Does `what` with every region of a field. */
#define EVERY_REGION(field, most, what)                                                             \
    for (size_t y = 0, down_by; y < (field)->down; y += down_by) {                                  \
        const struct bnnlab_window *window = (field)->window;                                       \
        const struct taps down =                                                                    \
            taps_at((field)->first + y, (field)->first + (field)->down, (field)->height,            \
                    window->height, window->stride_down, window->padding_down);                     \
        down_by = down.count;                                                                       \
        for (size_t x = 0, across_by; x < (field)->across; x += across_by) {                        \
            const struct taps across = taps_at(x, (field)->across, (field)->width, window->width,   \
                                               window->stride_across, window->padding_across);      \
            const struct region region = region_at(field, y, x, &down, &across, most);              \
            across_by = across.count;                                                               \
            what;                                                                                   \
        }                                                                                           \
    }

#endif
