"""The file of a packed network: safetensors, with a description that says everything about it.

Metadata: {"format": "bnnlab-packed", "version": "1", "network": JSON}. The JSON is a list of layers

    {"name": "hidden1", "inputs": 64, "outputs": 128, "weights": "signs", "bias": false,
     "activation": "sign"}

with weights "signs" or "float" (which alone may have a bias), activation "none", "relu", "sign" or
"codes" (then with "bits", 1 to 8). Tensors of layer L, words being ceil(n / 32):

    L.signs       uint32 (outputs, words(inputs))  packed signs: input j is bit j % 32 of word
                                                   j // 32, 1 is +1; bits beyond are zero
    L.weights     float32 (outputs, inputs)        instead of L.signs; perhaps with
    L.bias        float32 (outputs,)
    L.thresholds  int32 (2**bits - 1, outputs)     "sign" (one bit) and "codes": how many of them
                                                   the sum reaches is the code
    L.flip        uint32 (words(outputs),)         bit 1: how many it does not reach
    L.scale       float32 (outputs,) or (1,)       "none" and "relu": sum * scale + shift
    L.shift       float32 (outputs,) or (1,)

A layer's inputs are the activations of the one before: "sign" codes 0 and 1 stand for -1 and +1;
"codes" are multiplied as integers (the division by 2**bits - 1 is in the thresholds that follow).
Thresholds of a layer with real inputs are float keys: a float's bits as an integer, with all but
the sign inverted where negative, which is the order of the floats. The first layer's inputs are
real, and the last activation is "none".
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize

from bnnlab.packed import kernels
from bnnlab.packed.errors import PackedFileError
from bnnlab.packed.layers import (
    Affine,
    FloatProduct,
    Input,
    PackedLayer,
    SignProduct,
    Thresholds,
)
from bnnlab.packed.model import PackedModel
from bnnlab.packed.packing import tail_is_clear

FORMAT, VERSION = "bnnlab-packed", "1"
MAX_HEADER = 2**20  # bytes of description that are read at all
MAX_LAYERS = 256
MAX_WIDTH = 2**20  # features of a layer

_KEYS = {"name", "inputs", "outputs", "weights", "bias", "activation"}
_DTYPES = {"F32": np.float32, "I32": np.int32, "U32": np.uint32}


def dump(model: PackedModel) -> bytes:
    """A packed network as the bytes of its file."""
    arrays = {
        f"{layer.name}.{key}": array
        for layer in model.layers
        for key, array in layer.arrays().items()
    }
    network = json.dumps([_describe(layer) for layer in model.layers])
    return serialize(arrays, {"format": FORMAT, "version": VERSION, "network": network})


def save(model: PackedModel, path: str | os.PathLike[str]) -> None:
    """Write a packed network, aside first and then in one move."""
    aside = Path(path).with_name(f".{Path(path).name}.{os.getpid()}")
    try:
        aside.write_bytes(dump(model))
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _describe(layer: PackedLayer) -> dict[str, Any]:
    floats = isinstance(layer.product, FloatProduct)
    described = {
        "name": layer.name,
        "inputs": layer.inputs,
        "outputs": layer.outputs,
        "weights": "float" if floats else "signs",
        "bias": "bias" in layer.product.arrays(),
    }
    if isinstance(layer.after, Affine):
        return described | {"activation": "relu" if layer.after.relu else "none"}
    if layer.after.signs:
        return described | {"activation": "sign"}
    return described | {"activation": "codes", "bits": len(layer.after.levels).bit_length()}


def load(path: str | os.PathLike[str]) -> PackedModel:
    """Read a packed network. Allocates no more than the file's size and a little.

    Raises:
        PackedFileError: the file is not a packed network, or is damaged; says what and where.
        KernelsMissing: no compiled kernels.
    """
    kernels.require()
    try:
        with open(path, "rb") as file:
            header = int.from_bytes(file.read(8), "little")
    except OSError as error:
        raise PackedFileError(f"{path} cannot be read: {error.strerror}") from error
    if header > MAX_HEADER:
        raise PackedFileError(f"{path}: a header of {header} bytes; at most {MAX_HEADER} are read")
    try:
        with safe_open(path, framework="np") as file:
            return PackedModel(list(_layers(file)))
    except (SafetensorError, OSError) as error:
        raise PackedFileError(f"{path} is not a safetensors file: {error}") from error
    except _Damaged as error:
        raise PackedFileError(f"{path}: {error}") from error


class _Damaged(Exception):
    """What is wrong with a file whose name the caller adds."""


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise _Damaged(what)


def _described(file: Any) -> list[dict[str, Any]]:
    """The checked list of layers: types, ranges and the fit of each with the one before."""
    metadata = file.metadata() or {}
    _expect(metadata.get("format") == FORMAT, "this is not a packed network of bnnlab")
    version = metadata.get("version")
    _expect(version == VERSION, f"version {version!r} of the format; {VERSION!r} can be read")
    try:
        layers = json.loads(metadata.get("network", ""))
    except (ValueError, RecursionError) as error:
        raise _Damaged(f"the description is not JSON: {error}") from error
    _expect(isinstance(layers, list) and 1 <= len(layers) <= MAX_LAYERS, "no list of layers")
    names = set()
    for i, layer in enumerate(layers):
        _expect(isinstance(layer, dict), f"layer {i} is not described by an object")
        codes = layer.get("activation") == "codes"
        _expect(set(layer) == _KEYS | ({"bits"} if codes else set()), f"layer {i}: odd keys")
        name = layer["name"]
        _expect(
            isinstance(name, str) and re.fullmatch(r"\w{1,64}", name, re.ASCII) is not None,
            f"layer {i} has no proper name",
        )
        _expect(name not in names, f"two layers are called {name}")
        names.add(name)
        for key, low, high in [
            ("inputs", 1, MAX_WIDTH),
            ("outputs", 1, MAX_WIDTH),
            *([("bits", 1, 8)] if codes else []),
        ]:
            value = layer[key]
            _expect(type(value) is int and low <= value <= high, f"{name}: {key} is out of range")
        _expect(layer["weights"] in ("signs", "float"), f"{name}: unknown kind of weights")
        _expect(layer["activation"] in ("none", "relu", "sign", "codes"), f"{name}: activation")
        floats = layer["weights"] == "float"
        _expect(type(layer["bias"]) is bool and (floats or not layer["bias"]), f"{name}: bias")
        if i > 0:
            before = layers[i - 1]
            _expect(layer["inputs"] == before["outputs"], f"{name} does not fit the layer before")
            real = before["activation"] == "relu"
            _expect(real or not floats, f"{name}: real weights after quantized activations")
        last = i == len(layers) - 1
        _expect((layer["activation"] == "none") == last, f"{name}: its activation is out of place")
    return layers


def _tensors(layer: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """The tensors that a described layer must have: type, then the shapes that are allowed."""
    inputs, outputs = layer["inputs"], layer["outputs"]
    tensors: dict[str, tuple[Any, ...]] = {}
    if layer["weights"] == "float":
        tensors["weights"] = ("F32", [outputs, inputs])
        if layer["bias"]:
            tensors["bias"] = ("F32", [outputs])
    else:
        tensors["signs"] = ("U32", [outputs, kernels.words(inputs)])
    if layer["activation"] in ("sign", "codes"):
        tensors["thresholds"] = ("I32", [2 ** layer.get("bits", 1) - 1, outputs])
        tensors["flip"] = ("U32", [kernels.words(outputs)])
    else:
        tensors["scale"] = tensors["shift"] = ("F32", [outputs], [1])
    return tensors


def _layers(file: Any) -> Iterator[PackedLayer]:
    layers = _described(file)
    wanted = {f"{layer['name']}.{key}" for layer in layers for key in _tensors(layer)}
    _expect(set(file.keys()) == wanted, "its tensors are not those of its description")
    kind: Input = "real"
    for layer in layers:
        name, after = layer["name"], layer["activation"]
        arrays = {
            key: _read(file, f"{name}.{key}", *allowed) for key, allowed in _tensors(layer).items()
        }
        if "signs" in arrays:
            _expect(tail_is_clear(arrays["signs"], layer["inputs"]), f"{name}: bits beyond the end")
            product = SignProduct(arrays["signs"], layer["inputs"], kind)
        else:
            product = FloatProduct(arrays["weights"], arrays.get("bias"))
        if "thresholds" in arrays:
            _expect(tail_is_clear(arrays["flip"], layer["outputs"]), f"{name}: bits beyond the end")
            stage = Thresholds(arrays["thresholds"], arrays["flip"], after == "sign")
        else:
            stage = Affine(arrays["scale"], arrays["shift"], after == "relu")
        yield PackedLayer(name, layer["inputs"], product, stage)
        kind = "signs" if after == "sign" else "codes" if after == "codes" else "real"


def _read(file: Any, name: str, dtype: str, *shapes: list[int]) -> np.ndarray:
    """One tensor, its type and shape compared before anything is allocated."""
    stored = file.get_slice(name)
    has, shape = stored.get_dtype(), list(stored.get_shape())
    _expect(has == dtype and shape in shapes, f"{name} is {has} {shape}, not {dtype} {shapes[0]}")
    array = np.ascontiguousarray(file.get_tensor(name), _DTYPES[dtype])
    _expect(dtype != "F32" or bool(np.isfinite(array).all()), f"{name}: not finite")
    return array
