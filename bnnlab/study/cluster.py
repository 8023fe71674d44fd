"""Running a study through Dask.distributed: every run a task, on one machine or a cluster.

A run's folder is where it is kept, and what is there is not done again; so a task that is
repeated, because its worker died or a study is begun anew, goes on from the run's last checkpoint
and comes to the same numbers. All workers must see the folder under the same path.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import dask.config
from distributed import Client, LocalCluster, Worker, WorkerPlugin, wait
from filelock import FileLock

from bnnlab import tasks
from bnnlab.study.folder import Kept, made
from bnnlab.training import devices, files, process
from bnnlab.training.trainer import Trainer

_POLL = 0.2  # seconds between looks
_PATIENCE = 60.0  # seconds that a run has to be left
_TRIES = 5  # workers that may die under a run before it is given up


def train_run(folder: str, run_id: str, study: str, beginning: str, device: str) -> None:
    """Train one run of a comparison to its end, in the worker's own process: a Dask task.

    Args:
        folder: the comparison's.
        run_id: the run's.
        study: the study's folder.
        beginning: which beginning of the study asks for it; once that is over, a checkpoint is
            written, and nothing more.
        device: of the worker's machine, where to train.

    Raises Timeout when something else keeps the run.
    """
    going = Path(study, _GOING)
    if not _goes_on(going, beginning):
        return
    with FileLock(files.run_folder(Path(folder), run_id) / "lock").acquire(timeout=_PATIENCE):
        pass  # a worker that was thought dead may still be leaving
    process.prepare()
    with Trainer(Path(folder), [run_id], device) as trainer:
        looked = time.monotonic()
        for _ in trainer:
            if time.monotonic() - looked < _POLL:
                continue
            looked = time.monotonic()
            if not _goes_on(going, beginning):
                trainer.save()
                return


# In a study's folder while it is trained: which of its beginnings is. Other than a message, a file
# reaches workers that are just being started in place of dead ones, too.
_GOING = "going"


@contextmanager
def _begun(folder: Path) -> Iterator[str]:
    """Have a study go on within; give what its beginning is called."""
    beginning = uuid4().hex
    files.write_atomically(folder / _GOING, beginning.encode())
    try:
        yield beginning
    finally:
        (folder / _GOING).unlink(missing_ok=True)


def _goes_on(going: Path, beginning: str) -> bool:
    try:
        return going.read_text() == beginning
    except FileNotFoundError:
        return False


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
    device: str = "cpu",
    tell: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, str]:
    """Train what is missing of a study.

    Args:
        kept: the study's folder, see `bnnlab.study.folder.create`.
        scheduler: address of a Dask scheduler; by default a cluster of this machine's cores.
        workers: of the cluster on this machine.
        device: the name of the one to train on, on every worker's machine.
        tell: told now and then how far it has come.

    Returns what failed: by comparison and run, why. Ctrl-C saves checkpoints and raises
    KeyboardInterrupt; a device that this machine has not raises ValueError, one that a
    scheduler's worker has not fails its runs.
    """
    if scheduler is None:
        devices.get(device)  # refused before a cluster is started
    failed: dict[str, str] = {}
    missing = kept.missing
    if not missing:
        tell(_progress(kept, failed))
        return _troubles(kept)
    for log in {id(log): log for log, _ in kept.runs.values()}.values():
        tasks.get(**log.comparison["task"]).fetch()  # trainers find it here
    folder, runs, futures = kept.path.resolve(), kept.runs, {}
    with _client(scheduler, workers) as client:
        try:
            with _begun(folder) as beginning:
                for place, key in enumerate(missing):
                    log, one = runs[key]
                    futures[key] = client.submit(
                        train_run, str(log.path.resolve()), one.id, str(folder), beginning, device,
                        key=f"{key}-{beginning}", priority=-place,  # in the study's order
                    )  # fmt: skip
                while futures:
                    for key in [key for key, future in futures.items() if future.done()]:
                        future = futures.pop(key)
                        if future.status == "error":
                            failed[key] = str(future.exception())
                    tell(_progress(kept, failed))
                    time.sleep(_POLL)
        except KeyboardInterrupt:
            with suppress(TimeoutError):
                wait(list(futures.values()), timeout=_PATIENCE)
            raise
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
def _client(scheduler: str | None, workers: int | None) -> Iterator[Client]:
    dask.config.set({"distributed.scheduler.allowed-failures": _TRIES})
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
        client.register_plugin(_Uninterrupted())
        yield client


class _Uninterrupted(WorkerPlugin):
    """Leaves Ctrl-C, which a terminal sends to workers as well, to whoever began the study."""

    def setup(self, worker: Worker) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
