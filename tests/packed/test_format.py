"""The file of a packed network: there and back, and what damaged or hostile files do."""

import json
import struct
import tracemalloc

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import bnnlab
from bnnlab.packed import PackedFileError

MUTATIONS = 3000


@pytest.mark.parametrize("scheme", ["full_precision", "bnn", "dorefa", "lab", "lab2", "bwn"])
@pytest.mark.parametrize("batch_norm", ["on", "off", "shift"])
def test_there_and_back(network, grid, tmp_path, scheme, batch_norm):
    packed = bnnlab.pack(network(scheme, width=40, batch_norm=batch_norm))
    path = tmp_path / "packed.safetensors"
    packed.save(path)
    loaded = bnnlab.load_packed(path)
    x = grid(50, 64)
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
        network[index][key] = value

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


def extra_array(arrays, metadata, network):
    arrays["hidden2.other"] = np.zeros(1, np.float32)


def same_names(arrays, metadata, network):
    network[1]["name"] = network[0]["name"]


def no_layers(arrays, metadata, network):
    network.clear()


def missing_key(arrays, metadata, network):
    del network[0]["bias"]


def not_an_object(arrays, metadata, network):
    network[0] = "hidden1"


# What is wrong, how to make it from a good file (33 -> 40 -> 40 -> 3, bnn), what the error says.
CORPUS = {
    "another format": (entry("format", "other"), "not a packed network"),
    "a later version": (entry("version", "2"), "version '2' of the format"),
    "description not JSON": (entry("network", "{"), "not JSON"),
    "description too deep": (entry("network", "[" * 100000), "not JSON"),
    "description a number": (entry("network", "7"), "no list of layers"),
    "description of NaN": (entry("network", "NaN"), "no list of layers"),
    "huge number": (entry("network", "[" + "9" * 5000 + "]"), "not JSON"),
    "no layers": (no_layers, "no list of layers"),
    "too many layers": (entry("network", json.dumps([{}] * 257)), "no list of layers"),
    "layer not an object": (not_an_object, "layer 0 is not described"),
    "layer without a key": (missing_key, "layer 0: odd keys"),
    "unknown key": (layer("run", "rm"), "layer 0: odd keys"),
    "name not a string": (layer("name", 3), "no proper name"),
    "name a path": (layer("name", "../x"), "no proper name"),
    "name twice": (same_names, "two layers are called hidden1"),
    "inputs negative": (layer("inputs", -1), "inputs is out of range"),
    "inputs a fraction": (layer("inputs", 33.0), "inputs is out of range"),
    "inputs true": (layer("inputs", True), "inputs is out of range"),
    "inputs enormous": (layer("inputs", 2**62), "inputs is out of range"),
    "outputs do not fit": (layer("outputs", 41), "hidden2 does not fit"),
    "inputs do not fit arrays": (layer("inputs", 65), "hidden1.signs is U32"),
    "unknown weights": (layer("weights", "ternary"), "unknown kind of weights"),
    "bias beside signs": (layer("bias", True), "hidden1: bias"),
    "unknown activation": (layer("activation", "tanh"), "hidden1: activation"),
    "bits without codes": (layer("bits", 2), "odd keys"),
    "codes without bits": (layer("activation", "codes"), "odd keys"),
    "scores in the middle": (layer("activation", "none"), "out of place"),
    "no scores at the end": (layer("activation", "relu", 2), "out of place"),
    "real weights after bits": (layer("weights", "float", 1), "real weights after quantized"),
    "array missing": (drop_array, "tensors are not those"),
    "array too many": (extra_array, "tensors are not those"),
    "array of another type": (array("hidden1.signs", lambda a: a.view(np.int32)), "is I32"),
    "array of another shape": (array("hidden1.signs", np.transpose), "hidden1.signs is U32"),
    "array of 64 bits": (array("output.scale", np.float64), "output.scale is F64"),
    "signs beyond the end": (array("hidden1.signs", lambda a: a | 4), "bits beyond the end"),
    "flips beyond the end": (array("hidden1.flip", lambda a: a | 2**31), "bits beyond the end"),
    "scale NaN": (array("output.scale", lambda a: with_element(a, np.nan)), "not finite"),
    "shift infinite": (array("output.shift", lambda a: with_element(a, np.inf)), "not finite"),
}


@pytest.mark.parametrize("what", CORPUS)
def test_malformed_descriptions_and_arrays(network, tmp_path, what):
    change, message = CORPUS[what]
    packed = bnnlab.pack(network("bnn", inputs=33, outputs=3, width=40, depth=2))
    arrays, metadata, described = parts(packed, tmp_path)
    change(arrays, metadata, described)
    path = tmp_path / "bad.safetensors"
    if change.__qualname__.startswith(("layer", "array")) or change.__name__ != "change":
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


def test_mutated_files_load_or_are_refused_and_never_take_much_memory(network, grid, tmp_path):
    rng = np.random.default_rng(0)
    goods = []
    for scheme in ("bnn", "dorefa", "lab"):
        bnnlab.pack(network(scheme, inputs=33, outputs=3, width=20)).save(tmp_path / "good")
        goods.append((tmp_path / "good").read_bytes())
    x, path, loaded = grid(5, 33), tmp_path / "mutant.safetensors", 0
    tracemalloc.start()
    try:
        for i in range(MUTATIONS):
            data = mutate(rng, goods[i % 3])
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
                if model.inputs == 33:
                    assert model(x).shape == (5, model.outputs)
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
