"""Timing packed networks beside PyTorch and the limit: in turn, medians with their spread."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bnnlab.nn.networks.feedforward import Feedforward
from bnnlab.nn.networks.lstm import LSTM
from bnnlab.packed import kernels, limits
from bnnlab.packed.layers import PackedLayer
from bnnlab.packed.model import PackedModel
from bnnlab.packed.stages import Thresholds
from bnnlab.packed.twins import Twin, ways

SAMPLE_SECONDS = 2e-3  # each timing repeats its call for at least so long: its data comes to rest
# Caches that others have used do not keep what is met for the first time, nor always the second.
SETTLING_CALLS, SETTLING_SECONDS = 3, 8e-3
Timing = dict[str, float]
Call = Callable[[], object]


def interleaved(contenders: Mapping[str, Call], rounds: int = 31) -> dict[str, Timing]:
    """Time calls against each other.

    The contenders take turns, so that whatever else the machine does meets all of them alike. Each
    turn makes its call `SETTLING_CALLS` times, or until `SETTLING_SECONDS` have passed, so that the
    caches hold what it needs, repeats it for `SAMPLE_SECONDS` at least, and counts as one
    sample. What counts is the calling thread's time on a core, not what passes while others have
    it; so a call must do its work in that thread alone.

    Returns:
        For each contender the median of its samples and their 10th and 90th percentiles, in seconds
        a call: {"median", "low", "high"}.
    """
    return {name: timing(values) for name, values in samples(contenders, rounds).items()}


def samples(
    contenders: Mapping[str, Call],
    rounds: int = 31,
    clock: Callable[[], float] = time.thread_time,
) -> dict[str, list[float]]:
    """What `interleaved` takes its percentiles of: seconds a call, one for each round.

    Args:
        contenders: calls by name.
        rounds: how often each has its turn.
        clock: `time.perf_counter` for calls that have other threads work.
    """
    repeats = {name: _repeats(call, clock) for name, call in contenders.items()}
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            _settle(call, clock)
            taken[name].append(_seconds(call, repeats[name], clock))
    return taken


def _settle(call: Call, clock: Callable[[], float]) -> None:
    start = clock()
    for _ in range(SETTLING_CALLS):
        call()
        if clock() - start > SETTLING_SECONDS:
            break


def _seconds(call: Call, repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats


def _repeats(call: Call, clock: Callable[[], float]) -> int:
    call()
    once = max(min(_seconds(call, 1, clock) for _ in range(2)), 1e-7)
    return max(1, round(SAMPLE_SECONDS / once))


def timing(values: Sequence[float]) -> Timing:
    """The median of some numbers, and their 10th and 90th percentiles."""
    low, median, high = np.percentile(values, [10, 50, 90])
    return {"median": float(median), "low": float(low), "high": float(high)}


def ratio(values: Sequence[float], others: Sequence[float]) -> Timing:
    """How many times as long others take: the median of neighbours' ratios, with its spread."""
    return timing([b / a for a, b in zip(values, others, strict=True)])


def share(
    kernel: Sequence[float], counting: Sequence[float], reading: Sequence[float]
) -> dict[str, Any]:
    """How near a kernel comes to its limit, the larger of two times.

    Args:
        kernel: seconds, one of each round.
        counting: the least that its multiply-adds take, of the same rounds.
        reading: the least that reading its weights takes.

    Returns:
        "share", 1 at the limit; "bound", which of the two; "seconds", the limit.
    """
    least = [max(pair) for pair in zip(counting, reading, strict=True)]
    bound = "counting" if np.median(counting) >= np.median(reading) else "reading"
    return {"share": ratio(kernel, least), "bound": bound, "seconds": timing(least)}


def packing(packed: PackedModel, x: np.ndarray) -> Call | None:
    """The part of a forward pass that turns sums into bits, to be timed by itself.

    Of the sums that pooling leaves, all of a layer at once, with nothing of Python between layers
    but the call. None where no layer ends in bits.
    """
    stages = []
    for layer in packed.layers:
        if isinstance(layer, PackedLayer) and isinstance(layer.after, Thresholds):
            m, n = len(x) * math.prod(layer.shape[1:]), layer.outputs
            levels = layer.after.levels
            bits = np.empty((len(levels).bit_length(), m, kernels.words(n)), np.uint32)
            stages.append(
                [
                    kernels.isa_number(None),
                    *kernels.buffer("int32_t[]", np.zeros((m, n), np.int32)),
                    0,
                    m,
                    n,
                    *kernels.buffer("int32_t[]", levels),
                    len(levels),
                    *kernels.buffer("uint32_t[]", layer.after.flip),
                    *kernels.buffer("uint32_t[]", bits),
                ]
            )
    if not stages:
        return None
    call = kernels.lib.bnnlab_threshold

    def pack() -> None:
        for arguments in stages:
            kernels.check(call(*arguments))

    return pack


@contextmanager
def in_threads(count: int = 1) -> Iterator[None]:
    """PyTorch computes in so many threads; in the calling one alone by default."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def instruction_set(name: str | None) -> Iterator[None]:
    """The kernels use another instruction set than the one in use; None: that one.

    Raises:
        ValueError: it is not among those of this processor.
    """
    if name is None:
        yield
        return
    if name not in kernels.isas():
        raise ValueError(f"no instruction set {name!r} here; there are {', '.join(kernels.isas())}")
    before = os.environ.get("BNNLAB_ISA")
    os.environ["BNNLAB_ISA"] = name
    kernels.isa.cache_clear()
    try:
        yield
    finally:
        os.environ.pop("BNNLAB_ISA")
        if before is not None:
            os.environ["BNNLAB_ISA"] = before
        kernels.isa.cache_clear()


@torch.inference_mode()
def compare(
    model: Feedforward | LSTM,
    packed: PackedModel,
    x: np.ndarray,
    rounds: int = 31,
    threads: int = 1,
) -> dict[str, Any]:
    """Time one forward pass of a batch: packed, by PyTorch with dense weights, and at the limit.

    Args:
        model: the network.
        packed: the same network, packed.
        x: float32 (batch, inputs), or int64 (batch, time) of a text.
        rounds: samples of each.
        threads: that the packed network, and PyTorch, share the work out among. Of several it is
            the time that passes that counts, and there is no limit: that is one core's.

    Returns:
        "seconds": timings of "packed" (packing counted), "packing" (of that, turning sums into
        bits, in one thread; only where there is some), and those of `twins.WAYS` that there are.
        "faster": how many times as long each of these takes. "limit": see `share`; None of several
        threads. "traffic": bytes a pass moves, "packed" and in "float32".
    """
    given = torch.from_numpy(x)
    twins = {way: Twin(model, way, batch=len(x)) for way in ways()}
    contenders: dict[str, Call] = {"packed": lambda: packed(x, threads)}
    contenders |= {way: (lambda twin=twin: twin(given)) for way, twin in twins.items()}
    pack = packing(packed, x)
    if pack is not None:
        contenders["packing"] = pack
    asked = limits.demands(packed, len(x), 1 if packed.shape else x.shape[1])
    inside = limits.loops(asked.loops) if threads == 1 else {}
    held = kernels.aligned((max(packed.nbytes // 4, 1),), kernels.UINT32)
    held[:] = 1
    if threads == 1:
        contenders |= {f"loop {name}": call for name, (call, _) in inside.items()}
        contenders["reading"] = limits.reading(held)
    with in_threads(threads):
        taken = samples(contenders, rounds, time.thread_time if threads == 1 else time.perf_counter)
    named = [name for name in ("packed", "packing", *twins) if name in taken]
    found = {
        "seconds": {name: timing(taken[name]) for name in named},
        "faster": {way: ratio(taken["packed"], taken[way]) for way in twins},
        "limit": None,
        "traffic": {"packed": asked.traffic, "float32": asked.traffic_float32},
    }
    if threads == 1:
        of_loops = {name: taken[f"loop {name}"] for name in inside}
        counting = [
            asked.counting({name: of_loops[name][i] / inside[name][1] for name in inside})
            for i in range(rounds)
        ]
        again = asked.weights / held.nbytes
        found["limit"] = share(taken["packed"], counting, [s * again for s in taken["reading"]])
    return found


def machine() -> str:
    """The processor's name as the system gives it."""
    import platform

    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
