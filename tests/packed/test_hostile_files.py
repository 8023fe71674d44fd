"""Packed files changed at random, many times: they load and run, or are refused in a word.

    python tests/packed/test_hostile_files.py 1000000 [SEED [WORKERS]]

makes as many mutations as one likes, in processes of their own; the test makes some of them. See
tests/packed/attack.py for what is changed, and what a load may take.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import bnnlab
from bnnlab.packed.about import checked

MUTATIONS = 4000
BATCH = 20_000  # mutations of a process
BASES = [
    ("mlp", "bnn"), ("mlp", "dorefa"), ("mlp", "full_precision"), ("mlp", "xnor_net"),
    ("mlp", "bitnet"), ("lenet", "lat"), ("lenet", "bitwise"), ("lenet", "xnor_net"),
    ("vgg", "bnn"), ("lstm", "lab2"), ("lstm", "bnn"), ("lstm", "full_precision"),
]  # fmt: skip
NUMBERS = {"centre": 8, "unit": 8, "low": 0, "high": 16}


def make_goods(any_network, folder):
    """Good files, each with a batch for it."""
    for kind, scheme in BASES:
        model, x = any_network(kind, scheme, samples=3)
        packed = bnnlab.pack(model)
        if packed.shape:
            said = {"classes": [*"0123456789"], "numbers": NUMBERS}
            packed.about = checked(said, packed.inputs, packed.outputs, text=False)
        packed.save(folder / f"{kind}-{scheme}.safetensors")
        np.save(folder / f"{kind}-{scheme}.npy", x.numpy())


def start(folder, first, count, seed):
    """Some of the mutations, in a process of their own."""
    numbers = map(str, (first, count, seed))
    script = Path(__file__).with_name("attack.py")
    return subprocess.Popen(
        [sys.executable, script, folder, *numbers], stdout=subprocess.PIPE, text=True
    )


def finish(process, bar=None):
    """What a process found; shows how far it is."""
    line = ""
    with process:
        for line in process.stdout:
            if bar is not None and not line.startswith("{"):
                bar.update(1000)
    assert process.returncode == 0, f"ended with {process.returncode}"
    return json.loads(line)


def test_mutated_files_load_and_run_or_are_refused(any_network, tmp_path):
    make_goods(any_network, tmp_path)
    found = finish(start(tmp_path, 0, MUTATIONS, 0))
    print(f"{MUTATIONS} mutations: {found}")
    assert MUTATIONS / 100 < found["loaded"] < MUTATIONS / 2


def main(count, seed=1, workers=1):
    """As many as one likes: in batches, so that Ctrl-C leaves what was done until then."""
    from concurrent.futures import ThreadPoolExecutor

    import torch
    from conftest import any_network  # pyright: ignore[reportMissingImports]
    from tqdm import tqdm

    torch.set_num_threads(1)
    build = getattr(any_network, "__wrapped__", any_network)()
    done, totals = 0, {"loaded": 0, "resident": 0}
    with (
        tempfile.TemporaryDirectory() as name,
        tqdm(total=count, unit="file", unit_scale=True) as bar,
        ThreadPoolExecutor(workers) as pool,
    ):
        make_goods(build, Path(name))

        def batch(first):
            size = min(BATCH, count - first)
            return size, finish(start(name, first, size, seed), bar)

        try:
            for size, found in pool.map(batch, range(0, count, BATCH)):
                done += size
                totals["loaded"] += found["loaded"]
                totals["resident"] = max(totals["resident"], found["resident"])
        finally:
            pool.shutdown(cancel_futures=True)
            print(
                f"{done:,} mutations, {totals['loaded']:,} loaded; no process's memory grew "
                f"by more than {totals['resident']:,} bytes"
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
