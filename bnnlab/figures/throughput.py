"""Throughput below what a machine could do, as it was measured: the roofline.

A pass cannot be faster than its multiply-adds with everything in registers, nor than its weights
are read; which of the two it is changes with the batch and the width.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bnnlab.figures.compose import Drawing
from bnnlab.figures.marks import Line, Panel, Points, Text

LIMIT = "limit"
# What is drawn, what it is called, and how: the packed one in its colour, the others behind it.
NAMES = {
    LIMIT: "limit", "packed": "packed", "kernel": "kernel", "torch": "F.linear",
    "onednn": "oneDNN", "bfloat16": "bf16", "int8": "int8",
}  # fmt: skip
_DASHES = {"torch": "solid", "onednn": "dashed", "bfloat16": "dashdot", "int8": "dotted"}
_APART = 0.072  # of the height: how far labels stay from each other
_ROOM = 0.33  # of the width: for the labels

# Throughput by x: of each point the median, and what it lies between.
Curve = Sequence[tuple[float, float, float, float]]


def panel(
    lane: str,
    heading: str,
    x_label: str,
    curves: Mapping[str, Curve],
    limits: tuple[float, float],
    *,
    y_label: str = "",
    color: str = "accent",
) -> Panel:
    """Return the panel of some curves, over a logarithmic x; the same marks whatever there is.

    Args:
        lane: what it shows.
        heading: what is written above it.
        x_label: what x is.
        curves: by the names in `NAMES`; what is not there is not drawn.
        limits: of the y axis.
        y_label: what y is.
        color: of the packed curve.
    """
    known = {name: np.array(curves.get(name) or np.empty((0, 4))) for name in NAMES}
    xs = np.unique(np.concatenate([curve[:, 0] for curve in known.values()]))
    at = np.log10(xs) if len(xs) else np.array([0.0, 1.0])
    low, high = float(at[0]), float(max(at[-1], at[0] + 0.5))
    packed, kernel = known["packed"], known["kernel"]
    ends = _labels(known, limits)
    beside = high + 0.03 * (high - low)
    others = [name for name in ends if name not in ("packed", "kernel")]
    own = [name for name in ends if name in ("packed", "kernel")]

    def line(name: str, role: str, dash: str, width: float) -> Line:
        curve = known[name]
        return Line(np.log10(curve[:, 0]), curve[:, 1], role, dash, width, NAMES[name])

    marks = [
        # Along the axis: HoloViews makes no logarithmic one where nothing is drawn.
        Line([low, high], [limits[0]] * 2, "faint", width=0.5),
        line(LIMIT, "ink", "dashed", 1.2),
        *(line(name, "muted", dash, 1.0) for name, dash in _DASHES.items()),
        Line(*_bars(packed), color, width=3.0),
        line("kernel", color, "dotted", 1.2),
        line("packed", color, "solid", 1.8),
        Points(np.log10(packed[:, 0]), packed[:, 1], color, "circle", 5.0),
        Text([beside] * len(others), [ends[name] for name in others],
             [NAMES[name] for name in others]),
        Text([beside] * len(own), [ends[name] for name in own],
             [NAMES[name] for name in own], color),
    ]  # fmt: skip
    return Panel(
        lane, heading, heading, marks, (low - 0.04 * (high - low), high + _ROOM * (high - low)),
        limits, x_label=x_label, y_label=y_label, y_log=True, y_axis=True,
        empty="" if len(packed) or len(kernel) else "not measured yet", height=200,
        x_ticks=[(float(np.log10(x)), f"{x:g}") for x in _marked(xs)],
    )  # fmt: skip


def _bars(curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return upright lines from what the points lie between, as one line with gaps."""
    gaps = np.full(len(curve), np.nan)
    at = np.log10(curve[:, 0])
    return np.column_stack([at, at, gaps]).ravel(), np.column_stack(
        [curve[:, 2], curve[:, 3], gaps]
    ).ravel()


def _marked(xs: np.ndarray) -> list[float]:
    """Return which x are marked: all, or every other one where they are many."""
    return list(xs[:: 1 + (len(xs) > 7)])


def _labels(known: Mapping[str, np.ndarray], limits: tuple[float, float]) -> dict[str, float]:
    """Return where the labels of the curves' ends stand, none over another."""
    ends = {name: curve[-1, 1] for name, curve in known.items() if len(curve)}
    if "kernel" in ends and abs(np.log(ends["kernel"] / ends["packed"])) < 0.02:
        del ends["kernel"]
    low, high = np.log(limits)
    order = sorted(ends, key=lambda name: ends[name])
    places = [float(np.log(ends[name])) for name in order]
    least = _APART * (high - low)
    for _ in range(50):  # push neighbours apart, each by half
        for i in range(len(places) - 1):
            near = least - (places[i + 1] - places[i])
            if near > 0:
                places[i] -= near / 2
                places[i + 1] += near / 2
    return {name: float(np.exp(place)) for name, place in zip(order, places, strict=True)}


def reach(every: Sequence[Mapping[str, Curve]]) -> tuple[float, float]:
    """Return the limits of a y axis that panels share."""
    values = [point[1] for curves in every for curve in curves.values() for point in curve]
    return (min(values) / 2, max(values) * 2) if values else (1.0, 10.0)


def drawing(record: Mapping[str, Any], *, theme: str = "light") -> Drawing:
    """Return square layers of single kernels against samples and against width.

    Args:
        record: what `bnnlab bench --figure` measured: "rows" of products with where they were.
        theme: "light" or "dark".

    Raises:
        ValueError: there is no product of signs in it.
    """
    rows = [row for row in record["rows"] if row["kernel"] == "bits"]
    if not rows:
        raise ValueError("nothing to draw: no product of signs was measured")
    by_width: dict[int, list] = {}
    by_samples: dict[int, list] = {}
    for row in rows:
        by_width.setdefault(row["shape"][1], []).append(row)
        by_samples.setdefault(row["shape"][0], []).append(row)
    width = max(by_width, key=lambda n: len(by_width[n]))
    wanted = [(f"{width:,} inputs and outputs", "samples", 0, by_width[width])]
    wanted += [
        (f"{m:,} sample{'s' * (m > 1)}", "inputs and outputs", 1, some)
        for m, some in sorted(by_samples.items())
        if len(some) > 1
    ]
    every = [_curves(some, place) for _, _, place, some in wanted]
    panels = [
        panel("", heading, x_label, curves, reach(every),
              y_label="" if number else "10⁹ operations a second")
        for number, ((heading, x_label, _, _), curves) in enumerate(zip(wanted, every, strict=True))
    ]  # fmt: skip
    return Drawing(
        panels, "Products of signs, below this machine's limit", _caption(record), 3, theme
    )


def _curves(rows: Sequence[Mapping[str, Any]], place: int) -> dict[str, list]:
    curves: dict[str, list] = {}
    for row in sorted(rows, key=lambda row: row["shape"][place]):
        x, work = row["shape"][place], row["operations"] / 1e9
        for name, timing in {**row["seconds"], LIMIT: row["limit"]["seconds"]}.items():
            if name in NAMES:
                curves.setdefault(name, []).append(point(x, work, timing))
    return curves


def point(x: float, work: float, timing: Mapping[str, float]) -> tuple[float, float, float, float]:
    """Return a point of a curve: x, and the work done a second, median, lowest and highest."""
    return x, work / timing["median"], work / timing["high"], work / timing["low"]


def _caption(record: Mapping[str, Any]) -> str:
    return " · ".join(
        [
            record["machine"], f"{record['isa']} kernels", "one thread",
            f"medians of {record['rounds']}, in turn; bars: 10 to 90 %",
            "packing counted; dotted: the kernel without it",
            "limit: counting bits in registers, or reading the packed weights",
            f"torch {record['torch']}", f"bnnlab {record['bnnlab']}", record["date"],
        ]
    )  # fmt: skip
