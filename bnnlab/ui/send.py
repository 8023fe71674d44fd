"""What a page hands out: figures as files, and the comparison as one zip."""

import tempfile
from pathlib import Path

from bnnlab.training.archive import archive

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


def export(folder: Path, view: tuple[str, dict] | None, kind: object) -> tuple[str, bytes]:
    """A view of a comparison, or all of them on one sheet, as a file's media type and content.

    Args:
        folder: the comparison's.
        view: the view's name and options; None for the sheet.
        kind: "pdf", "svg", "png" or "html".

    Raises ValueError for another kind.
    """
    import bnnlab
    from bnnlab import figures
    from bnnlab.figures.export import sheet

    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of file; there are {', '.join(KINDS)}")
    log = bnnlab.open(folder)
    figure = sheet(log) if view is None else figures.get(view[0])(log, **view[1])
    with tempfile.TemporaryDirectory() as aside:
        path = Path(aside) / f"figure.{kind}"
        bnnlab.export(figure, path)
        return KINDS[str(kind)], path.read_bytes()
