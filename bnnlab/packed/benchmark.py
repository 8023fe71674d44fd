"""Timing packed networks beside PyTorch: contenders in turn, medians with their spread."""

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
from bnnlab.nn.networks.mlp import MLP
from bnnlab.packed.layers import Thresholds
from bnnlab.packed.model import PackedModel

SAMPLE_SECONDS = 3e-4  # each timing repeats its call for at least so long
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
    repeats = {name: _repeats(call) for name, call in contenders.items()}
    samples = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            call()
            samples[name].append(_seconds(call, repeats[name]))
    return {name: _timing(values) for name, values in samples.items()}


def _seconds(call: Callable[[], object], repeats: int) -> float:
    start = time.thread_time()
    for _ in range(repeats):
        call()
    return (time.thread_time() - start) / repeats


def _repeats(call: Callable[[], object]) -> int:
    call()
    return max(1, round(SAMPLE_SECONDS / max(_seconds(call, 1), _seconds(call, 1), 1e-7)))


def _timing(samples: list[float]) -> Timing:
    low, median, high = np.percentile(samples, [10, 50, 90])
    return {"median": float(median), "low": float(low), "high": float(high)}


class FloatTwin(nn.Module):
    """A network as PyTorch would run it: its effective weights as dense float32.

    Args:
        model: the network.
        onednn: multiply through oneDNN, with weights reordered for `batch` samples as it likes them
            best, instead of with `F.linear` (which is MKL's, and slow on AMD).
        batch: samples that will come at once.
    """

    def __init__(self, model: MLP, onednn: bool = False, batch: int = 1):
        super().__init__()
        self.blocks = []
        block: Any
        for block in model.children():
            linear = block.layer
            weight = linear.scheme.quantized(linear).values.detach().clone()
            bias = None if linear.bias is None else linear.bias.detach().clone()
            norm = deepcopy(block.norm).eval()
            product = onednn_linear(weight, bias, batch) if onednn else _linear(weight, bias)
            self.blocks.append((product, norm, _activation(block.activation)))
            self.add_module(f"norm{len(self.blocks)}", norm)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs) -> scores (batch, outputs)."""
        for product, norm, activation in self.blocks:
            x = activation(norm(product(x)))
        return x


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
    estimator = activation.scheme.activation_estimator
    return F.relu if estimator is None else estimator.forward


def packing(packed: PackedModel, x: np.ndarray) -> Callable[[], object] | None:
    """The part of a forward pass that turns sums into bits, to be timed by itself.

    None where no layer does.
    """
    stages = []
    for layer in packed.layers:
        sums = layer.product(x)
        if isinstance(layer.after, Thresholds):
            stages.append((layer.after, sums))
        x = layer.after(sums)
    if not stages:
        return None

    def pack() -> None:
        for after, sums in stages:
            after(sums)

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
def compare(model: MLP, packed: PackedModel, x: np.ndarray, rounds: int = 31) -> dict[str, Timing]:
    """Time one forward pass of a batch in one thread: packed, and PyTorch with dense weights.

    Args:
        model: the network.
        packed: the same network, packed.
        x: float32 (batch, inputs).
        rounds: samples of each.

    Returns:
        Timings of "packed" (packing counted), "packing" (of that, turning sums into bits; only
        where there is some), "torch" (`F.linear`) and "onednn".
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


def machine() -> str:
    """The processor's name as the system gives it."""
    import platform

    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
