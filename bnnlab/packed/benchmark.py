"""Timing packed networks beside PyTorch: contenders in turn, medians with their spread."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnnlab.nn.activation import Activation
from bnnlab.nn.conv import BinarizedConv2d
from bnnlab.nn.layer import BinarizedLayer
from bnnlab.nn.networks import binarized_layers
from bnnlab.nn.networks.feedforward import Feedforward
from bnnlab.nn.networks.lstm import LSTM
from bnnlab.packed import kernels
from bnnlab.packed.fold import own_copy
from bnnlab.packed.layers import PackedLayer
from bnnlab.packed.model import PackedModel
from bnnlab.packed.stages import Thresholds
from bnnlab.schemes.base import Scheme

SAMPLE_SECONDS = 2e-3  # each timing repeats its call for at least so long: its data comes to rest
Timing = dict[str, float]


def interleaved(
    contenders: Mapping[str, Callable[[], object]], rounds: int = 31
) -> dict[str, Timing]:
    """Time calls against each other.

    The contenders take turns, so that whatever else the machine does meets all of them alike. Each
    turn makes its call once, so that the caches hold what it needs, repeats it for
    `SAMPLE_SECONDS` at least, and counts as one sample. What counts is the calling thread's time
    on a core, not what passes while others have it; so a call must do its work in that thread
    alone.

    Returns:
        For each contender the median of its samples and their 10th and 90th percentiles, in seconds
        a call: {"median", "low", "high"}.
    """
    return {name: timing(values) for name, values in samples(contenders, rounds).items()}


def samples(
    contenders: Mapping[str, Callable[[], object]], rounds: int = 31
) -> dict[str, list[float]]:
    """What `interleaved` takes its percentiles of: seconds a call, one for each round."""
    repeats = {name: _repeats(call) for name, call in contenders.items()}
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            call()
            taken[name].append(_seconds(call, repeats[name]))
    return taken


def _seconds(call: Callable[[], object], repeats: int) -> float:
    start = time.thread_time()
    for _ in range(repeats):
        call()
    return (time.thread_time() - start) / repeats


def _repeats(call: Callable[[], object]) -> int:
    call()
    return max(1, round(SAMPLE_SECONDS / max(_seconds(call, 1), _seconds(call, 1), 1e-7)))


def timing(values: list[float]) -> Timing:
    """The median of some numbers, and their 10th and 90th percentiles."""
    low, median, high = np.percentile(values, [10, 50, 90])
    return {"median": float(median), "low": float(low), "high": float(high)}


class FloatTwin(nn.Module):
    """A network as PyTorch would run it: its effective weights as dense float32.

    Convolutions are `F.conv2d`, which is oneDNN's. An LSTM looks up its symbols' columns and
    multiplies once a time step, as the packed one does.

    Args:
        model: the network.
        onednn: multiply dense matrices through oneDNN, with weights reordered for `batch` samples
            as it likes them best, instead of with `F.linear` (which is MKL's, and slow on AMD).
        batch: samples that will come at once.
    """

    def __init__(self, model: Feedforward | LSTM, onednn: bool = False, batch: int = 1):
        super().__init__()
        self.onednn = onednn
        lstm = isinstance(model, LSTM)
        self.run = self._lstm(model, batch) if lstm else self._feedforward(model, batch)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs), or symbols (batch, time), -> scores (..., outputs)."""
        return self.run(x)

    def _product(self, layer: BinarizedLayer, batch: int) -> Callable[[Tensor], Tensor]:
        weight = layer.scheme.quantized(layer).values.detach().clone()
        bias = layer.scheme.bias(layer)
        bias = None if bias is None else bias.detach().clone()
        if isinstance(layer, BinarizedConv2d):
            stride, padding = layer.stride, layer.padding
            return lambda x: F.conv2d(x, weight, bias, stride, padding)
        return onednn_linear(weight, bias, batch) if self.onednn else _linear(weight, bias)

    def _feedforward(self, model: Feedforward, batch: int) -> Callable[[Tensor], Tensor]:
        stages: list[Callable[[Tensor], Tensor]] = []
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

    def _lstm(self, model: LSTM, batch: int) -> Callable[[Tensor], Tensor]:
        lstm = model.lstm
        columns = lstm.input.scheme.quantized(lstm.input).values.detach().T.contiguous()
        norms = [
            deepcopy(norm).eval()
            for norm in (lstm.input_norm, lstm.recurrent_norm, model.output_norm)
        ]
        recur = self._product(lstm.recurrent, batch)
        cell = torch.tanh if lstm.activation is None else _activation(lstm.activation)
        bias, hidden = lstm.bias.detach().clone(), lstm.hidden
        dense: dict[int, Callable[[Tensor], Tensor]] = {}

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


def _linear(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    return lambda x: F.linear(x, weight, bias)


def onednn_linear(weight: Tensor, bias: Tensor | None, batch: int) -> Callable[[Tensor], Tensor]:
    """The inner product of oneDNN with weights reordered for a batch size, without autograd.

    This is the operator that PyTorch's own compiler emits for frozen weights; it takes and gives
    ordinary tensors, which `torch.utils.mkldnn` would convert back and forth.
    """
    ordered = torch.ops.mkldnn._reorder_linear_weight(weight, batch)
    product = torch.ops.mkldnn._linear_pointwise
    return lambda x: product(x, ordered, bias, "none", [], "")


def _activation(activation: nn.Module) -> Callable[[Tensor], Tensor]:
    """The activation without what only training needs."""
    if not isinstance(activation, Activation):
        return activation
    if type(activation.scheme).activation is not Scheme.activation:
        return own_copy(activation)
    estimator = activation.scheme.activation_estimator
    return F.relu if estimator is None else estimator.forward


def packing(packed: PackedModel, x: np.ndarray) -> Callable[[], object] | None:
    """The part of a forward pass that turns sums into bits, to be timed by itself.

    Of the sums that pooling leaves, all of a layer at once. None where no layer ends in bits.
    """
    stages = []
    for layer in packed.layers:
        if isinstance(layer, PackedLayer) and isinstance(layer.after, Thresholds):
            places = math.prod(layer.shape[1:])
            sums = np.zeros((len(x) * places, layer.outputs), np.int32)
            stages.append((sums, layer.after.levels, layer.after.flip))
    if not stages:
        return None

    def pack() -> None:
        for sums, levels, flip in stages:
            kernels.threshold(sums, levels, flip)

    return pack


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch computes in the calling thread alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
@torch.inference_mode()
def compare(
    model: Feedforward | LSTM, packed: PackedModel, x: np.ndarray, rounds: int = 31
) -> dict[str, Timing]:
    """Time one forward pass of a batch in one thread: packed, and PyTorch with dense weights.

    Args:
        model: the network.
        packed: the same network, packed.
        x: float32 (batch, inputs), or int64 (batch, time) of a text.
        rounds: samples of each.

    Returns:
        Timings of "packed" (packing counted), "packing" (of that, turning sums into bits; only
        where there is some), "torch" (`FloatTwin` with `F.linear`) and "onednn" (with oneDNN's
        product of matrices; convolutions are the same in both).
    """
    given = torch.from_numpy(x)
    torch_twin, onednn_twin = FloatTwin(model), FloatTwin(model, onednn=True, batch=len(x))
    contenders = {
        "packed": lambda: packed(x),
        "torch": lambda: torch_twin(given),
        "onednn": lambda: onednn_twin(given),
    }
    pack = packing(packed, x)
    return interleaved(contenders | ({} if pack is None else {"packing": pack}), rounds)


def compared(model: Feedforward | LSTM) -> str:
    """What the packed network is timed against, in words."""
    products = "F.linear, and oneDNN's inner product"
    if isinstance(model, LSTM):
        return f"dense float32 weights, one product a time step: {products}"
    if any(isinstance(layer, BinarizedConv2d) for layer in binarized_layers(model).values()):
        return f"dense float32 weights: conv2d, and for dense layers {products}"
    return f"dense float32 weights: {products}"


def machine() -> str:
    """The processor's name as the system gives it."""
    import platform

    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
