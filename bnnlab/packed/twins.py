"""Networks as PyTorch would run them without packed bits: what packing is timed against."""

import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnnlab.nn.activation import Activation
from bnnlab.nn.conv import BinarizedConv2d
from bnnlab.nn.layer import BinarizedLayer
from bnnlab.nn.networks import binarized_layers
from bnnlab.nn.networks.feedforward import Feedforward
from bnnlab.nn.networks.lstm import LSTM
from bnnlab.packed.fold import own_copy
from bnnlab.schemes.base import Scheme

Call = Callable[[Tensor], Tensor]

# Ways of PyTorch, and what tables call them.
WAYS = {"torch": "F.linear", "onednn": "oneDNN", "bfloat16": "bf16", "int8": "int8"}


@cache
def ways() -> list[str]:
    """Which of `WAYS` this PyTorch has: "int8" needs an engine for quantized products."""
    return [way for way in WAYS if way != "int8" or missing_int8() is None]


@cache
def missing_int8() -> str | None:
    """Why this PyTorch has no dynamically quantized products; None where it has."""
    try:
        int8_linear(torch.eye(2), None)(torch.ones(1, 2))
    except (RuntimeError, AttributeError, ImportError, NotImplementedError) as error:
        engines = ", ".join(torch.backends.quantized.supported_engines)
        return f"this PyTorch multiplies no int8 (engines: {engines}): {str(error).splitlines()[0]}"
    return None


def linear(way: str, weight: Tensor, bias: Tensor | None, batch: int) -> Call:
    """A dense layer in one of the `WAYS`.

    Args:
        way: "torch": `F.linear` in float32. "onednn": the same through oneDNN, see `onednn_linear`.
            "bfloat16": `F.linear` of bfloat16 inputs. "int8": see `int8_linear`.
        weight: float32 (outputs, inputs).
        bias: float32 (outputs,) or None.
        batch: rows that will come at once.
    """
    if way == "onednn":
        return onednn_linear(weight, bias, batch)
    if way == "int8":
        return int8_linear(weight, bias)
    kind = _kind(way)
    weight, bias = weight.to(kind), None if bias is None else bias.to(kind)
    return lambda x: F.linear(x, weight, bias)


def onednn_linear(weight: Tensor, bias: Tensor | None, batch: int) -> Call:
    """The inner product of oneDNN with weights reordered for a batch size, without autograd.

    This is the operator that PyTorch's own compiler emits for frozen weights; it takes and gives
    ordinary tensors, which `torch.utils.mkldnn` would convert back and forth.
    """
    ordered = torch.ops.mkldnn._reorder_linear_weight(weight, batch)
    product = torch.ops.mkldnn._linear_pointwise
    return lambda x: product(x, ordered, bias, "none", [], "")


def int8_linear(weight: Tensor, bias: Tensor | None) -> Call:
    """`torch.ao.quantization.quantize_dynamic`: weights of 8 bits, inputs quantized on the way."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    layer.weight = nn.Parameter(weight.clone(), False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.clone(), False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is to move to another package
        quantized = torch.ao.quantization.quantize_dynamic(nn.Sequential(layer), {nn.Linear})
    return quantized[0]


def _kind(way: str) -> torch.dtype:
    return torch.bfloat16 if way == "bfloat16" else torch.float32


class Twin(nn.Module):
    """A network as PyTorch would run it: its effective weights, dense.

    An LSTM looks up its symbols' columns and multiplies once a time step, as the packed one does.

    Args:
        model: the network.
        way: one of `WAYS`. Convolutions are `F.conv2d`, which is oneDNN's, in bfloat16 or else in
            float32, for PyTorch quantizes none dynamically.
        batch: samples that will come at once.
    """

    def __init__(self, model: Feedforward | LSTM, way: str = "torch", batch: int = 1):
        super().__init__()
        self.way, self.kind = way, _kind(way)
        lstm = isinstance(model, LSTM)
        self.run = self._lstm(model, batch) if lstm else self._feedforward(model, batch)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs), or symbols (batch, time), -> float32 scores (..., outputs)."""
        return self.run(x if x.dtype == torch.int64 else x.to(self.kind)).float()

    def _kept(self, given: Tensor | None) -> Tensor | None:
        return None if given is None else given.detach().clone().to(self.kind)

    def _product(self, layer: BinarizedLayer, batch: int) -> Call:
        weight = layer.scheme.quantized(layer).values.detach().clone()
        bias = layer.scheme.bias(layer)
        if isinstance(layer, BinarizedConv2d):
            stride, padding = layer.stride, layer.padding
            weight, bias = weight.to(self.kind), self._kept(bias)
            return lambda x: F.conv2d(x, weight, bias, stride, padding)
        return linear(self.way, weight, None if bias is None else bias.detach().clone(), batch)

    def _feedforward(self, model: Feedforward, batch: int) -> Call:
        stages: list[Call] = []
        blocks: Any = list(model.children())
        first = blocks[0].layer
        if isinstance(first, BinarizedConv2d):
            stages.append(lambda x: x.reshape(len(x), *model.shape))
        if first.fed == "input" and type(first.scheme).input is not Scheme.input:
            stages.append(first.scheme.input)
        flat = not isinstance(first, BinarizedConv2d)
        for block in blocks:
            if not isinstance(block.layer, BinarizedConv2d) and not flat:
                stages.append(lambda x: x.flatten(1))
                flat = True
            norm = deepcopy(block.norm).eval()
            after = [norm, _activation(block.activation)]
            after = [*after, block.pool] if block.pool_last else [block.pool, *after]
            stages += [self._product(block.layer, batch), *after]
        stages = [stage for stage in stages if not isinstance(stage, nn.Identity)]

        def run(x: Tensor) -> Tensor:
            for stage in stages:
                x = stage(x)
            return x

        return run

    def _lstm(self, model: LSTM, batch: int) -> Call:
        lstm = model.lstm
        columns = lstm.input.scheme.quantized(lstm.input).values.detach().T.contiguous()
        columns = columns.to(self.kind)
        norms = [
            deepcopy(norm).eval()
            for norm in (lstm.input_norm, lstm.recurrent_norm, model.output_norm)
        ]
        recur = self._product(lstm.recurrent, batch)
        cell = torch.tanh if lstm.activation is None else _activation(lstm.activation)
        bias, hidden = self._kept(lstm.bias), lstm.hidden
        dense: dict[int, Call] = {}

        def run(x: Tensor) -> Tensor:
            given = norms[0](F.embedding(x.T.flatten(), columns)) + bias
            h = c = given.new_zeros(len(x), hidden)
            states = []
            for now in given.unflatten(0, (x.shape[1], len(x))):
                i, f, g, o = (now + norms[1](recur(h))).chunk(4, 1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * cell(c)
                states.append(h)
            every = torch.stack(states, 1).flatten(0, 1)
            if len(every) not in dense:  # its weights are in the order for so many rows
                dense[len(every)] = self._product(model.output, len(every))
            return norms[2](dense[len(every)](every)).unflatten(0, x.shape)

        return run


def _activation(activation: nn.Module) -> Call:
    """The activation without what only training needs."""
    if not isinstance(activation, Activation):
        return activation
    if type(activation.scheme).activation is not Scheme.activation:
        return own_copy(activation)
    estimator = activation.scheme.activation_estimator
    return F.relu if estimator is None else estimator.forward


def compared(model: Feedforward | LSTM) -> str:
    """What the packed network is timed against, in words."""
    products = "F.linear, and oneDNN's inner product; F.linear in bfloat16; dynamic int8"
    if isinstance(model, LSTM):
        return f"dense weights, one product a time step: {products}"
    if any(isinstance(layer, BinarizedConv2d) for layer in binarized_layers(model).values()):
        return f"dense weights: conv2d (int8 has none: float32), and for dense layers {products}"
    return f"dense weights: {products}"
