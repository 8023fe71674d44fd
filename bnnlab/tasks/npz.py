"""Arrays in an NPZ file, read with care."""

import lzma
import math
import zipfile
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from bnnlab.tasks.base import FileRefused

# What damaged or hostile files make zipfile and the header of an array raise.
DAMAGE = (
    ValueError, OSError, EOFError, KeyError, RuntimeError, RecursionError, MemoryError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip


class Archive:
    """An NPZ file, read so that no more is unpacked than an array's header says and is checked.

    Its methods raise FileRefused when it is damaged, or an array would run code to be read.
    """

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> "Archive":
        """Open it."""
        self._zip = self._tried("the file", lambda: zipfile.ZipFile(self.path))
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self._zip.close()

    def names(self) -> list[str]:
        """Return what its arrays are called."""
        return [name.removesuffix(".npy") for name in self._zip.namelist()]

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Return the shape and type of an array, without reading it."""

        def header() -> tuple[tuple[int, ...], np.dtype]:
            with self._zip.open(f"{name}.npy") as file:
                shape, _, kind = _header(file)
            return shape, kind

        return self._tried(name, header)

    def read(self, name: str) -> np.ndarray:
        """Return an array."""

        def read() -> np.ndarray:
            with self._zip.open(f"{name}.npy") as file:
                return np.lib.format.read_array(file, allow_pickle=False)

        return self._tried(name, read)

    def rows(self, name: str, count: int) -> Generator[np.ndarray, None, None]:
        """Yield an array, so many of its rows at a time."""
        with self._tried(name, lambda: self._zip.open(f"{name}.npy")) as file:
            shape, columns_first, kind = self._tried(name, lambda: _header(file))
            if columns_first or kind.hasobject:  # what comes first is not the first row
                whole = self.read(name)
                yield from (whole[at : at + count] for at in range(0, len(whole), count))
                return
            size = kind.itemsize * math.prod(shape[1:])
            for at in range(0, shape[0], count):
                some = min(count, shape[0] - at)
                data = self._tried(name, lambda some=some: file.read(some * size))
                if len(data) < some * size:
                    raise FileRefused(f"{self.path}: {name} is cut short")
                yield np.frombuffer(data, kind).reshape(some, *shape[1:])

    def _tried(self, what: str, action: Any) -> Any:
        try:
            return action()
        except DAMAGE as error:
            raise FileRefused(f"{self.path}: {what} cannot be read ({error})") from None


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of an array: its shape, whether columns come first, its type."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, columns_first, kind = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, columns_first, kind = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version} of the format")
    if min(shape, default=0) < 0:
        raise ValueError(f"the shape {shape}")
    return shape, columns_first, kind
