"""The kernels against this machine's limit and against PyTorch, as `bnnlab bench` measures them.

    python benchmarks/kernels.py [--rounds 31] [--isa avx512] [--json] [--floor] [--planted]

One thread; the contenders of a row take turns, and a figure is the median of its samples with the
10th and 90th percentiles, in time on the core. A share of the limit is the median of the ratios of
neighbouring samples, of calls into C that write to memory that is there; other times are of calls
as one makes them, packing counted, which allocate what they return. Beside `bnnlab bench` there are
shapes that are no multiples of anything, beside their rounded-up neighbours, and the share of xor,
popcount and add word by word, which adding carry-save may exceed.

With --floor only the products' shares are measured, of every instruction set that has a floor or of
the one given, and the exit status is 3 where most are too low: so it is where a compiler keeps the
sums of a tile in memory. With --planted it builds kernels that do so (loops over a tile's registers
are left rolled) and measures these; the exit status is 1 where that is not noticed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
import torch
from machine import machine

from bnnlab.packed import kernels, limits, trials
from bnnlab.packed.benchmark import in_threads, instruction_set, ratio, samples, timing
from bnnlab.packed.twins import WAYS

ODD = [
    ((61, 1000, 1000), (64, 1008, 1024)),
    ((99, 2045, 2035), (100, 2048, 2048)),
    ((250, 1001, 1025), (252, 1008, 1056)),
]
# Of the limit, in the middle of all shapes: lower than kernels in registers (0.77, 0.95, 0.74 on an
# AMD EPYC), higher than spilled (0.27, 0.39, 0.48). AMX needs none: its tiles cannot be spilled.
FLOORS = {"avx2": 0.6, "avx512": 0.85, "avx512_carry": 0.65}
# Loops over a tile's registers are left rolled: then compilers keep these in memory.
PLANTED = (("GCC unroll 8", "GCC unroll 1"), ("unroll(full)", "unroll(disable)"))
ROOT = Path(__file__).parents[1]
FELL = 3  # exit status


def bare(shape):
    """The product of signs alone."""
    m, n, k = shape
    x, _, panels = trials.drawn(m, n, k)
    return trials.bare("bits", kernels.pack_signs(x), panels, n, k)


def odd_shapes(rounds):
    for odd, neighbour in ODD:
        taken = samples({"odd": bare(odd), "neighbour": bare(neighbour)}, rounds)
        yield {
            "kernel": f"signs, beside {by(neighbour)}",
            "shape": list(odd),
            "seconds": timing(taken["odd"]),
            "neighbour": ratio(taken["odd"], taken["neighbour"]),
        }


def by_words(shape, rounds):
    """The share of counting word by word, on processors that have more ways than one."""
    plain = limits.loop("bits", "avx512") if "avx512" in kernels.isas() else None
    if plain is None or not kernels.isa().startswith(("avx512", "amx")):
        return None
    taken = samples({"kernel": bare(shape), "plain": plain[0]}, rounds)
    m, n, k = shape
    least = [seconds * m * n * k / plain[1] for seconds in taken["plain"]]
    return ratio(taken["kernel"], least)


def by(shape):
    return " x ".join(map(str, shape))


def spread(value, digits=1, scale=1.0):
    if value is None:
        return ""
    median, low, high = (f"{value[k] * scale:,.{digits}f}" for k in ("median", "low", "high"))
    return f"{median} ({low}-{high})"


def print_row(row):
    seconds, limit = row["seconds"], row.get("limit", {})
    packed = seconds.get("packed", seconds)
    rate = row["operations"] / packed["median"] / 1e9 if "operations" in row else None
    faster = row.get("faster", {})
    cells = [
        row["kernel"],
        by(row["shape"]),
        spread(packed, 1, 1e6),
        spread(seconds.get("packing"), 1, 1e6),
        spread(seconds.get("kernel"), 1, 1e6),
        "" if rate is None else f"{rate:,.0f}",
        f"{spread(limit['share'], 3)} {limit['bound']}" if limit else "",
        spread(row.get("by words"), 3),
        *(spread(faster.get(way)) for way in WAYS),
        spread(row.get("neighbour"), 2),
    ]
    print("| " + " | ".join(cells) + " |", flush=True)


def rows(rounds):
    for kind, shape in trials.standard():
        row = trials.run(kind, shape, rounds)
        if kind == "bits" and shape[0] > 1:
            row["by words"] = by_words(shape, rounds)
        yield row
    yield from odd_shapes(rounds)


def check_floors(isa, rounds):
    """`FELL` where an instruction set falls below its floor: the one given, or any that has one."""
    tried = [isa] if isa else [name for name in kernels.isas() if name in FLOORS]
    failed = []
    for name in tried:
        with instruction_set(name):
            failed.append(below_floor(rounds))
    return FELL if any(failed) else 0


def below_floor(rounds):
    """Whether products are slower than a tile in registers can be, whatever their shape."""
    floor = FLOORS.get(kernels.isa())
    if floor is None:
        print(f"no floor is known for {kernels.isa()}; there is one for {', '.join(FLOORS)}")
        return False
    shares = []
    for shape in trials.PRODUCTS:
        if shape[0] > 1:
            found = trials.product("bits", shape, rounds, beside_torch=False)["limit"]["share"]
            shares.append(found["median"])
            print(f"{kernels.isa()} {by(shape)}: {spread(found, 3)} of the limit", flush=True)
    middle = float(np.median(shares))
    failed = middle < floor
    print(f"{middle:.3f} in the middle: " + (f"below {floor}" if failed else "in registers"))
    return failed


def check_planted(options):
    """1 unless kernels that keep their sums in memory, built aside, all fall below the floor."""
    with tempfile.TemporaryDirectory() as folder:
        source, installed = Path(folder, "source"), Path(folder, "installed")
        source.mkdir()
        for part in ("bnnlab", "apps", "kernels"):
            shutil.copytree(ROOT / part, source / part)
        for part in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / part, source)
        header = source / "kernels" / "src" / "vector.h"
        text = header.read_text()
        for unrolled, rolled in PLANTED:
            assert text.count(unrolled) == 1, unrolled
            text = text.replace(unrolled, rolled)
        header.write_text(text)
        install = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet",
                   "--no-deps", "--target", str(installed), str(source)]  # fmt: skip
        subprocess.run(install, check=True)
        again = [sys.executable, "-S", __file__, "--floor", "--rounds", str(options.rounds)]
        tried = [options.isa] if options.isa else [isa for isa in kernels.isas() if isa in FLOORS]
        # Without site, so that an editable installation does not come first.
        paths = [str(installed), sysconfig.get_path("purelib")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        fell = [
            subprocess.run([*again, "--isa", isa], env=environment, check=False).returncode == FELL
            for isa in tried
        ]
    print("noticed" if all(fell) else "NOT noticed")
    return int(not all(fell))


@in_threads()
@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=31, help="samples of each contender")
    parser.add_argument("--isa", choices=kernels.isas(), help="the kernels' instruction set")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--floor", action="store_true", help="check the products' shares only")
    parser.add_argument("--planted", action="store_true", help="of kernels that must fall")
    options = parser.parse_args()
    if options.planted:
        sys.exit(check_planted(options))
    if options.floor:
        sys.exit(check_floors(options.isa, options.rounds))
    with instruction_set(options.isa):
        head = trials.conditions() | {"about": machine()}
        if not options.json:
            print(f"{head['about']}; kernels: {head['isa']}; load {head['load']:.1f}\n")
            columns = ["kernel", "shape", "us", "packing", "without", "GOPS", "of the limit",
                       "of counting words", *(f"x {name}" for name in WAYS.values()),
                       "x neighbour"]  # fmt: skip
            print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
        found = []
        for row in rows(options.rounds):
            found.append(row)
            if not options.json:
                print_row(row)
        if options.json:
            print(json.dumps(head | {"rows": found}, indent=1))


if __name__ == "__main__":
    main()
