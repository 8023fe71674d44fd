"""The file of a packed network: safetensors, with a description that says everything about it.

Metadata: {"format": "bnnlab-packed", "version": "2", "network": JSON}. The JSON is an object

    {"shape": [1, 28, 28], "input": ACTIVATION, "layers": [...]}

with the shape of a sample ([features] or [channels, height, width]; [] for a text), what is made of
it first ("none", or few values by thresholds), and layers of three kinds:

    {"name": "dense1", "kind": "linear", "outputs": 128, "weights": [-1, 1], "factor": null,
     "bias": false, "activation": {"codes": [-1, 1], "step": 1.0}}
    {"name": "conv1", "kind": "conv", ..., "kernel": [5, 5], "stride": [1, 1], "padding": [2, 2],
     "pool": [2, 2], "pool_last": false}
    {"name": "lstm", "kind": "lstm", "symbols": 96, "outputs": 128, "input": [-1, 1],
     "recurrent": "float", "activation": "none"}

Weights are "float" (which alone may have a bias), or the integers that the patterns of a stored
weight stand for: [-1, 1] for one bit, [0, 0, -1, 1] for sign and mask, 2**k of them for k bits.
"factor" is null, or names the scheme that scales the sums position by position: XNOR-Net's K. An
activation is "none", "relu", "hard_tanh", {"codes": [...], "step": s} for integers times s, or
{"scheme": name, "options": {...}} for the real function of that scheme: the hyperbolic tangent of
bitwise, BitNet's rounding to 127 steps, XNOR-Net's signs times their mean size. Pixels are pooled
("pool", or null) before the activation and what is folded with it, or after it.

"about" may be there or not, and says what a user must know, all of it optional: the "task", the
"classes" by score, and how samples are prepared: "numbers", {"centre": 8, "unit": 8} and perhaps
"low" and "high", where the network takes (number - centre) / unit; or "columns" of a table, such
numbers with a "name" or {"name": ..., "values": [...]} for words, each of which is 1 or 0, with the
name of the "label"; or the "vocabulary" of a text, whose first character stands for all others, and
the "length" of its sequences; or "prepared", in words, where that is left to the user.

Tensors of layer L, words being ceil(n / 32), n the weights of an output in the order height, width,
channel (a dense layer after an image has a window as large as the image):

    L.signs       uint32 (outputs, words)       packed signs: weight j is bit j % 32 of word
                                                j // 32, 1 is +1 (0 where the mask is 0); bits
                                                beyond the last are zero
    L.mask        uint32 (outputs, words)       ternary weights: 0 where the weight is zero
    L.codes       uint32 (k, outputs, words)    instead of L.signs: bit p of each pattern in plane p
    L.weights     float32 (outputs, inputs) or (outputs, channels, height, width)
                                                instead of these, as PyTorch has it; perhaps with
    L.bias        float32 (outputs,)
    L.thresholds  int32 (codes - 1, outputs)    "codes": how many of them the sum reaches is the
                                                place of the code
    L.flip        uint32 (words(outputs),)      bit 1: how many it does not reach
    L.scale       float32 (outputs,) or (1,)    else: sum * scale + shift
    L.shift       float32 (outputs,) or (1,)
    L.activation.NAME                           what the scheme keeps with its activation
    thresholds    int32 (codes - 1,)            of the input

An LSTM has L.input.signs ... L.input.scale and L.input.shift (4 outputs,) for its input matrix, and
L.recurrent.signs ... L.recurrent.scale for the recurrent one, both with four times as many outputs
(gates i, f, g, o); its activation is that of the cells, "none" being the hyperbolic tangent, and
its tensors are L.recurrent.thresholds and so on.

Sums are over integers; the step of the activations before is in the thresholds or the scale that
follow. Thresholds of real sums are float keys: a float's bits as an integer, with all but the sign
inverted where negative, which is the order of the floats. The last activation is "none".
"""

import json
import os
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize

from bnnlab.packed import kernels
from bnnlab.packed.errors import PackedFileError
from bnnlab.packed.files import write_aside
from bnnlab.packed.layers import PackedLayer
from bnnlab.packed.lstm import PackedLSTM
from bnnlab.packed.model import PackedModel
from bnnlab.packed.products import FactoredProduct, FloatProduct
from bnnlab.packed.stages import Affine, Entry, Function, Thresholds

FORMAT, VERSION = "bnnlab-packed", "2"
MAX_HEADER = 2**20  # bytes of description that are read at all


def dump(model: PackedModel) -> bytes:
    """A packed network as the bytes of its file."""
    description = {
        "shape": list(model.shape),
        "input": _entry(model.entry),
        "layers": [_describe(layer) for layer in model.layers],
    }
    if about := model.about.described():
        description["about"] = about
    network = json.dumps(description)
    if len(network) > MAX_HEADER // 2:
        raise ValueError(f"the description takes {len(network):,} bytes; {MAX_HEADER // 2:,} fit")
    return serialize(model.arrays(), {"format": FORMAT, "version": VERSION, "network": network})


def save(model: PackedModel, path: str | os.PathLike[str]) -> None:
    """Write a packed network, aside first and then in one move."""
    write_aside(path, dump(model))


def _weights(product: Any) -> Any:
    return list(product.levels.table) if hasattr(product, "levels") else "float"


def _factor(product: Any) -> Any:
    if not isinstance(product, FactoredProduct):
        return None
    return {"scheme": product.scheme, "options": product.options, "fed": product.fed}


def _activation(after: Any) -> Any:
    if isinstance(after, Thresholds):
        return {"codes": list(after.codes.codes), "step": after.codes.step}
    function = after.function if isinstance(after, Affine) else after
    if isinstance(function, Function):
        return {"scheme": function.scheme, "options": function.options}
    return "none" if function is None else function


def _entry(entry: Entry) -> Any:
    return _activation(entry.after)


def _describe(layer: PackedLayer | PackedLSTM) -> dict[str, Any]:
    described = {"name": layer.name, "kind": layer.kind, "outputs": layer.outputs}
    if isinstance(layer, PackedLSTM):
        return described | {
            "symbols": layer.inputs,
            "input": _weights(layer.given),
            "recurrent": _weights(layer.recurrent),
            "activation": _activation(layer.cell),
        }
    described |= {
        "weights": _weights(layer.product),
        "factor": _factor(layer.product),
        "bias": isinstance(layer.product, FloatProduct) and layer.product.bias is not None,
        "activation": _activation(layer.after),
    }
    if layer.kind == "conv":
        described |= {
            "kernel": list(layer.window.kernel),
            "stride": list(layer.window.stride),
            "padding": list(layer.window.padding),
            "pool": None if layer.pool is None else list(layer.pool),
            "pool_last": layer.pool_last,
        }
    return described


def load(path: str | os.PathLike[str]) -> PackedModel:
    """Read a packed network. Allocates little more than its bits take as the kernels want them.

    Raises:
        PackedFileError: the file is not a packed network, or is damaged; says what and where.
        KernelsMissing: no compiled kernels.
    """
    from bnnlab.packed.reading import Damaged, parsed, read

    kernels.require()
    try:
        parsed("the header", _header(path))
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise Damaged("this is not a packed network of bnnlab")
            version = metadata.get("version")
            if version != VERSION:
                raise Damaged(f"version {version!r} of the format; {VERSION!r} can be read")
            return read(file, metadata.get("network", ""))
    except (SafetensorError, OSError) as error:
        # It may quote the file: nothing of that goes to a terminal as it is.
        what = ascii(str(error))[1:-1]
        raise PackedFileError(f"{path} is not a safetensors file: {what}") from error
    except Damaged as error:
        raise PackedFileError(f"{path}: {error}") from error


def _header(path: str | os.PathLike[str]) -> bytes:
    """What stands before the tensors, of at most `MAX_HEADER` bytes."""
    try:
        with open(path, "rb") as file:
            length = file.read(8)
            size = int.from_bytes(length, "little")
            header = file.read(min(size, MAX_HEADER))
    except OSError as error:
        raise PackedFileError(f"{path} cannot be read: {error.strerror}") from error
    if len(length) < 8:
        raise PackedFileError(f"{path} is no packed network: it has {len(length)} bytes")
    if size > MAX_HEADER:
        raise PackedFileError(f"{path}: a header of {size} bytes; at most {MAX_HEADER} are read")
    if len(header) < size:
        raise PackedFileError(f"{path}: a header of {size} bytes that ends after {len(header)}")
    return header
