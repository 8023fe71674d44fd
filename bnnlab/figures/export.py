"""Figures as files: PDF, SVG and PNG through matplotlib, and HTML that stands alone."""

import html
import io
import os
from pathlib import Path
from typing import Any

from bnnlab import __version__
from bnnlab.figures import theme
from bnnlab.figures.compose import Drawing, sheet
from bnnlab.figures.live import Live, page_panels

__all__ = ["FORMATS", "export", "sheet"]

FORMATS = (".pdf", ".svg", ".png", ".html")
_DPI = 200


def export(
    figure: Any,
    path: str | os.PathLike,
    width: float | str | None = None,
    dpi: int = _DPI,
    *,
    caption: str = "inside",
) -> Path:
    """Write a figure to a file; its suffix says how.

    `.pdf`, `.svg` and `.png` are drawn by matplotlib, with text as text; `.html` is one file that
    needs no network. The same figure gives the same file, and every file says in its metadata what
    it shows and the Python that makes it again.

    Args:
        figure: a HoloViews element, as the views give; or a view's `drawing`, or a live view.
        path: where to.
        width: in inches; or in millimetres, as "89mm"; or by name: "column" (3.25 inches) and
            "page" (6.75) fit ICML and IEEE, "neurips" and "iclr" (5.5), "icml-column" (3.25) and
            "icml" (6.75), "ieee-column" (3.5) and "ieee" (7.16), "sheet" (11). Without it, a page,
            and for a whole comparison a sheet. HTML fills its window.
        dpi: dots an inch of `.png`.
        caption: "inside" has title and caption above the panels; "beside" has the panels alone, as
            LaTeX wants them, and writes the caption into a `.tex` file of the same name.

    Raises ValueError for another suffix, width or caption, TypeError for another kind of figure.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"cannot write {path.name!r}; the formats are {', '.join(FORMATS)}")
    if caption not in ("inside", "beside"):
        raise ValueError(f"caption is {caption!r}; it can be 'inside' or 'beside'")
    figure = _understood(figure)
    inches = inches_of(width)
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".html":
        path.write_text(_page(figure), encoding="utf-8")
        return path
    inside = caption == "inside"
    source = _source(figure, f"figure{suffix}", width, inside)
    _print(figure, path, suffix, inches, dpi, source=source, headed=inside)
    if not inside:
        path.with_suffix(".tex").write_text(_latex(figure, path, inches), encoding="utf-8")
    return path


def png(figure: Any, width: float | str | None = None, dpi: int = _DPI) -> bytes:
    """Return a figure as the content of a `.png`; arguments and errors are those of `export`."""
    content = io.BytesIO()
    _print(_understood(figure), content, ".png", inches_of(width), dpi)
    return content.getvalue()


def _understood(figure):
    """Return the drawing a figure was made from, or the element where there is none."""
    if isinstance(figure, Drawing):
        return figure
    if isinstance(figure, Live):
        return figure.drawing()
    from holoviews.core import Dimensioned

    from bnnlab.figures.elements import drawing_of

    if not isinstance(figure, Dimensioned):
        raise TypeError(
            f"cannot export {type(figure).__name__}; give a HoloViews element, as "
            "bnnlab.figures.weights(log) returns, a drawing or a live view"
        )
    return drawing_of(figure) or figure


def _source(figure, name, width, inside):
    """Return the Python that makes a file again; "" for what somebody else drew."""
    if not isinstance(figure, Drawing) or not figure.remake:
        return ""
    more = "" if width is None else f", width={width!r}"
    more += "" if inside else ", caption='beside'"
    return f"import bnnlab; {figure.recipe}; bnnlab.export({figure.remake}, {name!r}{more})"


def _latex(figure, path, inches):
    """Return what LaTeX includes: the picture at its size, so that its type keeps it, and words."""
    title, caption = getattr(figure, "title", "figure"), getattr(figure, "caption", "")
    words = "".join(_LATEX.get(letter, letter) for letter in f"{title}. {caption}.")
    width = f"[width={inches:g}in]" if inches else ""
    return f"\\includegraphics{width}{{{path.name}}}\n\\caption{{{words}}}\n"


_LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
    "·": r"\textperiodcentered{}", "−": "$-$", "α": r"$\alpha$", "√": r"$\surd$",
}  # fmt: skip


def inches_of(width: float | str | None) -> float | None:
    """Return a width in inches; raises ValueError as `export` does."""
    if width is None:
        return None
    if isinstance(width, str):
        from bnnlab.figures.paper import WIDTHS

        if width in WIDTHS:
            return WIDTHS[width]
        try:
            width = float(width.removesuffix("mm")) / (25.4 if width.endswith("mm") else 1)
        except ValueError:
            raise ValueError(
                f"no width {width!r}; give inches, millimetres as '89mm', or one of "
                f"{', '.join(map(repr, WIDTHS))}"
            ) from None
    if not 1 <= width <= 60:
        raise ValueError(f"a width of {width:g} inches; it can be from 1 to 60")
    return float(width)


def _print(figure, path, suffix, inches, dpi, *, source="", headed=True):
    import matplotlib as mpl

    from bnnlab.figures import paper

    with mpl.rc_context(paper.settings()):
        if isinstance(figure, Drawing):
            drawn = paper.draw(figure, inches, headed=headed)
        else:
            drawn = _foreign(figure, inches)
        drawn.savefig(path, format=suffix[1:], dpi=dpi, metadata=_metadata(suffix, figure, source))


def _foreign(figure, inches):
    """Draw an element of someone else's, or one of ours that was restyled, as HoloViews does."""
    import holoviews as hv
    import matplotlib.pyplot as plt

    drawn = hv.renderer("matplotlib").get_plot(figure).state
    plt.close(drawn)
    if inches is not None:
        width, height = drawn.get_size_inches()
        drawn.set_size_inches(inches, height * inches / width)
    return drawn


def _metadata(suffix, figure, source):
    made_by = f"bnnlab {__version__}"
    title, caption = getattr(figure, "title", "figure"), getattr(figure, "caption", "")
    if suffix == ".png":
        said = {"Title": title, "Description": caption, "Software": made_by, "Source": source}
    # No date: the same figure gives the same file.
    elif suffix == ".pdf":
        said = {"Title": title, "Subject": caption, "Creator": made_by, "CreationDate": None,
                "Keywords": source}  # fmt: skip
    else:
        said = {"Title": title, "Description": caption, "Creator": made_by, "Date": None,
                "Source": source}  # fmt: skip
    return {key: value for key, value in said.items() if value != ""}


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="bnnlab {version}">
<meta name="description" content="{caption}">
<meta name="source" content="{source}">
<title>{title}</title>
<style>
body {{ margin: 0 auto; padding: 20px; max-width: 1400px; background: {paper}; color: {ink};
  font-family: {sans}; font-variant-numeric: tabular-nums; }}
h1 {{ font-size: 17px; margin: 0 0 2px; }}
p {{ font-size: 12px; margin: 0 0 14px; color: {muted}; }}
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
    from bokeh.embed import components
    from bokeh.models import Column
    from bokeh.resources import Resources

    if isinstance(figure, Drawing):
        title, caption, columns = figure.title, figure.caption, figure.columns
        look = theme.Look(figure.theme)
        models = [panel.model for panel in page_panels(figure.panels, look)]
    else:
        import holoviews as hv

        title, caption, columns, look = "figure", "", 1, theme.Look("light")
        models = [hv.renderer("bokeh").get_plot(figure).state]
    # One root: Bokeh looks at the whole document again for every root that is added.
    whole = Column(
        children=models, sizing_mode="stretch_width",
        styles={
            "display": "grid", "gap": "10px 16px",
            "grid-template-columns":
                f"repeat(auto-fill, minmax(min(100%, {1100 // columns}px), 1fr))",
        },
    )  # fmt: skip
    script, figures = components(whole)
    # Only Bokeh's own scripts: other packages add files to `Resources.render` that are not inline.
    needed = Resources(mode="inline", components=["bokeh"]).js_raw
    scripts = "\n".join(f"<script>{text}</script>" for text in needed)
    return _PAGE.format(
        version=__version__, source=html.escape(_source(figure, "figure.html", None, True)),
        title=html.escape(title), caption=html.escape(caption),
        paper=look("paper"), ink=look("ink"), muted=look("muted"), sans=theme.SANS,
        resources=scripts, figures=figures, script=script,
    )  # fmt: skip
