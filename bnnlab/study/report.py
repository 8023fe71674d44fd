"""Our figures beside the published ones, and a verdict by a rule written down beforehand."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np

from bnnlab.study.recipe import MEASURES, Recipe
from bnnlab.training.store import Log, RunLog


@dataclass(frozen=True)
class Line:
    """One lane of a report.

    Attributes:
        part, lane: which.
        published: the paper's figure.
        ours: our figures, one a finished run.
        going: runs that have not come to their end.
        verdict: "agrees", "better", "worse", or "unfinished".
    """

    part: str
    lane: str
    published: float
    ours: list[float]
    going: int
    verdict: str


def figure(run: RunLog, measure: str) -> float | None:
    """Return what a run measured where validation was best; None where it never was looked at.

    Of several epochs that did equally well the last one counts, as in the code of LAB.
    """
    what, better = ("accuracy", 1) if measure == "test_error" else ("loss", -1)
    _, validation = run.column(f"whole_validation_{what}")
    _, test = run.column(f"whole_test_{what}")
    known = np.isfinite(validation)
    if not known.any():
        return None
    score = np.where(known, better * validation, -np.inf)
    at = len(score) - 1 - int(np.argmax(score[::-1]))
    return 100 * (1 - float(test[at])) if measure == "test_error" else float(test[at])


def card(recipe: Recipe, logs: Mapping[str, Log]) -> list[Line]:
    """Return a line for each lane of a recipe that was trained.

    Args:
        recipe: the recipe.
        logs: by part, its comparison.
    """
    lines = []
    for part in recipe.parts:
        log = logs.get(part.name)
        for name, published in part.published.items():
            runs = [run for run in log.runs if run.scheme == name] if log is not None else []
            if not runs:
                continue
            done = [run for run in runs if run.end is not None]
            found = [figure(run, recipe.measure) for run in done]
            ours = [math.inf if value is None else value for value in found]
            going = len(runs) - len(done)
            verdict = "unfinished" if going else _verdict(ours, published, recipe.tolerance)
            lines.append(Line(part.name, name, published, ours, going, verdict))
    return lines


def _verdict(ours: list[float], published: float, tolerance: float) -> str:
    """Say how our mean lies to the published figure; less is better in every measure."""
    middle = mean(ours)
    spread = 3 * stdev(ours) if len(ours) > 1 and math.isfinite(middle) else 0.0
    if abs(middle - published) <= max(tolerance, spread):
        return "agrees"
    return "better" if middle < published else "worse"


def report(recipe: Recipe, logs: Mapping[str, Log], command: str) -> str:
    """Return the report as Markdown: what was done, on what machine, ours beside the published.

    Args:
        recipe: the recipe.
        logs: by part, its comparison.
        command: what was typed.
    """
    lines = card(recipe, logs)
    log = next(iter(logs.values()))
    env = log.environment
    rows = [
        f"| {line.part} | `{line.lane}` | {line.published:.3f} | {_ours(line)} | {line.verdict} |"
        for line in lines
    ]
    seeds = ", ".join(map(str, log.comparison["seeds"]))
    steps = log.steps
    return "\n".join(
        [
            f"# {recipe.title}",
            "",
            f"Source of the published figures: {recipe.source} ({recipe.known}).",
            "",
            f"The figures are the {MEASURES[recipe.measure]}. Ours *agree* when their mean lies "
            f"within {recipe.tolerance:g} of the published one, or within three standard "
            "deviations of our seeds if that is more; this rule is part of the recipe.",
            "",
            "| part | scheme | published | ours | verdict |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Done with `{command}`: {steps / recipe.steps_per_epoch:g} of {recipe.epochs} epochs, "
            f"seeds {seeds}; bnnlab {env['bnnlab']}, torch {env['torch']}, "
            f"{env['machine']} with {env['cores']} cores, {log.comparison['threads']} thread a "
            "trainer.",
            "",
            "What is done otherwise than in the paper, as far as is known:",
            "",
            *(f"- {entry}" for entry in recipe.differs),
            "",
        ]
    )


def _ours(line: Line) -> str:
    if not line.ours:
        return "–"
    middle = f"{mean(line.ours):.3f}"
    return middle if len(line.ours) < 2 else f"{middle} ± {stdev(line.ours):.3f}"
