"""The file of a packed network: there and back, and what damaged or hostile files do."""

import json
import struct
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import bnnlab
from bnnlab import nn, schemes
from bnnlab.packed import PackedFileError
from bnnlab.packed.about import checked

MUTATIONS = 3000


@pytest.mark.parametrize("scheme", ["full_precision", "bnn", "dorefa", "lat", "lab2", "bitnet"])
@pytest.mark.parametrize("kind", ["mlp", "lenet", "lstm"])
def test_there_and_back(any_network, tmp_path, scheme, kind):
    model, x = any_network(kind, scheme)
    packed = bnnlab.pack(model)
    path = tmp_path / "packed.safetensors"
    packed.save(path)
    loaded = bnnlab.load_packed(path)
    assert repr(loaded) == repr(packed)
    assert np.array_equal(loaded(x), packed(x))
    for name, values in packed.hidden(x).items():
        assert np.array_equal(loaded.hidden(x)[name], values), name
    first, again = parts(packed, tmp_path), parts(loaded, tmp_path)
    assert first[1:] == again[1:]
    assert all(np.array_equal(first[0][key], again[0][key]) for key in first[0] | again[0])
    assert not list(tmp_path.glob(".*"))  # nothing left from writing aside
    with safe_open(path, framework="np") as file:
        stored = sum(file.get_tensor(key).nbytes for key in file.keys())
    assert stored == packed.payload
    header = struct.unpack("<Q", path.read_bytes()[:8])[0]
    assert path.stat().st_size == 8 + header + packed.payload
    assert header < 3000


def test_what_is_known_of_samples_comes_along_and_is_checked(network, tmp_path):
    packed = bnnlab.pack(network("bnn"))
    numbers = {"centre": 8, "unit": 8, "low": 0, "high": 16}
    said = {"task": "digits", "classes": [str(i) for i in range(10)], "numbers": numbers}
    packed.about = checked(said, 64, 10, text=False)
    arrays, metadata, described = parts(packed, tmp_path)
    assert described["about"] == said
    loaded = bnnlab.load_packed(tmp_path / "good.safetensors")
    assert loaded.about == packed.about and loaded.about.numbers.centre == 8
    for wrong in ([], {"classes": ["1"]}, {"odd": 1}, {"numbers": {"centre": 1, "unit": 0}}):
        network_said = json.dumps(described | {"about": wrong})
        save_file(arrays, tmp_path / "bad.safetensors", metadata | {"network": network_said})
        with pytest.raises(PackedFileError, match=r"bad.safetensors: about"):
            bnnlab.load_packed(tmp_path / "bad.safetensors")
    packed.about = checked({"classes": ["x" * 200] * 10, "task": "t"}, 64, 10, text=False)
    packed.about = replace(packed.about, vocabulary="y" * 2**20)
    with pytest.raises(ValueError, match=r"the description takes [\d,]+ bytes; 524,288 fit"):
        packed.save(tmp_path / "large.safetensors")


def test_a_failed_save_leaves_nothing(network, tmp_path):
    with pytest.raises(OSError):
        bnnlab.pack(network("bnn")).save(tmp_path / "nowhere" / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def parts(packed, tmp_path):
    """The arrays, the metadata and the description of a packed network's file."""
    path = tmp_path / "good.safetensors"
    packed.save(path)
    with safe_open(path, framework="np") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}
        metadata = file.metadata()
    return arrays, metadata, json.loads(metadata["network"])


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
    "description of NaN": (entry("network", "NaN"), "no object with shape"),
    "huge number": (entry("network", "[" + "9" * 5000 + "]"), "not JSON"),
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
    "step NaN": (layer("activation", {"codes": [-1, 1], "step": float("nan")}), "out of range"),
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
    "array too many": (extra_array, "no layer has: hidden2.other"),
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
    "thresholds missing": (drop("lstm.recurrent.thresholds"), "thresholds is missing"),
    "scale NaN": (array("lstm.recurrent.scale", lambda a: a * np.nan), "not finite"),
}
GOOD = {
    "mlp": ("bnn", PERCEPTRON, {"width": 40, "depth": 2}),
    "lenet": ("lat", CONVOLUTIONAL, {"pool": "after_activation"}),
    "lstm": ("bnn", RECURRENT, {}),
}


@pytest.mark.parametrize(
    ("kind", "what"), [(kind, what) for kind, (_, corpus, _) in GOOD.items() for what in corpus]
)
def test_malformed_descriptions_and_arrays(network, any_network, tmp_path, kind, what):
    scheme, corpus, options = GOOD[kind]
    change, message = corpus[what]
    if kind == "mlp":
        model = network(scheme, inputs=33, outputs=3, **options)
    else:
        model, _ = any_network(kind, scheme, **options)
    arrays, metadata, described = parts(bnnlab.pack(model), tmp_path)
    change(arrays, metadata, described)
    path = tmp_path / "bad.safetensors"
    if not change.__qualname__.startswith("entry"):
        metadata["network"] = json.dumps(described)
    save_file({key: np.ascontiguousarray(a) for key, a in arrays.items()}, path, metadata)
    with pytest.raises(PackedFileError, match=message):
        bnnlab.load_packed(path)


def raw(header, body=b""):
    return struct.pack("<Q", len(header)) + header + body


RAW = {
    "empty": b"",
    "seven bytes": b"\0" * 7,
    "no header": struct.pack("<Q", 0),
    "header longer than the file": struct.pack("<Q", 1000) + b"{}",
    "header of 2^63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "header of 2^20 + 1 bytes": raw(b" " * (2**20 + 1)),
    "header not JSON": raw(b"hello"),
    "header not UTF-8": raw(b'{"\xff": 1}'),
    "header an array": raw(b"[]"),
    "header too deep": raw(b"[" * 100000),
    "no metadata": raw(b"{}"),
    "offsets beyond the file": raw(
        b'{"a":{"dtype":"F32","shape":[1000],"data_offsets":[0,4000]}}', b"\0" * 8
    ),
    "offsets backwards": raw(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', b"\0" * 4),
    "shape that overflows": raw(
        b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}'
    ),
    "text": b"PK\x03\x04 this is a zip file, or so it says",
    "a pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x93.",
}


@pytest.mark.parametrize("what", RAW)
def test_malformed_containers(tmp_path, what):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(RAW[what])
    with pytest.raises(PackedFileError, match=r"bad\.safetensors"):
        bnnlab.load_packed(path)


def test_what_is_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "missing.safetensors"):
        with pytest.raises(PackedFileError, match="cannot be read"):
            bnnlab.load_packed(path)


def mutate(rng, data):
    """A few bytes changed, cut out, doubled or inserted, mostly near the description."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        reach = len(data) if rng.integers(2) else min(len(data), 1500)
        if reach == 0:
            break
        place = int(rng.integers(reach))
        kind = rng.integers(5)
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[place] = int(rng.choice(list(b'0123456789"[]{},:-.e\0\xff')))
        elif kind == 2:
            del data[place : place + int(rng.integers(1, 40))]
        elif kind == 3:
            piece = data[place : place + int(rng.integers(1, 40))]
            data[place:place] = piece
        else:
            del data[place:]
    return bytes(data)


def test_mutated_files_load_or_are_refused_and_never_take_much_memory(any_network, tmp_path):
    rng = np.random.default_rng(0)
    goods, given = [], []
    for kind, scheme in [
        ("mlp", "bnn"), ("mlp", "dorefa"), ("lenet", "lat"), ("lenet", "bitwise"), ("lstm", "lab2"),
    ]:  # fmt: skip
        model, x = any_network(kind, scheme, samples=5)
        bnnlab.pack(model).save(tmp_path / "good")
        goods.append((tmp_path / "good").read_bytes())
        given.append(x.numpy())
    path, loaded = tmp_path / "mutant.safetensors", 0
    tracemalloc.start()
    try:
        for i in range(MUTATIONS):
            data, x = mutate(rng, goods[i % 5]), given[i % 5]
            path.write_bytes(data)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                model = bnnlab.load_packed(path)
            except PackedFileError:
                model = None
            assert tracemalloc.get_traced_memory()[1] - before < len(data) + 2**20
            if model is not None:
                loaded += 1
                if not model.shape:
                    x = np.minimum(x, model.inputs - 1)
                if x.shape[1:] == (model.inputs,) or not model.shape:
                    assert model(x).shape[0] == 5
    finally:
        tracemalloc.stop()
    assert 0 < loaded < MUTATIONS / 2


def test_loading_takes_the_size_of_the_file_and_little_more(network, tmp_path):
    path = tmp_path / "large.safetensors"
    bnnlab.pack(network("bnn", inputs=784, width=2048, depth=2)).save(path)
    tracemalloc.start()
    try:
        model = bnnlab.load_packed(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert model.nbytes < 1.02 * path.stat().st_size
    # The rows of one layer stand beside its panels for a moment.
    assert peak < 2 * path.stat().st_size + 2**20


@pytest.mark.parametrize("scheme", ["bnn", "lat"])
def test_so_does_loading_a_convolutional_network(tmp_path, scheme):
    path = tmp_path / "large.safetensors"
    model = nn.VGG((3, 32, 32), 10, width_factor=0.5, scheme=schemes.get(scheme))
    bnnlab.pack(model).save(path)
    tracemalloc.start()
    try:
        loaded = bnnlab.load_packed(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert loaded.nbytes < 1.1 * path.stat().st_size
    assert peak < 3 * path.stat().st_size + 2**21
