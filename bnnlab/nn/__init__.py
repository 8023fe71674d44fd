"""Layers that carry a scheme, the small networks made of them, and ways to look at them."""

from bnnlab.nn import networks
from bnnlab.nn.linear import Activation, BinarizedLinear
from bnnlab.nn.networks import MLP, binarized_layers
from bnnlab.nn.watch import Seen, watch

__all__ = ["MLP", "Activation", "BinarizedLinear", "Seen", "binarized_layers", "networks", "watch"]
