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

#endif
