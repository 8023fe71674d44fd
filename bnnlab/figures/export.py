"""Figures as files: PDF, SVG and PNG through matplotlib, and HTML that stands alone."""

import html
import os
from pathlib import Path
from typing import Any

from bnnlab import __version__
from bnnlab.figures import theme
from bnnlab.figures.compose import sheet

__all__ = ["FORMATS", "WIDTHS", "export", "sheet"]

FORMATS = (".pdf", ".svg", ".png", ".html")
# Inches: the text of a page in the usual venues.
WIDTHS = {"column": 3.35, "page": 6.9, "sheet": 11.0}
_INCHES = theme.POINTS / 72 / theme.SMALL  # on paper, of a pixel on the page
_DPI = 200


def export(
    figure: Any, path: str | os.PathLike, width: float | str | None = None, dpi: int = _DPI
) -> Path:
    """Write a figure to a file; its suffix says how.

    `.pdf`, `.svg` and `.png` are drawn by matplotlib, with text as text; `.html` is one file that
    needs no network. The same figure gives the same file.

    Args:
        figure: a HoloViews element, as the views give, or a live view.
        path: where to.
        width: in inches, or "column" (3.35), "page" (6.9), "sheet" (11). Without it, a page, and
            for a whole comparison a sheet. HTML fills its window.
        dpi: dots an inch of `.png`.

    Raises ValueError for another suffix or width, TypeError for another kind of figure.
    """
    import holoviews as hv

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"cannot write {path.name!r}; the formats are {', '.join(FORMATS)}")
    if hasattr(figure, "element"):
        figure = figure.element()
    if not isinstance(figure, hv.core.Dimensioned):
        raise TypeError(f"a figure is a HoloViews element or a live view, not {type(figure)}")
    inches = _inches(width)
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".html":
        path.write_text(_page(figure), encoding="utf-8")
    else:
        _print(figure, path, suffix, inches, dpi)
    return path


def _inches(width):
    if width is None:
        return None
    if isinstance(width, str):
        if width not in WIDTHS:
            raise ValueError(
                f"no width {width!r}; give inches or one of {', '.join(map(repr, WIDTHS))}"
            )
        return WIDTHS[width]
    if not 1 <= width <= 60:
        raise ValueError(f"a width of {width} inches; it can be from 1 to 60")
    return float(width)


def _print(figure, path, suffix, inches, dpi):
    import holoviews as hv
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    from bnnlab.figures import elements, paper  # noqa: F401 (elements registers the renderers)

    with mpl.rc_context(paper.settings()):
        drawn = hv.renderer("matplotlib").get_plot(figure).state
        try:
            about = _arrange(drawn, inches)
            look = theme.Look(about.theme if about else "light")
            drawn.set_facecolor(look("paper"))
            drawn.savefig(path, dpi=dpi, metadata=_metadata(suffix, about))
        finally:
            plt.close(drawn)


def _metadata(suffix, about):
    made_by = f"bnnlab {__version__}"
    title, caption = (about.title, about.caption) if about else ("", "")
    if suffix == ".png":
        return {"Title": title, "Description": caption, "Software": made_by}
    # No date: the same figure gives the same file.
    if suffix == ".pdf":
        return {"Title": title, "Subject": caption, "Creator": made_by, "CreationDate": None}
    return {"Title": title, "Description": caption, "Creator": made_by, "Date": None}


def _arrange(drawn, inches):
    """Put the axes of our own panels where they belong, at the sizes their type is made for."""
    axes = [a for a in drawn.axes if hasattr(a, "bnnlab_panel")]
    if not axes:
        if inches is not None:
            width, height = drawn.get_size_inches()
            drawn.set_size_inches(inches, height * inches / width)
        return None
    about = axes[0].bnnlab_about
    for one in axes:
        one.set_aspect("auto")
        one.set_box_aspect(None)
    grid: dict[int, list] = {}
    for place, one in enumerate(axes):
        row = one.bnnlab_panel.row
        grid.setdefault(place // about.columns if row is None else row, []).append(one)
    rows = list(grid.values())
    heights = [max(a.bnnlab_panel.height for a in row) * _INCHES for row in rows]
    whole = axes[0].bnnlab_panel.row is not None
    width = inches or WIDTHS["sheet" if whole else "page"]
    head = 0.42
    drawn.set_size_inches(width, sum(heights) + head)
    drawn.set_layout_engine(
        "constrained", w_pad=0.04, h_pad=0.03, wspace=0.0, hspace=0.0,
        rect=(0, 0, 1, 1 - head / (sum(heights) + head)),
    )  # fmt: skip
    outer = drawn.add_gridspec(len(rows), 1, height_ratios=heights)
    for number, row in enumerate(rows):
        shares = [a.bnnlab_panel.share for a in row]
        wanted = max(len(r) for r in rows) if not whole else len(row)
        if len(row) < wanted:  # the last row of a grid keeps the widths of those above it
            shares += [a.bnnlab_panel.share for a in rows[0][len(row) :]]
        inner = outer[number].subgridspec(1, len(shares), width_ratios=shares)
        for place, one in enumerate(row):
            one.set_subplotspec(inner[place])
    look = theme.Look(about.theme)
    top = drawn.get_size_inches()[1]
    drawn.text(0.05 / width, 1 - 0.12 / top, about.title, va="center", weight="bold",
               size=theme.POINTS + 2, color=look("ink"))  # fmt: skip
    drawn.text(0.05 / width, 1 - 0.29 / top, about.caption, va="center", size=theme.POINTS,
               color=look("muted"))  # fmt: skip
    return about


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="bnnlab {version}">
<meta name="description" content="{caption}">
<title>{title}</title>
<style>
body {{ margin: 0 auto; padding: 20px; max-width: 1400px; background: {paper}; color: {ink};
  font-family: {sans}; font-variant-numeric: tabular-nums; }}
h1 {{ font-size: 17px; margin: 0 0 2px; }}
p {{ font-size: 12px; margin: 0 0 14px; color: {muted}; }}
main {{ display: grid; gap: 10px 16px; grid-template-columns: repeat(auto-fill, minmax(min(100%, {least}px), 1fr)); }}
main > div {{ min-width: 0; }}
</style>
{resources}
</head>
<body>
<h1>{title}</h1>
<p>{caption}</p>
<main>
{figures}
</main>
{script}
</body>
</html>
"""


def _page(figure) -> str:
    import holoviews as hv
    from bokeh.embed import components
    from bokeh.resources import INLINE

    from bnnlab.figures import elements

    renderer = hv.renderer("bokeh")
    parts = list(figure) if isinstance(figure, hv.Layout) else [figure]
    script, figures = components([renderer.get_plot(part).state for part in parts])
    about = None
    look = theme.Look(about.theme if about else "light")
    title, caption = (about.title, about.caption) if about else ("bnnlab", "")
    return _PAGE.format(
        version=__version__, title=html.escape(title), caption=html.escape(caption),
        paper=look("paper"), ink=look("ink"), muted=look("muted"), sans=theme.SANS,
        least=1200 // about.columns if about else 300, resources=INLINE.render(),
        figures="\n".join(figures), script=script,
    )  # fmt: skip
