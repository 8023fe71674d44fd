"""What the networks of a comparison cost: counted, and measured on this machine.

    python -m bnnlab.cost digits.bnnlab [--lane LANE] [--run ID] [--rounds COUNT]

packs each run's last checkpoint, times it beside PyTorch with one thread and beside this machine's
limit, compares predictions over the task's whole test set (of a text, its first sequences), and
writes `cost.json` into the run's folder. `measure` does so in a process of its own.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bnnlab.training import files, store

BATCHES = (1, 10, 100)
AT_ONCE = 100  # samples whose predictions are compared at once
FEWER_BITS = ("bfloat16", "int8")  # ways of PyTorch whose predictions are not those of float32
MOST_SEQUENCES = 2000  # of a text, whose predictions are compared
ROUNDS = (5, 21)  # samples of each time: the more, the faster the network
SECONDS = 5.0  # that they should not take much longer than


def measure(
    folder: str | os.PathLike[str],
    run_ids: Sequence[str] | None = None,
    rounds: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure runs of a comparison in a process of its own, with one thread.

    Args:
        folder: the comparison's folder.
        run_ids: which runs; by default all that have a checkpoint.
        rounds: samples of each time; by default as many as take some seconds.

    Returns:
        By run id, what was written to its `cost.json`.

    Raises:
        RuntimeError: the process failed; the message is what it said last.
    """
    wanted = [argument for run_id in run_ids or [] for argument in ("--run", run_id)]
    wanted += [] if rounds is None else ["--rounds", str(rounds)]
    done = subprocess.run(
        [sys.executable, "-m", "bnnlab.cost", os.fspath(folder), *wanted],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RuntimeError(said[-1] if said else f"it ended with status {done.returncode}")
    log = store.open(folder)
    return {
        run.id: run.cost
        for run in log.runs
        if run.cost is not None and (run_ids is None or run.id in run_ids)
    }


def measure_run(
    log: store.Log,
    run: store.RunLog,
    test_x: np.ndarray,
    *,
    batches: Sequence[int] = BATCHES,
    threads: int = 1,
    rounds: int | None = None,
) -> dict[str, Any]:
    """Measure one run in this process and write its `cost.json`.

    Args:
        log: the comparison.
        run: the run; it must have a checkpoint.
        test_x: the task's test set, float32 (samples, inputs), or int64 (samples, time) of a text.
        batches: how many samples at once.
        threads: that each pass shares its work out among.
        rounds: samples of each time; by default as many as take some seconds.

    Returns:
        The record: "step", the counts, "isa", "threads", "machine", "compared" (what PyTorch is
        timed with), "batches", memory and how many predictions agree, of the packed network and of
        PyTorch in fewer bits; or with "not_packable", the reason, and the counts alone. Of each
        batch: "packed_s", "packing_s", "torch_s", "onednn_s", "bfloat16_s" and "int8_s" as
        `bnnlab.packed.benchmark.compare` times them, "limit" and "traffic" as it says.
    """
    import bnnlab
    from bnnlab.packed import NotPackable
    from bnnlab.packed.benchmark import machine
    from bnnlab.training import checkpoint

    saved = checkpoint.read(run.folder)
    if saved is None:
        raise ValueError(f"{run.id} has no checkpoint yet")
    model: Any = log.model(run.lane, run.seed)
    record = {"step": saved.step, "machine": machine(), "threads": threads} | _counts(model)
    record |= _training_counts(model, log.comparison, test_x)
    try:
        packed = bnnlab.pack(model)
    except NotPackable as error:
        record["not_packable"] = str(error)
    else:
        record |= _measured(model, packed, test_x, sorted(set(batches)), threads, rounds)
    files.write_json(run.folder / "cost.json", record)
    return record


def _counts(model: Any) -> dict[str, Any]:
    """What can be said of a network without running it."""
    from bnnlab.nn import summary

    counted = summary(model)
    total = counted.total
    return {
        "weights_1bit": total.weights_1bit,
        "weights_ternary": total.weights_ternary,
        "weights_kbit": total.weights_kbit,
        "weights_32bit": total.weights_32bit,
        "other_32bit": total.other_32bit,
        "bytes_float32": counted.bytes_float32,
        "memory_float32_bytes": counted.bytes_float32,
        "macs": {
            "xnor": total.macs_xnor,
            "sign_float": total.macs_sign_float,
            "float": total.macs_float,
        },
    }


def _training_counts(model: Any, comparison: dict, test_x: np.ndarray) -> dict[str, Any]:
    """The multiplications of a training step that remain, and those of plain training."""
    from bnnlab.nn import multiplications

    symbols = 1 if test_x.dtype == np.float32 else test_x.shape[1]
    counted = multiplications(
        model, batch_size=comparison["batch_size"] * symbols, optimizer=comparison["optimizer"]
    )
    return {
        "multiplications": counted.total.remaining,
        "multiplications_plain": counted.total.plain,
    }


def _measured(
    model: Any,
    packed: Any,
    test_x: np.ndarray,
    sizes: Sequence[int],
    threads: int,
    rounds: int | None,
) -> dict[str, Any]:
    """Sizes of the packed network, its times beside PyTorch's, and its predictions."""
    from bnnlab.packed import kernels
    from bnnlab.packed.benchmark import compare
    from bnnlab.packed.format import dump
    from bnnlab.packed.twins import WAYS, compared, missing_int8

    batches = []
    for batch in sizes:
        x = np.ascontiguousarray(np.resize(test_x, (batch, test_x.shape[1])))
        found = compare(model, packed, x, rounds or _rounds(packed, x), threads)
        times = {f"{name}_s": found["seconds"].get(name) for name in ("packed", "packing", *WAYS)}
        batches.append(
            {"batch": batch, "limit": found["limit"], "traffic": found["traffic"]} | times
        )
    return {
        "other_32bit": packed.other_32bit,
        "bytes_packed": len(dump(packed)),
        "memory_packed_bytes": packed.nbytes,
        "isa": kernels.isa(),
        "compared": compared(model),
        "int8_missing": missing_int8(),
        "batches": batches,
    } | _predictions(model, packed, test_x)


def _rounds(packed: Any, x: np.ndarray) -> int:
    """How often to time a network on a batch."""
    packed(x)
    start = time.thread_time()
    packed(x)
    # Each is called twice in a round, and PyTorch takes several times as long.
    wanted = SECONDS / max(30 * (time.thread_time() - start), 1e-9)
    return round(min(max(wanted, ROUNDS[0]), ROUNDS[1]))


def _predictions(model: Any, packed: Any, test_x: np.ndarray) -> dict[str, Any]:
    """How many predictions agree, and how far scores are apart; each symbol of a text is one."""
    import torch

    from bnnlab.packed.twins import Twin, ways

    test_x = test_x if packed.shape else test_x[:MOST_SEQUENCES]
    twins = {way: Twin(model, way, batch=AT_ONCE) for way in ways() if way in FEWER_BITS}
    made = equal = 0
    equal_of = dict.fromkeys(twins, 0)
    apart = largest = 0.0
    for first in range(0, len(test_x), AT_ONCE):
        x = np.ascontiguousarray(test_x[first : first + AT_ONCE])
        given = torch.from_numpy(x.copy())
        with torch.inference_mode():
            expected = model(given).numpy()
            others = {way: twin(given).numpy().argmax(-1) for way, twin in twins.items()}
        scores, label = packed(x), expected.argmax(-1)
        said = scores.argmax(-1)
        made, equal = made + said.size, equal + int((said == label).sum())
        for way, predicted in others.items():
            equal_of[way] += int((predicted == label).sum())
        apart = max(apart, float(np.abs(scores - expected).max()))
        largest = max(largest, float(np.abs(expected).max()))
    return {
        "predictions": made,
        "predictions_equal": equal,
        "predictions_equal_fewer_bits": equal_of,
        "max_relative_difference": apart / max(largest, 1e-30),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the runs that the command line names, and say what was found."""
    parser = argparse.ArgumentParser(prog="python -m bnnlab.cost", description=__doc__)
    parser.add_argument("folder", type=Path, help="a comparison's folder")
    parser.add_argument("--lane", action="append", help="only this lane (may be repeated)")
    parser.add_argument("--run", action="append", help="only this run id (may be repeated)")
    parser.add_argument("--rounds", type=int, help="samples of each time")
    options = parser.parse_args(arguments)
    try:
        _measure_all(options)
    except (ValueError, RuntimeError) as error:
        sys.exit(f"{error}")


def _measure_all(options: argparse.Namespace) -> None:
    from bnnlab.packed import kernels

    kernels.require()
    log = store.open(options.folder)
    for lane in options.lane or []:
        log.run(lane)  # raises for one that is not there
    unknown = set(options.run or []) - {run.id for run in log.runs}
    if unknown:
        ids = ", ".join(run.id for run in log.runs)
        raise ValueError(f"no run {', '.join(sorted(unknown))}; the runs are {ids}")
    from bnnlab import tasks
    from bnnlab.training import checkpoint

    runs = [
        run
        for run in log.runs
        if (not options.lane or run.lane in options.lane)
        and (not options.run or run.id in options.run)
        and checkpoint.read(run.folder) is not None
    ]
    if not runs:
        raise ValueError(f"{log.path} has no checkpoint to measure yet")
    test_x = tasks.get(**log.comparison["task"]).load().test_x
    for run in runs:
        print(_line(run, measure_run(log, run, test_x, rounds=options.rounds)), flush=True)


def _line(run: store.RunLog, record: dict[str, Any]) -> str:
    """A run's result in a line."""
    if "not_packable" in record:
        return f"{run.id}  not packable: {record['not_packable']}"
    parts = [f"{run.id}  {record['bytes_packed']:,} of {record['bytes_float32']:,} bytes"]
    for batch in record["batches"]:
        us = [batch[f"{name}_s"]["median"] * 1e6 for name in ("packed", "torch", "onednn")]
        parts.append("batch {}: packed {:.0f}, torch {:.0f}, oneDNN {:.0f} us".format(
            batch["batch"], *us))  # fmt: skip
    parts.append(f"{record['predictions_equal']} of {record['predictions']} predictions equal")
    return ", ".join(parts)


if __name__ == "__main__":
    main()
