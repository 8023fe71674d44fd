"""What a page hands out: figures as files, and the comparison as one zip."""

import tempfile
from pathlib import Path

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
