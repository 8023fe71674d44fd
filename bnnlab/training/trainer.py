"""The training loop: an iterator that advances lanes together and writes down what happens."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from bnnlab import tasks
from bnnlab.training import checkpoint, devices, files
from bnnlab.training.batches import Batches
from bnnlab.training.changes import Changes
from bnnlab.training.lane import Diverged, Lane
from bnnlab.training.probes import observe
from bnnlab.training.probes.look import Look
from bnnlab.training.recorder import Recorder

# The validation set is looked at often: this many samples of it are enough for a curve. The final
# figures are taken over all of it. Sequences have many labels a sample.
VALIDATION_SAMPLES = 1000
VALIDATION_LABELS = 10_000


class TrainedRun:
    """A lane with its recorder: goes on from the last checkpoint if there is one."""

    def __init__(self, folder: Path, settings: dict, data: "Data", steps: int):
        spec = files.read_json(folder / "run.json")
        self.folder = folder
        self.seed: int = spec["seed"]
        self.name: str = spec["lane"]
        self._adopted: dict = {}
        self.settings = settings
        self.data = data
        self.lane = Lane(settings, spec["scheme"], self.seed, data.device)
        saved = checkpoint.read(folder)
        if saved is not None:
            self.lane.load(saved)
        before, here = saved.devices if saved else [], devices.describe(data.device)
        self._devices = before if here in before else [*before, here]
        self.recorder = Recorder(folder, saved.scalars_bytes if saved else 0)
        path = folder / "end.json"
        self._end_marker = files.read_json(path) if path.exists() else None
        self.go_on(steps)
        if saved is None:
            self._record({}, {}, looking=True, evaluating=True)

    @property
    def step(self) -> int:
        """Updates made so far."""
        return self.lane.step

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to do, or nothing more can be done."""
        return self._end_marker is not None

    def go_on(self, steps: int) -> None:
        """Take back the terminal marker if the run came to its end and `steps` is beyond it."""
        end = self._end_marker
        if end is not None and end["state"] == "done" and end["step"] < steps:
            (self.folder / "end.json").unlink()
            self._end_marker = None

    def adopt(self, options: dict) -> None:
        """Go on with options of the scheme that were changed while it trained."""
        if options != self._adopted:
            self.lane.adopt(options)
            self._adopted = options

    def advance(self, batch: "Samples", epoch: float, lr: float, progress: float) -> None:
        """Make one update and record it; a lane that diverges is ended, with the reason."""
        step = self.lane.step + 1
        looking = step % self.settings["probe_every"] == 0
        if lr != self.lane.lr:
            self.lane.set_lr(lr)
        try:
            loss, accuracy, seen = self.lane.advance(batch.x, batch.y, progress, looking)
        except Diverged as reason:
            self.recorder.record(step, {"train_loss": math.nan}, {})
            self._end({"state": "diverged", "step": step, "why": str(reason)})
            return
        scalars = {"epoch": epoch, "train_loss": loss, "train_accuracy": accuracy}
        evaluating = step % self.settings["evaluate_every"] == 0
        if self.settings["test_every"] and step % self.settings["test_every"] == 0:
            scalars |= {f"whole_{name}": value for name, value in self._evaluation().items()}
        self._record(scalars, seen or {}, looking=looking, evaluating=evaluating)
        if step % self.settings["checkpoint_every"] == 0:
            self.save()

    def _record(self, scalars: dict, seen: dict, *, looking: bool, evaluating: bool) -> None:
        arrays = {}
        if evaluating:
            loss, accuracy = self.lane.evaluate(*self.data.validation_sample)
            scalars |= {"validation_loss": loss, "validation_accuracy": accuracy}
        if looking:
            with torch.no_grad():
                look = Look(self.lane, seen, self.data.extent, self.data.validation_sample)
                seen_scalars, arrays = observe(look)
            scalars |= seen_scalars
            self.lane.last_signs = look.signs
        self.recorder.record(self.lane.step, scalars, arrays)

    def finish(self) -> None:
        """Evaluate on the whole validation and test sets and write the terminal marker."""
        # A loss can overflow in evaluation alone; JSON has no infinity.
        found = {n: v if math.isfinite(v) else None for n, v in self._evaluation().items()}
        best = best_whole(files.read_lines(self.folder / "scalars.jsonl"))
        self._end({"state": "done", "step": self.step, **found, **({"best": best} if best else {}),
                   "devices": self._devices})  # fmt: skip

    def _evaluation(self) -> dict[str, float]:
        """Return loss and accuracy on the whole validation and test sets."""
        found = {}
        for name in ("validation", "test"):
            loss, accuracy = self.lane.evaluate(*getattr(self.data, name))
            found |= {f"{name}_loss": loss, f"{name}_accuracy": accuracy}
        return found

    def _end(self, marker: dict) -> None:
        self.save()
        self.recorder.end(marker)
        self._end_marker = marker

    def save(self) -> None:
        """Write a checkpoint of the current step."""
        self.recorder.sync()
        saved = checkpoint.Checkpoint(
            self.step, self.lane.state(), self.recorder.bytes, self._devices
        )
        checkpoint.write(self.folder, saved)


def best_whole(lines: list[dict]) -> dict | None:
    """Return the step at which the whole validation set went best, and the test's numbers there.

    A later step wins a tie, as in the code of BinaryConnect and LAB. None where no line has them.
    """
    best = None
    for line in lines:
        accuracy = line.get("whole_validation_accuracy")
        if accuracy is not None and (best is None or accuracy >= best["validation_accuracy"]):
            whole = {k.removeprefix("whole_"): v for k, v in line.items() if k[:6] == "whole_"}
            best = {"step": line["step"], **whole}
    return best


class Samples(NamedTuple):
    """Inputs `(samples, ...)` and labels `(samples, ...)` of one part of the data."""

    x: torch.Tensor
    y: torch.Tensor

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray, device: torch.device) -> "Samples":
        """Move the arrays to a device; on the processor, share their memory."""
        return cls(torch.from_numpy(x).to(device), torch.from_numpy(y).to(device))

    def take(self, indices: torch.Tensor) -> "Samples":
        """Return the samples at `indices`."""
        return Samples(self.x[indices], self.y[indices])


class Data:
    """A task's data as tensors on a device, all of it, shared by all lanes of a process."""

    def __init__(self, task: tasks.Task, device: torch.device):
        split = task.load()
        self.device = device
        self.train = Samples.of(split.train_x, split.train_y, device)
        self.validation = Samples.of(split.validation_x, split.validation_y, device)
        self.test = Samples.of(split.test_x, split.test_y, device)
        labels = self.validation.y[0].numel()
        count = max(1, min(VALIDATION_SAMPLES, VALIDATION_LABELS // labels))
        self.validation_sample = Samples(self.validation.x[:count], self.validation.y[:count])
        self.extent = _extent(self.train.x) if task.is_2d else None


def _extent(x: torch.Tensor) -> tuple[float, float, float, float]:
    low, high = x.min(0).values, x.max(0).values
    margin = 0.1 * (high - low)
    low, high = low - margin, high + margin
    return (low[0].item(), high[0].item(), low[1].item(), high[1].item())


class Trainer(Iterator[int]):
    """Advances runs of a comparison, one step of every run that is furthest behind at a time.

    Args:
        folder: the comparison's folder.
        run_ids: the runs to train; all of them by default.
        device: the name of the one to train on, see `bnnlab.training.devices`.

    `next(trainer)` returns the step that all runs still going have reached; it stops when all have
    ended. Use it as a context: it holds the runs' locks. Raises RunIsBusy when another trainer
    writes one of the runs, ValueError when this machine has no such device.
    """

    def __init__(self, folder: Path, run_ids: list[str] | None = None, device: str = "cpu"):
        chosen = devices.get(device)
        devices.prepare(chosen)
        comparison = files.read_json(folder / "comparison.json")
        torch.set_num_threads(comparison["threads"])
        task = tasks.get(**comparison["task"])
        data = Data(task, chosen)
        about = {"inputs": task.inputs, "shape": task.shape, "classes": task.classes}
        settings = {**comparison, **about}
        self.folder = folder
        self.batches = {
            seed: Batches(len(data.train.y), comparison["batch_size"], seed, chosen)
            for seed in comparison["seeds"]
        }
        self._first_lr = comparison["lr"]
        self._schedule = comparison["schedule"]
        self._first_steps = comparison["steps"]
        self.runs: list[TrainedRun] = []
        self.read_changes()
        self.runs = [
            TrainedRun(files.run_folder(folder, run_id), settings, data, self.steps)
            for run_id in run_ids or comparison["runs"]
        ]

    def read_changes(self) -> None:
        """Read what was changed while the comparison ran: the end, and from some step the step size
        or the options of a lane's scheme.
        """
        self._changes = Changes(files.read_lines(self.folder / "changes.jsonl"))
        self.steps = self._changes.steps(self._first_steps)
        for run in self.runs:
            run.go_on(self.steps)

    def _factor(self, epoch: float) -> float:
        """Return what the schedule multiplies the step size by."""
        return math.prod(factor for begins, factor in self._schedule if begins <= epoch)

    @property
    def going(self) -> list[TrainedRun]:
        """The runs that have not ended."""
        return [run for run in self.runs if not run.ended]

    @property
    def step(self) -> int:
        """The step that every run still going has reached."""
        return min((run.step for run in self.going), default=self.steps)

    def __next__(self) -> int:
        if not self.going:
            raise StopIteration
        step = self.step
        drawn: dict[int, Samples] = {}  # by seed: lanes share it
        for run in self.going:
            if run.step == step and step < self.steps:
                batches = self.batches[run.seed]
                if run.seed not in drawn:
                    drawn[run.seed] = run.data.train.take(batches[step])
                # Not the steps it was extended to: what was trained before must not depend on them.
                progress = min(1.0, step / self._first_steps)
                run.adopt(self._changes.options(run.name, step))
                lr = self._changes.lr(step, self._first_lr) * self._factor(batches.epoch(step))
                run.advance(drawn[run.seed], batches.epoch(step + 1), lr, progress)
            if not run.ended and run.step >= self.steps:
                run.finish()
        return self.step

    def save(self) -> None:
        """Write a checkpoint of every run still going."""
        for run in self.going:
            run.save()

    def close(self) -> None:
        """Close every run's files and let other trainers write them."""
        for run in self.runs:
            run.recorder.close()

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
