"""Loss-aware scaling: the curvature d, and the scaling factor with and without it."""

import torch

from bnnlab.training.probes.look import (
    LOG_EDGES,
    LOG_RANGE,
    edges,
    log_histogram,
    round_up,
    sample,
)

CELLS = 32


def probe(look):
    """Give, for layers whose scheme weighs errors by a curvature d, what that changes.

    `curvature` is the histogram of log10 d on `gradient_edges`, `weight_curvature` counts |w|
    (rows) against log10 d (columns). `alpha_bwn` is the mean scale that the same scheme takes
    without d, and `error`, `error_bwn` are the weighted errors sum d (alpha b - w)^2 of the two.
    """
    found = {}
    for name, layer in look.lane.layers.items():
        if layer.second_moment is None:
            continue
        scheme, weight = layer.scheme, layer.weight.detach()
        d = scheme.curvature(layer.second_moment)
        plain = scheme.quantize(weight)
        found["gradient_edges"] = LOG_EDGES
        found[f"curvature/{name}"] = log_histogram(d)
        found[f"alpha_bwn/{name}"] = plain.scale.mean().item()
        for key, values in (("error", look.quantized[name].values), ("error_bwn", plain.values)):
            found[f"{key}/{name}"] = (d * (values - weight).square()).sum().item()
        sizes, logs = sample(weight).abs(), sample(d).log10().clamp(*LOG_RANGE)
        reach = round_up(sizes.max().item())
        rows = (sizes * (CELLS / reach)).long().clamp(max=CELLS - 1)
        low, high = LOG_RANGE
        columns = ((logs - low) * (CELLS / (high - low))).long().clamp(0, CELLS - 1)
        cells = torch.bincount(rows * CELLS + columns, minlength=CELLS * CELLS)
        found[f"weight_curvature/{name}"] = cells.reshape(CELLS, CELLS).int().numpy()
        found[f"weight_curvature_w_edges/{name}"] = edges(0, reach, CELLS)
        found[f"weight_curvature_d_edges/{name}"] = edges(low, high, CELLS)
    return found
