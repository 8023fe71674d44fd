"""Loss-aware scaling: the loss that is actually obtained along alpha."""

from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

SAMPLES = 32
# Fewer of them where a sample is large: so many numbers of the input, so many labels.
INPUTS, LABELS = 2**15, 2**10
LEAST = 8
WEIGHTS = 1_000_000
FACTORS = 4.0 ** np.linspace(-1, 1, 13)


class _Fixed:
    """A layer's scheme, but for its quantized weights, which are given."""

    def __init__(self, scheme, weights):
        self.scheme, self.weights = scheme, weights

    def __getattr__(self, name: str) -> Any:
        return getattr(self.scheme, name)

    def quantized(self, layer):
        return self.weights


@torch.no_grad()
def probe(look):
    """Give `line_scan`, the deployed network's loss with other scaling factors of one layer.

    The factors, `line_scan_alpha`, lie around the layer's own, a quarter of it to four times as
    much; its signs (or codes) and everything else stay. The loss is that of the first samples of
    the validation set, SAMPLES at most. Layers whose scheme weighs errors by a curvature are
    scanned if they have one scaling factor and WEIGHTS weights at most.
    """
    if look.sample is None:
        return {}
    layers = look.lane.layers
    scanned = [
        name
        for name, layer in layers.items()
        if layer.second_moment is not None
        and layer.weight.numel() <= WEIGHTS
        and look.quantized[name].scale.numel() == 1
    ]
    if not scanned:
        return {}
    x, y = look.sample
    count = min(SAMPLES, INPUTS // x[0].numel(), LABELS // y[0].numel())
    x, y = x[: max(LEAST, count)], y[: max(LEAST, count)]
    network, found = look.lane.network.eval(), {}
    # Every factor has its own copy of the samples: one pass for all of them.
    copies, factors = x.repeat(len(FACTORS), *[1] * (x.ndim - 1)), torch.from_numpy(FACTORS)
    factors = factors.float().repeat_interleave(len(x)).to(x.device)
    fixed = {name: _Fixed(layers[name].scheme, q) for name, q in look.quantized.items()}
    try:
        for name, scheme in fixed.items():  # quantized once, not in every pass
            layers[name].scheme = scheme
        for name in scanned:
            with _scaled_by(layers[name], factors):
                scores = network(copies)
            losses = [look.lane.loss(part, y).item() for part in scores.split(len(x))]
            found[f"line_scan/{name}"] = np.array(losses, dtype=np.float32)
            alphas = look.quantized[name].scale.item() * FACTORS
            found[f"line_scan_alpha/{name}"] = alphas.astype(np.float32)
    finally:
        for name, scheme in fixed.items():
            layers[name].scheme = scheme.scheme
    return found


@contextmanager
def _scaled_by(layer, factors):
    """Multiply a layer's scaling factor by one of these for each sample (of each time step)."""
    scaled = layer.scaled

    def other(sums, scale):
        each = factors.repeat(len(sums) // len(factors))
        return scaled(sums * each.reshape(-1, *[1] * (sums.ndim - 1)), scale)

    layer.scaled = other
    try:
        yield
    finally:
        del layer.scaled
