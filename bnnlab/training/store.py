"""Reading a comparison's folder: the only thing a view ever sees of a training.

Nothing here imports torch. A `Log` may be read while its trainers write: a line or a file that is
not complete is simply not there yet.
"""

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file

from bnnlab.training import files
from bnnlab.training.changes import Changes

if TYPE_CHECKING:
    import pandas as pd
    import torch

Column = tuple[np.ndarray, np.ndarray]


class RunLog:
    """What one run (one scheme with one seed) has recorded so far.

    Attributes:
        id, lane, scheme, seed: which run this is; `lane` is the name it is asked for by.
        title: what its lane is called where people read: its scheme's title, and options.
        description: the scheme's title, reference, colour, estimators (see Scheme.description).
        layers: name, inputs, outputs, binarized, weight_bits and input_bits of each layer.
        step: the last recorded step, -1 before the first.
        array_steps: the steps at which arrays were recorded.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        spec = files.read_json(folder / "run.json")
        self.id: str = spec["id"]
        self.lane: str = spec["lane"]
        self.scheme: str = spec["scheme"]["name"]
        self.options: dict = {k: v for k, v in spec["scheme"].items() if k != "name"}
        self.seed: int = spec["seed"]
        self.description: dict = spec["description"]
        self.title: str = self.description["title"] + self.lane.removeprefix(self.scheme)
        self.layers: list[dict] = spec["layers"]
        self.end: dict | None = None
        self._cost_time: int | None = None
        self.cost: dict | None = None
        self._forget()

    def _forget(self) -> None:
        self._inode: int | None = None
        self._offset = 0
        self.step = -1
        self.array_steps: list[int] = []
        self._steps: dict[str, list[int]] = {}
        self._values: dict[str, list[float]] = {}
        self._columns: dict[str, Column] = {}

    def refresh(self) -> bool:
        """Read what was appended since the last look; return whether anything is new."""
        return any([self._refresh_scalars(), self._refresh_end(), self._refresh_cost()])

    def _refresh_scalars(self) -> bool:
        path = self.folder / "scalars.jsonl"
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return False
        if status.st_ino != self._inode:
            # A resumed run starts a new file, cut back to its checkpoint.
            self._forget()
            self._inode = status.st_ino
        if status.st_size <= self._offset:
            return False
        with path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        for line in complete.splitlines():
            self._take(json.loads(line))
        return bool(complete)

    def _take(self, record: dict) -> None:
        self.step = record.pop("step")
        if record.pop("arrays", False):
            self.array_steps.append(self.step)
        for key, value in record.items():
            self._steps.setdefault(key, []).append(self.step)
            self._values.setdefault(key, []).append(float("nan") if value is None else value)
            self._columns.pop(key, None)

    def _refresh_end(self) -> bool:
        try:
            end = files.read_json(self.folder / "end.json")
        except FileNotFoundError:
            end = None
        changed = end != self.end
        self.end = end
        return changed

    def _refresh_cost(self) -> bool:
        path = self.folder / "cost.json"
        try:
            written = os.stat(path).st_mtime_ns
        except FileNotFoundError:
            written = None
        if written == self._cost_time:
            return False
        self._cost_time = written
        self.cost = None if written is None else files.read_json(path)
        return True

    @property
    def keys(self) -> list[str]:
        """The names of the recorded scalars."""
        return list(self._values)

    def column(self, key: str) -> Column:
        """Return the steps at which `key` was recorded and its values, empty when it never was."""
        if key not in self._columns:
            self._columns[key] = (
                np.array(self._steps.get(key, []), dtype=np.int64),
                np.array(self._values.get(key, []), dtype=np.float64),
            )
        return self._columns[key]

    def arrays(self, step: int | None = None) -> dict[str, np.ndarray]:
        """Return the arrays recorded at `step` (default: the latest), `{}` when there are none yet.

        Raises ValueError for a step at which nothing was recorded.
        """
        if not self.array_steps:
            return {}
        if step is None:
            step = self.array_steps[-1]
        elif step not in self.array_steps:
            raise ValueError(
                f"{self.id} recorded no arrays at step {step}; it did at {_some(self.array_steps)}"
            )
        return _load_arrays(files.arrays_path(self.folder, step), self._inode)


def _some(items: list) -> str:
    shown = [str(item) for item in items]
    return ", ".join(shown if len(shown) <= 8 else [*shown[:4], "...", *shown[-3:]])


@lru_cache(maxsize=64)
def _load_arrays(path: Path, inode: int | None) -> dict[str, np.ndarray]:
    # A resumed run has another inode: what was cached before it is not served again.
    return load_file(path)


class Log:
    """A comparison's folder, read.

    Attributes:
        path: the folder.
        comparison: the comparison as plain data (see Comparison.to_dict).
        task: name, title, inputs, classes, sizes, and the points of a 2-D task.
        runs: a RunLog for each lane and seed, in the comparison's order.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        if (self.path / files.STUDY).is_file():
            held = sorted(str(path) for path in self.path.glob(f"*{files.SUFFIX}"))
            raise ValueError(f"{self.path} is a study; give one of its comparisons, as {held[0]}")
        if not (self.path / "comparison.json").is_file():
            raise ValueError(
                f"{self.path} is not a comparison: it holds no comparison.json; "
                f"give a folder made by `bnnlab compare --out NAME{files.SUFFIX}`"
            )
        self.comparison = files.read_json(self.path / "comparison.json")
        if self.comparison.get("format") != files.FORMAT:
            raise ValueError(
                f"{self.path} has format {self.comparison.get('format')!r}, "
                f"this version reads format {files.FORMAT}"
            )
        self.task = files.read_json(self.path / "task.json")
        self.runs = [
            RunLog(files.run_folder(self.path, run_id)) for run_id in self.comparison["runs"]
        ]
        self.refresh()

    def refresh(self) -> bool:
        """Read what was appended since the last look; return whether anything is new."""
        return any([run.refresh() for run in self.runs])

    @property
    def lanes(self) -> list[str]:
        """The lanes' names, in order."""
        return list(dict.fromkeys(run.lane for run in self.runs))

    @property
    def step(self) -> int:
        """The step that every run which still goes on has reached."""
        going = [run.step for run in self.runs if run.end is None or run.end["state"] == "done"]
        return min(going or [run.step for run in self.runs])

    @property
    def environment(self) -> dict:
        """The versions and the machine it was begun with."""
        return files.read_json(self.path / "env.json")

    @property
    def changes(self) -> Changes:
        """What was changed while it ran."""
        return Changes(files.read_lines(self.path / "changes.jsonl"))

    @property
    def steps(self) -> int:
        """How many steps each run is to make."""
        return self.changes.steps(self.comparison["steps"])

    def run(self, lane: str, seed: int | None = None) -> RunLog:
        """Return the run of a lane and a seed (default: its first).

        Raises ValueError, listing what there is, for a lane or seed that is not in the comparison.
        """
        of_lane = [run for run in self.runs if run.lane == lane]
        if not of_lane:
            raise ValueError(f"no lane {lane!r}; the lanes are {', '.join(self.lanes)}")
        for run in of_lane:
            if seed is None or run.seed == seed:
                return run
        seeds = ", ".join(str(run.seed) for run in of_lane)
        raise ValueError(f"lane {lane!r} has no seed {seed!r}; its seeds are {seeds}")

    def scalars(self) -> "pd.DataFrame":
        """Return every recorded scalar: a row for each run and step, a column for each key."""
        import pandas as pd

        frames = []
        for run in self.runs:
            columns = {key: pd.Series(v, index=s) for key in run.keys for s, v in [run.column(key)]}
            frame = pd.DataFrame(columns, index=pd.RangeIndex(run.step + 1, name="step"))
            frame = frame.reset_index()
            for place, name in enumerate(("run", "lane", "scheme", "seed")):
                frame.insert(place, name, run.id if name == "run" else getattr(run, name))
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)

    def histograms(self, name: str = "latent", step: int | None = None) -> "pd.DataFrame":
        """Return a recorded histogram of every run and layer, a row a bin (default: the latest).

        Columns: run, lane, scheme, seed, layer, step, low, high, count.
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for run in self.runs:
            arrays = run.arrays(step)
            at = run.array_steps[-1] if step is None and run.array_steps else step
            for layer in [layer["name"] for layer in run.layers]:
                counts = arrays.get(f"{name}/{layer}")
                edges = arrays.get(f"{name}_edges/{layer}", arrays.get("gradient_edges"))
                if counts is None or edges is None:
                    continue
                rows += [
                    dict(
                        run=run.id,
                        lane=run.lane,
                        scheme=run.scheme,
                        seed=run.seed,
                        layer=layer,
                        step=at,
                        low=low,
                        high=high,
                        count=count,
                    )
                    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
                ]
        return pd.DataFrame(rows)

    def model(self, lane: str, seed: int | None = None) -> "torch.nn.Module":
        """Return the network of a lane as its last checkpoint left it, in evaluation mode.

        Raises ValueError when the lane has no checkpoint yet.
        """
        from bnnlab.training.lane import restore

        return restore(self, self.run(lane, seed))

    def _ipython_display_(self):
        from bnnlab.ui.notebook import Widget

        Widget(self)._ipython_display_()


def open(path: str | os.PathLike) -> Log:
    """Open a comparison's folder, or the one file `NAME.bnnlab.zip` it was sent as.

    A zip is unpacked beside itself, once. Raises ValueError when `path` is neither.
    """
    return Log(unzipped(Path(path)))


def unzipped(path: Path) -> Path:
    """Return a folder as it is, and of a zip the folder beside it, unpacked if it is not there."""
    if path.suffix != ".zip" or not path.is_file():
        return path
    from bnnlab.training.archive import unarchive

    folder = path.with_suffix("")
    return folder if folder.exists() else unarchive(path, folder)
