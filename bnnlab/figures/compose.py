"""A view of a log, ready to be drawn anywhere; and the whole comparison on one sheet."""

from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from bnnlab import __version__
from bnnlab.figures.marks import Panel
from bnnlab.training.store import Log


@dataclass(frozen=True)
class Drawing:
    """Panels and what they are about: everything a figure is, before any plotting library.

    Attributes:
        title, caption: what is written above it, and into the file.
        columns: panels beside each other on paper.
        rows: panels row by row where they are not `columns` in each; None otherwise.
        remake: Python that makes it again, of `log`, which `recipe` says how to get.
        recipe: Python that trains what it was made from.

    `a + b` has the panels of both, under each other.
    """

    panels: list[Panel]
    title: str
    caption: str
    columns: int
    theme: str = "light"
    rows: list[list[Panel]] | None = None
    remake: str = ""
    recipe: str = ""

    def __add__(self, other: "Drawing") -> "Drawing":
        mine, others = _parted(self), _parted(other)
        return replace(
            self,
            panels=[panel for row in mine + others for panel in row],
            rows=mine + others,
            title=self.title if self.title == other.title else f"{self.title}; {other.title}",
            caption=self.caption
            if self.caption == other.caption
            else f"{self.caption} — {other.caption}",
            remake=f"{self.remake} + {other.remake}",
        )


def beside(panels: list[Panel], columns: float) -> int:
    """Return how many panels to put beside each other where there is room for `columns`.

    Those with the same lane and title stay together; and where every lane has as many, one more or
    one fewer of these groups may stand in a row, so that each lane begins one.
    """
    together = sum((p.lane, p.title) == (panels[0].lane, panels[0].title) for p in panels)
    room = max(1, round(columns / together))
    counts = [len(list(group)) // together for _, group in groupby(panels, lambda p: p.lane)]
    if len(counts) > 1 and len(set(counts)) == 1:
        for groups in (room, room + 1, max(2, room - 1)):
            if groups % counts[0] == 0 or counts[0] % groups == 0:
                return together * groups
    return together * room


def _parted(drawing: Drawing) -> list[list[Panel]]:
    """Return the rows of a drawing, its title above the first where nothing else is."""
    panels = drawing.panels
    if drawing.rows is not None:
        return drawing.rows
    panels = [replace(panels[0], section=drawing.title), *panels[1:]]
    n = beside(panels, drawing.columns)
    return [panels[i : i + n] for i in range(0, len(panels), n)]


def recipe(log: Log) -> str:
    """Return the Python that trains what a figure was made from, exactly as it was."""
    spec = {key: value for key, value in log.comparison.items() if key not in ("format", "runs")}
    spec["steps"] = log.steps
    return f"log = bnnlab.Comparison.from_dict({spec!r}).run({log.path.name!r})"


def call(name: str, options: dict[str, Any], theme: str) -> str:
    """Return the Python that makes a drawing of `log`."""
    given = {**options, "theme": theme if theme != "light" else None}
    return f"bnnlab.figures.drawing({name!r}, log{arguments(given)})"


def arguments(options: dict[str, Any]) -> str:
    """Return options as a call's last arguments; None is not given."""
    given = {key: value for key, value in options.items() if value is not None}
    return "".join(f", {key}={value!r}" for key, value in given.items())


def caption(log: Log) -> str:
    """Return the settings that a figure was made from: task, network, seeds, steps, version."""
    spec = log.comparison
    network = dict(spec["network"])
    seeds = ", ".join(map(str, spec["seeds"]))
    parts = [
        log.task["title"],
        ", ".join([network.pop("name"), *(f"{k.replace('_', ' ')} {_said(v)}" for k, v in
                                          sorted(network.items(), reverse=True))]),
        f"seeds {seeds}" if "," in seeds else f"seed {seeds}",
        f"step {max(log.step, 0)} of {log.steps}", f"batches of {spec['batch_size']}",
        f"step size {spec['lr']:g}", f"bnnlab {__version__}",
    ]  # fmt: skip
    return " · ".join(parts)


def _said(value):
    return ("on" if value else "off") if isinstance(value, bool) else value


def sheet_drawing(log: Log, theme: str = "light") -> Drawing:
    """Return the whole comparison, section after section."""
    from bnnlab.figures import get

    layer = telling_layer(log)
    sections = [
        ("Loss and accuracy", get("curves"), 4),
        ("Decision boundaries", get("boundary"), 8),
        (f"Latent and binary weights of {layer}", get("weights", layers=[layer]), 8),
        (f"Bits of {layer}", get("bits", layers=[layer]), 8),
        ("Share of signs that flip", get("flips"), 3),
        (f"Estimator of the activations that feed {layer}", get("estimator", layers=[layer]), 6),
        (f"Hessian scaling of {layer}", get("hessian", layers=[layer]), 4),
        ("Cost", get("cost"), 3),
    ]
    rows = []
    for section, view, columns in sections:
        if not view.applies(log):
            continue
        panels = view.panels(log)
        panels[0] = replace(panels[0], section=section)
        rows += [panels[i : i + columns] for i in range(0, len(panels), columns)]
    panels = [panel for row in rows for panel in row]
    return Drawing(panels, log.path.stem, caption(log), 4, theme, rows, call("sheet", {}, theme),
                   recipe(log))  # fmt: skip


def telling_layer(log):
    """Return the first of the layers that most lanes binarize."""
    counts: dict[str, int] = {}
    for run in log.runs:
        for layer in run.layers:
            counts[layer["name"]] = counts.get(layer["name"], 0) + bool(layer["binarized"])
    return max(counts, key=lambda name: counts[name])


def sheet(log: Log, *, theme: str = "light") -> Any:
    """Return the whole comparison as one HoloViews element, for `bnnlab.export`."""
    from bnnlab.figures.elements import layout

    return layout(sheet_drawing(log, theme))
