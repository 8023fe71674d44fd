"""The named comparisons: a folder of NAME.bnnlab folders."""

import re
import shutil
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bnnlab import limits
from bnnlab.training import archive, files
from bnnlab.ui.scratch import Scratch

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.,()=+-]{0,63}")


class Saved(NamedTuple):
    """A saved comparison: its name and, in a few words, what it compares."""

    name: str
    about: str


class Library:
    """Where comparisons are kept under names.

    Args:
        folder: holds the NAME.bnnlab folders; made when the first is saved.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def place(self, name: str) -> Path:
        """The folder of a name, inside the library whatever the name is.

        Raises ValueError for a name that is not allowed.
        """
        name = name.strip()
        if not _NAME.fullmatch(name) or ".." in name or name.endswith("."):
            raise ValueError(
                f"{name!r} cannot be a name; give up to 64 letters, digits, spaces and "
                "_ . , ( ) = + -, beginning with a letter or a digit"
            )
        return self.folder / f"{name}{files.SUFFIX}"

    def find(self, name: str) -> Path:
        """The folder of a saved comparison, or of a study's, as STUDY/COMPARISON.

        Raises ValueError when there is none of that name.
        """
        study, slash, inside = name.partition("/")
        path = Library(self.place(study)).place(inside) if slash else self.place(name)
        if not (path / "comparison.json").is_file():
            raise ValueError(f"{name!r} is not saved; there are {self._names()}")
        return path

    def _names(self) -> str:
        return ", ".join(saved.name for saved in self.saved()) or "none yet"

    def saved(self) -> list[Saved]:
        """The saved comparisons, the newest first."""
        found = []
        for path in self.folder.glob(f"*{files.SUFFIX}"):
            spec = path / "comparison.json"
            if not spec.is_file() or not _NAME.fullmatch(path.name.removesuffix(files.SUFFIX)):
                continue
            about = files.read_json(spec)
            runs = f"{len(about['schemes'])} schemes"
            seeds = f", {len(about['seeds'])} seeds" if len(about["seeds"]) > 1 else ""
            text = f"{about['task']['name']} · {runs}{seeds} · {about['steps']:,} steps"
            found.append((spec.stat().st_mtime, Saved(path.name.removesuffix(files.SUFFIX), text)))
        return [saved for _, saved in sorted(found, reverse=True)]

    def receive(self, name: str, zipped: Path) -> str:
        """Unpack a zipped comparison under a name that is free, and return that name.

        Raises ValueError as `bnnlab.training.archive.unarchive`, and for a comparison that would
        have trainers read a file of this machine by its path.
        """
        stem = re.sub(r"(\.bnnlab)?\.zip$", "", Path(name).name)
        stem = re.sub(r"[^A-Za-z0-9 _-]", "", stem).strip(" _-")[:48] or "received"
        free, count = stem, 1
        while self.place(free).exists():
            count += 1
            free = f"{stem} {count}"
        folder = archive.unarchive(zipped, self.place(free))
        if (folder / files.STUDY).exists():
            shutil.rmtree(folder)
            raise ValueError(
                f"{name} is a study; unzip it in {self.folder}, and the page of studies shows it"
            )
        path = files.read_json(folder / "comparison.json").get("task", {}).get("path", "")
        if path and Path(path).name != path:
            shutil.rmtree(folder)
            raise ValueError(
                f"it learns from {path}; what is sent may only name a file without its folder, "
                "which then has to lie in the one bnnlab was started in"
            )
        return free


class Upload:
    """A file being received in parts, counted as they come: what the browser claims is not trusted.

    Args:
        name: the file's name, used only to name what is in it.
        most: bytes at most.
    """

    def __init__(self, name: str, most: int = limits.UPLOAD_BYTES):
        self.name = name
        self._most = most
        self._folder = Scratch()
        self.path = self._folder.path / "received.zip"
        self._file: BinaryIO = self.path.open("wb")
        self._received = 0

    def take(self, data: bytes) -> None:
        """Add a part. Raises ValueError, and forgets all of it, when it grows too large."""
        self._received += len(data)
        if self._received > self._most:
            self.forget()
            raise ValueError(
                f"{self.name} is larger than {self._most // 2**20} MiB, the most that is accepted"
            )
        self._file.write(data)

    def finish(self) -> Path:
        """The complete file; `forget` deletes it."""
        self._file.close()
        return self.path

    def forget(self) -> None:
        """Delete what was received."""
        self._file.close()
        self._folder.forget()
