"""The kernels against this machine's limit and against PyTorch float32.

    python benchmarks/kernels.py [--rounds 31] [--isa avx512] [--json] [--floor]

One thread; the contenders of a row take turns, and a figure is the median of its samples with the
10th and 90th percentiles, in time on the core. A share of the limit is the median of the ratios of
neighbouring samples. The limit of a product is xor, popcount and add in registers; that of one
sample is reading its packed weights. It is the limit of counting word by word: adding carry-save
needs fewer instructions, and may be beyond it. Shares are of calls into C that write to memory that
is there; other figures are of calls as one makes them, which allocate what they return.

With --floor only the products' shares are measured, and the exit status is 1 where one is below
0.85: so it is where a compiler keeps the sums of a tile in memory.
"""

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from machine import machine

from bnnlab.packed import images, kernels
from bnnlab.packed.benchmark import one_thread, onednn_linear, samples, timing

ROOT = Path(__file__).parents[1]
# Samples, outputs, inputs.
PRODUCTS = [
    (64, 4096, 4096),
    (256, 1024, 1024),
    (1024, 1024, 1024),
    (100, 2048, 2048),
    (4096, 256, 2304),
    (1, 4096, 4096),
    (1, 1024, 1024),
]
ODD = [
    ((61, 1000, 1000), (64, 1008, 1024)),
    ((99, 2045, 2035), (100, 2048, 2048)),
    ((250, 1001, 1025), (252, 1008, 1056)),
]
SIGNS = [(1, 4096, 4096), (1, 1024, 1024), (64, 1024, 1024), (100, 2048, 2048)]
# Channels in and out, pixels on a side; 3 x 3 taps with zeros around.
LAYERS = [(64, 56), (128, 28), (256, 14), (512, 7), (128, 32), (256, 16), (512, 8), (256, 64)]
FLOOR = 0.85
STEPS = 20_000  # of a loop at the limit
LIMITS = {"avx2": ("avx2", 6 * 256), "avx512": ("avx512", 12 * 512),
          "avx512_carry": ("avx512", 12 * 512), "amx": ("avx512", 12 * 512)}  # fmt: skip


def build_limits(folder: str) -> ctypes.CDLL:
    beside = Path(sys.executable).with_name("cmake")
    cmake = str(beside) if beside.exists() else shutil.which("cmake") or "cmake"
    for command in (
        ["-S", str(ROOT / "kernels"), "-B", folder, "-DBNNLAB_LIMITS=ON"],
        ["--build", folder, "--target", "limits"],
    ):
        subprocess.run([cmake, *command], check=True, capture_output=True)
    return ctypes.CDLL(str(Path(folder) / "liblimits.so"))


def operands(m, n, k):
    """Random signs: rows of bits, panels."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(m, k)).astype(np.float32)
    weights = generator.normal(size=(n, k)).astype(np.float32)
    return x, weights, kernels.pack_panels(kernels.pack_signs(weights), k)


def bare_product(m, n, k):
    """The kernel with nothing of Python around it but the call, on memory that is there."""
    x, _, panels = operands(m, n, k)
    bits = kernels.pack_signs(x)
    out = kernels.aligned((m, n), np.int32)
    number = kernels.isa_number(kernels.isa())
    given = [
        value
        for kind, array in (("uint32_t[]", bits), ("uint32_t[]", panels))
        for value in (kernels.ffi.from_buffer(kind, array), array.size)
    ]
    to = kernels.ffi.from_buffer("int32_t[]", out)
    call = kernels.lib.bnnlab_xnor_matmul

    def run():
        if call(number, *given, m, n, k, to, out.size):
            raise RuntimeError("refused")

    return run, panels


def ratio(values, other):
    """How many times other takes as long: the median of neighbours' ratios, with its spread."""
    return timing([b / a for a, b in zip(values, other, strict=True)])


def share(limits, m, n, k, rounds):
    """The bare product's share of the limit."""
    if kernels.isa() not in LIMITS:
        return None
    run, panels = bare_product(m, n, k)
    name, bits = LIMITS[kernels.isa()]
    if m == 1:
        read = getattr(limits, f"read_{name}")
        at, length = ctypes.c_void_p(panels.ctypes.data), ctypes.c_size_t(panels.size)
        taken = samples({"kernel": run, "limit": lambda: read(at, length)}, rounds)
        return ratio(taken["kernel"], taken["limit"])
    loop, steps = getattr(limits, f"limit_{name}"), ctypes.c_size_t(STEPS)
    taken = samples({"kernel": run, "limit": lambda: loop(steps)}, rounds)
    work = m * n * k / (STEPS * bits)
    return ratio(taken["kernel"], [seconds * work for seconds in taken["limit"]])


def against_torch(calls, x, weights, rounds):
    """Calls against F.linear and oneDNN: for each its time and how many times faster it is."""
    given, dense = torch.from_numpy(x), torch.from_numpy(weights)
    onednn = onednn_linear(dense, None, len(x))
    taken = samples(
        calls | {"linear": lambda: F.linear(given, dense), "onednn": lambda: onednn(given)}, rounds
    )
    return {
        name: {
            "seconds": timing(taken[name]),
            "x linear": ratio(taken[name], taken["linear"]),
            "x onednn": ratio(taken[name], taken["onednn"]),
        }
        for name in calls
    }


def products(limits, rounds):
    for m, n, k in PRODUCTS:
        x, weights, panels = operands(m, n, k)
        bits = kernels.pack_signs(x)
        calls = {
            "bits x bits": lambda bits=bits, panels=panels, n=n, k=k: kernels.xnor_matmul(
                bits, panels, n, k
            ),
            "packing, bits x bits": lambda x=x, panels=panels, n=n, k=k: kernels.xnor_matmul(
                kernels.pack_signs(x), panels, n, k
            ),
        }
        found = {"limit": share(limits, m, n, k, rounds)}
        for name, row in against_torch(calls, x, weights, rounds).items():
            yield {"kernel": name, "shape": [m, n, k], "operations": 2 * m * n * k} | row | found
            found = {}


def odd_shapes(rounds):
    for odd, neighbour in ODD:
        taken = samples(
            {"odd": bare_product(*odd)[0], "neighbour": bare_product(*neighbour)[0]}, rounds
        )
        yield {
            "kernel": f"odd, beside {neighbour}",
            "shape": list(odd),
            "seconds": timing(taken["odd"]),
            "x neighbour": ratio(taken["odd"], taken["neighbour"]),
        }


def signs(rounds):
    for m, n, k in SIGNS:
        x, weights, panels = operands(m, n, k)
        codes = np.random.default_rng(1).integers(0, 256, (m, k)).astype(np.uint8)
        calls = {
            "floats x bits": lambda x=x, panels=panels, n=n: kernels.sign_matmul(x, panels, n),
            "bytes x bits": lambda codes=codes, panels=panels, n=n: kernels.bytes_matmul(
                codes, panels, n
            ),
        }
        for name, row in against_torch(calls, x, weights, rounds).items():
            yield {"kernel": name, "shape": [m, n, k], "operations": 2 * m * n * k} | row


def convolutions(rounds):
    for channels, size in LAYERS:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(1, channels, size, size, generator=generator)
        weights = torch.randn(channels, channels, 3, 3, generator=generator)
        rows = images.pack_channels(weights).reshape(channels, -1)
        panels = kernels.pack_panels(rows, 32 * rows.shape[1])
        window = ((3, 3), (1, 1), (1, 1))
        bits = images.pack_channels(x)
        last = x.to(memory_format=torch.channels_last)
        last_weights = weights.to(memory_format=torch.channels_last)
        calls = {
            "convolution": lambda b=bits, p=panels, c=channels, w=window: images.xnor_convolve(
                b, p, c, c, *w
            ),
            "packing, convolution": lambda x=x, p=panels, c=channels, w=window: (
                images.xnor_convolve(images.pack_channels(x), p, c, c, *w)
            ),
        }
        taken = samples(
            calls
            | {
                "torch": lambda x=x, w=weights: F.conv2d(x, w, None, 1, 1),
                "torch last": lambda x=last, w=last_weights: F.conv2d(x, w, None, 1, 1),
            },
            rounds,
        )
        fastest = min(("torch", "torch last"), key=lambda name: timing(taken[name])["median"])
        for name in calls:
            yield {
                "kernel": name,
                "shape": [channels, size, size],
                "operations": 2 * 9 * channels**2 * size**2,
                "seconds": timing(taken[name]),
                "x conv2d": ratio(taken[name], taken[fastest]),
            }


def spread(value, digits=1, scale=1.0):
    if value is None:
        return ""
    median, low, high = (f"{value[k] * scale:,.{digits}f}" for k in ("median", "low", "high"))
    return f"{median} ({low}-{high})"


def print_row(row):
    rate = row["operations"] / row["seconds"]["median"] / 1e9 if "operations" in row else None
    others = ("x linear", "x onednn", "x conv2d", "x neighbour")
    cells = [
        row["kernel"],
        " x ".join(map(str, row["shape"])),
        spread(row["seconds"], 1, 1e6),
        "" if rate is None else f"{rate:,.0f}",
        spread(row.get("limit"), 3),
        *(spread(row.get(other), 2 if other == "x neighbour" else 1) for other in others),
    ]
    print("| " + " | ".join(cells) + " |", flush=True)


@one_thread()
@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=31, help="samples of each contender")
    parser.add_argument("--isa", choices=kernels.isas(), help="the kernels' instruction set")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--floor", action="store_true", help="check the products' shares only")
    options = parser.parse_args()
    if options.isa:
        os.environ["BNNLAB_ISA"] = options.isa
    with tempfile.TemporaryDirectory() as folder:
        limits = build_limits(folder)
        if options.floor:
            sys.exit(check_floor(limits, options.rounds))
        head = {"machine": machine(), "isa": kernels.isa(), "load": os.getloadavg()[0]}
        rows = []
        if not options.json:
            print(f"{head['machine']}; kernels: {head['isa']}; load {head['load']:.1f}\n")
            print("| kernel | shape | us | GOPS | share of the limit | x F.linear | x oneDNN |"
                  " x conv2d | x neighbour |\n|" + " --- |" * 9)  # fmt: skip
        for part in (
            products(limits, options.rounds),
            odd_shapes(options.rounds),
            signs(options.rounds),
            convolutions(options.rounds),
        ):
            for row in part:
                rows.append(row)
                if not options.json:
                    print_row(row)
        if options.json:
            print(json.dumps(head | {"rows": rows}, indent=1))


def check_floor(limits, rounds):
    """1 where a product is slower than a tile in registers can be."""
    failed = 0
    for m, n, k in PRODUCTS:
        found = share(limits, m, n, k, rounds)
        if found is None:
            print(f"no limit is known for {kernels.isa()}")
            return 0
        if m > 1:
            failed |= found["median"] < FLOOR
            print(f"{kernels.isa()} {m} x {n} x {k}: {spread(found, 3)} of the limit", flush=True)
    print(f"below {FLOOR}" if failed else "in registers")
    return int(failed)


if __name__ == "__main__":
    main()
