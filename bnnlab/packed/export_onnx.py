"""A packed network as ONNX: standard operators alone, weights still as bits.

Weights of few bits are kept as bytes of bits, which the graph takes apart (BitShift, BitwiseAnd,
Gather); a runtime does that once, when it loads the file. Everything else is float32: codes are
small integers, whose sums with integer weights are exact below 2^24, and thresholds compare them.
Of codes, each neuron's place among its thresholds is found by bisection. Images are (channels,
height, width), as PyTorch has them; the samples of a batch and the symbols of texts may be any
number. Where real sums are rounded to codes, one that is within rounding of a threshold may become
the next code.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

import bnnlab
from bnnlab.packed.errors import ExtraMissing
from bnnlab.packed.files import write_aside
from bnnlab.packed.layers import PackedLayer
from bnnlab.packed.levels import Codes
from bnnlab.packed.lstm import PackedLSTM, SignColumns
from bnnlab.packed.model import PackedModel
from bnnlab.packed.packing import ALWAYS, NEVER, from_keys, unpack_bits, unpack_codes
from bnnlab.packed.products import FactoredProduct, FloatProduct, Product, SignProduct
from bnnlab.packed.stages import Affine, Function, Thresholds

OPSET, IR = 18, 8
_SMALLEST = 1e-5  # of a sample's largest activation: BNNLAB_SMALLEST in kernels/src/functions.h
_LARGEST = np.finfo(np.float32).max


def write(model: PackedModel, path: Path) -> None:
    """Write a packed network as ONNX.

    Its input `x` is float32 (samples, *shape), or int64 symbols (samples, length); its output
    `scores` is float32 (samples, outputs) or (samples, length, outputs).

    Raises:
        ExtraMissing: the package onnx is not installed.
    """
    write_aside(path, convert(model).SerializeToString())


def convert(model: PackedModel) -> Any:
    """The same as an `onnx.ModelProto`."""
    try:
        import onnx
        from onnx import TensorProto, helper
    except ImportError:
        raise ExtraMissing("onnx is not installed; pip install 'bnnlab[onnx]'") from None

    graph, text = _Graph(), not model.shape
    scores = _network(graph, model)
    kind = TensorProto.INT64 if text else TensorProto.FLOAT
    lengths: list[Any] = ["samples", "length"] if text else ["samples"]
    given = helper.make_tensor_value_info("x", kind, [*lengths, *model.shape])
    taken = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [*lengths, model.outputs])
    graph.nodes.append(helper.make_node("Identity", [scores], ["scores"]))
    made = helper.make_model(
        helper.make_graph(graph.nodes, "bnnlab", [given], [taken], graph.constants),
        producer_name="bnnlab",
        producer_version=bnnlab.__version__,
        doc_string=repr(model),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
    )
    helper.set_model_props(made, {"about": json.dumps(model.about.described())})
    onnx.checker.check_model(made, full_check=True)
    return made


class _Graph:
    """Nodes and constants that grow; tensors are named by number."""

    def __init__(self, prefix: str = "t"):
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.prefix, self._count = prefix, 0

    def name(self) -> str:
        """A name that nothing has."""
        self._count += 1
        return f"{self.prefix}{self._count}"

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """A constant array."""
        from onnx import numpy_helper

        name = self.name()
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node of one output."""
        return self.parts(kind, 1, *inputs, **attributes)[0]

    def parts(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """A node of several outputs."""
        from onnx import helper

        names = [self.name() for _ in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names


def _network(graph: _Graph, model: PackedModel) -> str:
    first = model.layers[0]
    if isinstance(first, PackedLSTM):
        x = _lstm(graph, first)
        last = model.layers[1]
        assert isinstance(last, PackedLayer)
        shape = graph.constant([-1, first.outputs], np.int64)
        flat = _sums(graph, last.product, graph.add("Reshape", x, shape), True)
        ends = graph.add("Shape", "x")
        count = graph.constant([model.outputs], np.int64)
        return graph.add(
            "Reshape", _affine(graph, last.after, flat, 0), graph.add("Concat", ends, count, axis=0)
        )
    x, image = "x", len(model.shape) == 3
    if image and first.kind == "linear":
        x, image = graph.add("Flatten", x), False
    if model.entry.after is not None:
        x = _thresholds(graph, model.entry.after, x, True, _integers(first.product), 2 * image)
    for layer, after in zip(model.layers, [*model.layers[1:], None], strict=True):
        assert isinstance(layer, PackedLayer)
        flat = layer.kind == "linear"
        if image and flat:
            x = graph.add("Flatten", x)
        image = not flat
        x = _sums(graph, layer.product, x, flat)
        if layer.pool and not layer.pool_last:
            x = _pooled(graph, x, layer.pool)
        if isinstance(layer.after, Thresholds):
            assert isinstance(after, PackedLayer)
            real = not _integers(layer.product)
            x = _thresholds(graph, layer.after, x, real, _integers(after.product), 2 * image)
        else:
            x = _affine(graph, layer.after, x, 2 * image)
        if layer.pool and layer.pool_last:
            x = _pooled(graph, x, layer.pool)
    return x


# Products -----------------------------------------------------------------------------------------


def _integers(product: Product) -> bool:
    """Whether it multiplies the integers of codes, not what they stand for."""
    return isinstance(product, SignProduct) and product.codes is not None


def _sums(graph: _Graph, product: Product, x: str, flat: bool) -> str:
    """A layer's sums; of integers, those of the integers."""
    if isinstance(product, FactoredProduct):
        zero, signs = graph.constant(0), [graph.constant(1), graph.constant(-1)]
        size = graph.add("Abs", x)
        mean = graph.add("ReduceMean", size, graph.constant([1], np.int64), keepdims=1)
        if not flat:
            mean = graph.add("AveragePool", mean, count_include_pad=1, **_sliding(product))
        x = graph.add("Where", graph.add("GreaterOrEqual", x, zero), *signs)
        return graph.add("Mul", _sums(graph, product.product, x, flat), mean)
    bias = []
    if isinstance(product, FloatProduct):
        weights = graph.constant(product.arrays()["weights"])
        bias = [] if product.bias is None else [graph.constant(product.bias)]
    else:
        weights = _weights(graph, product, flat)
    if flat:
        return graph.add("Gemm", x, weights, *bias, transB=1)
    return graph.add("Conv", x, weights, *bias, **_sliding(product))


def _sliding(product: Product) -> dict[str, Any]:
    window = product.window
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.stride),
        "pads": [*window.padding, *window.padding],
    }


def _weights(graph: _Graph, product: SignProduct, flat: bool) -> str:
    """Weights of few bits, (outputs, inputs) or (outputs, channels, height, width)."""
    window, kept = product.window, product.arrays()
    planes = kept["codes"] if "codes" in kept else np.stack(list(kept.values()))
    patterns = unpack_codes(planes, window.inputs)
    rows = patterns.reshape(-1, *window.kernel, window.channels).transpose(0, 3, 1, 2)
    size = [product.outputs, window.inputs]
    weights = _unpacked(graph, rows.reshape(size), product.levels.table)
    if flat:
        return weights
    shape = [product.outputs, window.channels, *window.kernel]
    return graph.add("Reshape", weights, graph.constant(shape, np.int64))


def _unpacked(graph: _Graph, patterns: np.ndarray, table: tuple[int, ...]) -> str:
    """From patterns of bits, (n, k), to what they stand for; kept as bits."""
    (n, k), bits = patterns.shape, (len(table) - 1).bit_length()
    planes = [
        np.packbits((patterns >> p).astype(np.uint8) & 1, axis=1, bitorder="little")
        for p in range(bits)
    ]
    packed = graph.constant(np.stack(planes)[..., None], np.uint8)
    each = graph.add("BitShift", packed, graph.constant(range(8), np.uint8), direction="RIGHT")
    each = graph.add("BitwiseAnd", each, graph.constant(1, np.uint8))
    each = graph.add("Reshape", each, graph.constant([bits, n, -1], np.int64))
    ends = [graph.constant([at], np.int64) for at in (0, k, 2)]
    each = graph.add("Cast", graph.add("Slice", each, *ends), to=6)  # int32
    powers = graph.constant([[[2**p]] for p in range(bits)], np.int32)
    axis = graph.constant([0], np.int64)
    places = graph.add("ReduceSum", graph.add("Mul", each, powers), axis, keepdims=0)
    return graph.add("Gather", graph.constant(table), places)


# What follows the sums ----------------------------------------------------------------------------


def _wide(values: np.ndarray, dimensions: int) -> np.ndarray:
    """Numbers by channel, shaped to stand before so many dimensions more."""
    return values.reshape(*values.shape, *[1] * dimensions)


def _pooled(graph: _Graph, x: str, size: tuple[int, int]) -> str:
    return graph.add("MaxPool", x, kernel_shape=list(size), strides=list(size))


def _affine(graph: _Graph, after: Affine | Thresholds, x: str, dimensions: int) -> str:
    """Scale, shift and the function."""
    assert isinstance(after, Affine)
    x = graph.add("Mul", x, graph.constant(_wide(after.scale, dimensions)))
    x = graph.add("Add", x, graph.constant(_wide(after.shift, dimensions)))
    if after.function is None:
        return x
    if isinstance(after.function, Function):
        return _function(graph, after.function.name, x, dimensions)
    if after.function == "hard_tanh":
        return graph.add("Clip", x, graph.constant(-1), graph.constant(1))
    return graph.add("Relu", x)


def _function(graph: _Graph, name: str, x: str, dimensions: int) -> str:
    """A function that a scheme has in the place of an activation; see bnnlab_network.h."""
    channel = graph.constant([1], np.int64)
    if name == "tanh":
        return graph.add("Tanh", x)
    if name == "sign_mean":
        mean = graph.add("ReduceMean", graph.add("Abs", x), channel, keepdims=1)
        positive = graph.add("GreaterOrEqual", x, graph.constant(0))
        return graph.add("Where", positive, mean, graph.add("Neg", mean))
    assert name == "absmax"
    axes = graph.constant(range(1, 2 + dimensions), np.int64)
    x = graph.add("Relu", x)
    largest = graph.add("ReduceMax", x, axes, keepdims=1)
    largest = graph.add("Max", largest, graph.constant(_SMALLEST))
    steps = graph.constant(127)
    whole = graph.add("Round", graph.add("Mul", x, graph.add("Div", steps, largest)))
    return graph.add("Mul", whole, graph.add("Div", largest, steps))


def _values(codes: Codes, integers: bool) -> np.ndarray:
    """The codes, or what they stand for, in their order."""
    whole = np.array(codes.codes, np.float64)
    return (whole if integers else whole * codes.step).astype(np.float32)


def _thresholds(
    graph: _Graph, after: Thresholds, x: str, real: bool, integers: bool, dimensions: int
) -> str:
    """From sums to codes.

    Args:
        graph: where to.
        after: the thresholds.
        x: the sums.
        real: whether thresholds are keys of real sums.
        integers: whether the codes themselves are wanted, or what they stand for.
        dimensions: of an image beside its channels.
    """
    levels = np.sort(after.levels, axis=0)
    count, outputs = levels.shape
    at = np.where(levels == NEVER, _LARGEST, np.where(levels == ALWAYS, -_LARGEST, 0))
    known = (levels != NEVER) & (levels != ALWAYS)
    at[known] = from_keys(levels[known]) if real else levels[known]
    flip = unpack_bits(after.flip, outputs).astype(bool)
    values = _values(after.codes, integers)
    if count == 1:
        high, low = np.where(flip, values[:1], values[1:]), np.where(flip, values[1:], values[:1])
        reached = graph.add("GreaterOrEqual", x, graph.constant(_wide(at[0], dimensions)))
        ends = [graph.constant(_wide(end, dimensions)) for end in (high, low)]
        return graph.add("Where", reached, *ends)
    # The place is built up from its highest bit: is the threshold just below it reached?
    bits = count.bit_length()
    table = np.full((outputs, 2**bits), _LARGEST, np.float32)
    table[:, :count] = at.T
    thresholds = graph.constant(table.reshape(-1))
    begin = np.arange(outputs, dtype=np.int64) * 2**bits
    place = graph.constant(_wide(begin, dimensions), np.int64)
    for bit in reversed(range(bits)):
        step = graph.constant(2**bit, np.int64)
        below = graph.add("Add", place, graph.constant(2**bit - 1, np.int64))
        reached = graph.add("GreaterOrEqual", x, graph.add("Gather", thresholds, below))
        place = graph.add("Where", reached, graph.add("Add", place, step), place)
    by_place = np.concatenate([values, np.repeat(values[-1:], 2**bits - len(values))])
    turned = np.concatenate([values[::-1], np.repeat(values[:1], 2**bits - len(values))])
    kept = np.where(flip[:, None], turned, by_place)
    return graph.add("Gather", graph.constant(kept.reshape(-1)), place)


# The LSTM -----------------------------------------------------------------------------------------


def _lstm(graph: _Graph, layer: PackedLSTM) -> str:
    """What the cells give for all symbols, h, (samples, length, cells)."""
    from onnx import TensorProto, helper

    cells, gates = layer.outputs, layer.gates
    if isinstance(layer.given, SignColumns):
        patterns = unpack_codes(layer.given.columns, layer.given.outputs)
        columns = _unpacked(graph, patterns, layer.given.levels.table)
    else:
        columns = graph.constant(layer.given.columns)
    given = graph.add("Mul", graph.add("Gather", columns, "x"), graph.constant(gates.input_scale))
    given = graph.add("Add", given, graph.constant(gates.shift))
    if isinstance(layer.recurrent, FloatProduct):
        weights = graph.constant(layer.recurrent.arrays()["weights"])
    else:
        assert isinstance(layer.recurrent, SignProduct)
        weights = _weights(graph, layer.recurrent, True)
    scale = graph.constant(gates.recurrent_scale)

    body = _Graph("step")
    sums = body.add("Mul", body.add("Gemm", "h", weights, transB=1), scale)
    ends = body.constant([cells] * 4, np.int64)
    i, f, g, o = body.parts("Split", 4, body.add("Add", "gates", sums), ends, axis=1)
    kept = body.add("Mul", body.add("Sigmoid", f), "c")
    added = body.add("Mul", body.add("Sigmoid", i), body.add("Tanh", g))
    c = body.add("Add", kept, added)
    if isinstance(layer.cell, Thresholds):
        left = _thresholds(body, layer.cell, c, True, False, 0)
    else:
        left = _function(body, "tanh" if layer.cell is None else layer.cell.name, c, 0)
    h = body.add("Mul", body.add("Sigmoid", o), left)
    out = body.add("Identity", h)

    def described(name: str, size: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["samples", size])

    step = helper.make_graph(
        body.nodes,
        "step",
        [described("h", cells), described("c", cells), described("gates", 4 * cells)],
        [described(h, cells), described(c, cells), described(out, cells)],
        body.constants,
    )
    ends = [graph.constant([at], np.int64) for at in (0, 1)]
    samples = graph.add("Slice", graph.add("Shape", "x"), *ends)
    shape = graph.add("Concat", samples, graph.constant([cells], np.int64), axis=0)
    nothing = graph.add("ConstantOfShape", shape)
    return graph.parts(
        "Scan", 3, nothing, nothing, given, body=step, num_scan_inputs=1,
        scan_input_axes=[1], scan_output_axes=[1],
    )[2]  # fmt: skip
