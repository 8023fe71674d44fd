"""Starts trainers, keeps their lanes together, and passes on what the user asks for.

A trainer may train up to a step and no further; the conductor moves that step on as the slowest
lane advances, so lanes in different processes stay within one drawing interval of each other. It
knows where they are from the store alone.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, NamedTuple

from bnnlab import limits
from bnnlab.training import checkpoint, files
from bnnlab.training.progress import bar
from bnnlab.training.store import Log

POLL = 0.02  # seconds between looks at the store
DRAWING = 0.1  # seconds of training that lanes may be apart
PATIENCE = 20.0  # seconds a trainer has to write its checkpoints before it is killed


class TrainerDied(RuntimeError):
    """A trainer process ended without being told to."""


class Status(NamedTuple):
    """Where a comparison is.

    Attributes:
        state: "playing", "pausing" (steps already allowed are still made), "paused", "finished",
            "stopped" or "crashed".
        step: the step that every lane still going has reached.
        steps: the step at which the comparison ends.
        why: what a crashed trainer said last.
    """

    state: str
    step: int
    steps: int
    why: str = ""


class _Process:
    """A trainer and the runs it trains."""

    def __init__(self, folder: Path, run_ids: list[str], threads: int, device: str):
        self.run_ids = run_ids
        self.errors: IO[bytes] = tempfile.TemporaryFile()
        command = [sys.executable, "-m", "bnnlab.training.worker", str(folder)]
        self.popen = subprocess.Popen(
            [*command, "--runs", ",".join(run_ids), "--device", device],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
            # Ctrl-C is for whoever started the conductor, which then stops its trainers.
            start_new_session=True,
        )

    def tell(self, **command: object) -> None:
        try:
            assert self.popen.stdin is not None
            self.popen.stdin.write(json.dumps(command).encode() + b"\n")
            self.popen.stdin.flush()
        except BrokenPipeError:
            pass  # it died; the next poll says so

    @property
    def dead(self) -> bool:
        return self.popen.poll() is not None

    def last_words(self) -> str:
        size = self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, size - 2000))
        said = self.errors.read().decode(errors="replace").strip().splitlines()
        code = self.popen.poll()
        return said[-1] if said else f"killed by signal {-code}" if code and code < 0 else ""

    def leave(self, *, at_once: bool = False) -> None:
        if at_once:
            self.popen.kill()
        if self.popen.stdin is not None and not self.popen.stdin.closed:
            try:
                self.popen.stdin.close()
            except BrokenPipeError:
                pass

    def stop(self) -> None:
        self.leave()
        try:
            self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self.errors.close()


class Conductor:
    """Plays, pauses and steps the trainers of one comparison's folder.

    Args:
        folder: made by Comparison.create.
        processes: how many trainers; by default as many as there are cores, but no more than runs.
        run_ids: the runs to train; all of them by default.
        device: the name of the one to train on: "cpu", "cuda" or "cuda:N".

    Raises ValueError for a number of processes that limits.PROCESSES does not allow.

    Methods but `save` and `stop` return at once; what they ask for shows in the store. Use it as a
    context, or call `stop`: trainers write checkpoints and leave.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        processes: int | None = None,
        run_ids: list[str] | None = None,
        device: str = "cpu",
    ):
        self.folder = Path(folder)
        if processes is not None:
            limits.check_processes(processes)
        log = Log(self.folder)
        self._threads: int = log.comparison["threads"]
        self._device = device
        self._lr: float = log.changes.latest_lr(log.comparison["lr"])
        self._ids = run_ids or [run.id for run in log.runs]
        self.steps = log.steps
        count = min(processes or os.cpu_count() or 1, len(self._ids))
        self._shares = [self._ids[index::count] for index in range(count)]
        self._processes: list[_Process] = []
        self._guard = threading.RLock()
        self._speed: float | None = None
        self._playing = False
        self._target = 0  # how far the user lets it go
        self._ticket = 0  # how far the trainers have been let go
        self._why = ""
        self._rate = 0.0  # steps a second, smoothed
        self._step = self._slowest()
        self._pace = float(self._step)  # how far the chosen speed has come
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> "Conductor":
        """Start the trainers, paused."""
        with self._guard:
            self._processes = [self._process(share) for share in self._shares]
            self._thread = threading.Thread(target=self._conduct, daemon=True)
            self._thread.start()
        return self

    def _process(self, share: list[str]) -> _Process:
        return _Process(self.folder, share, self._threads, self._device)

    def __enter__(self) -> "Conductor":
        return self if self._processes else self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def pids(self) -> list[int]:
        """The trainers' process ids."""
        return [process.popen.pid for process in self._processes]

    @property
    def lr(self) -> float:
        """The optimizer's step size now."""
        return self._lr

    @property
    def speed(self) -> float | None:
        """Steps a second at most; None for as fast as the machine goes."""
        return self._speed

    @speed.setter
    def speed(self, steps_per_second: float | None) -> None:
        if steps_per_second is not None and not steps_per_second > 0:
            raise ValueError(f"speed is {steps_per_second!r}; give steps a second above 0, or None")
        with self._guard:
            self._speed = steps_per_second
            self._pace = float(self._step)

    def play(self, until: int | None = None) -> None:
        """Train on, to step `until` or to the end."""
        with self._guard:
            self._target = self.steps if until is None else min(until, self.steps)
            self._playing = True
            self._pace = float(self._step)
            self._let_on()

    def pause(self) -> None:
        """Stop where the trainers have been let go, a drawing interval away at most.

        Every lane then stands at the same step.
        """
        with self._guard:
            self._playing = False

    def step(self, count: int = 1) -> None:
        """Make `count` steps more than are allowed already, then pause."""
        with self._guard:
            self.play(until=max(self._ticket, self._slowest()) + count)

    def set(
        self,
        *,
        lr: float | None = None,
        steps: int | None = None,
        options: dict[str, dict] | None = None,
    ) -> None:
        """Change the step size, the number of steps or schemes' options, from here on.

        The change is written into the store with the step it holds from, the same for every lane,
        so a resumed run makes it again at the same place.

        Args:
            lr: the optimizer's step size.
            steps: how many steps each run makes.
            options: by lane, options of its scheme, checked by whoever asks.

        Raises ValueError for a step size that is not a positive number, or fewer steps than have
        been made.
        """
        with self._guard:
            # Beyond every step made, in progress or allowed: no lane has gone past it.
            at = max(self._ticket, *(self._last(run_id) + 1 for run_id in self._ids))
            if lr is not None:
                if not 0 < lr <= 10:
                    raise ValueError(f"lr is {lr!r}; give a step size above 0, up to 10")
                self._lr = lr
                self._change({"at": at, "lr": lr})
            for name, changed in (options or {}).items():
                self._change({"at": at, "lane": name, "options": changed})
            if steps is not None:
                limits.check_steps(steps, max(map(self._last, self._ids)))
                self.steps = steps
                self._target = max(self._target, steps)
                self._change({"steps": steps})

    def _change(self, change: dict) -> None:
        files.append_line(self.folder / "changes.jsonl", change)
        for process in self._processes:
            process.tell(do="changed")

    def save(self) -> None:
        """Have the trainers write checkpoints of where they are now; wait for them.

        Raises TrainerDied when one ends meanwhile, or does not get to it for PATIENCE seconds.
        """
        with self._guard:
            processes = [*self._processes]
            wanted = {run_id: self._last(run_id) for run_id in self._going()}
            for process in processes:
                process.tell(do="save")
        deadline = time.monotonic() + PATIENCE
        while processes and any(
            checkpoint.newest_step(files.run_folder(self.folder, run_id)) < step
            for run_id, step in wanted.items()
        ):
            if any(process.dead for process in processes) or time.monotonic() > deadline:
                raise TrainerDied("the trainers did not write checkpoints")
            time.sleep(POLL)

    def resume(self) -> None:
        """Start again the trainers that died; they go on from their last checkpoints."""
        with self._guard:
            for index, process in enumerate(self._processes):
                if process.dead:
                    process.stop()
                    self._processes[index] = self._process(process.run_ids)
            self._why = ""
            self._ticket = 0
            self._playing = False

    def stop(self, *, at_once: bool = False) -> None:
        """Have the trainers write checkpoints and leave; wait for them.

        `at_once` spares them the checkpoints, of what nobody will resume.
        """
        self._stopping.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        with self._guard:
            for process in self._processes:  # all of them, before the first is waited for
                process.leave(at_once=at_once)
            for process in self._processes:
                process.stop()
            self._processes = []

    def status(self) -> Status:
        """Return where the comparison is."""
        with self._guard:
            state = self._state()
            # The last look at the store may have been before the last step.
            step = self.steps if state == "finished" else self._step
            return Status(state, step, self.steps, self._why)

    def _state(self) -> str:
        if self._why:
            return "crashed"
        if not self._going():
            return "finished"
        if not self._processes:
            return "stopped"
        if self._playing:
            return "playing"
        return "pausing" if self._step < self._ticket else "paused"

    def _going(self) -> list[str]:
        return [id for id in self._ids if not self._ended(id)]

    def _ended(self, run_id: str) -> bool:
        try:  # a trainer that goes on with the run takes it away
            end = files.read_json(files.run_folder(self.folder, run_id) / "end.json")
        except FileNotFoundError:
            return False
        return end["state"] != "done" or end["step"] >= self.steps

    def _last(self, run_id: str) -> int:
        return max(0, files.last_step(files.run_folder(self.folder, run_id)))

    def _slowest(self) -> int:
        return min((self._last(run_id) for run_id in self._going()), default=self.steps)

    def _conduct(self) -> None:
        looked = time.monotonic()
        while not self._stopping.wait(POLL):
            with self._guard:
                now, step = time.monotonic(), self._slowest()
                rate = (step - self._step) / (now - looked)
                self._rate += 0.1 * (rate - self._rate)
                if self._speed is not None:
                    # Time lost (a trainer that starts) is not made up for by a burst.
                    pace = self._pace + self._speed * (now - looked)
                    self._pace = min(pace, step + max(1, self._speed * DRAWING))
                self._step, looked = step, now
                self._notice_deaths()
                at_the_end = self._target >= self.steps
                if self._playing and step >= self._target and not (at_the_end and self._going()):
                    self._playing = False
                if self._playing:
                    self._let_on()

    def _notice_deaths(self) -> None:
        dead = [process for process in self._processes if process.dead]
        if dead and not self._why and set(self._going()) & {i for p in dead for i in p.run_ids}:
            self._why = dead[0].last_words() or "a trainer ended without a word"
            self.pause()

    def _let_on(self) -> None:
        ticket = self._step + max(1, round(self._rate * DRAWING))
        if self._speed is not None:
            ticket = min(ticket, int(self._pace))
        ticket = min(ticket, self._target)
        if ticket > self._ticket:
            self._ticket = ticket
            for process in self._processes:
                process.tell(do="advance", until=ticket)


def train(
    folder: Path, *, processes: int | None = None, progress: bool = True, device: str = "cpu"
) -> None:
    """Train a comparison to its end.

    Ctrl-C saves checkpoints and raises KeyboardInterrupt. Raises TrainerDied, with what it said.
    """
    with Conductor(folder, processes, device=device) as conductor:
        conductor.play()
        status = conductor.status()
        steps = bar(total=status.steps, initial=status.step, unit="step", disable=not progress)
        with steps:
            while status.state == "playing":
                time.sleep(POLL)
                status = conductor.status()
                if status.step > steps.n:
                    steps.update(status.step - steps.n)
        if status.state == "crashed":
            raise TrainerDied(
                f"a trainer of {folder} died: {status.why}; run the same command to resume"
            )
