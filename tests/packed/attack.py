"""Changes packed files at random and loads them: they run, or are refused in a word.

    python tests/packed/attack.py FOLDER FIRST COUNT SEED

FOLDER has good files, NAME.safetensors, each with a batch for it, NAME.npy. Mutation i of a seed is
always the same one. Changes know what a file is made of: the lengths in front, the header of
tensors, the description of the network inside it, the tensors.

No load or run may take more memory than the file's size and 16 MiB: on Linux the system refuses any
more, whoever asks for it (Python, numpy, C). Prints how far it is, and in the end one line of JSON;
the file that a crash was over is left as FOLDER/FIRST.mutant.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

import bnnlab
from bnnlab.packed import PackedFileError
from bnnlab.packed.format import dump

try:
    import resource
except ImportError:  # not a Unix
    resource = None

ROOM = 2**24  # bytes beyond the file's own
SECONDS = 5.0  # that a load may take, on a busy machine
EACH = 1000  # mutations between two lines of progress
STATUS = Path("/proc/self/status")
VALUES = [
    None, True, False, -1, 0, 1, 2, 3, 31, 32, 33, 255, 256, 257, 4096, 2**20, 2**20 + 1, 2**31 - 1,
    2**31, 2**32, 2**62, 2**63, 2**64, 10**30, 0.0, -0.0, 0.5, 1e30, 1e-300, 1e308, float("nan"),
    float("inf"), "", "none", "relu", "float", "linear", "conv", "lstm", "F32", "U32", "I32", "U8",
    "F64", "bnn", "lab", "xnor_net", "\0", "é", "\ud800",
    [], [0], [1], [1, 1], [-1, 1], [0, 0, -1, 1], [0, 1, 2, 3], [2**20], [4096, 4096], {},
    {"codes": [-1, 1], "step": 1.0}, {"codes": list(range(-128, 128)), "step": 1e-30},
    {"scheme": "lab", "options": {}}, {"scheme": "bnn", "options": {"weight_bits": 8}},
    {"scheme": "bitnet", "options": {}}, {"scheme": "xnor_net", "options": {}, "fed": None},
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
    """A good file as header, description and tensors."""
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size].decode()
    return header, json.loads(header)["__metadata__"]["network"], data[8 + size :]


def load(path):
    """The network of a file, or None where it is refused."""
    begun = time.monotonic()
    try:
        return bnnlab.load_packed(path)
    except PackedFileError:
        return None
    finally:
        assert time.monotonic() - begun < SECONDS, "it takes too long"


def use(model, x):
    """Do with a network what users do."""
    repr(model)
    dump(model)
    if not model.shape:
        x = np.minimum(x, model.inputs - 1)
    if not model.shape or x.shape[1:] == (model.inputs,):
        try:
            assert model(x).shape[0] == len(x)
        except ValueError as error:  # sums that are no numbers
            assert "NaN" in str(error)


def allow(size):
    """Let the process have no more address space than so many bytes."""
    if resource is not None and size:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (size, hard))


def memory(key):
    """What Linux says of the process's memory, in bytes: VmSize, its address space, or VmHWM, the
    most that was ever resident."""
    if not STATUS.exists():
        return 0
    return next(
        1024 * int(line.split()[1])
        for line in STATUS.read_text().splitlines()
        if line.startswith(key)
    )


def attack(folder, first, count, seed):
    """Load so many mutations from the first on; returns how many loaded, and how memory grew."""
    goods = []
    for path in sorted(folder.glob("*.safetensors")):
        goods.append((taken_apart(path.read_bytes()), np.load(path.with_suffix(".npy"))))
        for _ in range(2):  # what is loaded and kept once is not of the files to come
            use(load(path), goods[-1][1])
    loaded, path = 0, folder / f"{first}.mutant"
    space, resident = memory("VmSize"), memory("VmHWM")
    with path.open("wb") as file:
        for i in range(first, first + count):
            good, x = goods[i % len(goods)]
            data = mutate(np.random.default_rng([seed, i]), good)
            # To empty a file first takes many times longer.
            file.seek(0)
            file.write(data)
            file.truncate()
            file.flush()
            allow(space and space + len(data) + ROOM)
            try:
                model = load(path)
                if model is not None:
                    loaded += 1
                    use(model, x)
            except BaseException as error:
                error.add_note(f"mutation {i} of seed {seed}: {path}")
                raise
            if (i + 1 - first) % EACH == 0:
                print(i + 1 - first, flush=True)
    path.unlink()
    return {"loaded": loaded, "resident": memory("VmHWM") - resident}


if __name__ == "__main__":
    print(json.dumps(attack(Path(sys.argv[1]), *map(int, sys.argv[2:]))), flush=True)
