"""Packed networks beside PyTorch, and what processes that run them hold.

    python benchmarks/packed.py [--rounds 31] [--isa avx512]

One thread; the contenders of a row take turns, and a figure is the median of its samples, in time
on the core, with caches as the call before left them. PyTorch is timed as one meets it (`F.linear`)
and through oneDNN with weights reordered for the batch, its best. Weights are random: this says
nothing of accuracy.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from machine import machine
from safetensors.torch import save_file

import bnnlab
from bnnlab import nn, schemes
from bnnlab.packed import kernels
from bnnlab.packed.benchmark import compare, instruction_set
from bnnlab.packed.twins import WAYS

NETWORKS = [("bnn", 128, 2), ("lab", 128, 2), ("bnn", 1024, 3), ("dorefa", 1024, 3),
            ("lab", 1024, 3), ("bnn", 4096, 3)]  # fmt: skip
BATCHES = (1, 100)


def microseconds(timing):
    return f"{timing['median'] * 1e6:,.1f}"


def table(heading, columns, rows):
    print(f"\n### {heading}\n")
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def network(scheme, width, depth, batch, rounds):
    """One network 784 - width x depth - 10, every layer binarized."""
    generator = torch.Generator().manual_seed(0)
    model = nn.MLP(
        784,
        10,
        width=width,
        depth=depth,
        first_and_last="binarized",
        scheme=schemes.get(scheme),
        generator=generator,
    )
    x = (torch.randint(0, 256, (200, 784), generator=generator) * 2 - 255).float() / 256
    with torch.no_grad():
        model(x)  # batch norm statistics
    model.eval()
    packed = bnnlab.pack(model)
    found = compare(model, packed, np.ascontiguousarray(x[:batch].numpy()), rounds)
    timed, faster = found["seconds"], found["faster"]
    size = bnnlab.summary(model).bytes_float32
    return [
        scheme,
        f"{width} x {depth}",
        str(batch),
        microseconds(timed["packed"]),
        microseconds(timed["packing"]) if "packing" in timed else "",
        microseconds(timed["torch"]),
        microseconds(timed["onednn"]),
        " / ".join(f"{faster[way]['median']:.1f}" if way in faster else "-" for way in WAYS),
        f"{100 * found['limit']['share']['median']:.0f} %",
        f"{size:,} / {packed.payload:,} = {size / packed.payload:.1f}",
    ]


# What a process of its own holds at most, beyond what its imports hold: prints KiB.
PEAK = """
from pathlib import Path
import numpy as np
{imports}
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
x = np.random.default_rng(0).integers(0, 256, ({batch}, 784)).astype(np.float32) / 256
before = peak()
{run}
print(peak() - before)
"""
PACKED = "from bnnlab.packed import load_packed", "load_packed({path!r})(x)"
TORCH = (
    "import torch\ntorch.set_num_threads(1)\nfrom safetensors.torch import load_file",
    """layers = load_file({path!r})
with torch.inference_mode():
    y = torch.from_numpy(x)
    for name in sorted(layers):
        y = torch.nn.functional.linear(y, layers[name]).sign()""",
)


def peak(kind, path, batch):
    """Mebibytes that loading a network and running a batch add to a fresh process."""
    imports, run = kind
    script = PEAK.format(imports=imports, run=run.format(path=str(path)), batch=batch)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return f"{int(done.stdout) / 1024:,.1f}"


def memory(scheme, width, depth, batch):
    """One network: what a process holds at most with it packed, and with dense float32 weights."""
    model = nn.MLP(
        784, 10, width=width, depth=depth, first_and_last="binarized", scheme=schemes.get(scheme)
    )
    packed = bnnlab.pack(model.eval())
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "packed.safetensors"), Path(folder, "float.safetensors")
        packed.save(small)
        weights = {name: block.layer.weight.detach() for name, block in model.named_children()}
        save_file(weights, large)
        return [
            scheme,
            f"{width} x {depth}",
            str(batch),
            f"{packed.nbytes / 2**20:,.1f}",
            f"{packed.workspace(batch) / 2**20:,.2f}",
            peak(PACKED, small, batch),
            peak(TORCH, large, batch),
        ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=31, help="samples of each contender")
    parser.add_argument("--isa", choices=kernels.isas(), help="the kernels' instruction set")
    options = parser.parse_args()
    with instruction_set(options.isa):
        tables(options.rounds)


def tables(rounds):
    print(f"{machine()}; kernels: {kernels.isa()}; one thread, load {os.getloadavg()[0]:.1f}")
    table(
        "Networks 784 - width x depth - 10, us a batch",
        ["scheme", "width x depth", "batch", "packed", "of it packing", "F.linear", "oneDNN",
         "x F.linear / oneDNN / bf16 / int8", "of the limit", "bytes float32 / packed"],
        (network(*kind, batch, rounds) for kind in NETWORKS for batch in BATCHES),
    )  # fmt: skip
    table(
        "Peak resident memory of a process beyond its imports (Linux), MiB",
        ["scheme", "width x depth", "batch", "packed model", "workspace", "packed peak",
         "float32 peak"],
        (memory(*kind, batch) for kind in [("bnn", 1024, 3), ("bnn", 4096, 3)]
         for batch in BATCHES),
    )  # fmt: skip


if __name__ == "__main__":
    main()
