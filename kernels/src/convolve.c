/* Convolution of packed images, directly: a row of windows is a product whose rows overlap. */
#include "check.h"
#include "family.h"
#include "taps.h"

#include <string.h>

/* What does not change from one row of outputs to the next. */
struct convolution {
    const struct bnnlab_family *family;
    const struct bnnlab_window *window;
    size_t height, width, channels, planes, plane_step, n, across;
};

/* One row of outputs. Windows that lie wholly between the left and right border are multiplied
 * together; the others one by one, by the part of the weights that meets the image. */
static void convolve_row(const struct convolution *of, const uint32_t *image, struct taps rows,
                         const uint32_t *panels, const int32_t *ones, int32_t *out)
{
    const struct bnnlab_window *window = of->window;
    const size_t words = BNNLAB_WORDS(of->channels), tap_row = window->width * words;
    const size_t step = window->stride_across * words;
    struct taps columns;
    for (size_t x = 0; x < of->across; x += columns.count) {
        columns = taps_at(x, of->across, of->width, window->width, window->stride_across,
                          window->padding_across);
        const size_t height = rows.last - rows.first, wide = columns.last - columns.first;
        const struct bnnlab_walk walk = {step, of->plane_step, height, wide * words,
                                         of->width * words, tap_row, window->height * tap_row};
        const uint32_t *at = image + (rows.start * of->width + columns.start) * words;
        const uint32_t *b =
            panels + (rows.first * tap_row + columns.first * words) * BNNLAB_LANES;
        of->family->product(at, &walk, of->planes, b, ones, (int32_t)(height * wide * of->channels),
                            columns.count, of->n, out + x * of->n);
    }
}

int bnnlab_convolve(int isa, const uint32_t *image, size_t image_length, size_t planes,
                    size_t samples, size_t groups, size_t height, size_t width, size_t channels,
                    const struct bnnlab_window *window,
                    const uint32_t *panels, size_t panels_length,
                    const int32_t *ones, size_t ones_length, size_t n,
                    int32_t *out, size_t out_length)
{
    const struct bnnlab_family *family = bnnlab_family_of(isa);
    const size_t words = BNNLAB_WORDS(channels);
    size_t pixels, plane, image_needed, taps, inputs, weights, group_panels, panels_needed, ones_needed;
    size_t images, places, out_needed;
    REFUSE_UNLESS(family, BNNLAB_NO_SUCH_ISA);
    REFUSE_UNLESS(window, BNNLAB_BAD_LENGTH);
    const size_t down = bnnlab_places(height, window->height, window->stride_down,
                                      window->padding_down);
    const size_t across = bnnlab_places(width, window->width, window->stride_across,
                                        window->padding_across);
    /* With `ones`, a border would have to count fewer of them. */
    REFUSE_UNLESS(down && across &&
                      (ones == NULL || (window->padding_down == 0 && window->padding_across == 0)),
                  BNNLAB_BAD_WINDOW);
    REFUSE_UNLESS(planes >= 1 && planes <= 8 && !multiply(samples, groups, &images) &&
                      !multiply(height, width, &pixels) && !multiply3(images, pixels, words, &plane) &&
                      !multiply(planes, plane, &image_needed) &&
                      !multiply(window->height, window->width, &taps) &&
                      !multiply(taps, channels, &inputs) &&
                      inputs <= INT32_MAX / (((size_t)1 << planes) - 1) &&
                      !multiply(taps, words, &weights) &&
                      !multiply3(panels_of(n), weights, BNNLAB_LANES, &group_panels) &&
                      !multiply(groups, group_panels, &panels_needed) &&
                      !multiply(groups, n, &ones_needed) && !multiply3(images, down, across, &places) &&
                      !multiply(places, n, &out_needed),
                  BNNLAB_TOO_LARGE);
    REFUSE_UNLESS(matches(image, image_length, image_needed) &&
                      matches(panels, panels_length, panels_needed) &&
                      (ones ? ones_length == ones_needed : ones_length == 0 && planes == 1) &&
                      matches(out, out_length, out_needed),
                  BNNLAB_BAD_LENGTH);
    if (out_needed == 0)
        return BNNLAB_OK;
    if (image_needed == 0 || weights == 0) {
        memset(out, 0, out_needed * sizeof *out);
        return BNNLAB_OK;
    }
    const struct convolution of = {family, window, height, width, channels, planes, plane, n, across};
    for (size_t i = 0; i < images; i++) {
        const uint32_t *at = image + i * pixels * words, *b = panels + i % groups * group_panels;
        const int32_t *counts = ones ? ones + i % groups * n : NULL;
        int32_t *to = out + i * down * across * n;
        const struct bnnlab_field field = {at, planes, plane, height, width, channels, window,
                                           0, down, across};
        if (family->convolve && family->convolve(&field, b, counts, n, to))
            continue;
        for (size_t y = 0; y < down; y++)
            convolve_row(&of, at, taps_at(y, down, height, window->height, window->stride_down,
                                          window->padding_down),
                         b, counts, to + y * across * n);
    }
    return BNNLAB_OK;
}

int bnnlab_xnor_convolve(int isa, const uint32_t *image, size_t image_length, size_t samples,
                         size_t height, size_t width, size_t channels,
                         const struct bnnlab_window *window,
                         const uint32_t *panels, size_t panels_length, size_t n,
                         int32_t *out, size_t out_length)
{
    return bnnlab_convolve(isa, image, image_length, 1, samples, 1, height, width, channels, window,
                           panels, panels_length, NULL, 0, n, out, out_length);
}

int bnnlab_sign_convolve(int isa, const float *x, size_t x_length, size_t samples,
                         size_t height, size_t width, size_t channels,
                         const struct bnnlab_window *window,
                         const uint32_t *panels, size_t panels_length, size_t n,
                         uint32_t *bits, size_t bits_length, int32_t *out, size_t out_length)
{
    size_t pixels, inputs, x_needed, bits_needed, places, outputs, out_needed;
    /* What does not depend on the samples, as if there were none. */
    const int refused = bnnlab_xnor_convolve(isa, bits, 0, 0, height, width, channels, window, panels,
                                             panels_length, n, out, 0);
    if (refused)
        return refused;
    const size_t down = bnnlab_places(height, window->height, window->stride_down,
                                      window->padding_down);
    const size_t across = bnnlab_places(width, window->width, window->stride_across,
                                        window->padding_across);
    REFUSE_UNLESS(!multiply(height, width, &pixels) && !multiply(channels, pixels, &inputs) &&
                      !multiply(samples, inputs, &x_needed) &&
                      !multiply(pixels, BNNLAB_WORDS(channels), &bits_needed) &&
                      !multiply(down, across, &places) && !multiply(places, n, &outputs) &&
                      !multiply(samples, outputs, &out_needed),
                  BNNLAB_TOO_LARGE);
    REFUSE_UNLESS(matches(x, x_length, x_needed) && matches(bits, bits_length, bits_needed) &&
                      matches(out, out_length, out_needed),
                  BNNLAB_BAD_LENGTH);
    if (x_needed == 0 && out_needed == 0)
        return BNNLAB_OK;
    for (size_t s = 0; s < samples; s++) {
        int status = bnnlab_pack_channels(isa, x + s * inputs, inputs, 1, channels, pixels, bits,
                                          bits_needed);
        if (!status)
            status = bnnlab_xnor_convolve(isa, bits, bits_needed, 1, height, width, channels, window,
                                          panels, panels_length, n, out + s * outputs, outputs);
        if (status)
            return status;
    }
    return BNNLAB_OK;
}

int bnnlab_pad(const uint32_t *bits, size_t bits_length, size_t images, size_t height, size_t width,
               size_t channels, size_t down, size_t across, int value,
               uint32_t *out, size_t out_length)
{
    const size_t words = BNNLAB_WORDS(channels), last = channels % 32;
    size_t both_down, both_across, row, needed, out_row, out_needed;
    REFUSE_UNLESS(!multiply(2, down, &both_down) && both_down <= SIZE_MAX - height &&
                      !multiply(2, across, &both_across) && both_across <= SIZE_MAX - width &&
                      !multiply(width, words, &row) && !multiply3(images, height, row, &needed) &&
                      !multiply(width + both_across, words, &out_row) &&
                      !multiply3(images, height + both_down, out_row, &out_needed),
                  BNNLAB_TOO_LARGE);
    REFUSE_UNLESS(matches(bits, bits_length, needed) && matches(out, out_length, out_needed),
                  BNNLAB_BAD_LENGTH);
    if (out_needed == 0)
        return BNNLAB_OK;
    for (size_t e = 0; e < out_needed; e++) {
        const uint32_t every =
            last && e % words == words - 1 ? ((uint32_t)1 << last) - 1 : 0xFFFFFFFFu;
        out[e] = value ? every : 0;
    }
    for (size_t i = 0; needed != 0 && i < images; i++)
        for (size_t y = 0; y < height; y++)
            memcpy(out + (i * (height + both_down) + down + y) * out_row + across * words,
                   bits + (i * height + y) * row, row * sizeof *out);
    return BNNLAB_OK;
}
