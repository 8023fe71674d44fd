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


def test_what_is_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "missing.safetensors"):
        with pytest.raises(PackedFileError, match="cannot be read"):
            bnnlab.load_packed(path)


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
