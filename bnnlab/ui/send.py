"""What a page hands out: figures and packed networks as files, and the comparison as one zip."""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from bnnlab import figures
from bnnlab.figures.compose import sheet_drawing
from bnnlab.figures.export import export
from bnnlab.training.archive import archive
from bnnlab.training.store import Log

KINDS = {
    "pdf": "application/pdf",
    "svg": "image/svg+xml",
    "png": "image/png",
    "html": "text/html",
}
PACKED = {
    "safetensors": "application/octet-stream",
    "onnx": "application/octet-stream",
    "c": "application/zip",  # of the C file and its header
}


class Packed(NamedTuple):
    """A packed network as a file: its name, media type and content, and what was said of it."""

    name: str
    kind: str
    data: bytes
    said: str


def zipped(folder: Path, name: str) -> bytes:
    """The comparison of a folder as the content of NAME.bnnlab.zip."""
    with tempfile.TemporaryDirectory() as aside:
        return archive(folder, Path(aside) / f"{name}.bnnlab.zip").read_bytes()


def figure_file(folder: Path, view: tuple[str, dict] | None, kind: object) -> tuple[str, bytes]:
    """A view of a comparison, or all of them on one sheet, as a file's media type and content.

    Args:
        folder: the comparison's.
        view: the view's name and options; None for the sheet.
        kind: "pdf", "svg", "png" or "html".

    Raises ValueError for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of file; there are {', '.join(KINDS)}")
    log = Log(folder)
    figure = sheet_drawing(log) if view is None else figures.get(view[0], **view[1]).drawing(log)
    with tempfile.TemporaryDirectory() as aside:
        path = export(figure, Path(aside) / f"figure.{kind}")
        return KINDS[str(kind)], path.read_bytes()


def packed_file(folder: Path, lane: str, kind: object) -> Packed:
    """A lane's network as packed bits, as `bnnlab pack` writes it, in a process of its own.

    Args:
        folder: the comparison's.
        lane: which lane; its first seed's last checkpoint is packed.
        kind: "safetensors", "onnx" or "c".

    Raises ValueError for another kind, and saying why where it cannot be packed.
    """
    if kind not in PACKED:
        raise ValueError(f"{kind!r} is no kind of packed network; there are {', '.join(PACKED)}")
    name = re.sub(r"\W+", "_", lane, flags=re.ASCII).strip("_")
    with tempfile.TemporaryDirectory() as aside:
        out = Path(aside) / f"{name}.{kind}"
        done = subprocess.run(
            [sys.executable, "-m", "bnnlab", "pack", str(folder), f"--scheme={lane}",
             f"--out={out}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
            raise ValueError(f"{lane} was not packed: {said[-1].removeprefix('Error: ')}")
        said = done.stdout.strip().splitlines()[-1]
        if kind != "c":
            return Packed(out.name, PACKED[str(kind)], out.read_bytes(), said)
        together = Path(aside) / f"{name}.zip"
        with zipfile.ZipFile(together, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in (out, out.with_suffix(".h")):
                archive.write(path, path.name)
        return Packed(together.name, PACKED["c"], together.read_bytes(), said)
