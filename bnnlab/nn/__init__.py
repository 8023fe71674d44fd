"""Layers that carry a scheme, the small networks made of them, and ways to look at them."""

from bnnlab.nn import networks
from bnnlab.nn.activation import Activation
from bnnlab.nn.binarize import binarize
from bnnlab.nn.conv import BinarizedConv2d
from bnnlab.nn.layer import BinarizedLayer
from bnnlab.nn.linear import BinarizedLinear
from bnnlab.nn.lstm import BinarizedLSTM
from bnnlab.nn.multiplications import Multiplications, multiplications
from bnnlab.nn.networks import after_step, anneal, binarized_layers
from bnnlab.nn.networks.lenet import LeNet
from bnnlab.nn.networks.lstm import LSTM
from bnnlab.nn.networks.mlp import MLP
from bnnlab.nn.networks.vgg import VGG
from bnnlab.nn.norm import ShiftBatchNorm
from bnnlab.nn.summary import Summary, summary
from bnnlab.nn.watch import Seen, watch

__all__ = [
    "LSTM",
    "MLP",
    "VGG",
    "Activation",
    "BinarizedConv2d",
    "BinarizedLSTM",
    "BinarizedLayer",
    "BinarizedLinear",
    "LeNet",
    "Multiplications",
    "Seen",
    "ShiftBatchNorm",
    "Summary",
    "after_step",
    "anneal",
    "binarize",
    "binarized_layers",
    "multiplications",
    "networks",
    "summary",
    "watch",
]
