"""Where a study is kept: one `NAME.bnnlab` folder that holds its comparisons.

```
widths.bnnlab/
    study.json          title, and the names of its comparisons in the order of the grid
    width=8.bnnlab/     a comparison, see `bnnlab.training.files`
    width=32.bnnlab/
```
"""

from dataclasses import dataclass
from pathlib import Path

from bnnlab.study.grid import Study
from bnnlab.training import files
from bnnlab.training.store import Log, RunLog, unzipped


@dataclass(frozen=True)
class Kept:
    """A study's folder, read.

    Attributes:
        path: the folder.
        title: what it is about.
        logs: its comparisons by name.
    """

    path: Path
    title: str
    logs: dict[str, Log]

    @property
    def runs(self) -> dict[str, tuple[Log, RunLog]]:
        """Every run with its comparison, by comparison and id: `width=8/bwn-0-1f2e3d4c5b6a`."""
        return {
            f"{name}/{run.id}": (log, run) for name, log in self.logs.items() for run in log.runs
        }

    @property
    def missing(self) -> list[str]:
        """The keys of the runs that have not come to an end."""
        return [key for key, (log, run) in self.runs.items() if not ended(log, run)]

    def refresh(self) -> None:
        """Read what was appended since the last look."""
        for log in self.logs.values():
            log.refresh()


def ended(log: Log, run: RunLog) -> bool:
    """Whether a run needs no more training: it made its steps, diverged or failed."""
    return run.end is not None and (run.end["state"] != "done" or run.end["step"] >= log.steps)


def made(log: Log, run: RunLog) -> int:
    """How many of its steps a run has behind it; all of them when it came to an end early."""
    return log.steps if ended(log, run) else max(0, run.step)


def create(study: Study, folder: Path, *, resume: bool = False) -> Kept:
    """Write a study's folder, ready to be trained.

    Args:
        study: the study.
        folder: where it is kept.
        resume: go on with what is there; comparisons that the study has gained are added.

    Raises ValueError when the folder holds a study and `resume` is not set, something else, or
    comparisons that differ from the study's.
    """
    if (folder / files.STUDY).exists():
        if not resume:
            there = open_study(folder)
            done = len(there.runs) - len(there.missing)
            raise ValueError(
                f"{folder} holds a study, {done} of {len(there.runs)} runs done; --resume does "
                "what is missing, or name another folder with --out"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} exists and is not a study; name another folder with --out")
    logs = {
        name: comparison.create(folder / f"{name}{files.SUFFIX}")
        for name, comparison in study.comparisons.items()
    }
    # Written last: what it names is there.
    files.write_json(
        folder / files.STUDY,
        {"format": files.FORMAT, "title": study.title, "comparisons": list(study.comparisons)},
    )
    return Kept(folder, study.title, logs)


def open_study(folder: Path) -> Kept:
    """Read a study's folder.

    Raises ValueError when it is none, of another format, or names what is not inside.
    """
    if not (folder / files.STUDY).is_file():
        raise ValueError(f"{folder} is not a study: it holds no {files.STUDY}")
    about = files.read_json(folder / files.STUDY)
    if about.get("format") != files.FORMAT:
        raise ValueError(
            f"{folder} has format {about.get('format')!r}, this version reads format {files.FORMAT}"
        )
    names = about.get("comparisons")
    if not isinstance(names, list) or not all(
        isinstance(name, str) and Path(name).name == name != ".." for name in names
    ):
        raise ValueError(f"{folder / files.STUDY} does not list the names of its comparisons")
    logs = {name: Log(folder / f"{name}{files.SUFFIX}") for name in names}
    return Kept(folder, str(about.get("title", folder.stem)), logs)


def logs(path: Path) -> list[Log]:
    """Read all comparisons of a study, or the one that a path is; zipped ones too.

    Raises ValueError when it is neither.
    """
    folder = unzipped(path)
    if (folder / files.STUDY).is_file():
        return list(open_study(folder).logs.values())
    return [Log(folder)]
