"""Running a study through Dask.distributed: every run a task, on one machine or a cluster.

A run's folder is where it is kept, and what is there is not done again; so a task that is
repeated, because its worker died or a study is begun anew, goes on from the run's last checkpoint
and comes to the same numbers. All workers must see the folder under the same path.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from bnnlab import tasks
from bnnlab.study.folder import Kept, made
from bnnlab.training import files
from bnnlab.training.conductor import Conductor, TrainerDied

if TYPE_CHECKING:
    from distributed import Client

_POLL = 0.2  # seconds between looks
_PATIENCE = 60.0  # seconds that a trainer whose worker died has to leave
_TRIES = 5  # workers that may die under a run before it is given up


def train_run(folder: str, run_id: str) -> None:
    """Train one run of a comparison to its end: a Dask task.

    Raises TrainerDied, with what the trainer said, and Timeout when another one keeps the run.
    """
    with FileLock(files.run_folder(Path(folder), run_id) / "lock").acquire(timeout=_PATIENCE):
        pass  # the trainer of a worker that died writes its checkpoint and leaves
    with Conductor(folder, 1, [run_id]) as conductor:
        conductor.play()
        while (status := conductor.status()).state == "playing":
            time.sleep(_POLL)
    if status.state == "crashed":
        raise TrainerDied(status.why)


@dataclass(frozen=True)
class Progress:
    """How far a study has come.

    Attributes:
        steps: of all runs together, `made` of them behind us.
        runs: how many, `done` of them at their end.
        going: by comparison and run, the steps made of those that are neither.
        failed: by comparison and run, why.
    """

    steps: int
    made: int
    runs: int
    done: int
    going: dict[str, int]
    failed: dict[str, str]


def run(
    kept: Kept,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, str]:
    """Train what is missing of a study.

    Args:
        kept: the study's folder, see `bnnlab.study.folder.create`.
        scheduler: address of a Dask scheduler; by default a cluster of this machine's cores.
        workers: of the cluster on this machine.
        tell: told now and then how far it has come.

    Returns what failed: by comparison and run, why. Ctrl-C saves checkpoints and raises
    KeyboardInterrupt.
    """
    failed: dict[str, str] = {}
    missing = kept.missing
    if not missing:
        tell(_progress(kept, failed))
        return _troubles(kept)
    for log in {id(log): log for log, _ in kept.runs.values()}.values():
        tasks.get(**log.comparison["task"]).fetch()  # trainers find it here
    with _client(scheduler, workers) as client:
        runs, futures = kept.runs, {}
        for place, key in enumerate(missing):
            log, one = runs[key]
            folder = str(log.path.resolve())
            futures[key] = client.submit(
                train_run, folder, one.id, key=key, pure=False,
                priority=-place,  # in the study's order
            )  # fmt: skip
        while futures:
            for key in [key for key, future in futures.items() if future.done()]:
                future = futures.pop(key)
                if future.status == "error":
                    failed[key] = str(future.exception())
            tell(_progress(kept, failed))
            time.sleep(_POLL)
    return failed | _troubles(kept)


def _progress(kept: Kept, failed: dict[str, str]) -> Progress:
    kept.refresh()
    runs = kept.runs
    steps = {key: made(log, run) for key, (log, run) in runs.items()}
    left = [key for key in kept.missing if key not in failed]
    return Progress(
        steps=sum(log.steps for log, _ in runs.values()),
        made=sum(steps.values()),
        runs=len(runs),
        done=len(runs) - len(left),
        going={key: steps[key] for key in left if steps[key]},
        failed=failed | _troubles(kept),
    )


def _troubles(kept: Kept) -> dict[str, str]:
    return {
        key: f"{run.end['state']} at step {run.end['step']}"
        for key, (_, run) in kept.runs.items()
        if run.end is not None and run.end["state"] != "done"
    }


@contextmanager
def _client(scheduler: str | None, workers: int | None) -> "Iterator[Client]":
    import dask.config as settings
    from distributed import Client, LocalCluster

    settings.set({"distributed.scheduler.allowed-failures": _TRIES})
    if scheduler is not None:
        with Client(scheduler, timeout="20s") as client:
            yield client
        return
    count = workers or os.cpu_count() or 1
    cluster = LocalCluster(
        n_workers=count, threads_per_worker=1, processes=True, host="127.0.0.1", silence_logs=50,
        dashboard_address=None,  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
    with cluster, Client(cluster) as client:
        yield client
