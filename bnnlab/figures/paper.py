"""Figures on paper: how matplotlib axes are dressed."""

from matplotlib import font_manager
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from bnnlab.figures import theme
from bnnlab.figures.compose import About
from bnnlab.figures.marks import Band, Image, Panel, Points, Text

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
        "font.family": "sans-serif",
        "font.sans-serif": [name for name in _WANTED if name in installed],
        "font.size": theme.POINTS,
        "mathtext.default": "regular",
        "axes.linewidth": 0.5,
        "axes.unicode_minus": True,
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
        "svg.hashsalt": "bnnlab",
        "image.composite_image": False,
    }


def style(mark, look) -> dict[str, object]:
    """Return HoloViews' matplotlib options of the element that draws a mark."""
    if isinstance(mark, Text):
        return dict(
            color=look(mark.color, words=True), horizontalalignment=mark.align,
            verticalalignment={"middle": "center"}.get(mark.baseline, mark.baseline),
            size=theme.POINTS * mark.size,
        )  # fmt: skip
    if isinstance(mark, Image):
        return dict(interpolation="nearest")
    color = look(mark.color)
    if isinstance(mark, Band):
        return dict(color=color, alpha=mark.alpha, linewidth=0)
    if isinstance(mark, Points):
        return dict(
            marker=_MARKERS[mark.marker], s=(mark.size * 0.5) ** 2, edgecolors=color,
            facecolors=color if mark.filled else "none", linewidth=0.6,
        )  # fmt: skip
    return dict(color=color, linestyle=_DASHES[mark.dash], linewidth=mark.width * 0.62)


def dress(axes, panel: Panel, about: About) -> None:
    """Give axes the style of a page of print, and note on them what they show."""
    axes.bnnlab_panel, axes.bnnlab_about = panel, about
    look = theme.Look(about.theme)
    axes.set_facecolor("none")
    axes.set_title(panel.heading, loc="left", fontsize=theme.POINTS + 0.8, pad=3,
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
    if panel.x_axis:
        _locate(axes.xaxis, panel.x_log)
    else:
        axes.xaxis.set_visible(False)
    if panel.ticks:
        axes.set_yticks([at for at, _ in panel.ticks], [name for _, name in panel.ticks])
    elif panel.y_axis:
        _locate(axes.yaxis, panel.y_log)
        axes.grid(axis="y", color=look("grid"), linewidth=0.5)
        axes.set_axisbelow(True)
    else:
        axes.yaxis.set_visible(False)
    if panel.section:
        axes.annotate(
            panel.section, (0, 1), (0, 13), xycoords="axes fraction", textcoords="offset points",
            size=theme.POINTS + 1.2, weight="bold", color=look("ink"), annotation_clip=False,
        )  # fmt: skip
    axes.set(xlim=panel.x_range, ylim=panel.y_range)


def _locate(axis, log):
    if log:
        axis.set_major_locator(LogLocator(numticks=5))
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(MaxNLocator(4))
