/* Whether the layers of a network are what they say and fit one another. */
#ifndef BNNLAB_FITS_H
#define BNNLAB_FITS_H

#include "plan.h"

/* Does the array hold exactly so many elements? */
#define HOLDS(array, count) ((array).length == (count) && ((array).at != NULL || (count) == 0))
#define NONE(array) ((array).length == 0)

static int thresholds_fit(const struct bnnlab_layer *layer, size_t outputs)
{
    const size_t planes = layer->taken.planes;
    return layer->levels <= 255 && HOLDS(layer->thresholds, times(layer->levels, outputs)) &&
           HOLDS(layer->flip, BNNLAB_WORDS(outputs)) && planes >= 1 && planes <= 24 &&
           (NONE(layer->patterns) ? planes == bits_of(layer->levels)
                                  : HOLDS(layer->patterns, layer->levels + 1));
}

static int product_fits(const struct bnnlab_layer *layer, const struct sizes *is)
{
    const size_t outputs = layer->outputs;
    if (layer->operands != BNNLAB_REALS_BY_SIGNS && !NONE(layer->totals))
        return 0;
    if (layer->operands == BNNLAB_REALS_BY_REALS)
        return NONE(layer->totals) &&
               HOLDS(layer->weights, times(times(panels_of(outputs), is->inputs), BNNLAB_LANES)) &&
               (NONE(layer->bias) || HOLDS(layer->bias, outputs));
    if (layer->operands < BNNLAB_BITS_BY_SIGNS || layer->operands > BNNLAB_SCALED_SIGNS ||
        layer->sign_planes < 1 || layer->sign_planes > 24 ||
        !HOLDS(layer->factors, layer->sign_planes) ||
        !HOLDS(layer->panels, times(times(layer->sign_planes, panels_of(outputs)),
                                    times(is->row_words, BNNLAB_LANES))))
        return 0;
    const size_t every = times(is->ways, outputs);
    if (layer->operands == BNNLAB_REALS_BY_SIGNS)
        return is->inputs <= INT32_MAX / 255 && (NONE(layer->totals) || HOLDS(layer->totals, every));
    return (is->signs || HOLDS(layer->ones, times(layer->sign_planes, outputs))) &&
           (layer->operands == BNNLAB_SCALED_SIGNS ? layer->given.planes == 0
                                                   : layer->given.planes >= 1) &&
           (NONE(layer->offsets) || HOLDS(layer->offsets, every));
}

static int after_fits(const struct bnnlab_layer *layer, size_t outputs)
{
    if (layer->levels)
        return thresholds_fit(layer, outputs);
    return layer->taken.planes == 0 && layer->function >= BNNLAB_IDENTITY &&
           layer->function <= BNNLAB_HARD_TANH && layer->scale.at && layer->shift.at &&
           (layer->scale.length == outputs || layer->scale.length == 1) &&
           (layer->shift.length == outputs || layer->shift.length == 1);
}

static int lstm_fits(const struct bnnlab_layer *layer, const struct sizes *is)
{
    const size_t gates = layer->outputs, planes = layer->column_planes;
    return gates % 4 == 0 && layer->channels == gates / 4 && layer->height == 1 && layer->width == 1 &&
           layer->symbols >= 1 && planes <= 8 &&
           HOLDS(layer->columns, times(times(planes, layer->symbols), BNNLAB_WORDS(gates))) &&
           HOLDS(layer->column_values,
                 planes ? (size_t)1 << planes : times(layer->symbols, gates)) &&
           layer->column_scale.at && layer->scale.at &&
           (layer->column_scale.length == gates || layer->column_scale.length == 1) &&
           (layer->scale.length == gates || layer->scale.length == 1) &&
           HOLDS(layer->shift, gates) && NONE(layer->bias) && product_fits(layer, is) &&
           (layer->operands == BNNLAB_REALS_BY_SIGNS || layer->operands == BNNLAB_REALS_BY_REALS) &&
           layer->given.planes == 0 &&
           (layer->levels ? thresholds_fit(layer, gates / 4)
                          : layer->taken.planes == 0 && layer->function >= BNNLAB_TANH &&
                                layer->function <= BNNLAB_HARD_TANH);
}

static int layer_fits(const struct bnnlab_layer *layer)
{
    const struct sizes is = sizes_of(layer);
    if (!layer->channels || !layer->outputs || layer->given.planes > 24 || is.inputs > INT32_MAX || layer->outputs > INT32_MAX ||
        times(layer->height, layer->width) > INT32_MAX)
        return 0;
    switch (layer->kind) {
    case BNNLAB_CODES:
        return layer->given.planes == 0 && layer->levels && thresholds_fit(layer, layer->channels);
    case BNNLAB_LSTM:
        return lstm_fits(layer, &is);
    case BNNLAB_SUMS:
        break;
    default:
        return 0;
    }
    /* A place that no tap reaches has nothing to add up. */
    return is.high && is.wide && layer->window.padding_down < layer->window.height &&
           layer->window.padding_across < layer->window.width &&
           (NONE(layer->ways_down) || HOLDS(layer->ways_down, is.down)) &&
           (NONE(layer->ways_across) || HOLDS(layer->ways_across, is.across)) &&
           NONE(layer->ways_down) == NONE(layer->ways_across) &&
           (!is.dense || NONE(layer->ways_down)) && product_fits(layer, &is) &&
           after_fits(layer, layer->outputs);
}

static struct image taken_of(const struct bnnlab_layer *layer)
{
    const struct sizes is = sizes_of(layer);
    return outputs_of(layer, is.high, is.wide, 1, NULL);
}

#endif
