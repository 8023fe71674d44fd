"""Trained networks as packed bits, run by compiled kernels.

`pack` turns a trained network into a `PackedModel`, `load_packed` reads one from a file. Without
the compiled kernels this still imports; what needs them raises `KernelsMissing`.
"""

import os
from typing import TYPE_CHECKING

from bnnlab.packed import kernels
from bnnlab.packed.errors import ExtraMissing, KernelsMissing, NotPackable, PackedFileError
from bnnlab.packed.format import load
from bnnlab.packed.model import PackedModel

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "ExtraMissing",
    "KernelsMissing",
    "NotPackable",
    "PackedFileError",
    "PackedModel",
    "kernels",
    "load_packed",
    "pack",
]


def pack(model: "nn.Module", shape: tuple[int, ...] | None = None) -> PackedModel:
    """A trained network as packed bits; the network itself stays as it is.

    Args:
        model: a network of `bnnlab.nn`, or one whose layers `bnnlab.binarize` has swapped and which
            runs them one after another (`bnnlab.packed.tracing` says what may stand between them),
            in training or evaluation mode; what is packed is its evaluation, `model(x)`.
        shape: what a sample is, (features,) or (channels, height, width); only needed where a
            network that is not of `bnnlab.nn` begins with a convolution.

    Raises:
        NotPackable: a part of it cannot be run as packed bits; the message says which and why.
        ValueError: `shape` is needed, or does not fit.
        KernelsMissing: no compiled kernels.
    """
    from bnnlab.packed.fold import fold

    return fold(model, shape)


def load_packed(path: str | os.PathLike[str]) -> PackedModel:
    """Read a packed network from the file that `PackedModel.save` wrote. PyTorch is not needed, nor
    is it to run the network.

    Raises:
        PackedFileError: the file is not a packed network, or is damaged.
        KernelsMissing: no compiled kernels.
    """
    return load(path)
