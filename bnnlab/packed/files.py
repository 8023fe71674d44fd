"""How files are written: whole or not at all."""

import os
from pathlib import Path


def write_aside(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, aside first and then in one move."""
    aside = Path(path).with_name(f".{Path(path).name}.{os.getpid()}")
    try:
        aside.write_bytes(data)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
