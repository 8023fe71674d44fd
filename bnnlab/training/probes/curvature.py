"""Loss-aware scaling: the curvature d, and the scaling factor with and without it."""

import math

import torch

from bnnlab.training.probes.look import edges, histogram, round_up, sample

BINS = 48
CELLS = 32
LIMITS = (-20.0, 20.0)


def probe(look):
    """Give, for layers whose scheme weighs errors by a curvature d, what that changes.

    `curvature` is the histogram of log10 d over the decades it lies in (`curvature_edges`),
    `weight_curvature` counts |w| (rows) against log10 d (columns). `alpha_bwn` is the mean scale
    that the same scheme takes without d, and `error`, `error_bwn` are the weighted errors
    sum d (alpha b - w)^2 of the two.
    """
    found = {}
    for name, layer in look.lane.layers.items():
        if layer.second_moment is None:
            continue
        scheme, weight = layer.scheme, layer.weight.detach()
        d = scheme.curvature(layer.second_moment)
        plain = scheme.quantize(weight)
        found[f"alpha_bwn/{name}"] = plain.scale.mean().item()
        for key, values in (("error", look.quantized[name].values), ("error_bwn", plain.values)):
            found[f"{key}/{name}"] = (d * (values - weight).square()).sum().item()
        sizes, logs = sample(weight).abs(), sample(d).log10().clamp(*LIMITS)
        low, high = math.floor(logs.min().item()), math.ceil(logs.max().item())
        high = max(high, low + 1)
        found[f"curvature/{name}"] = histogram(logs, low, high, BINS)
        found[f"curvature_edges/{name}"] = edges(low, high, BINS)
        reach = round_up(sizes.max().item())
        rows = (sizes * (CELLS / reach)).long().clamp(max=CELLS - 1)
        columns = ((logs - low) * (CELLS / (high - low))).long().clamp(0, CELLS - 1)
        cells = torch.bincount(rows * CELLS + columns, minlength=CELLS * CELLS)
        found[f"weight_curvature/{name}"] = cells.reshape(CELLS, CELLS).int().numpy()
        found[f"weight_curvature_w_edges/{name}"] = edges(0, reach, CELLS)
        found[f"weight_curvature_d_edges/{name}"] = edges(low, high, CELLS)
    return found
