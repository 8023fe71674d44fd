"""The few kinds of mark every figure is drawn with, and the panel that holds them.

A view says what is drawn as panels of marks: plain numbers, no plotting library. `elements` turns
them into HoloViews elements, `live` writes their newer numbers into the sources already drawn. The
marks of a panel are therefore always the same ones in the same order, with empty arrays where
nothing is known yet.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

Color = str  # "#rrggbb", or a role that the theme resolves: "ink", "muted", "faint", "accent"


def _floats(values) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)


@dataclass
class Line:
    """A curve; `label` is what a tooltip calls it, `marker` what it carries in print."""

    x: ArrayLike
    y: ArrayLike
    color: Color
    dash: str = "solid"
    width: float = 1.4
    label: str = ""
    marker: str = ""

    def columns(self) -> dict[str, np.ndarray]:
        """Return the numbers it draws, by name."""
        return {"x": _floats(self.x), "y": _floats(self.y)}


@dataclass
class Band:
    """The area between two curves."""

    x: ArrayLike
    low: ArrayLike
    high: ArrayLike
    color: Color
    alpha: float = 0.16

    def columns(self) -> dict[str, np.ndarray]:
        """Return the numbers it draws, by name."""
        return {"x": _floats(self.x), "low": _floats(self.low), "high": _floats(self.high)}


def steps(edges: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the outline x, y of a histogram with `len(edges) == len(heights) + 1`."""
    return np.repeat(edges, 2)[1:-1], np.repeat(heights, 2)


@dataclass
class Spikes:
    """Vertical lines from zero to a height."""

    x: ArrayLike
    height: ArrayLike
    color: Color
    dash: str = "solid"
    width: float = 1.0

    def columns(self) -> dict[str, np.ndarray]:
        """Return the numbers it draws, by name."""
        return {"x": _floats(self.x), "y": _floats(self.height)}


@dataclass
class Points:
    """Markers."""

    x: ArrayLike
    y: ArrayLike
    color: Color
    marker: str = "circle"
    size: float = 6.0
    filled: bool = True
    edge: Color = ""  # of the outline; `color` when not given

    def columns(self) -> dict[str, np.ndarray]:
        """Return the numbers it draws, by name."""
        return {"x": _floats(self.x), "y": _floats(self.y)}


@dataclass
class Text:
    """Words at points."""

    x: ArrayLike
    y: ArrayLike
    text: list[str]
    color: Color = "muted"
    align: str = "left"
    baseline: str = "middle"
    size: float = 1.0  # times the theme's small size

    def columns(self) -> dict[str, np.ndarray]:
        """Return what it writes where, by name."""
        return {
            "x": _floats(self.x),
            "y": _floats(self.y),
            "text": np.asarray(self.text, dtype=object),
        }


class Empty(Text):
    """What a panel says while it has nothing to draw."""


@dataclass
class Image:
    """A grid of small integers, each drawn in its colour; row 0 is the lowest.

    Attributes:
        values: uint8 (rows, columns), indices into `palette`.
        extent: x0, x1, y0, y1.
        palette: the colours, or the name of one of the theme's palettes.
    """

    values: ArrayLike
    extent: tuple[float, float, float, float]
    palette: str
    levels: int

    def columns(self) -> dict[str, np.ndarray]:
        """Return the grid and where it lies, by name."""
        return {
            "image": np.asarray(self.values, dtype=np.uint8),
            "extent": np.asarray(self.extent, dtype=np.float64),
        }


# Decades of a logarithmic axis, and what is marked in each of them.
_TICKS = ((0.8, (1, 1.5, 2, 3, 5, 7)), (2.05, (1, 2, 5)), (3.05, (1, 3)), (np.inf, (1,)))

Mark = Line | Band | Spikes | Points | Text | Image


@dataclass
class Panel:
    """One small picture: axes and marks.

    Attributes:
        lane, title: what it shows; panels with the same two stand beside each other.
        heading: what is written above it.
        x_range, y_range: the visible range of each axis.
        empty: said in the middle while there is nothing to draw; "" once there is.
        share: its width relative to those it stands beside.
        height: in pixels on the page.
        section: on a sheet, what begins with it.
        ticks: positions and labels of the y axis, where it names things.
        x_ticks: the same of the x axis, where it is not marked by itself.
    """

    lane: str
    title: str
    heading: str
    marks: list
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    color: Color = "ink"
    x_label: str = ""
    y_label: str = ""
    y_log: bool = False
    x_axis: bool = True
    y_axis: bool = False
    empty: str = ""
    hover: list = field(default_factory=list)
    share: float = 1.0
    height: int = 130
    section: str = ""
    ticks: list[tuple[float, str]] = field(default_factory=list)
    x_ticks: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self):
        if self.marks and isinstance(self.marks[-1], Empty):
            return
        middle = [sum(self.x_range) / 2], [_middle(self.y_range, self.y_log)]
        words = [self.empty] if self.empty else []
        said = Empty(*(middle if words else ([], [])), words, align="center")
        self.marks = [*self.marks, said]

    def y_ticks(self) -> list[float]:
        """Return where a logarithmic y axis is marked, denser where it is short; [] for others."""
        if not self.y_log:
            return []
        low, high = np.log10(self.y_range)
        chosen = next(marks for decades, marks in _TICKS if high - low <= decades)
        return [m * 10.0**e for e in range(-12, 13) for m in chosen]


def _middle(limits, log):
    low, high = limits
    return float(np.sqrt(low * high)) if log else (low + high) / 2
