"""The weights that the forward pass multiplies by: their few values and the scaling factor."""

import numpy as np
import torch

MOST_VALUES = 32


def probe(look):
    """Give `binary_values`, `binary_counts` (MOST_VALUES at most), `alpha` and `cut`.

    `alpha` is the mean scale; `cut` the mean size below which a latent weight became zero.
    """
    found = {}
    for name, quantized in look.quantized.items():
        values, alpha = quantized.values, 1.0
        if quantized.cut is not None:
            found[f"cut/{name}"] = quantized.cut.mean().item()
        if quantized.scale is not None and quantized.integers is not None:
            # With a scale for each row, the few values are those of the mean row.
            values = quantized.integers
            alpha = found[f"alpha/{name}"] = quantized.scale.mean().item()
        if name in look.signs and quantized.mask is None:
            positive = int(look.signs[name].sum())  # cheaper than sorting a layer
            distinct = np.array([-1, 1])
            counts = np.array([values.numel() - positive, positive])
        else:
            unique, count = torch.unique(values, return_counts=True)
            if len(unique) > MOST_VALUES:
                continue
            distinct, counts = unique.cpu().numpy(), count.cpu().numpy()
        distinct = alpha * distinct
        found[f"binary_values/{name}"] = distinct.astype(np.float32)
        found[f"binary_counts/{name}"] = counts.astype(np.int32)
    return found
