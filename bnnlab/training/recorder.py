"""Writing a run's folder: one writer, append-only, complete after every step."""

import json
import math
import os
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from safetensors.numpy import save

from bnnlab.training import files

# Made once: `json.dumps` with these options would make one for every line.
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


class RunIsBusy(RuntimeError):
    """Another trainer is writing this run."""


class Recorder:
    """The one writer of a run's scalars and arrays.

    Args:
        folder: the run's folder; it holds `run.json` already.
        scalars_bytes: the length of `scalars.jsonl` at the checkpoint the run goes on from;
            what was recorded after it is cut off, since it will be recorded again.

    Raises RunIsBusy when another process writes here.
    """

    def __init__(self, folder: Path, scalars_bytes: int = 0):
        self.folder = folder
        self._lock = FileLock(folder / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunIsBusy(f"another trainer is writing {folder}; stop it first") from None
        (folder / "arrays").mkdir(exist_ok=True)
        files.clear_aside(folder)
        path = folder / "scalars.jsonl"
        kept = path.read_bytes()[:scalars_bytes] if path.exists() else b""
        # A new file, not a shorter one: readers see by its inode that it was cut back.
        files.write_atomically(path, kept)
        self._file = open(path, "ab", buffering=0)
        self.bytes = len(kept)

    def record(self, step: int, scalars: dict[str, float], arrays: dict[str, np.ndarray]) -> None:
        """Record a step; arrays are on the disk before the line that speaks of them.

        A number that is not finite is written as null.
        """
        line: dict = {"step": step}
        if arrays:
            # Nothing waits for these bytes to reach the disk: the name appears with all of them.
            files.write_atomically(files.arrays_path(self.folder, step), save(arrays))
            line["arrays"] = True
        for key, value in scalars.items():
            line[key] = value if math.isfinite(value) else None
        data = _encode(line).encode() + b"\n"
        self._file.write(data)
        self.bytes += len(data)

    def end(self, marker: dict) -> None:
        """Write the terminal marker: why and at which step the run ended."""
        self.sync()
        files.write_json(self.folder / "end.json", marker)

    def sync(self) -> None:
        """Bring the recorded lines to the disk: before a checkpoint that counts on them."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file and let another trainer write here."""
        self._file.close()
        self._lock.release()
