"""A view over training, as a film: GIF, or MP4 where ffmpeg is installed."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnlab import __version__
from bnnlab.figures.compose import Drawing, arguments
from bnnlab.figures.frames import level, steps_of
from bnnlab.figures.view import View
from bnnlab.training.store import Log

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".gif", ".mp4")
_FRAMES = 80  # of longer trainings, so many steps are shown
_LAST = 10  # frames more that the last step stays for


def animate(
    name: str,
    log: Log,
    path: str | os.PathLike,
    *,
    width: float | str | None = None,
    dpi: int = 110,
    per_second: int = 8,
    theme: str = "light",
    **options: Any,
) -> Path:
    """Write a view over the recorded steps of a training as an animation, with a progress bar.

    Its metadata (a GIF's comment, an MP4's title and comment) say what it shows and how to make it
    again.

    Args:
        name: a view that can go back in time: one with the option `step`.
        log: what was trained.
        path: where to; `.gif` or `.mp4`.
        width: as of `bnnlab.export`.
        dpi: dots an inch.
        per_second: frames a second.
        theme: "light" or "dark".
        options: the view's options.

    Raises ValueError for a view that has no `step`, a log with fewer than two recorded steps,
    another suffix, and `.mp4` without ffmpeg.
    """
    import matplotlib as mpl
    from tqdm.auto import tqdm

    from bnnlab.figures import get, kinds, paper
    from bnnlab.figures.export import inches_of

    path = Path(path)
    view = get(name, **options)
    if "step" not in view.options():
        moving = ", ".join(key for key, kind in kinds().items() if "step" in kind.param)
        raise ValueError(f"the view {name!r} does not go back in time; these do: {moving}")
    check(path)
    steps = steps_of(log, _FRAMES)
    if len(steps) < 2:
        raise ValueError(f"{log.path} has fewer than two recorded steps: nothing moves yet")
    drawings = [_frame(view, log, step, theme) for step in steps]
    levelled = level([drawing.panels for drawing in drawings])
    drawings = [replace(one, panels=p) for one, p in zip(drawings, levelled, strict=True)]
    inches = inches_of(width)
    path.parent.mkdir(parents=True, exist_ok=True)
    more = {"width": width, "dpi": dpi, "per_second": per_second, "theme": theme, **view.options()}
    said = {
        "title": drawings[-1].title,
        "description": drawings[-1].caption,
        "encoder": f"bnnlab {__version__}",
        "comment": f"import bnnlab; {drawings[-1].recipe}; "
        f"bnnlab.figures.animate({name!r}, log, {path.name!r}{arguments(more)})",
    }
    with mpl.rc_context({**paper.settings(), "animation.ffmpeg_path": _ffmpeg() or "ffmpeg"}):
        bar = tqdm(drawings, unit="frame", disable=None)
        drawn = (paper.draw(drawing, inches) for drawing in bar)
        save = _save_gif if path.suffix == ".gif" else _save_mp4
        save(drawn, path, dpi, per_second, said)
    return path


def check(path: Path) -> None:
    """Raise ValueError for a suffix that is none of FORMATS, and for `.mp4` without ffmpeg."""
    if path.suffix not in FORMATS:
        raise ValueError(f"cannot write {path.name!r}; the formats are {', '.join(FORMATS)}")
    if path.suffix == ".mp4" and _ffmpeg() is None:
        raise ValueError(
            "an .mp4 needs the program ffmpeg, which is not installed: "
            "pip install 'bnnlab[mp4]', or take .gif"
        )


def _ffmpeg() -> str | None:
    """Return matplotlib's ffmpeg, or the one that the extra `mp4` brings; None without any."""
    from matplotlib import rcParams

    found = shutil.which(rcParams["animation.ffmpeg_path"])
    if found is None:
        try:
            from imageio_ffmpeg import get_ffmpeg_exe
        except ImportError:
            return None
        found = get_ffmpeg_exe()
    return found


def _save_gif(
    drawn: Iterable["Figure"], path: Path, dpi: int, per_second: int, said: dict[str, str]
) -> None:
    """Write a GIF by Pillow itself: matplotlib's writer leaves the comment out."""
    from PIL import Image

    frames = []
    for figure in drawn:
        file = BytesIO()
        figure.savefig(file, format="png", dpi=dpi)
        frames.append(Image.open(file).convert("RGB"))
    each = 1000 // per_second  # milliseconds
    frames[0].save(
        path, save_all=True, append_images=frames[1:], loop=0,
        duration=[each] * (len(frames) - 1) + [each * (1 + _LAST)],
        comment="\n".join(said.values()),
    )  # fmt: skip


def _save_mp4(
    drawn: Iterable["Figure"], path: Path, dpi: int, per_second: int, said: dict[str, str]
) -> None:
    from matplotlib.animation import FFMpegWriter

    drawn = iter(drawn)
    writer = FFMpegWriter(per_second, metadata=said)
    with writer.saving(figure := next(drawn), str(path), dpi=dpi):
        writer.grab_frame(facecolor=figure.get_facecolor())
        for figure in drawn:
            writer.fig = figure
            writer.grab_frame(facecolor=figure.get_facecolor())
        for _ in range(_LAST):
            writer.grab_frame(facecolor=figure.get_facecolor())


def _frame(view: View, log: Log, step: int, theme: str) -> Drawing:
    drawing = view.changed(step=step).drawing(log, theme=theme)
    return replace(drawing, title=f"{drawing.title}, step {step}")
