"""The program of a packed network: what the kernels run, and what an exporter writes down.

`lower` turns the layers of a `PackedModel` into a `Program`: a list of `Step`s, one for each layer
(and one before the first, where a scheme takes codes of the input). A step is plain numbers and
arrays, field for field the `struct bnnlab_layer` of kernels/include/bnnlab_network.h, which says
what each of them means; sizes a step does not have are 0, arrays it does not have are None. An
exporter walks `Program.steps` and the fields of each: a `Values` is a struct bnnlab_values, a
`Span` a struct bnnlab_window, an array a pointer with its length, in the order of its elements.

This is the only lowering. `bnnlab.packed.network` makes the structs of it once for a model; a call
passes pointers alone.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bnnlab.packed.layers import PackedLayer
from bnnlab.packed.levels import Codes
from bnnlab.packed.lstm import FloatColumns, PackedLSTM, SignColumns
from bnnlab.packed.products import FactoredProduct, FloatProduct, SignProduct
from bnnlab.packed.stages import Affine, Entry, Function, Thresholds
from bnnlab.packed.window import Window

Array = np.ndarray | None

KINDS = {"codes": 1, "sums": 2, "lstm": 3}
OPERANDS = {"bits_by_signs": 1, "reals_by_signs": 2, "reals_by_reals": 3, "scaled_signs": 4}
FUNCTIONS = {"identity": 0, "relu": 1, "tanh": 2, "absmax": 3, "sign_mean": 4, "hard_tanh": 5}


@dataclass(frozen=True)
class Values:
    """Integers low + gap * b, b of some bits, times a step; without planes, real numbers."""

    planes: int = 0
    low: int = 0
    gap: int = 0
    step: float = 0.0


@dataclass(frozen=True)
class Span:
    """A window: its size, stride and padding, each down and across."""

    height: int = 0
    width: int = 0
    stride_down: int = 0
    stride_across: int = 0
    padding_down: int = 0
    padding_across: int = 0


@dataclass(frozen=True)
class Step:
    """One layer, as the kernels take it: see kernels/include/bnnlab_network.h."""

    kind: int
    channels: int
    height: int
    width: int
    outputs: int
    given: Values = Values()
    operands: int = 0
    window: Span = Span()
    sign_planes: int = 0
    panels: Array = None
    factors: Array = None
    halved: int = 0
    ones: Array = None
    offsets: Array = None
    totals: Array = None
    ways_down: Array = None
    ways_across: Array = None
    weights: Array = None
    bias: Array = None
    pool_down: int = 1
    pool_across: int = 1
    pool_last: int = 0
    levels: int = 0
    thresholds: Array = None
    flip: Array = None
    patterns: Array = None
    scale: Array = None
    shift: Array = None
    function: int = 0
    taken: Values = Values()
    symbols: int = 0
    column_planes: int = 0
    columns: Array = None
    column_values: Array = None
    column_scale: Array = None


@dataclass(frozen=True)
class Program:
    """A network, ready to run.

    Attributes:
        steps: in order.
        shape: what a sample is: (features,) or (channels, height, width); () for a text.
        shapes: what each step gives for a sample, (channels, height, width).
    """

    steps: tuple[Step, ...]
    shape: tuple[int, ...]
    shapes: tuple[tuple[int, int, int], ...]

    @property
    def text(self) -> bool:
        """Whether it takes int64 symbols, not float32."""
        return self.steps[0].kind == KINDS["lstm"]

    def until(self, count: int, sums: bool = False) -> "Program":
        """The first steps alone; with `sums` the last of them ends with its sums as they are."""
        steps, shapes = self.steps[:count], self.shapes[:count]
        if sums:
            last = steps[-1]
            places = [
                (size + 2 * padding - window) // stride + 1
                for size, padding, window, stride in (
                    (last.height, last.window.padding_down, last.window.height,
                     last.window.stride_down),
                    (last.width, last.window.padding_across, last.window.width,
                     last.window.stride_across),
                )
            ]  # fmt: skip
            as_they_are = {
                "scale": np.ones(1, np.float32),
                "shift": np.zeros(1, np.float32),
                "thresholds": None,
                "flip": None,
                "patterns": None,
                "taken": Values(),
            }
            last = replace(
                last, pool_down=1, pool_across=1, pool_last=0, levels=0, function=0, **as_they_are
            )
            steps = (*steps[:-1], last)
            shapes = (*shapes[:-1], (last.outputs, places[0], places[1]))
        return Program(steps, self.shape, shapes)


def lower(layers: list[PackedLayer | PackedLSTM], shape: tuple[int, ...], entry: Entry) -> Program:
    """The program of a network's layers, of which it keeps the arrays and copies few."""
    steps, shapes = [], []
    if entry.after is not None:
        first = layers[0]
        assert isinstance(first, PackedLayer)
        image = first.window.channels, first.window.height, first.window.width
        taken = _after(entry.after)
        steps.append(Step(KINDS["codes"], *image, image[0], **taken))
        shapes.append(image)
    for layer in layers:
        steps.append(_lstm(layer) if isinstance(layer, PackedLSTM) else _sums(layer))
        shapes.append(layer.shape)
    return Program(tuple(steps), shape, tuple(shapes))


def _values(codes: Codes | None) -> Values:
    return Values() if codes is None else Values(codes.planes, codes.low, codes.gap, codes.step)


def _span(window: Window) -> Span:
    return Span(*window.kernel, *window.stride, *window.padding)


def _sums(layer: PackedLayer) -> Step:
    window, pool = layer.window, layer.pool or (1, 1)
    return Step(
        KINDS["sums"],
        window.channels,
        window.height,
        window.width,
        layer.outputs,
        window=_span(window),
        pool_down=pool[0],
        pool_across=pool[1],
        pool_last=int(layer.pool_last),
        **_product(layer.product),
        **_after(layer.after),
    )


def _signs(product: SignProduct) -> dict[str, Any]:
    """What all products with sign planes have."""
    fields = {
        "sign_planes": len(product.levels.factors),
        "panels": product.panels,
        "factors": np.array(product.levels.factors, np.int32),
        "halved": int(product.levels.gap == 1),
        "ones": product.ones,
        "offsets": product.offsets,
        "totals": product.totals,
    }
    by_way = [array for array in (product.offsets, product.totals) if array is not None]
    if by_way and by_way[0].ndim == 3:
        down, across = (way.astype(np.uint8) for way in product.window.borders[1])
        fields |= {"ways_down": down, "ways_across": across}
    return fields


def _product(product: Any) -> dict[str, Any]:
    if isinstance(product, FloatProduct):
        return {
            "operands": OPERANDS["reals_by_reals"],
            "given": _values(product.codes),
            "weights": product.panels,
            "bias": product.bias,
        }
    if isinstance(product, FactoredProduct):
        return _signs(product.product) | {"operands": OPERANDS["scaled_signs"]}
    kind = "reals_by_signs" if product.codes is None else "bits_by_signs"
    return _signs(product) | {"operands": OPERANDS[kind], "given": _values(product.given)}


def _after(after: Thresholds | Affine) -> dict[str, Any]:
    if isinstance(after, Affine):
        function = after.function.name if isinstance(after.function, Function) else after.function
        return {
            "scale": after.scale,
            "shift": after.shift,
            "function": FUNCTIONS[function or "identity"],
        }
    codes = after.codes
    return {
        "levels": len(codes.codes) - 1,
        "thresholds": after.blocks,
        "flip": after.flip,
        "patterns": None if codes.even else codes.binary.astype(np.uint32),
        "taken": _values(codes),
    }


def _lstm(layer: PackedLSTM) -> Step:
    given, gates = layer.given, layer.gates
    fields = _product(layer.recurrent)
    if isinstance(given, SignColumns):
        fields["column_planes"] = given.levels.bits
        fields["columns"] = given.columns
        fields["column_values"] = np.array(given.levels.table, np.float32)
    else:
        assert isinstance(given, FloatColumns)
        fields["column_values"] = given.columns
    if isinstance(layer.cell, Thresholds):
        fields |= _after(layer.cell)
    else:
        fields["function"] = FUNCTIONS["tanh" if layer.cell is None else layer.cell.name]
    return Step(
        KINDS["lstm"],
        layer.outputs,
        1,
        1,
        4 * layer.outputs,
        symbols=layer.inputs,
        column_scale=gates.input_scale,
        shift=gates.shift,
        scale=gates.recurrent_scale,
        **fields,
    )
