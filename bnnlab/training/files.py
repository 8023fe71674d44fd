"""Where things lie in a comparison's folder, and how files are written: whole or not at all.

```
digits.bnnlab/
    comparison.json        what is compared (immutable)
    task.json              what the task is: sizes, and the points of a 2-D task (immutable)
    env.json               versions and machine of the first start (immutable)
    changes.jsonl          what was changed while it ran (append-only, written by the conductor)
    runs/<id>/
        run.json           one scheme with one seed: its options, layers, look (immutable)
        scalars.jsonl      one line a step (append-only, written by the trainer)
        arrays/00000025.safetensors   what the probes saw (immutable)
        checkpoint/        two slots, see `checkpoint`
        end.json           written last: done, diverged or failed
        lock               held while a trainer writes here
```
"""

import json
import os
import re
from pathlib import Path

FORMAT = 1
SUFFIX = ".bnnlab"
STUDY = "study.json"  # in a folder of comparisons, see `bnnlab.study.folder`
_RUN_ID = re.compile(r"[0-9a-z-]{8,64}")
_ASIDE = re.compile(r"\..+\.[0-9]+")


def write_atomically(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write `data` aside and rename it over `path`: a reader sees the old file or the new one.

    With `durable` the bytes are on the disk before the name is (for checkpoints, which must also
    survive a power cut).
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(aside, "wb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(aside, path)


def clear_aside(folder: Path) -> None:
    """Remove what killed processes had begun to write below a folder, where nobody writes now."""
    for path in folder.rglob(".*"):
        if _ASIDE.fullmatch(path.name):
            path.unlink()


def write_json(path: Path, value: object) -> None:
    """Write canonical JSON (sorted keys, one line an item) atomically."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    write_atomically(path, text.encode() + b"\n")


def read_json(path: Path) -> dict:
    """Read a JSON object.

    Raises ValueError, naming the file, when it is not one.
    """
    try:
        value = json.loads(path.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds {type(value).__name__}, expected a JSON object")
    return value


def read_lines(path: Path) -> list[dict]:
    """Read the complete lines of a JSON-lines file; an unfinished last line is not there yet."""
    if not path.exists():
        return []
    *lines, _unfinished = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines]


def append_line(path: Path, value: dict) -> None:
    """Append one JSON line in a single write."""
    with open(path, "ab", buffering=0) as file:
        file.write(json.dumps(value, allow_nan=False).encode() + b"\n")


def run_folder(folder: Path, run_id: str) -> Path:
    """Return the folder of a run.

    Raises ValueError for an id that is not 8 to 64 characters of a-z, 0-9 and "-": names from
    outside never become paths.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError(
            f"not a run id: {run_id!r}; an id is 8 to 64 characters of a-z, 0-9 and '-'"
        )
    return folder / "runs" / run_id


def arrays_path(run: Path, step: int) -> Path:
    """Return where a run keeps the arrays of a step."""
    return run / "arrays" / f"{step:08d}.safetensors"


def last_step(run: Path) -> int:
    """Return the last step a run has recorded, -1 before the first, reading only the file's end."""
    try:
        with open(run / "scalars.jsonl", "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 8192))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return -1
    return json.loads(lines[-2])["step"] if len(lines) >= 2 else -1
