"""A result as Markdown, with its curves beside it."""

import json
from collections.abc import Mapping
from pathlib import Path

from bnnlab import figures
from bnnlab.study.results import Line, Result
from bnnlab.training.store import Log

_SMOOTHEST = 0.99
_STEPS_SMOOTHED = 20  # the longer a run, the smoother its curves are drawn


def write(folder: Path, result: Result, logs: Mapping[str, Log]) -> str:
    """Write a result into a folder: `report.md`, `result.json`, and the curves of each part.

    Returns the report.
    """
    from bnnlab.figures.export import export  # what draws takes half a second to load

    for name, log in logs.items():
        smoothing = min(_SMOOTHEST, max(0.0, 1 - _STEPS_SMOOTHED / log.steps))
        export(figures.curves(log, smoothing=smoothing), folder / _curves(name))
    said = json.dumps(result.to_dict(), indent=1, ensure_ascii=False)
    (folder / "result.json").write_text(said + "\n", encoding="utf-8")
    text = report(result)
    (folder / "report.md").write_text(text, encoding="utf-8")
    return text


def report(result: Result) -> str:
    """Return the report as Markdown: what was done, on what machine, ours beside the published."""
    band = ["expected"] if result.short else []
    heads = ["part", "scheme", "published", "ours", *band, "verdict"]
    rows = [
        [line.part, f"`{line.lane}`", f"{line.published:.3f}", ours(line),
         *([_band(line)] if band else []), line.verdict]
        for line in result.lines
    ]  # fmt: skip
    return "\n".join(
        [
            f"# {result.title}{', short version' if result.short else ''}",
            "",
            f"Source of the published figures: {result.source} ({result.known}).",
            "",
            f"The figures are the {result.measure}. {result.rule}",
            "",
            *(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)),
            "",
            f"Done with {result.done}.",
            "",
            *(f"![Curves of {name}]({_curves(name)})\n" for name in result.parts),
            "What is done otherwise than in the paper, as far as is known:",
            "",
            *(f"- {entry}" for entry in result.differs),
            "",
        ]
    )


def ours(line: Line) -> str:
    """Return our figure in words: the mean, and the spread of several."""
    if line.mean is None:
        return "–"
    return f"{line.mean:.3f}" + (f" ± {line.spread:.3f}" if len(line.ours) > 1 else "")


def _curves(part: str) -> str:
    return f"{part}.svg"


def _band(line: Line) -> str:
    return "–" if line.expected is None else "{:.2f} to {:.2f}".format(*line.expected)
