"""Panels of curves over training steps: one line a lane, named at its end."""

from typing import NamedTuple

import numpy as np

from bnnlab.figures.marks import Band, Line, Panel, Points, Text
from bnnlab.figures.series import Series, spread_labels
from bnnlab.figures.view import Z
from bnnlab.training.store import Log

# Pixels: of a letter in a name at a line's end, and of the least width a panel has on a page.
_LETTER, _WIDTH = 5.8, 320


class Entry(NamedTuple):
    """One line of a panel; `broken` is the step at which its run diverged."""

    label: str
    color: str
    dash: str
    series: Series
    banded: bool = False
    broken: int | None = None
    marker: str = ""


class Event(NamedTuple):
    """Something that happens to a lane at a step."""

    step: float
    label: str
    color: str


def events_of(log: Log, lanes: list[str]) -> list[Event]:
    """Return what the schemes of lanes say happens to them, at planned steps."""
    planned = log.comparison["steps"]
    abouts = [log.run(lane).description for lane in lanes]
    return [
        Event(event["at"] * planned, event["label"], about["color"])
        for about in abouts
        for event in about["events"]
    ]


def panel(
    title: str,
    entries: list[Entry],
    through: tuple[float, float],
    y_range: tuple[float, float],
    *,
    log: bool = False,
    number: str = "0.0000",
    x_label: str = "step",
    references: list[Entry] | None = None,
    events: list[Event] | None = None,
    width: int = _WIDTH,
    **about,
) -> Panel:
    """Return a panel of lines, each labelled at its end, the labels spread so that all are read.

    References are lines that are known before anything is recorded; events are upright ones.
    """
    recorded = any(np.isfinite(entry.series.mean).any() for entry in entries)
    entries = [*(references or []), *entries]
    named = _LETTER * (max(len(entry.label) for entry in entries) + 2)
    x_range = (through[0], through[1] * width / (width - named))
    scale = np.log10 if log else np.asarray
    low, high = (float(v) for v in scale(np.array(y_range)))
    known = [i for i, entry in enumerate(entries) if np.isfinite(entry.series.mean).any()]
    ends = {i: _last(entries[i].series) for i in known}
    heights = dict(
        zip(
            known,
            spread_labels(
                np.array([float(scale(np.array(max(ends[i][1], y_range[0])))) for i in known]),
                (high - low) * 0.092, low + (high - low) * 0.04, high - (high - low) * 0.04,
            ),
            strict=True,
        )
    )  # fmt: skip
    marks: list = []
    for event in events or []:
        marks.append(Line([event.step] * 2, list(y_range), event.color, "dotted", 1.0,
                          label=event.label))  # fmt: skip
        marks.append(Text([event.step], [y_range[1]], [f" {event.label}"], event.color,
                          baseline="top"))  # fmt: skip
    for entry in entries:
        if entry.banded:
            s = entry.series
            floor = y_range[0] if log else -np.inf
            marks.append(Band(s.x, np.maximum(s.low, floor), np.maximum(s.high, floor),
                              entry.color))  # fmt: skip
    for entry in entries:
        marks.append(Line(entry.series.x, entry.series.mean, entry.color, entry.dash,
                          label=entry.label, marker=entry.marker))  # fmt: skip
    for i, entry in enumerate(entries):
        at = i in heights
        where = ([through[1] * 1.02], [_unscaled(heights[i], log)]) if at else (Z, Z)
        marks.append(Text(*where, [entry.label] if at else [], entry.color))
        stopped = at and entry.broken is not None
        marks.append(Points([ends[i][0]] if stopped else Z, [ends[i][1]] if stopped else Z,
                            entry.color, "x", 8))  # fmt: skip
    return Panel(
        about.pop("lane", ""), title, about.pop("heading", title), marks, x_range,
        y_range, y_axis=True, y_log=log,
        x_label=x_label, empty="" if recorded else "no steps recorded yet",
        hover=[("", "$name"), (x_label, "@x{0}"), (title, f"@y{{{number}}}")], **about,
    )  # fmt: skip


def _last(series):
    at = np.flatnonzero(np.isfinite(series.mean))[-1]
    return float(series.x[at]), float(series.mean[at])


def _unscaled(value, log):
    return 10**value if log else value
