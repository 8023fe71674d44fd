"""Layers that carry a scheme, the small networks made of them, and ways to look at them."""

from bnnlab.nn import networks
from bnnlab.nn.binarize import binarize
from bnnlab.nn.linear import Activation, BinarizedLinear
from bnnlab.nn.networks import MLP, after_step, binarized_layers
from bnnlab.nn.summary import Summary, summary
from bnnlab.nn.watch import Seen, watch

__all__ = [
    "MLP",
    "Activation",
    "BinarizedLinear",
    "Seen",
    "Summary",
    "after_step",
    "binarize",
    "binarized_layers",
    "networks",
    "summary",
    "watch",
]
