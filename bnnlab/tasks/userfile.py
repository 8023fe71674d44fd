"""Files the user names, looked at before they are read."""

import stat
from pathlib import Path
from typing import NamedTuple

from bnnlab.tasks.base import FileRefused, NoFile


class UserFile(NamedTuple):
    """A file as it stood when it was looked at: what was found out about it holds while it does.

    Attributes:
        path: where it is.
        size: its bytes.
        modified: when it was written, in nanoseconds.
    """

    path: Path
    size: int
    modified: int


def look(named: str, *, example: str, most: int) -> UserFile:
    """Look at a file the user named.

    Args:
        named: its path, from the current folder or from `~`.
        example: how to name one, for when none is named.
        most: bytes it may have.

    Raises NoFile when none is named; FileRefused when it is not there, is no ordinary file, is
    empty or larger than allowed.
    """
    if not named:
        raise NoFile(f"no file is named; give its path, for example {example}")
    try:
        path = Path(named).expanduser()
        about = path.stat()
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FileRefused(f"{named} cannot be read: {reason}") from None
    if stat.S_ISDIR(about.st_mode):
        raise FileRefused(f"{named} is a folder; name a file in it")
    if not stat.S_ISREG(about.st_mode):
        raise FileRefused(f"{named} is no ordinary file")
    if not 0 < about.st_size <= most:
        raise FileRefused(f"{named} has {about.st_size:,} bytes; 1 to {most:,} are allowed")
    return UserFile(path, about.st_size, about.st_mtime_ns)
