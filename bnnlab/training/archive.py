"""A comparison or a study in one file, to send: the same folder, zipped."""

import os
import shutil
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from bnnlab import limits
from bnnlab.training import files

# What a reader needs; locks and files written aside are not part of a comparison.
_KEPT = {".json", ".jsonl", ".safetensors"}


def archive(folder: str | os.PathLike, target: str | os.PathLike) -> Path:
    """Zip the folder of a comparison or a study; with its checkpoints, so it can be resumed
    elsewhere.

    Raises ValueError when `folder` is neither or `target` does not end in `.bnnlab.zip`.
    """
    folder, target = Path(folder), Path(target)
    if not _whole(folder):
        raise ValueError(
            f"{folder} is not a comparison or a study: it holds no comparison.json or {files.STUDY}"
        )
    if not target.name.endswith(f"{files.SUFFIX}.zip"):
        raise ValueError(f"{target} does not end in {files.SUFFIX}.zip")
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as zipped:
        for path in sorted(folder.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if path.is_file() and path.suffix in _KEPT and not hidden:
                zipped.write(path, path.relative_to(folder))
    os.replace(aside, target)
    return target


def unarchive(source: str | os.PathLike, folder: str | os.PathLike) -> Path:
    """Unpack what `archive` made into `folder`, which must not exist yet.

    Raises ValueError for a file that is no such zip, that holds names leading outside of the
    folder, or that unpacks to more than limits.ARCHIVE_BYTES; nothing is left behind then.
    """
    source, folder = Path(source), Path(folder)
    if folder.exists():
        raise ValueError(f"{folder} exists; name another folder")
    try:
        zipped = zipfile.ZipFile(source)
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{source} is not a zipped comparison: {error}") from None
    folder.parent.mkdir(parents=True, exist_ok=True)
    with zipped, tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        whole = Path(aside) / "whole"
        whole.mkdir()
        left = limits.ARCHIVE_BYTES
        for entry in zipped.infolist():
            if entry.is_dir():
                continue
            target = whole / _inside(entry.filename, source)
            target.parent.mkdir(parents=True, exist_ok=True)
            with zipped.open(entry) as packed, target.open("wb") as unpacked:
                # The sizes a zip states may be false: what comes out is counted.
                while chunk := packed.read(1 << 20):
                    left -= len(chunk)
                    if left < 0:
                        raise ValueError(
                            f"{source} unpacks to more than {limits.ARCHIVE_BYTES} bytes"
                        )
                    unpacked.write(chunk)
        if not _whole(whole):
            raise ValueError(
                f"{source} is not a zipped comparison or study: it holds no comparison.json or "
                f"{files.STUDY}"
            )
        shutil.move(whole, folder)
    return folder


def _whole(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("comparison.json", files.STUDY))


def _inside(name: str, source: Path) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or path.suffix not in _KEPT:
        raise ValueError(f"{source} holds {name!r}, which no comparison does")
    return Path(*path.parts)
