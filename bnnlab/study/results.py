"""What came of a recipe: our figures beside the published ones, and a verdict by its rule."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from bnnlab.study.recipe import CADENCE, MEASURES, Part, Recipe, resized
from bnnlab.training.store import Log, RunLog

FOLDER = Path(__file__).parent / "measured"


@dataclass(frozen=True)
class Line:
    """One lane of a result.

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

    @property
    def mean(self) -> float | None:
        """The mean of our figures."""
        return mean(self.ours) if self.ours else None

    @property
    def spread(self) -> float:
        """Their standard deviation, 0 of fewer than two."""
        return _spread(self.ours)


@dataclass(frozen=True)
class Result:
    """What came of a recipe.

    Attributes:
        recipe: its name.
        title, source, known, differs: as the recipe says.
        measure: what the figures are, in words.
        rule: how a verdict is found, in words.
        short: whether it is the recipe's short version.
        done: what was trained, with which command and versions, on what machine, in words.
        parts: names of the comparisons.
        lines: the figures.
    """

    recipe: str
    title: str
    source: str
    known: str
    differs: list[str]
    measure: str
    rule: str
    short: bool
    done: str
    parts: list[str]
    lines: list[Line]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Result":
        """Return what `to_dict` gave."""
        bands = [line["expected"] for line in data["lines"]]
        lines = [
            Line(**{**line, "expected": None if band is None else (band[0], band[1])})
            for line, band in zip(data["lines"], bands, strict=True)
        ]
        return cls(**{**data, "lines": lines})


def committed() -> list[Result]:
    """Return the results that come along, which the developers' machines gave."""
    paths = sorted(FOLDER.glob("*.json"))
    return [Result.from_dict(json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def result(recipe: Recipe, logs: Mapping[str, Log], command: str) -> Result:
    """Return what came of a recipe.

    Args:
        recipe: the recipe.
        logs: by part, its comparison.
        command: what was typed.
    """
    part, log = next(iter(logs.items()))
    env, short = log.environment, is_short(recipe, logs)
    seeds = ", ".join(map(str, log.comparison["seeds"]))
    steps = {part.name: part.steps_per_epoch for part in recipe.parts}
    return Result(
        recipe=recipe.name,
        title=recipe.title,
        source=recipe.source,
        known=recipe.known,
        differs=recipe.differs,
        measure=MEASURES[recipe.measure],
        rule=_rule(recipe, short),
        short=short,
        done=f"`{command}`: {log.steps / steps[part]:g} of {recipe.epochs} epochs, seeds {seeds}, "
        f"{log.comparison['threads']} thread a trainer; bnnlab {env['bnnlab']}, "
        f"torch {env['torch']}, {env['machine']} with {env['cores']} cores{_on(logs)}",
        parts=list(logs),
        lines=card(recipe, logs),
    )


def _on(logs: Mapping[str, Log]) -> str:
    """Say on which devices the runs were trained, where that was not the processor alone."""
    ends = [run.end for log in logs.values() for run in log.runs if run.end is not None]
    found = {device for end in ends for device in end.get("devices", ["cpu"])}
    return f", trained on {' and '.join(sorted(found))}" if found - {"cpu"} else ""


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


def follows(log: Log, part: Part) -> bool:
    """Return whether a comparison is of a recipe's part, of whatever length, width and seeds."""
    expected = part.comparison(steps=1).to_dict()
    free = {"steps", "seeds", "schedule", "network", "runs", "schemes", *CADENCE}
    told = [key for key in expected if key not in free]
    lanes = {run.scheme for run in log.runs}
    return lanes <= set(part.published) and all(
        log.comparison.get(key) == expected[key] for key in told
    )


def _verdict(ours: list[float], published: float, tolerance: float) -> str:
    """Say how our mean lies to the published figure; less is better in every measure."""
    middle = mean(ours)
    if abs(middle - published) <= max(tolerance, 3 * _spread(ours)):
        return "agrees"
    return "better" if middle < published else "worse"


def _spread(ours: list[float]) -> float:
    return stdev(ours) if len(ours) > 1 and all(map(math.isfinite, ours)) else 0.0


def _rule(recipe: Recipe, short: bool) -> str:
    if short and recipe.short:
        return (
            "This is the recipe's short version, too short for the published figures to be "
            "reached. Ours are *as expected* when their mean lies in the band that stands in the "
            f"recipe, measured with {recipe.short.seeds} "
            f"{'seed' if recipe.short.seeds == 1 else 'seeds'}."
        )
    return (
        f"Ours *agree* when their mean lies within {recipe.tolerance:g} of the published one, or "
        "within three standard deviations of our seeds if that is more; this rule is part of the "
        "recipe."
    )
