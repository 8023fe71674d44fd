"""The bits: a window of each layer's signs, and which flipped since the last look.

A convolution's weights are laid out with a row for each output channel.
"""

import numpy as np

WINDOW = 128


def _packed(bits):
    window = bits.flatten(1)[:WINDOW, :WINDOW].cpu().numpy()
    return np.packbits(window), np.array(window.shape, dtype=np.int32)


def probe(look):
    """Give `bits`, `flipped` (packed, `bits_shape` rows and columns) and `flips`, share of all."""
    found = {}
    for name, signs in look.signs.items():
        found[f"bits/{name}"], found[f"bits_shape/{name}"] = _packed(signs)
        last = look.lane.last_signs.get(name)
        if last is not None:
            flipped = signs != last
            found[f"flipped/{name}"], _ = _packed(flipped)
            found[f"flips/{name}"] = flipped.float().mean().item()
    return found
