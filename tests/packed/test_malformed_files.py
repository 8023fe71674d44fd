"""A named corpus of malformed files: for each way a file can be wrong, how it is made from a good
one, and what the error must say, whoever reads it.

A crash or an error of another type that random changes find (tests/packed/attack.py) gets a name
here.
"""

import json
import struct

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.numpy import save

import bnnlab
from bnnlab.cli import main
from bnnlab.packed import PackedFileError
from bnnlab.packed.format import dump
from bnnlab.packed.packing import keys

# Parts of a file, each changed in place: its arrays, its metadata, the network they describe.


def layer(key, value, index=0):
    def change(arrays, metadata, network):
        network["layers"][index][key] = value

    return change


def top(key, value):
    def change(arrays, metadata, network):
        network[key] = value

    return change


def array(name, change_array):
    def change(arrays, metadata, network):
        arrays[name] = change_array(arrays[name])

    return change


def entry(key, value):
    def change(arrays, metadata, network):
        metadata[key] = value

    return change


def with_element(array, value):
    array = array.copy()
    array.flat[-1] = value
    return array


def disordered(name):
    """The highest threshold of a neuron first."""
    return array(name, lambda levels: np.sort(levels, 0)[::-1])


def threshold(name, number):
    """A threshold that is another number, as the key of a float."""
    return array(name, lambda levels: np.full_like(levels, keys(np.array(number, np.float32))))


def drop_array(arrays, metadata, network):
    del arrays["hidden2.flip"]


def drop(name):
    def change(arrays, metadata, network):
        del arrays[name]

    return change


def second_lstm(arrays, metadata, network):
    network["layers"][1] = network["layers"][0] | {"name": "other"}


def alone(arrays, metadata, network):
    del network["layers"][1]


def extra_array(arrays, metadata, network):
    arrays["hidden2.other"] = np.zeros(1, np.float32)


def same_names(arrays, metadata, network):
    network["layers"][1]["name"] = network["layers"][0]["name"]


def no_layers(arrays, metadata, network):
    network["layers"].clear()


def missing_key(arrays, metadata, network):
    del network["layers"][0]["bias"]


def not_an_object(arrays, metadata, network):
    network["layers"][0] = "hidden1"


CODES = {"codes": [0, 1, 2, 3], "step": 0.25}
LAB = {"granularity": "layer"}

# For each network: what is wrong, how to make it from a good file, what the error says.
# 33 -> 40 -> 40 -> 3 with signs:
PERCEPTRON = {
    "another format": (entry("format", "other"), "not a packed network"),
    "an earlier version": (entry("version", "1"), "version '1' of the format"),
    "description not JSON": (entry("network", "{"), "not JSON"),
    "description too deep": (entry("network", "[" * 100000), "not JSON"),
    "description a number": (entry("network", "7"), "no object with shape"),
    "description of NaN": (entry("network", "NaN"), "NaN is no number"),
    "huge number": (entry("network", "[" + "9" * 5000 + "]"), "not JSON"),
    "description with a key twice": (
        entry("network", '{"shape": [1], "shape": [2]}'),
        "a key twice",
    ),
    "description not closed": (entry("network", '{"shape": [33], "layers": ['), "not JSON"),
    "description of NaN among others": (top("shape", [float("nan")]), "NaN is no number"),
    "description of infinity": (top("shape", [float("inf")]), "Infinity is no number"),
    "description of more": (top("run", "rm"), "no object with shape"),
    "no layers": (no_layers, "no list of layers"),
    "layers not a list": (top("layers", {"hidden1": 1}), "no list of layers"),
    "too many layers": (top("layers", [{}] * 257), "no list of layers"),
    "shape not a list": (top("shape", 33), "shape of a sample"),
    "shape of a plane": (top("shape", [3, 11]), "shape of a sample"),
    "shape of nothing": (top("shape", [0]), "shape of a sample"),
    "shape enormous": (top("shape", [2**62]), "shape of a sample"),
    "shape a fraction": (top("shape", [33.0]), "shape of a sample"),
    "shape of a text": (top("shape", []), "first layer does not fit"),
    "shape of other samples": (top("shape", [65]), "hidden1.signs is U32"),
    "input rectified": (top("input", "relu"), "unknown kind of input"),
    "input of codes without thresholds": (top("input", CODES), "thresholds is missing"),
    "layer not an object": (not_an_object, "layer 0 is not described"),
    "layer without a key": (missing_key, "layer 0: odd keys"),
    "unknown key": (layer("run", "rm"), "layer 0: odd keys"),
    "unknown kind": (layer("kind", "attention"), "layer 0: unknown kind of layer"),
    "kind a list": (layer("kind", []), "layer 0: unknown kind of layer"),
    "another kind": (layer("kind", "conv"), "layer 0: odd keys"),
    "name not a string": (layer("name", 3), "no proper name"),
    "name a path": (layer("name", "../x"), "no proper name"),
    "name twice": (same_names, "two layers are called hidden1"),
    "outputs negative": (layer("outputs", -1), "outputs is out of range"),
    "outputs true": (layer("outputs", True), "outputs is out of range"),
    "outputs enormous": (layer("outputs", 2**62), "outputs is out of range"),
    "outputs do not fit": (layer("outputs", 41), "hidden1.signs is U32"),
    "unknown weights": (layer("weights", "ternary"), "unknown kind of weights"),
    "three levels": (layer("weights", [-1, 0, 1]), "unknown kind of weights"),
    "levels not whole": (layer("weights", [-1, 0.5]), "unknown kind of weights"),
    "levels enormous": (layer("weights", [-(2**40), 2**40]), "unknown kind of weights"),
    "ternary without a mask": (layer("weights", [0, 0, -1, 1]), "hidden1.mask is missing"),
    "codes instead of signs": (layer("weights", [0, 1, 2, 3]), "hidden1.codes is missing"),
    "bias beside signs": (layer("bias", True), "hidden1: bias"),
    "factor a number": (layer("factor", 3), "hidden1: factor"),
    "factor after bits": (
        layer("factor", {"scheme": "lab", "options": LAB, "fed": "activation"}, 1),
        "hidden2: factor",
    ),
    "factor of nobody": (
        layer("factor", {"scheme": "nobody", "options": {}, "fed": None}),
        "hidden1: no scheme is called 'nobody'",
    ),
    "unknown activation": (layer("activation", "tanh"), "hidden1: unknown kind of activation"),
    "activation of more": (
        layer("activation", CODES | {"run": 1}),
        "hidden1: unknown kind of activation",
    ),
    "no codes": (layer("activation", {"codes": [], "step": 1.0}), "out of range"),
    "one code": (layer("activation", {"codes": [1], "step": 1.0}), "out of range"),
    "codes in disorder": (layer("activation", {"codes": [1, -1], "step": 1.0}), "out of range"),
    "codes twice": (layer("activation", {"codes": [1, 1], "step": 1.0}), "out of range"),
    "codes of many": (
        layer("activation", {"codes": list(range(257)), "step": 1.0}),
        "out of range",
    ),
    "step zero": (layer("activation", {"codes": [-1, 1], "step": 0.0}), "out of range"),
    "step NaN": (layer("activation", {"codes": [-1, 1], "step": float("nan")}), "NaN is no number"),
    "step whole": (layer("activation", {"codes": [-1, 1], "step": 1}), "out of range"),
    "more codes than thresholds": (layer("activation", CODES), "hidden1.thresholds is I32"),
    "a scheme nobody knows": (
        layer("activation", {"scheme": "nobody", "options": {}}),
        "hidden1: no scheme is called 'nobody'",
    ),
    "a scheme that is a path": (
        layer("activation", {"scheme": "../lab", "options": {}}),
        "hidden1: no scheme is called",
    ),
    "an option that is a list": (
        layer("activation", {"scheme": "bitnet", "options": {"run": ["rm"]}}),
        "hidden1: an option of bitnet that is no plain value",
    ),
    "an option twice": (
        layer("activation", {"scheme": "lab", "options": {"name": "bnn"}}),
        "hidden1: no scheme is named properly",
    ),
    "scores in the middle": (layer("activation", "none"), "out of place"),
    "no scores at the end": (layer("activation", "relu", 2), "out of place"),
    "array missing": (drop_array, "hidden2.flip is missing"),
    "array too many": (extra_array, "no layer has: ['hidden2.other']"),
    "array of another type": (array("hidden1.signs", lambda a: a.view(np.int32)), "is I32"),
    "array of another shape": (array("hidden1.signs", np.transpose), "hidden1.signs is U32"),
    "array of 64 bits": (array("output.scale", np.float64), "output.scale is F64"),
    "signs beyond the end": (array("hidden1.signs", lambda a: a | 4), "bits beyond the end"),
    "flips beyond the end": (array("hidden1.flip", lambda a: a | 2**31), "bits beyond the end"),
    "scale NaN": (array("output.scale", lambda a: with_element(a, np.nan)), "not finite"),
    "shift infinite": (array("output.shift", lambda a: with_element(a, np.inf)), "not finite"),
}
# Images of 2 x 10 x 9, two ternary convolutions of 5 x 5, each pooled, two dense layers:
CONVOLUTIONAL = {
    "kernel not a pair": (layer("kernel", [5]), "conv1: kernel is out of range"),
    "kernel zero": (layer("kernel", [0, 5]), "conv1: kernel is out of range"),
    "kernel enormous": (layer("kernel", [5, 2**40]), "conv1: kernel is out of range"),
    "kernel of another size": (layer("kernel", [3, 3]), "conv1.signs is U32"),
    "kernel beyond the image": (layer("kernel", [64, 64]), "window does not fit"),
    "stride zero": (layer("stride", [1, 0]), "conv1: stride is out of range"),
    "stride true": (layer("stride", [True, 1]), "conv1: stride is out of range"),
    "stride that changes what follows": (layer("stride", [2, 2], 1), "dense1.signs is U32"),
    "padding negative": (layer("padding", [-1, 2]), "conv1: padding is out of range"),
    "padding of a whole window": (layer("padding", [5, 5]), "window does not fit"),
    "padding enormous": (layer("padding", [2**40, 2]), "conv1: padding is out of range"),
    "pool zero": (layer("pool", [0, 2]), "conv1: pool is out of range"),
    "pool beyond the image": (layer("pool", [11, 2]), "conv1: pool is out of range"),
    "pool a number": (layer("pool", 2), "conv1: pool is out of range"),
    "pool_last a number": (layer("pool_last", 1), "conv1: pool_last"),
    "nothing to pool last": (layer("pool", None), "conv1: pool_last"),
    "samples that are no images": (top("shape", [180]), "conv1: a convolution takes images"),
    "other images": (top("shape", [3, 10, 9]), "conv1.signs is U32"),
    "images enormous": (top("shape", [1, 2**20, 2]), "shape of a sample"),
    "images too many": (top("shape", [2**12, 2**12, 2**12]), "shape of a sample"),
    "mask missing": (drop("conv2.mask"), "conv2.mask is missing"),
    "signs of zeros": (array("conv2.mask", lambda a: a * 0), "conv2: signs of weights"),
    "mask beyond the end": (array("conv1.mask", lambda a: a | 2**31), "bits beyond the end"),
    "a dense layer before": (layer("kind", "linear"), "layer 0: odd keys"),
}
# 37 symbols, 21 cells with signs, 37 scores:
RECURRENT = {
    "an image": (top("shape", [1, 8, 8]), "first layer does not fit"),
    "input of codes": (top("input", CODES), "unknown kind of input"),
    "symbols of another number": (layer("symbols", 65), "lstm.input.signs is U32"),
    "symbols zero": (layer("symbols", 0), "lstm: symbols is out of range"),
    "cells of another number": (layer("outputs", 20), "lstm.input.signs is U32"),
    "cells enormous": (layer("outputs", 2**19), "lstm: outputs is out of range"),
    "unknown weights": (layer("input", [1]), "unknown kind of weights"),
    "unknown recurrent weights": (layer("recurrent", None), "unknown kind of weights"),
    "cells rectified": (layer("activation", "relu"), "lstm: unknown kind of activation"),
    "a second one": (second_lstm, "an LSTM stands first"),
    "nothing after it": (alone, "an LSTM stands first"),
    "shift of one number": (array("lstm.input.shift", lambda a: a[:1]), "lstm.input.shift is F32"),
    "scale of two numbers": (
        array("lstm.input.scale", lambda a: np.ones(2, np.float32)),
        "lstm.input.scale is F32",
    ),
    "thresholds NaN": (threshold("lstm.recurrent.thresholds", np.nan), "thresholds: NaN"),
    "thresholds missing": (drop("lstm.recurrent.thresholds"), "thresholds is missing"),
    "scale NaN": (array("lstm.recurrent.scale", lambda a: a * np.nan), "not finite"),
}
GOOD = {
    "mlp": ("bnn", PERCEPTRON, {"width": 40, "depth": 2}),
    "lenet": ("lat", CONVOLUTIONAL, {"pool": "after_activation"}),
    "lstm": ("bnn", RECURRENT, {}),
}


XNOR = {"scheme": "xnor_net", "options": {}, "fed": "activation"}
# Two convolutions, two dense layers, real first and last weights, activations of 2 bits:
QUANTIZED = {
    "thresholds in disorder": (
        disordered("conv2.thresholds"),
        "conv2.thresholds: not in order",
    ),
    "real thresholds in disorder": (
        disordered("conv1.thresholds"),
        "conv1.thresholds: not in order",
    ),
    "thresholds NaN": (threshold("conv1.thresholds", np.nan), "conv1.thresholds: NaN"),
    "thresholds -NaN": (threshold("conv1.thresholds", -np.nan), "conv1.thresholds: NaN"),
    "thresholds too few": (
        array("conv2.thresholds", lambda a: a[:2]),
        "conv2.thresholds is I32",
    ),
    "weights NaN": (array("output.weights", lambda a: with_element(a, np.nan)), "not finite"),
    "weights of signs": (layer("weights", [-1, 1]), "conv1.signs is missing"),
    "a bias that is not there": (layer("bias", True), "conv1.bias is missing"),
    "factor of real weights": (layer("factor", XNOR, 3), "output: factor"),
}
# 64 -> 70 -> 70 -> 10 with signs everywhere, of the inputs too:
ENTRY = {
    "thresholds of the input NaN": (threshold("thresholds", np.nan), "thresholds: NaN"),
    "thresholds of the input missing": (drop("thresholds"), "thresholds is missing"),
    "more codes of the input": (top("input", CODES), "thresholds is I32 [1], not I32 [3]"),
    "no codes of the input": (top("input", "none"), "no layer has: ['thresholds']"),
}
# The same with XNOR-Net's K between them:
SCALED = {
    "factor without options": (layer("factor", {"scheme": "xnor_net"}, 1), "hidden2: factor"),
    "factor of something else": (layer("factor", XNOR | {"fed": "x"}, 1), "hidden2: factor"),
    "factor of codes": (layer("factor", XNOR, 2), "output: factor"),
}
# The bytes of a file, of which the header comes apart: it, and what follows.


def container(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def header(change):
    """Change the header, as an object."""

    def build(good):
        size = struct.unpack("<Q", good[:8])[0]
        found = json.loads(good[8 : 8 + size])
        change(found)
        return container(found, good[8 + size :])

    return build


def text(change):
    """Change the header, as text."""

    def build(good):
        size = struct.unpack("<Q", good[:8])[0]
        return container(change(good[8 : 8 + size]), good[8 + size :])

    return build


def tensor(key, value, name="hidden1.signs"):
    """Say something else of a tensor."""
    return header(lambda found: found[name].__setitem__(key, value))


def moved(found):
    begin, end = found["hidden1.signs"]["data_offsets"]
    found["hidden1.signs"]["data_offsets"] = [begin - 4, end - 4]


def same_place(found):
    found["hidden1.flip"]["data_offsets"] = found["hidden2.flip"]["data_offsets"]


def twice(data):
    return b"{" + data[1:-1] + b", " + data[1:]


def tensor_twice(data):
    name = b'"hidden1.flip":'
    return data.replace(name, name + b'{"dtype":"U32","shape":[2],"data_offsets":[0,8]},' + name)


JSON = "invalid JSON in header"
# From the file of the perceptron above:
CONTAINERS = {
    "empty": (lambda good: b"", "it has 0 bytes"),
    "seven bytes": (lambda good: b"\0" * 7, "it has 7 bytes"),
    "no header": (lambda good: struct.pack("<Q", 0), "the header is not JSON"),
    "header longer than the file": (lambda good: container(b"{}")[:9], "bytes that ends after"),
    "header cut off": (lambda good: good[:300], "bytes that ends after"),
    "header of 2^63 bytes": (
        lambda good: struct.pack("<Q", 2**63) + b"{}", "a header of 9223372036854775808 bytes"
    ),
    "header of 2^20 + 1 bytes": (
        lambda good: container(b" " * (2**20 + 1)), "a header of 1048577 bytes"
    ),
    "header not JSON": (lambda good: container(b"hello"), "the header is not JSON"),
    "header not UTF-8": (
        text(lambda data: data.replace(b"hidden1", b"hidd\xffn1")), "is not JSON: 'utf-8'"
    ),
    "header with an escape sequence": (
        text(lambda data: data.replace(b"U32", b"\\u001b[2J")), r"\x1b[2J"
    ),
    "header an array": (lambda good: container(b"[]"), JSON),
    "header too deep": (lambda good: container(b"[" * 100000), "the header is not JSON"),
    "header twice": (text(twice), "the header has a key twice"),
    "a tensor twice": (text(tensor_twice), "the header has a key twice"),
    "no metadata": (header(lambda found: found.pop("__metadata__")), "not a packed network"),
    "metadata a number": (header(lambda found: found.update(__metadata__=1)), JSON),
    "a version of numbers": (
        header(lambda found: found["__metadata__"].update(version=2)), "expected a string"
    ),
    "no version": (
        header(lambda found: found["__metadata__"].pop("version")), "version None of the format"
    ),
    "no description": (
        header(lambda found: found["__metadata__"].pop("network")), "description is not JSON"
    ),
    "tensors cut off": (lambda good: good[:-4], "file not fully covered"),
    "tensors followed by more": (lambda good: good + b"1234", "file not fully covered"),
    "no tensors": (
        lambda good: good[: 8 + struct.unpack("<Q", good[:8])[0]], "file not fully covered"
    ),
    "tensors that overlap": (header(moved), "invalid offset for tensor `hidden1.signs`"),
    "tensors in the same place": (header(same_place), "invalid offset for tensor `hidden"),
    "offsets beyond the file": (tensor("data_offsets", [92, 2**40]), "`hidden1.signs`"),
    "offsets beyond 64 bits": (tensor("data_offsets", [92, 2**64]), JSON),
    "offsets backwards": (tensor("data_offsets", [652, 92]), "invalid offset for tensor"),
    "offsets negative": (tensor("data_offsets", [-4, 92]), "integer `-4`"),
    "no offsets": (header(lambda found: found["hidden1.flip"].pop("data_offsets")), "data_offsets"),
    "shape negative": (tensor("shape", [-40, -2]), "integer `-40`"),
    "shape enormous": (tensor("shape", [2**40, 2]), "invalid shape"),
    "shape that overflows": (tensor("shape", [2**32, 2**32]), "overflow computing buffer size"),
    "shape that overflows to nothing": (
        tensor("shape", [2**32, 2**32, 0]), "overflow computing buffer size"
    ),
    "shape beyond 64 bits": (tensor("shape", [2**64]), JSON),
    "shape a number": (tensor("shape", 80), JSON),
    "a type that nobody knows": (tensor("dtype", "U33"), "unknown variant `U33`"),
    "a type of half the size": (tensor("dtype", "F16"), "invalid shape, data type, or offset"),
    "a type of the same size": (tensor("dtype", "F32"), "hidden1.signs is F32"),
    "a zip file": (lambda good: b"PK\x03\x04 this is a zip file, or so it says", "header of"),
    "a pickle": (lambda good: b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x02os\x94\x93.", "header of"),
}  # fmt: skip


def parts(data, tmp_path):
    """The arrays and the metadata of a good file."""
    path = tmp_path / "good.safetensors"
    path.write_bytes(data)
    with safe_open(path, framework="np") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()


def rebuilt(change, data, tmp_path):
    """The bytes of a file with other parts."""
    arrays, metadata = parts(data, tmp_path)
    described = json.loads(metadata["network"])
    change(arrays, metadata, described)
    if not change.__qualname__.startswith("entry"):
        metadata["network"] = json.dumps(described)
    return save({key: np.ascontiguousarray(a) for key, a in arrays.items()}, metadata)


GOOD = {
    "perceptron": ("bnn", "mlp", {"width": 40, "depth": 2}),
    "convolutional": ("lat", "lenet", {"pool": "after_activation"}),
    "recurrent": ("bnn", "lstm", {}),
    "quantized": ("dorefa", "lenet", {}),
    "entry": ("bitwise", "mlp", {}),
    "scaled": ("xnor_net", "mlp", {}),
}
CORPUS = {
    f"{base}: {what}": (base, change, message)
    for base, cases in [
        ("perceptron", PERCEPTRON), ("convolutional", CONVOLUTIONAL), ("recurrent", RECURRENT),
        ("quantized", QUANTIZED), ("entry", ENTRY), ("scaled", SCALED), ("container", CONTAINERS),
    ]
    for what, (change, message) in cases.items()
}  # fmt: skip


@pytest.fixture(scope="module")
def good(network, any_network):
    """The bytes of a good file of each kind."""
    made = {}
    for base, (scheme, kind, options) in GOOD.items():
        if base == "perceptron":
            model = network(scheme, inputs=33, outputs=3, **options)
        else:
            model, _ = any_network(kind, scheme, **options)
        made[base] = dump(bnnlab.pack(model))
    return made


@pytest.mark.parametrize("name", CORPUS)
def test_it_is_refused_in_words_that_say_what_is_wrong(good, tmp_path, name):
    base, change, message = CORPUS[name]
    bad = (
        change(good["perceptron"]) if base == "container" else rebuilt(change, good[base], tmp_path)
    )
    path, samples = tmp_path / "bad.safetensors", tmp_path / "x.csv"
    path.write_bytes(bad)
    samples.write_text("1,2\n3,4\n")
    with pytest.raises(PackedFileError) as refused:
        bnnlab.load_packed(path)
    assert "bad.safetensors" in str(refused.value) and message in str(refused.value)
    said = CliRunner().invoke(main, ["predict", str(path), str(samples)])
    assert (said.exit_code, type(said.exception)) == (2, SystemExit)
    assert message in said.output


@pytest.mark.parametrize("base", GOOD)
def test_what_it_is_made_from_is_sound(good, tmp_path, base):
    for data in (good[base], rebuilt(lambda *parts: None, good[base], tmp_path)):
        (tmp_path / "good.safetensors").write_bytes(data)
        bnnlab.load_packed(tmp_path / "good.safetensors")
