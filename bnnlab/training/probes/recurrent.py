"""Recurrent matrices: how far gradients reach back in time, and how much a matrix can stretch."""

import numpy as np
import torch

from bnnlab.nn.lstm import lstms


def probe(look):
    """Give, for each recurrent matrix, `time_gradient` and `singular`.

    `time_gradient` holds, for each time step t, the norm of the loss's gradient with respect to
    h_t over the whole batch. `singular` is the largest singular value of the effective matrix,
    over the square matrices of the four gates: at least sqrt(n) where its entries are -1 and +1
    (Hou, Yao, Kwok 2017, proposition 3.2).
    """
    found = {}
    recurrent = {id(lstm.recurrent) for lstm in lstms(look.lane.network)}
    for name, layer in look.lane.layers.items():
        if id(layer) not in recurrent:
            continue
        effective = look.quantized[name].values if layer.binarized else layer.weight.detach()
        gates = effective.reshape(4, -1, effective.shape[1])
        # Many times faster than singular values, and exact enough for the largest.
        largest = torch.linalg.eigvalsh(gates.transpose(1, 2) @ gates)[:, -1].max()
        found[f"singular/{name}"] = largest.clamp_min(0).sqrt().item()
        states = look.seen[name].states if name in look.seen else None
        if states is not None:
            # Where the last steps' outputs reach no loss they have no gradient.
            norms = [0.0 if h.grad is None else h.grad.norm().item() for h in states]
            found[f"time_gradient/{name}"] = np.array(norms, dtype=np.float32)
    return found
