"""Reading the file of a packed network: everything is checked before it is believed.

The description first, layer after layer: types, ranges, the fit of each layer with the one before.
Then the tensors that it asks for, their types and shapes compared before anything is allocated.
"""

import json
import math
import re
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np

from bnnlab.packed import kernels
from bnnlab.packed.about import About, checked
from bnnlab.packed.layers import PackedLayer
from bnnlab.packed.levels import SIGNS, TERNARY, Codes, Levels
from bnnlab.packed.lstm import FloatColumns, Gates, PackedLSTM, SignColumns
from bnnlab.packed.model import PackedModel
from bnnlab.packed.packing import ALWAYS, NEVER, keys, tail_is_clear
from bnnlab.packed.products import (
    FACTORS,
    FactoredProduct,
    FloatProduct,
    Product,
    SignProduct,
)
from bnnlab.packed.stages import FUNCTIONS, PLAIN, Affine, Entry, Function, Thresholds
from bnnlab.packed.window import Pair, Window

MAX_LAYERS = 256
MAX_WIDTH = 2**20  # features of a layer, weights of an output
MAX_SIZE = 4096  # pixels of an image, either way
MAX_KERNEL = 64  # pixels of a window that slides, either way
MAX_CODE = 2**15  # the largest integer of a weight or an activation

KEPT = {"bitwise": ("noisy",)}  # numbers that schemes keep with their real activations

_INFINITY = np.array(np.inf, np.float32)
_NAME = re.compile(r"\w{1,64}", re.ASCII)
_LINEAR = {"name", "kind", "outputs", "weights", "factor", "bias", "activation"}
_CONV = _LINEAR | {"kernel", "stride", "padding", "pool", "pool_last"}
_LSTM = {"name", "kind", "outputs", "symbols", "input", "recurrent", "activation"}
_DTYPES = {"F32": np.float32, "I32": np.int32, "U32": np.uint32}


class Damaged(Exception):
    """What is wrong with a file whose name the caller adds."""


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise Damaged(what)


def _refuse(what: str) -> NoReturn:
    raise Damaged(what)


def _whole(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _number(layer: dict[str, Any], key: str, low: int, high: int) -> int:
    _expect(_whole(layer[key], low, high), f"{layer['name']}: {key} is out of range")
    return layer[key]


def _pair(layer: dict[str, Any], key: str, low: int, high: int) -> Pair:
    given = layer[key]
    fits = isinstance(given, list) and len(given) == 2
    fits = fits and all(_whole(value, low, high) for value in given)
    _expect(fits, f"{layer['name']}: {key} is out of range")
    return given[0], given[1]


def parsed(what: str, text: str | bytes) -> Any:
    """JSON, of which nobody can think two things: no key twice, no NaN.

    Raises:
        Damaged: it is none.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        _expect(len(found) == len(pairs), f"{what} has a key twice")
        return found

    def constant(name: str) -> NoReturn:
        _refuse(f"{what} is not JSON: {name} is no number")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{what} is not JSON: {error}") from error


def read(file: Any, description: str) -> PackedModel:
    """The network of an open safetensors file.

    Raises:
        Damaged: something is wrong with it.
    """
    network = parsed("the description", description)
    needed = {"shape", "input", "layers"}
    fits = isinstance(network, dict) and needed <= set(network) <= needed | {"about"}
    _expect(fits, "the description is no object with shape, input and layers")
    described = network["layers"]
    _expect(isinstance(described, list) and 1 <= len(described) <= MAX_LAYERS, "no list of layers")
    reader = _Reader(file)
    shape = _shape(network["shape"])
    names = set()
    for i, layer in enumerate(described):
        _check_keys(i, layer)
        _expect(layer["name"] not in names, f"two layers are called {layer['name']}")
        names.add(layer["name"])
    images = described[0]["kind"] == "conv"
    _expect(not images or len(shape) == 3, f"{described[0]['name']}: a convolution takes images")
    _expect(
        (described[0]["kind"] == "lstm") == (shape == ()), "the first layer does not fit the shape"
    )
    place = shape if images else (math.prod(shape), 1, 1)
    entry = reader.entry(network["input"], place[0], bool(shape))
    codes = entry.codes
    layers = []
    for i, layer in enumerate(described):
        last = i == len(described) - 1
        name = layer["name"]
        if layer["kind"] == "lstm":
            _expect(i == 0 and not last, f"{name}: an LSTM stands first and not last")
            layers.append(reader.lstm(layer))
        else:
            flat = layer["kind"] == "linear"
            _expect(flat or place[1:] != (1, 1) or images, f"{name}: a convolution takes images")
            _expect(
                not last or (flat and layer["activation"] == "none"),
                f"{name}: its activation is out of place",
            )
            _expect(
                last or layer["activation"] != "none", f"{name}: its activation is out of place"
            )
            layers.append(reader.layer(layer, place, codes, i == 0))
        place, codes = layers[-1].shape, layers[-1].codes
    reader.finish()
    model = PackedModel(layers, shape, entry)
    if "about" in network:
        model.about = _about(network["about"], model)
    return model


def _about(given: Any, model: PackedModel) -> About:
    try:
        return checked(given, model.inputs, model.outputs, text=not model.shape)
    except ValueError as error:
        raise Damaged(str(error)) from error


def _shape(given: Any) -> tuple[int, ...]:
    fits = isinstance(given, list) and len(given) in (0, 1, 3)
    fits = fits and all(_whole(size, 1, MAX_WIDTH) for size in given)
    fits = fits and math.prod(given) <= MAX_WIDTH
    fits = fits and all(size <= MAX_SIZE for size in given[1:])
    _expect(fits, "the shape of a sample is out of range")
    return tuple(given)


def _check_keys(i: int, layer: Any) -> None:
    _expect(isinstance(layer, dict), f"layer {i} is not described by an object")
    kinds = {"linear": _LINEAR, "conv": _CONV, "lstm": _LSTM}
    kind = layer.get("kind")
    _expect(isinstance(kind, str) and kind in kinds, f"layer {i}: unknown kind of layer")
    _expect(set(layer) == kinds[kind], f"layer {i}: odd keys")
    name = layer["name"]
    _expect(
        isinstance(name, str) and _NAME.fullmatch(name) is not None, f"layer {i} has no proper name"
    )


def _levels(name: str, given: Any) -> Levels | None:
    """The levels of described weights, None for real ones."""
    if given == "float":
        return None
    fits = isinstance(given, list) and len(given) in (2, 4, 8, 16, 32, 64, 128, 256)
    fits = fits and all(_whole(level, -MAX_CODE, MAX_CODE) for level in given)
    _expect(fits, f"{name}: unknown kind of weights")
    return Levels(tuple(given))


class _Reader:
    """Takes tensors from a file, each of them once."""

    def __init__(self, file: Any):
        self.file, self.left = file, set(file.keys())

    def finish(self) -> None:
        """Nothing may be left over."""
        _expect(not self.left, f"tensors that no layer has: {sorted(self.left)[:5]}")

    def tensor(self, name: str, dtype: str, *shapes: list[int]) -> np.ndarray:
        """One tensor, its type and shape compared before anything is allocated."""
        _expect(name in self.left, f"{name} is missing")
        self.left.remove(name)
        stored = self.file.get_slice(name)
        has, shape = stored.get_dtype(), list(stored.get_shape())
        _expect(
            has == dtype and shape in shapes, f"{name} is {has} {shape}, not {dtype} {shapes[0]}"
        )
        array = np.ascontiguousarray(self.file.get_tensor(name), _DTYPES[dtype]).reshape(shape)
        _expect(dtype != "F32" or bool(np.isfinite(array).all()), f"{name}: not finite")
        return array

    def planes(self, name: str, levels: Levels, outputs: int, inputs: int) -> np.ndarray:
        """The patterns of a layer's weights."""
        size = [outputs, kernels.words(inputs)]
        if levels.bits == 1:
            planes = self.tensor(f"{name}.signs", "U32", size)[None]
        elif levels.table == TERNARY:
            signs, mask = (self.tensor(f"{name}.{key}", "U32", size) for key in ("signs", "mask"))
            _expect(not (signs & ~mask).any(), f"{name}: signs of weights that are zero")
            planes = np.stack([signs, mask])
        else:
            planes = self.tensor(f"{name}.codes", "U32", [levels.bits, *size])
        _expect(tail_is_clear(planes, inputs), f"{name}: bits beyond the end")
        return planes

    def entry(self, given: Any, channels: int, numbers: bool) -> Entry:
        """What is made of the input."""
        if given == "none":
            return Entry(channels)
        fits = numbers and isinstance(given, dict) and set(given) == {"codes", "step"}
        _expect(fits, "input: unknown kind of input")
        codes = _codes("input", given)
        levels = self.tensor("thresholds", "I32", [len(codes.codes) - 1])
        _check_thresholds("thresholds", levels, real=True)
        return Entry(channels, codes, levels)

    def known(self, name: str, given: Any, state: str) -> Any:
        """A described activation: None, one of PLAIN, codes or a scheme's function."""
        if given in ("none", *PLAIN):
            return None if given == "none" else given
        _expect(isinstance(given, dict), f"{name}: unknown kind of activation")
        if set(given) == {"codes", "step"}:
            return _codes(name, given)
        _expect(set(given) == {"scheme", "options"}, f"{name}: unknown kind of activation")
        _check_scheme(name, given, FUNCTIONS)
        scalars = {key: self.tensor(f"{state}.activation.{key}", "F32", [])
                   for key in KEPT.get(given["scheme"], ())}  # fmt: skip
        return Function(given["scheme"], given["options"], scalars)

    def after(self, name: str, known: Any, outputs: int, real: bool) -> Thresholds | Affine:
        """What becomes of a layer's sums, integers or real."""
        if isinstance(known, Codes):
            return self.thresholds(name, known, outputs, real)
        scale, shift = (
            self.tensor(f"{name}.{key}", "F32", [outputs], [1]) for key in ("scale", "shift")
        )
        return Affine(scale, shift, known)

    def thresholds(self, name: str, codes: Codes, outputs: int, real: bool) -> Thresholds:
        """The thresholds of a layer's neurons."""
        levels = self.tensor(f"{name}.thresholds", "I32", [len(codes.codes) - 1, outputs])
        _check_thresholds(f"{name}.thresholds", levels, real)
        flip = self.tensor(f"{name}.flip", "U32", [kernels.words(outputs)])
        _expect(tail_is_clear(flip, outputs), f"{name}: bits beyond the end")
        return Thresholds(levels, flip, codes)

    def product(
        self,
        name: str,
        given: Any,
        outputs: int,
        window: Window,
        codes: Codes | None,
        flat: bool,
        first: bool = False,
    ) -> Product:
        """A layer's weights, without a bias."""
        levels = _levels(name, given)
        if levels is None:
            size = [outputs, window.inputs]
            if not flat:
                size = [outputs, window.channels, *window.kernel]
            return FloatProduct(self.tensor(f"{name}.weights", "F32", size), None, window, codes)
        planes = self.planes(name, levels, outputs, window.inputs)
        return SignProduct(planes, levels, window, codes, first)

    def factored(
        self, name: str, layer: dict[str, Any], outputs: int, window: Window, codes: Codes | None
    ) -> FactoredProduct:
        """A layer's weights where a scheme scales the sums position by position."""
        given, levels = layer["factor"], _levels(name, layer["weights"])
        fits = isinstance(given, dict) and set(given) == {"scheme", "options", "fed"}
        fits = fits and given["fed"] in (None, "activation", "input")
        if not fits or codes is not None or levels is None:
            _refuse(f"{name}: factor")
        _check_scheme(name, given, FACTORS)
        planes = self.planes(name, levels, outputs, window.inputs)
        signs = SignProduct(planes, levels, window, Codes(SIGNS, 1.0))
        _expect(signs.bound is not None, f"{name}: its sums are too large")
        return FactoredProduct(signs, given["scheme"], given["options"], given["fed"])

    def layer(
        self, layer: dict[str, Any], place: tuple[int, ...], codes: Codes | None, first: bool
    ) -> PackedLayer:
        """A dense or convolutional layer."""
        name, flat = layer["name"], layer["kind"] == "linear"
        outputs = _number(layer, "outputs", 1, MAX_WIDTH)
        channels, height, width = place
        window, pool, pool_last = Window.whole(channels, height, width), None, False
        if not flat:
            window = Window(
                channels,
                height,
                width,
                _pair(layer, "kernel", 1, MAX_KERNEL),
                _pair(layer, "stride", 1, MAX_SIZE),
                _pair(layer, "padding", 0, MAX_KERNEL - 1),
            )
            fits = all(p < k for p, k in zip(window.padding, window.kernel, strict=True))
            _expect(fits and min(window.places) > 0, f"{name}: the window does not fit the image")
            if layer["pool"] is not None:
                pool = _pair(layer, "pool", 1, MAX_SIZE)
                fits = all(p <= n for p, n in zip(pool, window.places, strict=True))
                _expect(fits, f"{name}: pool is out of range")
            _expect(type(layer["pool_last"]) is bool, f"{name}: pool_last")
            pool_last = layer["pool_last"]
            _expect(pool is not None or not pool_last, f"{name}: pool_last")
        _expect(window.inputs <= MAX_WIDTH, f"{name}: its weights are too many")
        if layer["factor"] is None:
            product = self.product(name, layer["weights"], outputs, window, codes, flat, first)
        else:
            product = self.factored(name, layer, outputs, window, codes)
        bias = layer["bias"]
        floats = isinstance(product, FloatProduct)
        _expect(type(bias) is bool and (floats or not bias), f"{name}: bias")
        if isinstance(product, FloatProduct) and bias:
            product.bias = self.tensor(f"{name}.bias", "F32", [outputs])
        real = not isinstance(product, SignProduct) or product.bound is None
        after = self.after(name, self.known(name, layer["activation"], name), outputs, real)
        packed = PackedLayer(name, layer["kind"], product, after, pool, pool_last)
        _expect(flat or math.prod(packed.shape) <= MAX_WIDTH, f"{name}: its outputs are too many")
        return packed

    def lstm(self, layer: dict[str, Any]) -> PackedLSTM:
        """The recurrent layer."""
        name, hidden = layer["name"], _number(layer, "outputs", 1, MAX_WIDTH // 4)
        symbols, gates = _number(layer, "symbols", 1, MAX_WIDTH), 4 * hidden
        levels = _levels(name, layer["input"])
        if levels is None:
            given = FloatColumns(self.tensor(f"{name}.input.weights", "F32", [gates, symbols]))
        else:
            planes = self.planes(f"{name}.input", levels, gates, symbols)
            given = SignColumns(planes, levels, symbols)
        window = Window.whole(hidden, 1, 1)
        recurrent = self.product(
            f"{name}.recurrent", layer["recurrent"], gates, window, None, flat=True
        )
        scales = Gates(
            self.tensor(f"{name}.input.scale", "F32", [gates], [1]),
            self.tensor(f"{name}.input.shift", "F32", [gates]),
            self.tensor(f"{name}.recurrent.scale", "F32", [gates], [1]),
        )
        state = f"{name}.recurrent"
        _expect(layer["activation"] not in tuple(PLAIN), f"{name}: unknown kind of activation")
        known = self.known(name, layer["activation"], state)
        cell = self.thresholds(state, known, hidden, True) if isinstance(known, Codes) else known
        return PackedLSTM(name, given, recurrent, scales, cell)


def _check_thresholds(name: str, levels: np.ndarray, real: bool) -> None:
    """Whether the thresholds of every neuron rise, and those of real sums are numbers."""
    _expect(bool((levels[:-1] <= levels[1:]).all()), f"{name}: not in order")
    if real:
        numbers = (levels >= keys(-_INFINITY)) & (levels <= keys(_INFINITY))
        numbers |= (levels == NEVER) | (levels == ALWAYS)
        _expect(bool(numbers.all()), f"{name}: NaN")


def _check_scheme(name: str, given: dict[str, Any], known: Any) -> None:
    """Whether a scheme is described by its name and plain options, and is one that is known."""
    key, options = given["scheme"], given["options"]
    _expect(
        isinstance(key, str) and isinstance(options, dict) and "name" not in options,
        f"{name}: no scheme is named properly",
    )
    _expect(key in known, f"{name}: no scheme is called {key!r} that packed networks need to know")
    plain = all(isinstance(value, str | int | float | None) for value in options.values())
    _expect(plain, f"{name}: an option of {key} that is no plain value")


def _codes(name: str, given: dict[str, Any]) -> Codes:
    codes, step = given["codes"], given["step"]
    fits = isinstance(codes, list) and 2 <= len(codes) <= 256
    fits = fits and all(_whole(code, -MAX_CODE, MAX_CODE) for code in codes)
    fits = fits and all(a < b for a, b in pairwise(codes))
    fits = fits and type(step) is float and 0 < step < 1e30
    if not fits:
        _refuse(f"{name}: codes or step are out of range")
    return Codes(tuple(codes), step)
