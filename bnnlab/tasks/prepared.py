"""Data sets prepared once: kept as files that all trainers of a machine share."""

import math
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock

from bnnlab.tasks.base import Split, TaskUnavailable


class Pieces(NamedTuple):
    """An array that need not be in memory at once: its shape, and its rows, some at a time."""

    shape: tuple[int, ...]
    rows: Iterable[np.ndarray]


def keep(place: Path, prepare: Callable[[], dict[str, Pieces]]) -> Split:
    """Return what is kept in a folder, and prepare it first if it is not there or cut short.

    The arrays are mapped, so that they are in memory once however many trainers read them, and only
    as far as they are read; what is written into them stays with the writer.

    Args:
        place: the folder; its name must change whenever the same data would give other numbers.
        prepare: returns an array for each field of a Split: `..._x` float32, `..._y` int64.

    Raises TaskUnavailable when the disk has no room for it.
    """
    with FileLock(f"{place}.lock"):  # trainers that start together prepare once
        try:
            return _open(place)
        except (OSError, ValueError):
            pass
        aside = place.with_name(f".{place.name}")
        for stale in (place, aside):
            shutil.rmtree(stale, ignore_errors=True)
        pieces = prepare()
        size = sum(math.prod(piece.shape) * _kind(name).itemsize for name, piece in pieces.items())
        free = shutil.disk_usage(place.parent).free
        if free < size:
            raise TaskUnavailable(
                f"preparing the data takes {size / 1e9:.1f} GB in {place.parent}; "
                f"{free / 1e9:.1f} GB are free"
            )
        try:
            aside.mkdir()
            for name, piece in pieces.items():
                _write(aside / f"{name}.npy", piece, _kind(name))
            os.replace(aside, place)
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise TaskUnavailable(f"{place} cannot be written: {error.strerror}") from None
        return _open(place)


def _kind(name: str) -> np.dtype:
    return np.dtype(np.float32 if name.endswith("_x") else np.int64)


def _open(place: Path) -> Split:
    maps = (np.lib.format.open_memmap(place / f"{name}.npy", mode="c") for name in Split._fields)
    return Split(*maps)


def _write(path: Path, piece: Pieces, kind: np.dtype) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(kind),
        "fortran_order": False,
        "shape": piece.shape,
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for rows in piece.rows:
            file.write(np.ascontiguousarray(rows, kind).data)
        file.flush()
        os.fsync(file.fileno())
