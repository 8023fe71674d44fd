"""A view over training, as a film: GIF, or MP4 where ffmpeg is installed."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from bnnlab.figures.compose import Drawing
from bnnlab.figures.frames import level, steps_of
from bnnlab.figures.view import View
from bnnlab.training.store import Log

FORMATS = (".gif", ".mp4")
_FRAMES = 80  # of longer trainings, so many steps are shown
_LAST = 10  # frames that the last step stays for


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
    from matplotlib.animation import FFMpegWriter, PillowWriter
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
    writer = PillowWriter(fps=per_second) if path.suffix == ".gif" else FFMpegWriter(per_second)
    with mpl.rc_context(paper.settings()):
        figure = paper.draw(drawings[0], inches)
        with writer.saving(figure, str(path), dpi=dpi):
            for number, drawing in enumerate(tqdm(drawings, unit="frame", disable=None)):
                if number:
                    writer.fig = paper.draw(drawing, inches)
                writer.grab_frame(facecolor=figure.get_facecolor())
            for _ in range(_LAST):
                writer.grab_frame(facecolor=figure.get_facecolor())
    return path


def check(path: Path) -> None:
    """Raise ValueError for a suffix that is none of FORMATS, and for `.mp4` without ffmpeg."""
    from matplotlib.animation import FFMpegWriter

    if path.suffix not in FORMATS:
        raise ValueError(f"cannot write {path.name!r}; the formats are {', '.join(FORMATS)}")
    if path.suffix == ".mp4" and not FFMpegWriter.isAvailable():
        raise ValueError("an .mp4 needs the program ffmpeg, which is not installed; take .gif")


def _frame(view: View, log: Log, step: int, theme: str) -> Drawing:
    drawing = view.changed(step=step).drawing(log, theme=theme)
    return replace(drawing, title=f"{drawing.title}, step {step}")
