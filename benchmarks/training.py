"""A training step of LAB's MNIST protocol, scheme by scheme, against a plain PyTorch float loop.

784-2048-2048-2048-10 with batch norm, squared hinge loss, Adam, batches of 100 from images that
lie in memory. The plain loop is what one would write: `nn.Linear`, `nn.BatchNorm1d` and `nn.ReLU`
in an `nn.Sequential`, and `torch.optim.Adam`; another has Adam with `fused=True`, as lanes do,
which is faster. Contenders take turns, a few steps each, so that whatever else the machine does
falls on all; a figure is the median of the ratios of neighbouring turns. All run in one process
that keeps its memory, as a trainer does; images are random numbers, which take the same time.

    python benchmarks/training.py [--rounds 15] [--width 2048] [--threads 1]
    python benchmarks/training.py --layouts [--rounds 5]

With --layouts it is how lanes share two cores: one process with a thread or two, or two processes
with a thread each, in lane-steps a second of eight lanes on the digits and of two wide ones.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise

import click
import torch
from machine import machine
from torch import nn

from bnnlab import Comparison
from bnnlab.training.conductor import Conductor
from bnnlab.training.lane import Lane
from bnnlab.training.process import keep_memory

SAMPLES, INPUTS, CLASSES = 10_000, 784, 10
GOALS = {"full_precision": None, "binary_connect": 1.15, "bwn": 1.15, "bnn": 1.15,
         "xnor_net": 1.15, "lab": 1.25, "lab2": 1.25}  # fmt: skip

PLAIN = {"plain": False, "plain, fused Adam": True}


def plain(width: int, lr: float, *, fused: bool) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Return a step of the plain loop."""
    sizes = [INPUTS, width, width, width, CLASSES]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(network.parameters(), lr, fused=fused)

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        optimizer.zero_grad()
        targets = 2.0 * nn.functional.one_hot(y, CLASSES) - 1.0
        loss = (1.0 - targets * network(x)).clamp(min=0).square().mean()
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def contenders(width: int) -> dict[str, Callable[[torch.Tensor, torch.Tensor], object]]:
    """Return a step of each, by name."""
    comparison = Comparison(
        task="digits", network={"name": "mlp", "width": width, "depth": 3,
                                "first_and_last": "binarized"},
        schemes=list(GOALS), lr=0.005,
    )  # fmt: skip
    settings = {
        "network": comparison.network, "loss": "squared_hinge", "lr": 0.005,
        "optimizer": comparison.optimizer, "inputs": INPUTS, "shape": (INPUTS,), "classes": CLASSES,
    }  # fmt: skip
    lanes = {spec["name"]: Lane(settings, spec, seed=0) for spec in comparison.schemes}
    return {
        **{name: plain(width, 0.005, fused=fused) for name, fused in PLAIN.items()},
        **{name: lane.advance for name, lane in lanes.items()},
    }


def measure(width: int, rounds: int, steps: int) -> dict[str, list[float]]:
    """Return seconds a step, turn by turn."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(SAMPLES, INPUTS, generator=generator) * 2 - 1
    y = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    taken: dict[str, list[float]] = {}
    steps_of = contenders(width)
    for turn in range(rounds + 1):
        for name, step in steps_of.items():
            order = torch.randperm(SAMPLES, generator=generator)
            began = time.perf_counter()
            for i in range(steps):
                rows = order[100 * i : 100 * (i + 1)]
                step(x[rows], y[rows])
            if turn:  # the first warms up
                taken.setdefault(name, []).append((time.perf_counter() - began) / steps)
    return taken


LAYOUTS = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2),
           "2 processes, 1 thread each": (2, 1)}  # fmt: skip
WORK = {
    "8 lanes, 64-100-100-10": {
        "task": "digits", "network": {"name": "mlp", "width": 100, "depth": 2}, "steps": 200,
        "schemes": ["full_precision", "binary_connect", "bwn", "bnn", "xnor_net", "dorefa", "lab",
                    "lab2"],
    },
    "2 lanes, 64-2048-2048-2048-10": {
        "task": "digits", "network": {"name": "mlp", "width": 2048, "depth": 3}, "steps": 10,
        "schemes": ["bwn", "bnn"],
    },
}  # fmt: skip


def laid_out(about: dict, processes: int, threads: int) -> float:
    """Return lane-steps a second of a comparison, without the start of its processes."""
    cadence = {"probe_every": 1000, "evaluate_every": 1000, "checkpoint_every": 1000}
    comparison = Comparison(**about, **cadence, threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        log = comparison.create(f"{folder}/it.bnnlab")
        with Conductor(log.path, processes) as conductor:
            conductor.play(until=1)
            while conductor.status().state == "playing":
                time.sleep(0.01)
            conductor.play(until=comparison.steps - 1)
            began = time.perf_counter()
            while conductor.status().state == "playing":
                time.sleep(0.005)
            seconds = time.perf_counter() - began
    return (comparison.steps - 2) * len(comparison.schemes) / seconds


def print_layouts(rounds: int) -> None:
    """Print lane-steps a second of each layout, taking turns."""
    print("| work | " + " | ".join(LAYOUTS) + " |\n|" + "---|" * (1 + len(LAYOUTS)))
    for name, about in WORK.items():
        taken: dict[str, list[float]] = {layout: [] for layout in LAYOUTS}
        for _ in range(rounds):
            for layout, (processes, threads) in LAYOUTS.items():
                taken[layout].append(laid_out(about, processes, threads))
        cells = [f"{statistics.median(values):.0f}" for values in taken.values()]
        print(f"| {name} | " + " | ".join(cells) + " |")


@click.command()
@click.option("--rounds", default=15, show_default=True)
@click.option("--steps", default=3, show_default=True, help="Of a turn.")
@click.option("--width", default=2048, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--layouts", is_flag=True, help="How lanes share two cores.")
def main(rounds: int, steps: int, width: int, threads: int, layouts: bool) -> None:
    """Print the table."""
    print(machine())
    if layouts:
        print_layouts(rounds)
        return
    keep_memory()
    torch.set_num_threads(threads)
    print(
        f"784-{width}-{width}-{width}-10, batch 100, {threads} thread; medians of {rounds} turns\n"
    )
    taken = measure(width, rounds, steps)
    print("| scheme | ms a step | " + " | ".join(f"x {name}" for name in PLAIN) + " | goal |")
    print("|---|---|" + "---|" * len(PLAIN) + "---|")
    for name, seconds in taken.items():
        cells = []
        for plain_name in PLAIN:
            ratios = [ours / its for ours, its in zip(seconds, taken[plain_name], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
        goal = "" if GOALS.get(name) is None else str(GOALS[name])
        print(f"| {name} | {statistics.median(seconds) * 1e3:.1f} | {' | '.join(cells)} | {goal} |")


if __name__ == "__main__":
    main()
