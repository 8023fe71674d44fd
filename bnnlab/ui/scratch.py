"""Temporary folders that do not outlive for long whoever made them, killed or not."""

import shutil
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:  # not this system: what a killed process leaves behind stays
    fcntl = None

_PREFIX = "bnnlab-"
_LOCK = "in-use"


class Scratch:
    """A temporary folder. Making one also deletes those whose makers were killed.

    The maker holds a lock on a file in the folder. However the process ends, the system lets go of
    that lock, and the next maker sees that nobody wants the folder any more.

    Attributes:
        path: the folder.
    """

    def __init__(self) -> None:
        _sweep()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = self.path / f"{_LOCK}.new"
        self._lock = lock.open("w")
        if fcntl is not None:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        lock.rename(self.path / _LOCK)  # only now does a sweep look at it

    def forget(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _sweep() -> None:
    """Delete the folders whose makers are gone."""
    if fcntl is None:
        return
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            with lock.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:
            continue  # in use, or somebody else's
