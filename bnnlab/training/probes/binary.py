"""The weights that the forward pass multiplies by: their few values and the scaling factor."""

import numpy as np
import torch

MOST_VALUES = 32


def probe(look):
    """Give `binary_values`, `binary_counts` (MOST_VALUES at most) and `alpha`, the mean scale."""
    found = {}
    for name, quantized in look.quantized.items():
        values = quantized.values
        if quantized.scale is not None:
            # Counting signs is cheaper than sorting a layer; with a scale for each row, the two
            # values are those of the mean row.
            alpha, positive = quantized.scale.mean().item(), int(look.signs[name].sum())
            found[f"alpha/{name}"] = alpha
            distinct = np.array([-alpha, alpha])
            counts = np.array([values.numel() - positive, positive])
        else:
            unique, count = torch.unique(values, return_counts=True)
            if len(unique) > MOST_VALUES:
                continue
            distinct, counts = unique.numpy(), count.numpy()
        found[f"binary_values/{name}"] = distinct.astype(np.float32)
        found[f"binary_counts/{name}"] = counts.astype(np.int32)
    return found
