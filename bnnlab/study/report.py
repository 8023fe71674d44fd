"""Our figures beside the published ones, and a verdict by a rule written down beforehand."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np

from bnnlab.study.recipe import MEASURES, Recipe, resized
from bnnlab.training.store import Log, RunLog


@dataclass(frozen=True)
class Line:
    """One lane of a report.

    Attributes:
        part, lane: which.
        published: the paper's figure.
        ours: our figures, one a finished run.
        going: runs that have not come to their end.
        verdict: "agrees", "better", "worse", or "unfinished"; of a recipe's short version "as
            expected" or "not as expected".
        expected: of a short version, the band where ours should lie.
    """

    part: str
    lane: str
    published: float
    ours: list[float]
    going: int
    verdict: str
    expected: tuple[float, float] | None = None


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
    bands = recipe.short.expected if recipe.short and is_short(recipe, logs) else {}
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
            band = bands.get(part.name, {}).get(name)
            if going:
                verdict = "unfinished"
            elif band:
                within = band[0] <= mean(ours) <= band[1]
                verdict = "as expected" if within else "not as expected"
            else:
                verdict = _verdict(ours, published, recipe.tolerance)
            lines.append(Line(part.name, name, published, ours, going, verdict, band))
    return lines


def is_short(recipe: Recipe, logs: Mapping[str, Log]) -> bool:
    """Return whether these are comparisons of the recipe's short version."""
    short = recipe.short
    if short is None:
        return False
    parts = {part.name: part for part in recipe.parts}
    for name, log in logs.items():
        network = log.comparison["network"]
        wide = network | resized(network["name"], short.width) == network
        if not wide or log.steps != short.epochs * parts[name].steps_per_epoch:
            return False
    return True


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
    part, log = next(iter(logs.items()))
    env, short = log.environment, is_short(recipe, logs)
    heads = ["part", "scheme", "published", "ours", *(["expected"] if short else []), "verdict"]
    rows = [
        [line.part, f"`{line.lane}`", f"{line.published:.3f}", _ours(line),
         *([_band(line)] if short else []), line.verdict]
        for line in lines
    ]  # fmt: skip
    seeds = ", ".join(map(str, log.comparison["seeds"]))
    steps = {part.name: part.steps_per_epoch for part in recipe.parts}
    return "\n".join(
        [
            f"# {recipe.title}",
            "",
            f"Source of the published figures: {recipe.source} ({recipe.known}).",
            "",
            f"The figures are the {MEASURES[recipe.measure]}. {_rule(recipe, short)}",
            "",
            *(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)),
            "",
            f"Done with `{command}`: {log.steps / steps[part]:g} of {recipe.epochs} epochs, "
            f"seeds {seeds}; bnnlab {env['bnnlab']}, torch {env['torch']}, "
            f"{env['machine']} with {env['cores']} cores, {log.comparison['threads']} thread a "
            "trainer.",
            "",
            *(f"![Curves of {name}]({curves_name(name)})\n" for name in logs),
            "What is done otherwise than in the paper, as far as is known:",
            "",
            *(f"- {entry}" for entry in recipe.differs),
            "",
        ]
    )


def curves_name(part: str) -> str:
    """Return the name of the file in which a part's curves stand beside the report."""
    return f"{part}.svg"


def _rule(recipe: Recipe, short: bool) -> str:
    if short and recipe.short:
        return (
            "This is the recipe's short version, too short for the published figures to be "
            "reached. Ours are *as expected* when their mean lies in the band that stands in the "
            f"recipe, measured with {recipe.short.seeds} seeds."
        )
    return (
        f"Ours *agree* when their mean lies within {recipe.tolerance:g} of the published one, or "
        "within three standard deviations of our seeds if that is more; this rule is part of the "
        "recipe."
    )


def _band(line: Line) -> str:
    return "–" if line.expected is None else "{:.2f} to {:.2f}".format(*line.expected)


def _ours(line: Line) -> str:
    if not line.ours:
        return "–"
    middle = f"{mean(line.ours):.3f}"
    return middle if len(line.ours) < 2 else f"{middle} ± {stdev(line.ours):.3f}"
