"""What this machine could do at best, measured on the spot: loops in registers, and reading.

A product cannot be done before its multiply-adds are, nor before its weights are read: the larger
of the two times is its limit, the roofline of its shape. It is the limit of the way in which the
kernels of an instruction set go about it, see kernels/include/bnnlab_limits.h.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnlab.packed import kernels
from bnnlab.packed.layers import PackedLayer
from bnnlab.packed.levels import Codes
from bnnlab.packed.lstm import PackedLSTM
from bnnlab.packed.model import PackedModel
from bnnlab.packed.products import FactoredProduct, FloatProduct, Product

Call = Callable[[], object]
# Signs by signs, bytes by signs, real inputs by signs, real inputs by real weights.
LOOPS = {"bits": 1, "bytes": 2, "reals": 3, "floats": 4}
_STEPS = 20_000  # of a loop: tens of microseconds, beside which a call is nothing


def loop(name: str, isa: str | None = None) -> tuple[Call, int] | None:
    """One of `LOOPS`, the innermost of a product with everything in registers.

    Returns:
        A call, and how many multiply-adds it makes; None where the instruction set has none such.
    """
    number, which = kernels.isa_number(isa), LOOPS[name]
    work = kernels.lib.bnnlab_limit_work(number, which)
    total, run = kernels.ffi.new("uint32_t *"), kernels.lib.bnnlab_limit_run
    return (
        (lambda: kernels.check(run(number, which, _STEPS, total)), work * _STEPS) if work else None
    )


def loops(names: Iterable[str]) -> dict[str, tuple[Call, int]]:
    """Those loops by name that there are in the instruction set in use."""
    found = {name: loop(name) for name in names}
    return {name: pair for name, pair in found.items() if pair is not None}


def reading(words: np.ndarray, isa: str | None = None) -> Call:
    """A call that reads uint32 once, in order."""
    number, seen = kernels.isa_number(isa), kernels.ffi.new("uint32_t *")
    given, read = kernels.buffer("uint32_t[]", words), kernels.lib.bnnlab_limit_read
    return lambda: kernels.check(read(number, *given, seen))


@dataclass(frozen=True)
class Demands:
    """What a pass of a packed network asks of the machine, whatever the kernels are like.

    Attributes:
        work: of each layer, its multiply-adds by the loop that could make them; one of several.
        weights: bytes of weights, thresholds and scales that are read; an LSTM reads its recurrent
            ones at every symbol.
        traffic: that, and the bytes of every layer's inputs and outputs.
        traffic_float32: the same of the network with dense float32 weights and activations.
    """

    work: tuple[Mapping[str, int], ...]
    weights: int
    traffic: int
    traffic_float32: int

    @property
    def loops(self) -> set[str]:
        """The loops that could make some of the work."""
        return {name for layer in self.work for name in layer}

    def counting(self, seconds: Mapping[str, float]) -> float:
        """The least time of the multiply-adds.

        Args:
            seconds: of a multiply-add, by loop. Work that no loop makes does not count.
        """
        times = ([work * seconds[name] for name, work in layer.items() if name in seconds]
                 for layer in self.work)  # fmt: skip
        return sum(min(every) for every in times if every)


def demands(packed: PackedModel, samples: int, length: int = 1) -> Demands:
    """What a batch asks of the machine: so many samples, or texts of a length."""
    work, weights, moved, moved_float32 = [], packed.entry.nbytes, 0, 0
    rows = samples * (1 if packed.shape else length)
    for layer in packed.layers:
        if isinstance(layer, PackedLSTM):
            product, times = layer.recurrent, length
            column = layer.given.nbytes // layer.given.symbols
            given, made = 4 * layer.outputs + column, 4 * layer.outputs
            dense = 4 * (4 * layer.outputs + 2 * layer.outputs)
            places = 1
        else:
            product, times = layer.product, 1
            given, made, dense = _activations(layer)
            places = layer.window.places[0] * layer.window.places[1]
        macs = rows * places * product.window.inputs * product.outputs
        work.append(_work(product, macs))
        weights += times * (layer.nbytes if times == 1 else product.nbytes)
        moved += rows * (given + made)
        moved_float32 += times * 4 * product.window.inputs * product.outputs + rows * dense
    return Demands(tuple(work), weights, weights + moved, moved_float32)


def _work(product: Product, macs: int) -> dict[str, int]:
    """What a product's multiply-adds are of, by the loops that could make them."""
    if isinstance(product, FloatProduct):
        return {"floats": macs}
    if isinstance(product, FactoredProduct):
        return {"bits": macs * len(product.levels.factors)}
    macs *= len(product.levels.factors)
    if product.codes is not None:
        planes = product.codes.planes  # one is counted; of several, the numbers may be multiplied
        return {"bits": macs * planes} | ({"bytes": macs} if planes > 1 else {})
    return {"reals": macs} | ({} if product.totals is None else {"bytes": macs})


def _activations(layer: PackedLayer) -> tuple[int, int, int]:
    """Bytes of a sample's inputs and outputs, and of both in float32."""
    window, product = layer.window, layer.product
    codes: Any = None if isinstance(product, FactoredProduct) else product.codes
    given = window.channels, window.height, window.width
    return (
        _bytes(given, codes),
        _bytes(layer.shape, layer.codes),
        _bytes(given, None) + _bytes(layer.shape, None),
    )


def _bytes(shape: tuple[int, int, int], codes: Codes | None) -> int:
    channels, height, width = shape
    each = channels if codes is None else codes.planes * kernels.words(channels)
    return 4 * each * height * width
