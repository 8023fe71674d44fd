"""From a trained network to packed layers: scaling, bias, batch norm and activation folded.

What stands between the sums of one layer and the bits of the next is a chain of monotone functions
of each neuron's own sum: times the scaling factor, plus a bias, batch norm, sign or k-bit rounding.
So a neuron is its thresholds. They are found by asking the network's own evaluation code, by binary
search over all sums there can be; whatever rounding that code does, the bits agree with it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy, deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bnnlab.nn.activation import Activation
from bnnlab.nn.conv import BinarizedConv2d
from bnnlab.nn.layer import BinarizedLayer
from bnnlab.nn.networks.lstm import LSTM
from bnnlab.nn.summary import few_values, stored_bits, stored_codes
from bnnlab.packed import kernels
from bnnlab.packed.errors import NotPackable
from bnnlab.packed.layers import PackedLayer
from bnnlab.packed.levels import SIGNS, TERNARY, Codes, Levels
from bnnlab.packed.lstm import FloatColumns, Gates, PackedLSTM, SignColumns
from bnnlab.packed.model import Layer, PackedModel
from bnnlab.packed.packing import ALWAYS, NEVER, from_keys, keys, pack_codes, pack_flags
from bnnlab.packed.products import (
    FACTORS,
    FactoredProduct,
    FloatProduct,
    Product,
    SignProduct,
)
from bnnlab.packed.stages import FUNCTIONS, Affine, Entry, Function, Thresholds
from bnnlab.packed.tracing import Part, parts_of
from bnnlab.packed.window import Window
from bnnlab.schemes.base import Quantized, Scheme

_REAL_LIMIT = np.array(1e30, np.float32)  # real sums are searched between -1e30 and 1e30

Chain = Callable[[Tensor], Tensor]


class Sums(NamedTuple):
    """The sums of a layer, and what the network makes of them before its activation.

    Attributes:
        chain: the function, of (n, outputs) or (n, outputs, height, width), float32 or float64.
        outputs: neurons or channels.
        bound: the largest size of a sum; None where sums are real.
        scaled, shifted: whether each neuron has a factor and a summand of its own.
        flat: whether the network has them as (samples, outputs).
    """

    chain: Chain
    outputs: int
    bound: int | None
    scaled: bool
    shifted: bool
    flat: bool


@torch.no_grad()
def fold(model: nn.Module, shape: tuple[int, ...] | None = None) -> PackedModel:
    """The packed form of a network, which stays as it is; see `bnnlab.pack`.

    Raises:
        NotPackable: a part of it cannot be run as packed bits.
        ValueError: the shape of a sample is not known, or does not fit.
        KernelsMissing: no compiled kernels.
    """
    kernels.require()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not tensor.is_floating_point():
            continue
        if tensor.device.type != "cpu" or tensor.dtype != torch.float32:
            raise NotPackable(
                f"{name} is {tensor.dtype} on {tensor.device}; float32 on the CPU can"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise NotPackable(f"{name} has values that are not finite")
    with _evaluating(model):
        return _lstm(model) if isinstance(model, LSTM) else _feedforward(*parts_of(model, shape))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """The network in evaluation mode for as long as it is asked."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _feedforward(parts: list[Part], shape: tuple[int, ...]) -> PackedModel:
    layers: list[Layer] = []
    first = parts[0].layer
    images = isinstance(first, BinarizedConv2d)
    channels, high, wide = shape if images else (int(np.prod(shape)), 1, 1)
    entry = _entry(first, channels)
    codes = entry.codes
    for name, layer, norm, activation, pool, pool_last, swapped in parts:
        conv = isinstance(layer, BinarizedConv2d)
        window = Window.whole(channels, high, wide)
        if conv:
            sliding = layer.kernel_size, layer.stride, layer.padding
            window = Window(channels, high, wide, *sliding)
        product, sums = _layer(name, layer, window, codes, norm)
        after = _after(name, activation, sums)
        kind = "conv" if conv else "linear"
        packed = PackedLayer(name, kind, product, after, pool, bool(pool) and pool_last)
        if swapped and not _commutes(packed):
            raise NotPackable(f"{name}: pooling stands between batch norm and {after.describe()}")
        layers.append(packed)
        (channels, high, wide), codes = packed.shape, packed.codes
    return PackedModel(layers, shape, entry)


def _commutes(layer: PackedLayer) -> bool:
    """Whether it is all one to pool before an activation or after it: the activation is monotone,
    and if it looks at the largest of the image, that is not cut off with what is left over.
    """
    function = layer.after.function if isinstance(layer.after, Affine) else None
    if not isinstance(function, Function) or layer.pool is None:
        return True
    left = any(n % p for n, p in zip(layer.window.places, layer.pool, strict=True))
    return function.name == "tanh" or (function.name == "absmax" and not left)


def _entry(layer: BinarizedLayer, channels: int) -> Entry:
    """What the scheme of the first layer makes of the network's input."""
    scheme = layer.scheme
    if layer.fed != "input" or type(scheme).input is Scheme.input:
        return Entry(channels)
    few = stored_codes(scheme.input_step, scheme.input_codes)
    if few is None or scheme.input_step is None:
        points = torch.linspace(-4, 4, 129)[:, None]
        if torch.equal(scheme.input(points), points):  # an option has it do nothing
            return Entry(channels)
        raise NotPackable(
            f"{scheme.key} makes real numbers of its inputs with a function of its own"
        )
    codes = Codes(tuple(int(code) for code in few), float(scheme.input_step))
    index = _indices(scheme.input, codes, scheme.key)
    levels, flip = thresholds(index, len(codes.codes) - 1, 1, None)
    if flip.any():
        raise NotPackable(f"{scheme.key}: the code of an input falls where the input rises")
    return Entry(channels, codes, levels[:, 0])


def stored(scheme: Scheme, quantized: Quantized) -> tuple[Levels, Tensor] | None:
    """Quantized weights as levels and patterns of bits, uint8; None where they are kept real."""
    bits = stored_bits(scheme, quantized)
    if bits == 32:
        return None
    signs = quantized.signs
    if quantized.codes is None and signs is not None:
        if quantized.mask is None:
            return Levels(SIGNS), (signs > 0).to(torch.uint8)
        mask = quantized.mask.bool()
        return Levels(TERNARY), (mask & (signs > 0)) | (mask.to(torch.uint8) << 1)
    codes = quantized.codes
    assert codes is not None
    found = codes.unique()
    table = [int(level) for level in found]
    table += table[-1:] * (2**bits - len(table))
    return Levels(tuple(table)), torch.searchsorted(found, codes.contiguous()).to(torch.uint8)


def _planes(patterns: Tensor, levels: Levels, window: Window) -> np.ndarray:
    """Patterns in PyTorch's order as bit planes in the order height, width, channel."""
    images = patterns.reshape(len(patterns), window.channels, *window.kernel)
    rows = images.permute(0, 2, 3, 1).reshape(len(patterns), -1).contiguous()
    return pack_codes(rows.numpy(), levels.bits)


def _layer(
    name: str, layer: BinarizedLayer, window: Window, codes: Codes | None, norm: nn.Module
) -> tuple[Product, Sums]:
    """The layer's product, and what the network makes of its sums up to the activation."""
    quantized = layer.scheme.quantized(layer)
    kept = stored(layer.scheme, quantized)
    if kept is None:
        weights = np.ascontiguousarray(quantized.values.detach().numpy()).copy()
        bias = layer.scheme.bias(layer)
        own = None if bias is None else bias.detach().numpy().copy()
        return FloatProduct(weights, own, window, codes), _sums(layer, quantized, None, norm)
    levels, patterns = kept
    flat = not isinstance(layer, BinarizedConv2d)
    if _factors(layer, window, flat):
        if codes is not None:
            raise NotPackable(f"{name}: {layer.scheme.key} scales few-valued inputs")
        signs = SignProduct(_planes(patterns, levels, window), levels, window, Codes(SIGNS, 1.0))
        scheme = layer.scheme
        if scheme.key not in FACTORS or signs.bound is None:
            raise NotPackable(f"{name}: {scheme.key} scales sums in a way of its own")
        product = FactoredProduct(signs, scheme.key, scheme.options(), layer.fed)
        return product, _sums(layer, quantized, kept, norm)
    first = layer.fed == "input"
    product = SignProduct(_planes(patterns, levels, window), levels, window, codes, first)
    return product, _sums(layer, quantized, kept, norm, product.bound)


def _factors(layer: BinarizedLayer, window: Window, flat: bool) -> bool:
    """Whether the scheme scales the layer's sums position by position."""
    if type(layer.scheme).factored is Scheme.factored:
        return False
    x = torch.ones(1, window.channels, window.height, window.width)
    return layer.scheme.factored(layer, x.flatten(1) if flat else x)[1] is not None


def _sums(
    layer: BinarizedLayer,
    quantized: Quantized,
    kept: tuple[Levels, Tensor] | None,
    norm: nn.Module,
    bound: int | None = None,
) -> Sums:
    """What the network makes of a layer's sums.

    Args:
        layer: the layer.
        quantized: its weights.
        kept: as what they are stored; None where they stay real, and the product adds the bias.
        norm: the batch norm that follows.
        bound: the largest size of a sum of integers times codes; None where inputs are real.
    """
    scale, step = quantized.scale, layer.input_step
    scaled = shifted = not isinstance(norm, nn.Identity)
    norms = {torch.float32: norm, torch.float64: deepcopy(norm).double()}
    if kept is not None:
        assert scale is not None
        scaled |= scale.numel() > 1
        shifted |= layer.scheme.bias(layer) is not None

    def chain(sums: Tensor) -> Tensor:
        if kept is not None and scale is not None:
            # Of quantized inputs whose sums are real, the values are multiplied, not the codes.
            if bound is None and step is not None:
                sums = sums / step
            sums = layer.scaled(sums, scale)
        return norms[sums.dtype](sums)

    flat = not isinstance(layer, BinarizedConv2d)
    return Sums(chain, layer.out_features, bound, scaled, shifted, flat)


def _after(name: str, activation: nn.Module, sums: Sums) -> Thresholds | Affine:
    """What follows the sums."""
    if isinstance(activation, nn.Hardtanh):
        return _affine(sums, "hard_tanh")
    if not isinstance(activation, Activation):
        return _affine(sums, None)
    scheme = activation.scheme
    codes = _codes(activation, sums.outputs)
    if codes is None:
        plain = type(scheme).activation is Scheme.activation
        if plain and scheme.activation_estimator is None:
            return _affine(sums, "relu")
        return _affine(sums, _function(name, activation))

    def values(points: Tensor) -> Tensor:
        if sums.flat:
            return activation(sums.chain(points))
        # Batch norm takes another way through images of one pixel.
        images = points[:, :, None, None].expand(-1, -1, 1, 2).contiguous()
        return activation(sums.chain(images))[:, :, 0, 0]

    index = _indices(values, codes, f"{name}: {scheme.key}")
    levels, flip = thresholds(index, len(codes.codes) - 1, sums.outputs, sums.bound)
    return Thresholds(levels, pack_flags(flip), codes)


def _function(name: str, activation: Activation) -> Function:
    """A real activation that only its scheme has, if the kernels know it."""
    scheme = activation.scheme
    if scheme.key not in FUNCTIONS:
        raise NotPackable(f"{name}: {scheme.key} has an activation of its own")
    kept = {
        key: tensor.numpy().astype(np.float32) for key, tensor in activation.state_dict().items()
    }
    return Function(scheme.key, scheme.options(), kept)


def own_copy(activation: Activation) -> Activation:
    """An activation's copy in evaluation mode, without the generator."""
    own = copy(activation)
    own.generator = None
    return deepcopy(own).eval()


def _codes(activation: Activation, channels: int) -> Codes | None:
    """The few values that an activation takes; None where they are kept real."""
    codes, step = few_values(activation, channels), activation.scheme.activation_step
    return None if codes is None else Codes(tuple(int(code) for code in codes), float(step))


def _indices(values: Chain, codes: Codes, who: str) -> Chain:
    """From a function of sums to which of the codes each of its values is."""
    known = torch.tensor(codes.codes, dtype=torch.float32)

    def index(points: Tensor) -> Tensor:
        found = torch.round(values(points) / codes.step)
        places = torch.searchsorted(known, found.contiguous()).clamp_max(len(known) - 1)
        if not torch.equal(known[places], found):
            raise NotPackable(f"{who}: a quantized value is none of its codes {codes.codes}")
        return places.int()

    return index


def _affine(sums: Sums, function: Any) -> Affine:
    """The chain as scale and shift, in float64 from its own code and rounded once."""
    points = torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, sums.outputs)
    ends = sums.chain(points if sums.flat else points[:, :, None, None])
    shift, shifted = ends.reshape(2, -1)
    scale = (shifted - shift).float().numpy()
    offset = shift.float().numpy()
    return Affine(
        scale if sums.scaled else scale[:1].copy(),
        offset if sums.shifted else offset[:1].copy(),
        function,
    )


def _lstm(model: LSTM) -> PackedModel:
    lstm = model.lstm
    symbols, hidden = lstm.input.in_features, lstm.hidden
    quantized = lstm.input.scheme.quantized(lstm.input)
    kept = stored(lstm.input.scheme, quantized)
    given = _sums(lstm.input, quantized, kept, lstm.input_norm)
    if kept is None:
        columns = FloatColumns(np.ascontiguousarray(quantized.values.detach().numpy()).copy())
    else:
        levels, patterns = kept
        columns = SignColumns(pack_codes(patterns.numpy(), levels.bits), levels, symbols)
    window = Window.whole(hidden, 1, 1)
    recurrent, again = _layer("lstm.recurrent", lstm.recurrent, window, None, lstm.recurrent_norm)
    of_inputs, of_states = _affine(given, None), _affine(again, None)
    shift = lstm.bias.detach().double() + torch.from_numpy(of_inputs.shift + of_states.shift)
    gates = Gates(of_inputs.scale, shift.float().numpy(), of_states.scale)
    packed = PackedLSTM("lstm", columns, recurrent, gates, _cell(lstm))
    product, sums = _layer("output", model.output, window, None, model.output_norm)
    output = PackedLayer("output", "linear", product, _affine(sums, None))
    return PackedModel([packed, output], (), Entry(symbols))


def _cell(lstm: Any) -> Thresholds | Function | None:
    if lstm.activation is None:
        return None
    scheme = lstm.activation.scheme
    codes = _codes(lstm.activation, lstm.hidden)
    if codes is None:
        return _function("lstm", lstm.activation)
    index = _indices(lstm.activation, codes, f"lstm: {scheme.key}")
    levels, flip = thresholds(index, len(codes.codes) - 1, lstm.hidden, None)
    return Thresholds(levels, pack_flags(flip), codes)


def thresholds(
    code: Chain, top: int, outputs: int, bound: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The thresholds of neurons whose codes are monotone functions of their sums.

    Args:
        code: sums, float32 (n, outputs), to codes 0 .. top.
        top: the largest code.
        outputs: neurons.
        bound: sums are integers of at most this size; None where they are real, and thresholds then
            float keys.

    Returns:
        int32 (top, outputs) and bool (outputs,): where the second is False the code of a sum is the
        number of thresholds <= sum, where it is True `top` minus that.

    Raises:
        NotPackable: a code is not monotone.
    """
    limit = bound if bound is not None else int(keys(_REAL_LIMIT))

    def codes_at(points: np.ndarray) -> np.ndarray:
        values = from_keys(points.astype(np.int32)) if bound is None else points.astype(np.float32)
        return code(torch.from_numpy(values)).numpy()

    ends = codes_at(np.array([[-limit], [limit]]).repeat(outputs, 1))
    flip = ends[1] < ends[0]
    wanted = np.arange(1, top + 1)[:, None]  # the level that each threshold is the beginning of
    wanted = np.where(flip, top + 1 - wanted, wanted)

    def reached(points: np.ndarray) -> np.ndarray:
        return (codes_at(points) >= wanted) != flip

    # Invariant: not reached at `low`, reached at `high`, the ends counting as beyond the sums.
    low = np.full((top, outputs), -limit - 1, np.int64)
    high = np.full((top, outputs), limit + 1, np.int64)
    while (open_ := high - low > 1).any():
        middle = np.where(open_, (low + high) // 2, np.clip(high, -limit, limit))
        here = reached(middle)
        high = np.where(open_ & here, middle, high)
        low = np.where(open_ & ~here, middle, low)
    levels = high.astype(np.int32)
    levels[high > limit] = NEVER
    levels[high <= -limit] = ALWAYS

    samples = np.linspace(-limit, limit, 65).astype(np.int64)[:, None].repeat(outputs, 1)
    count = (samples[:, None] >= levels).sum(1)
    if (codes_at(samples) != np.where(flip, top - count, count)).any():
        raise NotPackable("an activation is not a monotone function of the layer's sums")
    return levels, flip
