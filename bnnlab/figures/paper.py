"""Figures on paper: how matplotlib axes are dressed."""

import math
import zlib
from textwrap import wrap
from typing import Any

from matplotlib import font_manager
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from bnnlab.figures import theme
from bnnlab.figures.compose import Drawing, beside
from bnnlab.figures.marks import Band, Image, Line, Panel, Points, Spikes, Text

# Inches, as the style files of the venues set them: ICML \columnwidth 3.25 and \textwidth 6.75;
# IEEEtran 3.5 (21 picas) and 7.16 (43 picas); NeurIPS and ICLR \textwidth 5.5. "column" and "page"
# are the narrowest of those in two columns: what is made for them fits all.
WIDTHS = {
    "column": 3.25, "page": 6.75, "sheet": 11.0, "neurips": 5.5, "iclr": 5.5,
    "icml-column": 3.25, "icml": 6.75, "ieee-column": 3.5, "ieee": 7.16,
}  # fmt: skip
_MARKED = 5  # markers along a line
INCHES = theme.POINTS / 72 / theme.SMALL  # on paper, of a pixel on the page
_LEAST = 0.8  # of a heading's size, where there is little room
_SECTION = 0.2  # inches for the words above a section of a sheet
_DASHES = {
    "solid": "-",
    "dashed": (0, (5, 2.5)),
    "dotted": (0, (1.2, 1.8)),
    "dashdot": (0, (6, 2, 1.2, 2)),
    "dotdash": (0, (1.2, 2, 6, 2)),
}
_MARKERS = {
    "circle": "o", "square": "s", "diamond": "d", "triangle": "^", "inverted_triangle": "v",
    "star": "*", "hex": "h", "plus": "P", "x": "X", "cross": "x",
}  # fmt: skip
_WANTED = ("Inter", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans")


def settings() -> dict:
    """Return the matplotlib settings all exports share: text stays text, files are repeatable."""
    installed = set(font_manager.get_font_names())
    return {
        # A family list is gone through glyph by glyph.
        "font.family": [name for name in _WANTED if name in installed],
        "font.size": theme.POINTS,
        "mathtext.default": "regular",
        "axes.linewidth": 0.5,
        "axes.unicode_minus": True,
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
        "svg.hashsalt": "bnnlab",
        "image.composite_image": False,
    }


def style(mark, look) -> dict[str, Any]:
    """Return the matplotlib properties of what draws a mark, HoloViews' options as well."""
    if isinstance(mark, Text):
        return dict(
            color=look(mark.color, words=True), horizontalalignment=mark.align,
            verticalalignment={"middle": "center"}.get(mark.baseline, mark.baseline),
            size=theme.POINTS * mark.size,
        )  # fmt: skip
    if isinstance(mark, Image):
        return dict(interpolation="none")
    color = look(mark.color, words=bool(getattr(mark, "edge", "")))
    if isinstance(mark, Band):
        return dict(facecolor=color, alpha=look.fill(mark.alpha), linewidth=0)
    if isinstance(mark, Points):
        return dict(
            marker=_MARKERS[mark.marker], s=(mark.size * 0.62) ** 2,
            edgecolors=look(mark.edge or mark.color), facecolors=color if mark.filled else "none",
            linewidth=0.3 if mark.edge else 0.6,
        )  # fmt: skip
    return dict(color=color, linestyle=_DASHES[mark.dash], linewidth=mark.width * 0.62)


def _markers(mark: Line, points: int) -> dict[str, Any]:
    """Return the markers along a line: in print, where colour may be lost, they tell lines apart.

    Where they begin depends on the line's name, so that those of different lines rarely meet.
    """
    if not mark.marker:
        return {}
    every = max(1, points // _MARKED)
    first = zlib.crc32(mark.label.encode()) % every
    return dict(marker=_MARKERS[mark.marker], markersize=2.8, markevery=(first, every))


def _draw_mark(axes, mark, look):
    c, looks = mark.columns(), style(mark, look)
    if isinstance(mark, Line):
        axes.plot(c["x"], c["y"], solid_joinstyle="round", **looks, **_markers(mark, len(c["x"])))
    elif isinstance(mark, Band):
        axes.fill_between(c["x"], c["low"], c["high"], **looks)
    elif isinstance(mark, Spikes):
        axes.vlines(c["x"], 0, c["y"], **looks)
    elif isinstance(mark, Points):
        axes.scatter(c["x"], c["y"], clip_on=False, zorder=3, **looks)
    elif isinstance(mark, Text):
        for x, y, words in zip(c["x"], c["y"], mark.text, strict=True):
            # Words inside a panel move nothing around it; measuring them would take long.
            axes.text(x, y, words, parse_math=False, **looks).set_in_layout(False)
    else:
        axes.imshow(
            c["image"], origin="lower", extent=mark.extent, aspect="auto", vmin=-0.5,
            vmax=mark.levels - 0.5, cmap=ListedColormap(look.palette(mark)), **looks,
        )  # fmt: skip


def _rows(drawing: Drawing, width: float) -> list[list[Panel]]:
    """Put as many panels beside each other as have room, keeping together what belongs so."""
    panels = drawing.panels
    n = beside(panels, drawing.columns * width / WIDTHS["page"])
    return [panels[i : i + n] for i in range(0, len(panels), n)]


def draw(drawing: Drawing, inches: float | None, *, headed: bool = True) -> Figure:
    """Return a drawing as a matplotlib figure of a width, at the sizes its type is made for.

    `headed`: with its title and caption above it.
    """
    width = inches or WIDTHS["page" if drawing.rows is None else "sheet"]
    rows = drawing.rows or _rows(drawing, width)
    look = theme.Look(drawing.theme)
    heights: list[float] = []
    for row in rows:
        heights += [_SECTION] * bool(row[0].section) + [max(p.height for p in row) * INCHES]
    words = wrap(drawing.caption, int(width * 22))
    head = 0.33 + 0.11 * len(words) if headed else 0.0  # inches for title and caption
    top = sum(heights) + head
    figure = Figure(figsize=(width, top), facecolor=look("paper"))
    figure.set_layout_engine(
        "constrained", w_pad=0.03, h_pad=0.035, wspace=0, hspace=0, rect=(0, 0, 1, 1 - head / top)
    )
    outer = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    places = (outer[i] for i in range(len(heights)))
    for number, row in enumerate(rows):
        if row[0].section:
            _section(figure.add_subplot(next(places)), row[0].section, look)
        shares = [panel.share for panel in row]
        if drawing.rows is None and number:
            # The last row of a grid keeps the widths of those above it.
            shares += [panel.share for panel in rows[0][len(row) :]]
        inner = next(places).subgridspec(1, len(shares), width_ratios=shares)
        for place, panel in enumerate(row):
            axes = figure.add_subplot(inner[place], yscale="log" if panel.y_log else "linear")
            for mark in panel.marks:
                _draw_mark(axes, mark, look)
            axes.set(xlabel=panel.x_label, ylabel=panel.y_label)
            dress(axes, panel, look, width * panel.share / sum(shares) - 0.15)
    if headed:
        _head(figure, drawing.title, words, look)
    return figure


def _head(figure, title, words, look):
    width, top = figure.get_size_inches()
    left = 0.06 / width
    figure.text(left, 1 - 0.13 / top, title, va="center", weight="bold",
                size=theme.POINTS + 2, color=look("ink"))  # fmt: skip
    figure.text(left, 1 - 0.22 / top, "\n".join(words), va="top", size=theme.POINTS - 0.5,
                color=look("muted"))  # fmt: skip


def _section(axes, words, look):
    axes.set_axis_off()
    axes.text(0, 0, words, size=theme.POINTS + 1.2, weight="bold", color=look("ink"),
              in_layout=False)  # fmt: skip


def _fitted(heading: str, room: float) -> tuple[str, float]:
    """Return a heading and its size: smaller, then with fewer first words, where room is little."""
    most, (lane, dot, rest) = theme.POINTS + 0.8, heading.partition(" · ")
    font = font_manager.FontProperties()

    def inches(words: str, size: float) -> float:
        font.set_size(size)
        return text_to_path.get_text_width_height_descent(words, font, ismath=False)[0] / 72

    size = max(most * min(1.0, room / max(inches(heading, most), 1e-6)), _LEAST * most)
    while inches(heading, 0.999 * size) > room and len(lane) > 2:
        lane = lane.removesuffix("…")[:-1] + "…"
        heading = lane + dot + rest
    return heading, size


def dress(axes, panel: Panel, look, room: float = math.inf) -> None:
    """Give axes, so many inches wide, the style of a page of print."""
    axes.set_facecolor("none")
    heading, size = _fitted(panel.heading, room)
    axes.set_title(heading, loc="left", fontsize=size, pad=3,
                   color=look(panel.color, words=True))  # fmt: skip
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_visible(panel.x_axis)
    axes.spines["bottom"].set_color(look("faint"))
    size = theme.POINTS - 0.3
    axes.tick_params(
        length=2, width=0.5, pad=1.5, labelsize=size, color=look("faint"),
        labelcolor=look("muted"), left=False,
    )  # fmt: skip
    axes.tick_params(which="minor", length=0)
    axes.xaxis.label.set(fontsize=size, color=look("muted"))
    axes.yaxis.label.set(fontsize=size, color=look("muted"))
    axes.xaxis.labelpad = axes.yaxis.labelpad = 1.5
    if panel.x_ticks:
        axes.set_xticks([at for at, _ in panel.x_ticks], [name for _, name in panel.x_ticks])
    elif panel.x_axis:
        _locate(axes.xaxis, [])
    else:
        axes.xaxis.set_visible(False)
    if panel.ticks:
        axes.set_yticks([at for at, _ in panel.ticks], [name for _, name in panel.ticks])
    elif panel.y_axis:
        _locate(axes.yaxis, panel.y_ticks())
        axes.grid(axis="y", color=look("grid"), linewidth=0.5)
        axes.set_axisbelow(True)
    else:
        axes.yaxis.set_visible(False)
    axes.set(xlim=panel.x_range, ylim=panel.y_range)


def _locate(axis, ticks):
    if not ticks:
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    else:
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
