"""Packed files changed at random, many times: they load and run, or are refused in a word.

Changes know what a file is made of: the lengths in front, the header of tensors, the description of
the network inside it, the tensors. No load may take more memory than the file and 16 MiB, or long.

    python tests/packed/test_hostile_files.py 1000000 [SEED]

makes as many mutations as one likes; the test makes some of them.
"""

import json
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np

import bnnlab
from bnnlab.packed import PackedFileError

MUTATIONS = 2000
ROOM = 2**24  # bytes beyond the file's own that a load may take
SECONDS = 5.0  # that one may take, on a busy machine
BASES = [
    ("mlp", "bnn"), ("mlp", "dorefa"), ("mlp", "full_precision"), ("mlp", "xnor_net"),
    ("lenet", "lat"), ("lenet", "bitwise"), ("vgg", "bnn"), ("lstm", "lab2"), ("lstm", "bnn"),
]  # fmt: skip
VALUES = [
    None, True, False, -1, 0, 1, 2, 3, 31, 32, 33, 255, 256, 257, 4096, 2**20, 2**20 + 1, 2**31 - 1,
    2**31, 2**32, 2**62, 2**63, 2**64, 10**30, 0.0, -0.0, 0.5, 1e30, 1e-300, 1e308, "", "none",
    "relu", "float", "linear", "conv", "lstm", "F32", "U32", "I32", "U8", "F64", "bnn", "lab",
    "\0", "é",
    [], [0], [1], [1, 1], [-1, 1], [0, 0, -1, 1], [0, 1, 2, 3], [2**20], [4096, 4096], {},
    {"codes": [-1, 1], "step": 1.0}, {"codes": list(range(-128, 128)), "step": 1e-30},
    {"scheme": "lab", "options": {}}, {"scheme": "bnn", "options": {"weight_bits": 8}},
]  # fmt: skip


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from places(item, (*path, i))


def change(rng, value):
    """Something else in one place of a JSON value: another value, one of its own, or none."""
    every = list(places(value))
    path, other = (every[rng.integers(len(every))] for _ in range(2))
    if not path:
        return value
    inside = value
    for key in path[:-1]:
        inside = inside[key]
    kind = rng.integers(5)
    if kind == 0:
        new = value
        for key in other:
            new = new[key]
        inside[path[-1]] = json.loads(json.dumps(new))
    elif kind == 1:
        del inside[path[-1]]
    elif kind == 2 and isinstance(inside, list):
        inside.insert(path[-1], inside[path[-1]])
    elif kind == 3 and type(inside[path[-1]]) in (int, float):
        inside[path[-1]] += int(rng.integers(-2, 3))
    else:
        inside[path[-1]] = VALUES[rng.integers(len(VALUES))]
    return value


def splice(rng, data, reach):
    """A few bytes changed, cut out, doubled, or everything after them dropped."""
    data, place = bytearray(data), int(rng.integers(max(1, min(len(data), reach))))
    kind, count = rng.integers(5), int(rng.integers(1, 40))
    if kind == 0:
        data[place : place + 1] = bytes([int(rng.integers(256))])
    elif kind == 1:
        data[place : place + 1] = bytes([int(rng.choice(list(b'0123456789"[]{},:-.e\\\0\xff')))])
    elif kind == 2:
        del data[place : place + count]
    elif kind == 3:
        data[place:place] = data[place : place + count]
    else:
        del data[place:]
    return bytes(data)


def mutate(rng, good):
    """A file like a good one, (header, network, tensors), but for a few changes."""
    header, network, body = good
    header, described = json.loads(header), network
    for _ in range(rng.integers(1, 4)):
        kind = rng.integers(8)
        if kind < 3:
            try:
                changed = change(rng, json.loads(described))
                described = json.dumps(changed)
            except (ValueError, TypeError):
                pass
        elif kind == 3:
            described = splice(rng, described.encode(), len(described)).decode(errors="replace")
        elif kind == 4:
            change(rng, header)
        elif kind == 5 and len(header) > 2:
            names = sorted(header)
            one, other = (names[rng.integers(len(names))] for _ in range(2))
            header[one], header[other] = header[other], header[one]
        elif kind == 6:
            body = splice(rng, body, len(body))
    if isinstance(header.get("__metadata__"), dict):
        header["__metadata__"].setdefault("network", described)
        if described is not network:
            header["__metadata__"]["network"] = described
    text = json.dumps(header)
    if rng.integers(16) == 0 and text.startswith("{"):
        text = "{" + text[1:-1] + ", " + text[1:]  # every key twice
    data = text.encode()
    whole = len(data).to_bytes(8, "little") + data + body
    return splice(rng, whole, 1500) if rng.integers(8) == 0 else whole


def taken_apart(data):
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size].decode()
    return header, json.loads(header)["__metadata__"]["network"], data[8 + size :]


def attack(goods, path, count, seed, bar=range):
    """Load mutations of files, [(bytes, a batch)]; returns how many loaded, and the most extra."""
    rng, loaded, most = np.random.default_rng(seed), 0, 0
    apart = [taken_apart(data) for data, _ in goods]
    tracemalloc.start()
    try:
        for i in bar(count):
            data, x = mutate(rng, apart[i % len(goods)]), goods[i % len(goods)][1]
            path.write_bytes(data)
            tracemalloc.reset_peak()
            before, begun = tracemalloc.get_traced_memory()[0], time.monotonic()
            try:
                model = bnnlab.load_packed(path)
            except PackedFileError:
                model = None
            extra = tracemalloc.get_traced_memory()[1] - before - len(data)
            most = max(most, extra)
            assert extra < ROOM, (i, seed, extra)
            assert time.monotonic() - begun < SECONDS, (i, seed)
            if model is None:
                continue
            loaded += 1
            if not model.shape:
                x = np.minimum(x, model.inputs - 1)
            if not model.shape or x.shape[1:] == (model.inputs,):
                try:
                    assert model(x).shape[0] == len(x)
                except ValueError as error:  # sums that are no numbers
                    assert "NaN" in str(error), (i, seed)
    finally:
        tracemalloc.stop()
    return loaded, most


def make_goods(any_network, folder):
    goods = []
    for kind, scheme in BASES:
        model, x = any_network(kind, scheme, samples=3)
        bnnlab.pack(model).save(folder / "good")
        goods.append(((folder / "good").read_bytes(), x.numpy()))
    return goods


def test_mutated_files_load_and_run_or_are_refused(any_network, tmp_path):
    loaded, most = attack(make_goods(any_network, tmp_path), tmp_path / "mutant", MUTATIONS, seed=0)
    print(f"{MUTATIONS} mutations, {loaded} loaded; at most {most:,} bytes beyond the file's size")
    assert MUTATIONS / 100 < loaded < MUTATIONS / 2


if __name__ == "__main__":
    from conftest import any_network  # pyright: ignore[reportMissingImports]
    from tqdm import trange

    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory() as folder:
        build = any_network.__wrapped__() if hasattr(any_network, "__wrapped__") else any_network
        found = attack(
            make_goods(build, Path(folder)), Path(folder) / "mutant", count, seed, trange
        )
    print(
        f"{count} mutations, {found[0]} loaded; at most {found[1]:,} bytes beyond the file's size"
    )
