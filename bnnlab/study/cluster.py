"""Running a study through Dask.distributed: every run a task, on one machine or a cluster.

A run's folder is where it is kept, and what is there is not done again; so a task that is
repeated, because its worker died or a study is begun anew, goes on from the run's last checkpoint
and comes to the same numbers. All workers must see the folder under the same path.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from bnnlab import tasks
from bnnlab.study.grid import Study
from bnnlab.training import files
from bnnlab.training.conductor import Conductor, TrainerDied
from bnnlab.training.store import Log

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


def run(
    study: Study,
    out: Path,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    tell: Callable[[int, int, dict[str, str]], None] = lambda made, steps, failed: None,
) -> dict[str, str]:
    """Train what is missing of a study.

    Args:
        study: the study.
        out: the folder of its comparisons, `NAME.bnnlab` each.
        scheduler: address of a Dask scheduler; by default a cluster of this machine's cores.
        workers: of the cluster on this machine.
        tell: told now and then how many steps of how many are made, and what failed.

    Returns what failed: by comparison and run, why. Ctrl-C saves checkpoints and raises
    KeyboardInterrupt.
    """
    logs = {name: made.create(out / f"{name}.bnnlab") for name, made in study.comparisons.items()}
    for made in study.comparisons.values():
        tasks.get(**made.task).fetch()  # trainers find it here
    missing = [
        (name, run.id) for name, log in logs.items() for run in log.runs if not _ended(log, run)
    ]
    failed: dict[str, str] = {}
    steps = sum(log.steps * len(log.runs) for log in logs.values())
    if not missing:
        tell(steps, steps, failed)
        return _troubles(logs)
    with _client(scheduler, workers) as client:
        futures = {
            client.submit(
                train_run,
                str(logs[name].path.resolve()),
                run_id,
                key=f"{name}/{run_id}",
                pure=False,
            ): (name, run_id)
            for name, run_id in missing
        }
        left = set(futures)
        while left:
            for future in [future for future in left if future.done()]:
                left.remove(future)
                if future.status == "error":
                    failed["/".join(futures[future])] = str(future.exception())
            tell(_made(logs), steps, failed)
            time.sleep(_POLL)
    tell(_made(logs), steps, failed)
    return failed | _troubles(logs)


def _ended(log: Log, run: Any) -> bool:
    return run.end is not None and (run.end["state"] != "done" or run.end["step"] >= log.steps)


def _made(logs: dict[str, Log]) -> int:
    for log in logs.values():
        log.refresh()
    return sum(
        log.steps if _ended(log, run) else max(0, run.step)
        for log in logs.values()
        for run in log.runs
    )


def _troubles(logs: dict[str, Log]) -> dict[str, str]:
    return {
        f"{name}/{run.id}": f"{run.end['state']} at step {run.end['step']}"
        for name, log in logs.items()
        for run in log.runs
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
