"""What recording costs: the bare training loop against training with probes, log and checkpoints.

Eight lanes on the digits, in one process with one thread. Blocks of steps alternate between the
two, so that whatever else the machine does falls on both; the medians of the blocks are compared.

    python benchmarks/live_recording.py
"""

import statistics
import tempfile
import time
from pathlib import Path

import click
from machine import machine

from bnnlab import Comparison
from bnnlab.training.trainer import Trainer

EIGHT = ["full_precision", "binary_connect", "bwn", "bnn", "xnor_net", "dorefa", "lab", "lab2"]


def measure(blocks: int, steps: int, task: str, width: int) -> tuple[list[float], list[float]]:
    """Return seconds a step of all lanes, block by block: bare, and recorded."""
    comparison = Comparison(
        task=task, network={"name": "mlp", "width": width}, schemes=EIGHT, steps=1_000_000
    )
    bare, recorded = [], []
    with tempfile.TemporaryDirectory() as folder:
        log = comparison.create(Path(folder) / "live.bnnlab")
        twin = comparison.create(Path(folder) / "twin.bnnlab")
        with Trainer(log.path) as trainer, Trainer(twin.path) as other:
            lanes = [run.lane for run in other.runs]
            train = other.runs[0].data.train
            for block in range(blocks + 1):
                began = time.perf_counter()
                for step in range(block * steps, (block + 1) * steps):
                    indices = other.batches[0][step]
                    x, y = train.x[indices], train.y[indices]
                    for lane in lanes:
                        lane.advance(x, y)
                between = time.perf_counter()
                for _ in range(steps):
                    next(trainer)
                ended = time.perf_counter()
                if block:  # the first warms up
                    bare.append((between - began) / steps)
                    recorded.append((ended - between) / steps)
    return bare, recorded


@click.command()
@click.option("--blocks", default=15, show_default=True)
@click.option("--steps", default=100, show_default=True, help="Steps a block.")
@click.option("--task", default="digits", show_default=True)
@click.option("--width", default=128, show_default=True)
def main(blocks: int, steps: int, task: str, width: int) -> None:
    """Print what recording costs."""
    print(machine())
    report(blocks, steps, task, width)


def report(blocks: int, steps: int, task: str, width: int) -> None:
    """Measure, and print the table."""
    bare, recorded = measure(blocks, steps, task, width)
    ratios = [with_log / without for without, with_log in zip(bare, recorded, strict=True)]
    print(f"eight lanes, {task}, width {width}, batch 100; medians of {blocks} blocks of {steps}")
    print(f"  bare loop        {statistics.median(bare) * 1e3:7.2f} ms a step of all lanes")
    print(f"  probes and log   {statistics.median(recorded) * 1e3:7.2f} ms")
    low, *_, high = sorted(ratios)
    print(
        f"  recording costs  {100 * (statistics.median(ratios) - 1):6.1f} %  "
        f"(blocks {100 * (low - 1):.1f} to {100 * (high - 1):.1f} %)"
    )


if __name__ == "__main__":
    main()
