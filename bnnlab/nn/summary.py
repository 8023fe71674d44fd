"""What a network holds and computes, layer by layer, in bits, bytes and multiply-accumulates."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bnnlab.nn.activation import Activation
from bnnlab.nn.conv import BinarizedConv2d
from bnnlab.nn.layer import BinarizedLayer
from bnnlab.nn.networks import binarized_layers
from bnnlab.nn.networks.feedforward import Feedforward
from bnnlab.nn.networks.lstm import LSTM
from bnnlab.nn.table import Table
from bnnlab.schemes.base import Quantized, Scheme

if TYPE_CHECKING:
    import pandas

WORD = 32
MOST_BITS = 8  # of a weight or an activation that is stored as an integer
LARGEST = 2**15  # the largest such integer
ELSEWHERE = "(elsewhere)"


@dataclass(frozen=True)
class Row:
    """One layer with what belongs to it: its scaling factors, bias, batch norm and activation.

    Attributes:
        layer: name.
        inputs: weights of an output.
        outputs: neurons or channels out.
        weight_bits: bits of a weight, as deployed; 2 for ternary ones, a sign and a mask.
        input_bits: bits of an input.
        weights_1bit: number of 1-bit weights.
        weights_ternary: number of ternary weights.
        weights_kbit: number of other weights of 2 to 8 bits.
        weights_32bit: number of real weights.
        other_32bit: numbers beside the weights: thresholds or scales, shifts, biases.
        bytes: what all of these take: each row of quantized weights padded to 32-bit words, every
            other number 4 bytes.
        macs_xnor: multiply-accumulates a sample (of a text, a symbol) of quantized weights with
            quantized inputs, which are done bit by bit.
        macs_sign_float: of quantized weights with real inputs, which are additions and
            subtractions, once for each bit. A symbol adds one column of its matrix.
        macs_float: all others.
    """

    layer: str
    inputs: int = 0
    outputs: int = 0
    weight_bits: int = 0
    input_bits: int = 0
    weights_1bit: int = 0
    weights_ternary: int = 0
    weights_kbit: int = 0
    weights_32bit: int = 0
    other_32bit: int = 0
    bytes: int = 0
    macs_xnor: int = 0
    macs_sign_float: int = 0
    macs_float: int = 0

    @property
    def binarized(self) -> float:
        """The share of the weights that have fewer than 32 bits."""
        few = self.weights_1bit + self.weights_ternary + self.weights_kbit
        return few / max(1, few + self.weights_32bit)


_NAMES = [field.name for field in fields(Row)]
_SUMMED = _NAMES[5:]


class Summary(Table):
    """The rows of a network's layers and their total; prints as a table.

    Attributes:
        rows: one for each layer, and one called "(elsewhere)" for numbers that belong to none.
        total: their sum.
        bytes_float32: what the same network takes with 32-bit weights and no scaling factors, batch
            norm's four numbers a neuron included.
    """

    def __init__(self, rows: list[Row], bytes_float32: int):
        self.rows = rows
        self.total = Row("total", **{k: sum(getattr(row, k) for row in rows) for k in _SUMMED})
        self.bytes_float32 = bytes_float32

    def to_frame(self) -> "pandas.DataFrame":
        """The rows as a pandas DataFrame, the layer names as its index; without the total."""
        import pandas as pd

        rows = [asdict(row) | {"binarized": row.binarized} for row in self.rows]
        return pd.DataFrame(rows, columns=[*_NAMES, "binarized"]).set_index("layer")

    def cells(self) -> list[list[str]]:
        """Header, rows, total; columns of ternary and k-bit weights only where there are some."""
        names = list(_NAMES)
        for rare in ("weights_ternary", "weights_kbit"):
            if getattr(self.total, rare) == 0:
                names.remove(rare)
        place = names.index("other_32bit")
        names.insert(place, "binarized")
        cells = [[name.replace("_", " ") for name in names]]
        for row in [*self.rows, self.total]:
            blank = names[1:5] if row.inputs == 0 else []
            blank += ["binarized"] if row.layer == ELSEWHERE else []
            cells.append(["" if n in blank else _text(getattr(row, n)) for n in names])
        return cells

    def footer(self) -> str:
        """How many times as many bytes there are with 32-bit weights."""
        ratio = self.bytes_float32 / self.total.bytes if self.total.bytes else 1.0
        return f"{self.bytes_float32:,} bytes with 32-bit weights, {ratio:.1f} times as many"


def _text(value: float | str) -> str:
    if isinstance(value, float):
        return f"{value:.0%}"
    return value if isinstance(value, str) else f"{value:,}"


def stored_bits(scheme: Scheme, quantized: Quantized) -> int:
    """Bits of a weight as it is deployed: 1, 2 (ternary: sign and mask), k, or 32 if it stays real.

    A scheme may train few bits and test with real weights; then it is 32. Integers take the bits
    that the scheme states, or as many as there are different ones ask for.
    """
    integers = quantized.integers
    if integers is None or quantized.scale is None:
        return 32
    if quantized.codes is None:
        return 1 if quantized.mask is None else 2
    needed = (len(integers.unique()) - 1).bit_length()
    stated = scheme.weight_bits if scheme.weight_bits <= MOST_BITS else 1
    bits = max(1, needed, stated)
    return bits if bits <= MOST_BITS and float(integers.abs().max()) <= LARGEST else 32


def stored_codes(step: float | None, codes: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The integers that quantized values are stored as; None where they are too many or real."""
    if step is None or codes is None or len(codes) > 2**MOST_BITS:
        return None
    return tuple(codes) if max(abs(code) for code in codes) <= LARGEST else None


@torch.no_grad()
def few_values(activation: nn.Module | None, channels: int) -> tuple[int, ...] | None:
    """The integers that an activation's values are multiples of; None where they are kept real.

    Asked of the activation itself: a scheme that begins with a smooth one has it until it changes.
    """
    if not isinstance(activation, Activation) or activation.scheme.activation_estimator is None:
        return None
    step = activation.scheme.activation_step
    codes = stored_codes(step, activation.scheme.activation_codes)
    if codes is None or step is None:
        return None
    points = torch.linspace(-4, 4, 129)[:, None].expand(-1, channels)
    training = activation.training
    try:
        values = activation.eval()(points) / step
    finally:
        activation.train(training)
    known = torch.tensor(codes, dtype=values.dtype)
    near = torch.isclose(values[..., None], known, rtol=1e-5, atol=1e-5).any(-1)
    return codes if bool(near.all()) else None


def summary(model: nn.Module, shape: tuple[int, ...] | None = None) -> Summary:
    """Count a network's parameters by kind, their bytes, and its multiply-accumulates a sample.

    It is the network as deployed: a scheme that is evaluated with real weights counts as real. Of
    the networks of `bnnlab.nn` the bytes are those of all arrays in the file of the packed network,
    batch norm folded into thresholds or scales; the file's header comes on top of them. Of another
    module they are those of packed weights and of all other numbers as they are. What only training
    needs (Adam's moments, a scheme's curvature) does not count.

    Args:
        model: a network, or any module that holds binarized layers.
        shape: what a sample is, without the batch, where the module has convolutions and does not
            say it itself.

    Raises:
        ValueError: there are convolutions, and nothing says how large the images are.
    """
    layers = binarized_layers(model)
    weights = sum(layer.weight.numel() for layer in layers.values())
    others = dict.fromkeys([*layers, ELSEWHERE], 0)
    for name, tensor in _deployed(model):
        inside = [layer for layer in layers if f"{name}.".startswith(f"{layer}.")]
        others[max(inside, key=len, default=ELSEWHERE)] += tensor.numel()
    places = _places(model, layers, shape)
    if isinstance(model, Feedforward):
        rows = _feedforward(model, places)
    elif isinstance(model, LSTM):
        rows = _lstm(model)
    else:
        rows = [
            _row(name, layer, others[name] + _scales(layer), places.get(name, 1))
            for name, layer in layers.items()
        ]
        if others[ELSEWHERE]:
            count = others[ELSEWHERE]
            rows.append(Row(ELSEWHERE, other_32bit=count, bytes=4 * count))
    return Summary(rows, 4 * (weights + sum(others.values())))


def _deployed(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What a network needs beside its weights, by name: biases, batch norm, activations' own."""
    for path, module in model.named_modules():
        kept = {name: tensor for name, tensor in module.named_parameters(recurse=False)}
        if isinstance(module, BinarizedLayer):
            kept.pop("weight")
        elif not isinstance(module, Activation):
            kept |= dict(module.named_buffers(recurse=False))
        for name, tensor in kept.items():
            if tensor.is_floating_point():
                yield f"{path}.{name}" if path else name, tensor


@torch.no_grad()
def _places(
    model: nn.Module, layers: dict[str, BinarizedLayer], shape: tuple[int, ...] | None
) -> dict[str, int]:
    """How many places each convolution's window stops at, by looking at one sample's way."""
    convolutions = {n: layer for n, layer in layers.items() if isinstance(layer, BinarizedConv2d)}
    if not convolutions:
        return {}
    shape = shape if shape is not None else getattr(model, "shape", None)
    if shape is None:
        raise ValueError(
            "how much a convolution computes depends on the size of the images; say shape="
            "(channels, height, width)"
        )
    places: dict[str, int] = {}

    def keeper(name: str) -> Any:
        def keep(module, given, out):
            places[name] = places.get(name, 0) + out[0, 0].numel()

        return keep

    modes = [(module, module.training) for module in model.modules()]
    hooks = [layer.register_forward_hook(keeper(n)) for n, layer in convolutions.items()]
    try:
        model.eval()
        model(torch.zeros(1, *shape))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    return places


def _scales(layer: BinarizedLayer) -> int:
    """How many scaling factors a layer has."""
    quantized = layer.scheme.quantized(layer)
    if stored_bits(layer.scheme, quantized) == 32 or quantized.scale is None:
        return 0
    return quantized.scale.numel()


def _row(
    name: str,
    layer: BinarizedLayer,
    other: int,
    places: int = 1,
    macs: int | None = None,
    input_bits: int | None = None,
) -> Row:
    """A layer's row.

    Args:
        name: the layer's name.
        layer: the layer.
        other: numbers that belong to it beside the weights.
        places: how often each weight is multiplied.
        macs: multiply-accumulates, if they are others than weights times places.
        input_bits: bits of an input, if they are others than the layer says.
    """
    count = layer.weight.numel()
    quantized = layer.scheme.quantized(layer)
    bits = stored_bits(layer.scheme, quantized)
    ternary = bits == 2 and quantized.mask is not None
    row_words = layer.in_features if bits == 32 else bits * -(-layer.in_features // WORD)
    input_bits = layer.input_bits if input_bits is None else input_bits
    kind = "macs_float"
    if bits < 32:
        kind = "macs_sign_float" if input_bits == 32 else "macs_xnor"
    return Row(
        name,
        layer.in_features,
        layer.out_features,
        bits,
        input_bits,
        weights_1bit=count if bits == 1 else 0,
        weights_ternary=count if ternary else 0,
        weights_kbit=count if 1 < bits < 32 and not ternary else 0,
        weights_32bit=count if bits == 32 else 0,
        other_32bit=other,
        bytes=4 * (row_words * layer.out_features + other),
        **{kind: places * count if macs is None else macs},
    )


def _feedforward(model: Feedforward, places: dict[str, int]) -> list[Row]:
    """The rows of a network whose layers each end in thresholds, or in a scale and a shift."""
    rows: list[Row] = []
    codes = None
    block: Any
    for name, block in model.named_children():
        layer: BinarizedLayer = block.layer
        numbers = _after(layer, block.norm, block.activation)
        if not rows and layer.fed == "input":
            codes = stored_codes(layer.scheme.input_step, layer.scheme.input_codes)
            numbers += 0 if codes is None else len(codes) - 1
        bits = 32 if codes is None else (len(codes) - 1).bit_length()
        rows.append(_row(name, layer, numbers, places.get(name, 1), input_bits=bits))
        codes = few_values(block.activation, layer.out_features)
    return rows


def _after(layer: BinarizedLayer, norm: nn.Module, activation: nn.Module | None = None) -> int:
    """How many numbers stand beside the weights of a layer of a feed-forward network."""
    real = stored_bits(layer.scheme, layer.scheme.quantized(layer)) == 32
    bias = layer.scheme.bias(layer) is not None
    numbers = layer.out_features if real and bias else 0
    few = _few(activation, layer.out_features)
    if few is not None:
        return numbers + few
    normed = not isinstance(norm, nn.Identity)
    scales = layer.out_features if normed else max(1, _scales(layer))
    shifts = layer.out_features if normed or (bias and not real) else 1
    return numbers + scales + shifts + _own(activation)


def _few(activation: nn.Module | None, outputs: int) -> int | None:
    """The thresholds of a quantized activation and the bits that turn them; None for a real one."""
    codes = few_values(activation, outputs)
    return None if codes is None else (len(codes) - 1) * outputs + -(-outputs // WORD)


def _own(activation: nn.Module | None) -> int:
    """How many numbers a real activation keeps."""
    if not isinstance(activation, Activation):
        return 0
    return sum(tensor.numel() for tensor in activation.state_dict().values())


def _lstm(model: LSTM) -> list[Row]:
    """The rows of the LSTM: its two matrices and the output layer."""
    lstm = model.lstm
    normed, gates = not isinstance(lstm.input_norm, nn.Identity), 4 * lstm.hidden
    of_inputs = gates if normed else max(1, _scales(lstm.input))
    of_states = gates if normed else max(1, _scales(lstm.recurrent))
    few = _few(lstm.activation, lstm.hidden)
    cell = _own(lstm.activation) if few is None else few
    return [
        # A symbol takes one column of the matrix.
        _row("lstm.input", lstm.input, of_inputs + gates, macs=gates),
        _row("lstm.recurrent", lstm.recurrent, of_states + cell),
        _row("output", model.output, _after(model.output, model.output_norm)),
    ]
