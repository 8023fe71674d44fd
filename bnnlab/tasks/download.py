"""Data sets that are fetched: from a folder, the cache, or a mirror, and checked."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pooch
from filelock import FileLock

from bnnlab.tasks.base import Progress, TaskUnavailable

Found = TypeVar("Found")


class Damaged(Exception):
    """A file is not the one it should be; says in what."""


class Remote(NamedTuple):
    """A file that can be downloaded: the data set's folder, its name, and where it is served."""

    folder: str
    file: str
    mirrors: tuple[str, ...]


def cache(folder: str) -> Path:
    """Return the folder where what was downloaded of a data set, or computed from it, is kept.

    Raises TaskUnavailable when there can be none.
    """
    place = Path(pooch.os_cache("bnnlab")) / folder
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TaskUnavailable(f"{place} cannot be made ({error.strerror})") from None
    return place


def obtain(
    remote: Remote, read: Callable[[Path], Found], progress: Progress | None = None
) -> Found:
    """Return what `read` makes of a file from the folder that BNNLAB_DATA names, the cache, or the
    first mirror that has it.

    Args:
        remote: the file.
        read: reads the file and checks it; raises Damaged when it is not the one it should be.
        progress: told of a download; by default a bar is drawn on standard error.

    Raises TaskUnavailable when there is none of these.
    """
    named = os.environ.get("BNNLAB_DATA")
    if named:
        for place in (Path(named) / remote.folder / remote.file, Path(named) / remote.file):
            if place.is_file():
                try:
                    return read(place)
                except Damaged as reason:
                    raise TaskUnavailable(f"{place} {reason}") from None
        raise TaskUnavailable(
            f"BNNLAB_DATA names {named}, which holds neither {remote.folder}/{remote.file} "
            f"nor {remote.file}"
        )
    return _cached(remote, read, progress)


def _cached(remote: Remote, read: Callable[[Path], Found], progress: Progress | None) -> Found:
    folder = cache(remote.folder)
    place = folder / remote.file
    with FileLock(f"{place}.lock"):  # trainers that start together download once
        if place.is_file():
            try:
                return read(place)
            except Damaged:
                place.unlink()  # cut short or damaged: fetched again
        refusals = []
        for mirror in remote.mirrors:
            try:
                return _download(mirror + remote.file, place, read, progress)
            except (OSError, Damaged) as refusal:
                refusals.append(f"{mirror}: {type(refusal).__name__}: {str(refusal)[:120]}")
    raise TaskUnavailable(
        f"{remote.file} is not in {folder} and could not be downloaded ({'; '.join(refusals)}). "
        f"Connect to the internet once, or set BNNLAB_DATA to a folder that holds "
        f"{remote.folder}/{remote.file}. The digits, the toys and the text of Python's own library "
        "need no download."
    )


def _download(
    url: str, place: Path, read: Callable[[Path], Found], progress: Progress | None
) -> Found:
    aside = place.with_name(f".{place.name}.{os.getpid()}")
    bar: Any = True if progress is None else _Reporter(progress)
    downloader = pooch.HTTPDownloader(progressbar=bar, timeout=20)
    try:
        downloader(url, str(aside), None)
        read(aside)
        os.replace(aside, place)
    finally:
        aside.unlink(missing_ok=True)
    return read(place)


class _Reporter:
    """A progress bar, as pooch drives it, that tells a function."""

    def __init__(self, tell: Progress):
        self.total = 0
        self.done = 0
        self.tell = tell

    def update(self, count: int) -> None:
        self.done += count
        self.tell(self.done, self.total)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass


def same(path: Path, sha256: str) -> Path:
    """Return the path of a file that has a checksum. Raises Damaged when it has another."""
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise Damaged("is damaged or another file: its checksum does not match")
    return path
