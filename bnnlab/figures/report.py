"""A comparison as one HTML file that opens without a server or a network.

One slider goes through the training: weights and estimators are shown as they were at its step; on
curves, scaling factors and flips that step is marked and read off, lane by lane. Beside them the
cost, where it was measured, and the settings. It holds everything twice, light and dark: the
browser says which is drawn.
"""

import html
import json
import os
from pathlib import Path
from statistics import mean, stdev
from string import Template
from typing import Any

import numpy as np

from bnnlab import __version__
from bnnlab.figures import screen, theme
from bnnlab.figures.compose import caption, recipe, telling_layer
from bnnlab.figures.frames import level, steps_of
from bnnlab.figures.live import Drawn, grouped
from bnnlab.figures.marks import Image, Line, Panel
from bnnlab.training.store import Log

_FRAMES = 40  # steps under the slider at most
_TEMPLATE = Path(__file__).parent / "report.html"


def report(log: Log, path: str | os.PathLike) -> Path:
    """Write a comparison as one HTML file.

    Args:
        log: the comparison; at least one step of it was recorded.
        path: where to, `NAME.html`.

    Raises ValueError for another suffix, and when nothing was recorded yet.
    """
    from bokeh.core.json_encoder import serialize_json
    from bokeh.embed import json_item
    from bokeh.resources import Resources

    path = Path(path)
    if path.suffix.lower() != ".html":
        raise ValueError(f"a report is an HTML file; {path.name!r} does not end in .html")
    steps = steps_of(log, _FRAMES)
    if not steps:
        raise ValueError(f"{log.path} has not recorded a step yet: there is nothing to report")
    sections = []
    items: dict[str, list] = {name: [] for name in theme.THEMES}
    frames: dict[str, list[dict]] = {}
    for key, title, words, options, moves in _contents(log):
        panels = _frames(log, key, options, steps if moves else [None])
        if panels is None:
            continue
        frames |= _data(key, panels)
        for name in theme.THEMES:
            place: Any = f"{name}-{len(sections)}"
            items[name].append(json_item(_grid(log, key, panels[-1], name, len(sections)), place))
        sections.append((title, words, moves))
    path.parent.mkdir(parents=True, exist_ok=True)
    needed = Resources(mode="inline", components=["bokeh"]).js_raw
    page = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        {f"{name}_{role}": theme.resolve(role, name) for name in theme.THEMES
         for role in ("ink", "muted", "faint", "grid", "paper", "accent")},
        version=__version__, sans=theme.SANS, title=html.escape(log.path.stem),
        caption=html.escape(caption(log)), source=html.escape(f"import bnnlab; {recipe(log)}"),
        sections="\n".join(_section(number, *one) for number, one in enumerate(sections)),
        results=_results(log), settings=_settings(log), steps=json.dumps(steps),
        frames=_inside(json.dumps(frames, separators=(",", ":"), allow_nan=False)),
        items=_inside(serialize_json(items)),
        scripts="\n".join(f"<script>{text}</script>" for text in needed),
    )  # fmt: skip
    path.write_text(page, encoding="utf-8")
    return path


def _contents(log: Log) -> list[tuple[str, str, str, dict[str, Any], bool]]:
    """Return view, title, words, options, and whether the slider moves it."""
    layer = telling_layer(log)
    only = {"layers": [layer]}
    fed = f"Estimators of the activations that feed {layer}"
    return [
        ("curves", "Loss and accuracy", "Which lanes learn, how fast, and how surely.", {}, False),
        ("boundary", "Decision boundaries", "What each network says at the end.", {}, False),
        ("weights", f"Latent and binary weights of {layer}",
         "What the optimizer moves, and what the network multiplies by.", only, True),
        ("estimator", fed, "What the straight-through estimator lets through.", only, True),
        ("scale", "Scaling factors α", "By what each scheme multiplies its signs.", {}, False),
        ("flips", "Flips", "Whether the bits settle, and in which layers.", {}, False),
        ("hessian", f"Curvature of {layer}",
         "How it bends α; d and |w| are those of the last step.", only, False),
        ("cost", "Cost", "What binarizing costs and buys, measured.", {}, False),
    ]  # fmt: skip


def _frames(log: Log, key: str, options: dict, steps: list) -> list[list[Panel]] | None:
    """Return the panels of a view at each step; None where the view does not apply."""
    from bnnlab.figures import get

    view = get(key, **options)
    if not view.applies(log):
        return None
    moments = [view if step is None else view.changed(step=step) for step in steps]
    return level([moment.panels(log) for moment in moments])


def _data(key: str, frames: list[list[Panel]]) -> dict[str, list[dict]]:
    """Return what the sources hold at each step, by the source's name, where that changes."""
    found = {}
    for number, same in enumerate(zip(*frames, strict=True)):
        for place, marks in enumerate(zip(*(panel.marks for panel in same), strict=True)):
            if not isinstance(marks[0], Image):
                data = [_plain(screen.source_data(mark)) for mark in marks]
                if any(one != data[0] for one in data):
                    found[f"{key}-{number}-{place}"] = data
    return found


def _plain(columns: dict[str, Any]) -> dict[str, list]:
    return {
        name: [_number(v) if isinstance(v, float | np.floating) else v for v in values]
        for name, values in columns.items()
    }


def _number(value) -> float | None:
    """Return a number in four digits; None, which the page makes NaN, for what is not finite."""
    return float(f"{value:.4g}") if np.isfinite(value) else None


def _grid(log: Log, key: str, panels: list[Panel], name: str, section: int) -> Any:
    """Return panels in one theme, with names by which the slider finds what it moves."""
    from bokeh.models import Column, Span

    look = theme.Look(name)
    every = [Drawn(panel, look) for panel in panels]
    for number, drawn in enumerate(every):
        for place, renderer in enumerate(drawn.renderers):
            renderer.data_source.name = f"{key}-{number}-{place}"
        if drawn.panel.x_label == "step":
            drawn.figure.add_layout(
                Span(location=0, dimension="height", line_color=look("muted"), name="now")
            )
            _add_dots(log, drawn, look, section)
    figures = [picture.model for picture in grouped(every)]
    wide = {"curves": 420, "cost": 420, "weights": 380, "scale": 400, "flips": 400}
    least = wide.get(key, 250)
    return Column(
        children=figures, sizing_mode="stretch_width",
        styles={
            "display": "grid", "gap": "12px 18px",
            "grid-template-columns": f"repeat(auto-fill, minmax(min(100%, {least}px), 1fr))",
        },
    )  # fmt: skip


def _add_dots(log: Log, drawn: Drawn, look: theme.Look, section: int) -> None:
    """Add a dot for each line, which the slider puts where the line is at its step."""
    from bokeh.models import ColumnDataSource

    panel = drawn.panel
    lines = [
        {
            "source": renderer.data_source.id,
            "row": f"{log.run(panel.lane).title} · {mark.label}" if panel.lane else mark.label,
            "color": look(mark.color),
        }
        for mark, renderer in zip(panel.marks, drawn.renderers, strict=True)
        if isinstance(mark, Line) and (np.diff(mark.columns()["x"]) > 0).all()  # not an event
    ]
    about = {"column": panel.title, "section": section, "theme": look.theme, "lines": lines}
    source = ColumnDataSource({"x": [], "y": [], "color": []}, name="dots", tags=[about])
    drawn.figure.scatter("x", "y", source=source, size=6, color="color", line_color=look("paper"))


def _section(number: int, title: str, words: str, moves: bool) -> str:
    kind = ' class="moves"' if moves else ""
    places = "".join(f'<div class="{name}" id="{name}-{number}"></div>' for name in theme.THEMES)
    title, words = html.escape(title), html.escape(words)
    read = f'<div class="wide" tabindex="0" role="region" aria-label="{title} at the step">'
    return (
        f"<section{kind}><h2>{title}</h2><p>{words}</p>{places}"
        f'{read}<table id="read-{number}"></table></div></section>'
    )


def _inside(text: str) -> str:
    """Return JSON as it may stand inside a script."""
    return text.replace("</", r"<\/")


def _results(log: Log) -> str:
    """Return the table of what each lane came to, over its seeds."""
    keys = ("validation_accuracy", "test_accuracy", "test_loss")
    rows = []
    for lane in log.lanes:
        runs = [run for run in log.runs if run.lane == lane]
        about = runs[0].description
        ends = [run.end for run in runs if run.end and run.end["state"] == "done"]
        cells = [_spread([end[key] for end in ends if end.get(key) is not None]) for key in keys]
        bits = f"{about['weight_bits']}/{about['activation_bits']}"
        rows.append(_row("td", [runs[0].title, bits, *cells, _trouble(runs)]))
    head = _row("th", ["lane", "bits W/A", *(key.replace("_", " ") for key in keys), ""])
    return f"<table>{head}{''.join(rows)}</table>"


def _trouble(runs) -> str:
    ends = [run.end["state"] if run.end else f"at step {run.step}" for run in runs]
    return "; ".join(dict.fromkeys(end for end in ends if end != "done"))


def _spread(values: list[float]) -> str:
    if not values:
        return "–"
    middle = f"{mean(values):.4f}"
    return middle if len(values) < 2 else f"{middle} ± {stdev(values):.4f}"


def _settings(log: Log) -> str:
    """Return the table of everything that the numbers depend on."""
    spec = {key: value for key, value in log.comparison.items() if key not in ("runs", "format")}
    rows = [[key, _said(value)] for key, value in {**spec, **log.environment}.items()]
    return f"<table>{''.join(_row('td', row) for row in rows)}</table>"


def _said(value) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(one)}" for key, one in value.items())
    if isinstance(value, list):
        return "; ".join(map(_said, value)) or "none"
    return str(value)


def _row(kind: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"
