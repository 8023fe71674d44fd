"""The whole comparison on one sheet, and the words that say what a figure shows."""

from dataclasses import dataclass, replace

from bnnlab import __version__
from bnnlab.figures.marks import Panel
from bnnlab.training.store import Log


@dataclass(frozen=True)
class About:
    """What a figure says of itself: it travels with the figure into the file."""

    title: str
    caption: str
    columns: int
    theme: str = "light"


def caption(log: Log) -> str:
    """Return the settings that a figure was made from: task, network, seeds, steps, version."""
    spec = log.comparison
    network = ", ".join(
        str(value) if key == "name" else f"{key.replace('_', ' ')} {_said(value)}"
        for key, value in spec["network"].items()
    )
    seeds = ", ".join(map(str, spec["seeds"]))
    parts = [
        log.task["title"], network, f"seeds {seeds}" if "," in seeds else f"seed {seeds}",
        f"step {log.step} of {log.steps}", f"batches of {spec['batch_size']}",
        f"step size {spec['lr']:g}", f"bnnlab {__version__}",
    ]  # fmt: skip
    return " · ".join(parts)


def _said(value):
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


def rows(log: Log) -> list[list[Panel]]:
    """Return the panels of the sheet, row by row, each row's first naming its section."""
    from bnnlab.figures import get

    layer = _telling_layer(log)
    sections = [
        ("", get("curves").panels(log), 4),
        ("Decision boundaries", get("boundary").panels(log) if log.task["is_2d"] else [], 8),
        (f"Latent and binary weights, {layer}", get("weights", layers=[layer]).panels(log), 8),
        (f"Bits, {layer}", get("bits", layers=[layer]).panels(log), 8),
        ("Share of signs that flip", get("flips").panels(log), 4),
        (f"What reaches the activations that feed {layer}",
         get("estimator", layers=[layer]).panels(log), 4),
        (f"Hessian scaling, {layer}", get("hessian", layers=[layer]).panels(log), 4),
        ("Cost", get("cost").panels(log) if any(r.cost for r in log.runs) else [], 3),
    ]  # fmt: skip
    made = []
    for section, panels, columns in sections:
        if not panels or not panels[0].lane and panels[0].empty:
            continue
        panels[0] = replace(panels[0], section=section)
        made += [panels[i : i + columns] for i in range(0, len(panels), columns)]
    return made


def _telling_layer(log):
    """The first layer that most lanes binarize."""
    counts: dict[str, int] = {}
    for run in log.runs:
        for layer in run.layers:
            counts[layer["name"]] = counts.get(layer["name"], 0) + bool(layer["binarized"])
    return max(counts, key=lambda name: counts[name])


def sheet(log: Log, *, theme: str = "light"):
    """Return the whole comparison as one HoloViews element, for `bnnlab.export`."""
    from bnnlab.figures.elements import layout

    panels = [
        replace(panel, row=number) for number, row in enumerate(rows(log)) for panel in row
    ]
    return layout(panels, About(log.path.stem, caption(log), 4, theme))
