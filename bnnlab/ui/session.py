"""What a page owns: one comparison's folder, its trainers and its log.

Nothing here knows of Panel. Methods that wait for trainers (`begin`, `save`, `close`, ...) are
meant to be called off the server's loop, one at a time; the others return at once.
"""

import atexit
import os
import shutil
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

from bnnlab import limits, tasks
from bnnlab.training.comparison import Comparison
from bnnlab.training.conductor import Conductor, Status
from bnnlab.training.store import Log
from bnnlab.ui.library import Library
from bnnlab.ui.scratch import Scratch

_NICENESS = 5
# One core is for the page and the browser that draws it.
_TRAINERS = min(max(1, (os.cpu_count() or 1) - 1), limits.PROCESSES)

_live: "weakref.WeakSet[Session]" = weakref.WeakSet()


class Session:
    """One comparison, being trained or looked at.

    Attributes:
        log: its Log; None until `begin` or `open` has returned.
        comparison: its spec; None until then.
        name: the name it was saved under; None while it is only kept for the page.
        device: the name of the one to train on.
        fetching: what is being downloaded and how far it is, in words; "" when nothing is.
    """

    def __init__(self, library: Library, device: str = "cpu"):
        self.library = library
        self.device = device
        self.log: Log | None = None
        self.comparison: Comparison | None = None
        self.name: str | None = None
        self.fetching = ""
        self._conductor: Conductor | None = None
        self._temporary: Scratch | None = None
        self._left: list[Scratch] = []
        self._measuring: subprocess.Popen | None = None
        self._closed = False
        self._guard = threading.Lock()
        self._rate = _Rate()
        self._speed: float | None = None
        _live.add(self)

    # What waits.

    def begin(self, comparison: Comparison, *, play: bool) -> None:
        """Start a comparison in a folder of its own, in place of the one there was.

        A comparison that was saved stays where it is. Raises TaskUnavailable, and leaves everything
        as it is, when the task's data cannot be had.
        """
        self._fetch(comparison)
        self._leave()
        scratch = Scratch()
        with self._guard:
            if self._closed:
                scratch.forget()
                return
            self._temporary = scratch
        folder = scratch.path / "comparison.bnnlab"
        comparison.create(folder)
        self.name = None
        self._enter(folder, comparison, play=play)

    def open(self, folder: Path, name: str | None) -> None:
        """Go on with a comparison that is there already, paused."""
        comparison = Comparison.from_dict(Log(folder).comparison)
        self._fetch(comparison)
        self._leave()
        self.name = name
        self._enter(folder, comparison, play=False)

    def _fetch(self, comparison: Comparison) -> None:
        task = tasks.get(**comparison.task)

        def tell(done: int, total: int) -> None:
            self.fetching = f"Downloading {task.title}: {done / 1e6:.1f} of {total / 1e6:.1f} MB"

        try:
            task.fetch(tell)
        finally:
            self.fetching = ""

    def save(self, name: str) -> None:
        """Keep the comparison in the library under a name; trainers go on where they were.

        Raises ValueError for a name that is taken or not allowed.
        """
        target = self.library.place(name)
        if target.exists():
            raise ValueError(f"{name} is taken; give another name")
        assert self.log is not None and self.comparison is not None
        playing = self.status().state == "playing"
        source = self.log.path
        self._stop_trainers()
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target)
        self._leave_temporary()
        self.name = name
        self._enter(target, self.comparison, play=playing)

    def restart(self, *, play: bool) -> None:
        """Go back to step 0 with the same settings."""
        if self.comparison is not None:
            self.begin(self.comparison, play=play)

    def stop(self) -> None:
        """Have the trainers write checkpoints and leave; `play` starts them again."""
        self._stop_trainers()

    def resume(self) -> None:
        """Start trainers that died or were stopped; they go on from their last checkpoints."""
        if self._conductor is not None and self._conductor.status().state == "crashed":
            self._conductor.resume()
            _give_way(self._conductor.pids)
            self._conductor.play()
        elif self.log is not None and self.comparison is not None:
            self._enter(self.log.path, self.comparison, play=True)

    def close(self) -> None:
        """Stop everything and delete what was not saved. May be called twice, from any thread."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
        self._leave()
        self.forget_left()
        self.log = None

    def _enter(self, folder: Path, comparison: Comparison, *, play: bool) -> None:
        log = Log(folder)
        conductor = Conductor(folder, _TRAINERS, device=self.device).start()
        _give_way(conductor.pids)
        conductor.speed = self._speed
        with self._guard:
            closed = self._closed
            if not closed:
                self.log, self.comparison, self._conductor = log, comparison, conductor
        if closed:
            conductor.stop(at_once=self._temporary is not None)
            self._leave_temporary()
            self.forget_left()
            return
        if play:
            conductor.play()

    def _leave(self) -> None:
        # Checkpoints of what is deleted next would only cost time, of which a notebook's kernel
        # that is shut down has little.
        self._stop_trainers(at_once=self._temporary is not None)
        self._leave_temporary()

    def _stop_trainers(self, *, at_once: bool = False) -> None:
        conductor, self._conductor = self._conductor, None
        if conductor is not None:
            conductor.stop(at_once=at_once)
        if self._measuring is not None and self._measuring.poll() is None:
            self._measuring.terminate()
            self._measuring.wait()
        self._measuring = None

    def _leave_temporary(self) -> None:
        scratch, self._temporary = self._temporary, None
        if scratch is not None:
            self._left.append(scratch)

    def forget_left(self, shown: Path | None = None) -> None:
        """Delete what was left and not saved, all but the folder of what is still shown.

        Whoever shows a comparison goes on reading its log until it has turned to the next one.
        """
        for scratch in [*self._left]:
            if shown is None or scratch.path not in shown.parents:
                self._left.remove(scratch)
                scratch.forget()

    def save_checkpoints(self) -> None:
        """Have the trainers write checkpoints of where they are, for what reads those.

        Raises TrainerDied when they cannot.
        """
        if self._conductor is not None and self._conductor.status().state != "crashed":
            self._conductor.save()

    def measure(self) -> None:
        """Start measuring what the packed networks cost, in a process of its own."""
        if self.log is None or self.measuring:
            return
        self.save_checkpoints()
        self._measuring = subprocess.Popen(
            [sys.executable, "-m", "bnnlab.cost", str(self.log.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    # What returns at once.

    @property
    def conductor(self) -> Conductor | None:
        """The conductor of the trainers; None while there are none."""
        return self._conductor

    @property
    def lr(self) -> float | None:
        """The optimizer's step size now."""
        return None if self._conductor is None else self._conductor.lr

    def set_speed(self, steps_per_second: float | None) -> None:
        """Train at most that many steps a second; None for as fast as the machine goes."""
        self._speed = steps_per_second
        if self._conductor is not None:
            self._conductor.speed = steps_per_second

    def status(self) -> Status:
        """Where the comparison is."""
        if self._conductor is not None:
            return self._conductor.status()
        if self.log is None:
            return Status("starting", 0, 0)
        return Status("stopped", max(0, self.log.step), self.log.steps)

    def refresh(self) -> bool:
        """Read what the trainers appended; return whether anything is new."""
        return self.log is not None and self.log.refresh()

    def rate(self, status: Status) -> float:
        """Steps a second over the last seconds; 0 while it does not train."""
        return self._rate.of(status)

    @property
    def measuring(self) -> bool:
        """Whether a measurement is going on."""
        return self._measuring is not None and self._measuring.poll() is None

    def measurement_failed(self) -> str:
        """What a measurement that failed said last, once; empty when none did."""
        process = self._measuring
        if process is None or process.poll() in (None, 0):
            return ""
        self._measuring = None
        assert process.stderr is not None
        said = process.stderr.read().decode(errors="replace").strip().splitlines()
        process.stderr.close()
        return said[-1] if said else f"it ended with status {process.returncode}"


def _give_way(pids: list[int]) -> None:
    """Let the page go first where it and the trainers want the same core."""
    for pid in pids:
        try:
            os.setpriority(os.PRIO_PROCESS, pid, _NICENESS)
        except (AttributeError, OSError):
            return  # not this system, or already gone: only less smooth


class _Rate:
    """Steps a second, over the last two seconds."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def of(self, status: Status) -> float:
        now = time.monotonic()
        if status.state != "playing" or (self._seen and status.step < self._seen[-1][1]):
            self._seen = []
        self._seen = [(at, step) for at, step in self._seen if now - at < 2.0]
        self._seen.append((now, status.step))
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        return (last - first) / (ended - began) if ended - began > 0.4 else 0.0


@atexit.register
def _close_all() -> None:
    # A server that is stopped does not say goodbye to its sessions.
    for session in list(_live):
        session.close()
