"""The page of reproductions and studies: published tables, beside what came of their recipes.

It shows the results that come along, those of comparisons in the library that were trained for a
recipe, and the studies in the library.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import panel as pn
from jinja2 import Environment
from markupsafe import Markup

from bnnlab import schemes, study
from bnnlab.study.report import ours
from bnnlab.training import files
from bnnlab.training.store import open as open_log
from bnnlab.ui.bench import asset
from bnnlab.ui.studies import studies

_KINDS = {"agrees": "good", "better": "good", "as expected": "good", "unfinished": "soft"}
_MARGIN = 0.06  # of the span of a part's figures, beyond them


def reproductions(library: str | os.PathLike | None = None) -> pn.Template:
    """Make the page for one session.

    Args:
        library: where comparisons are saved; by default `comparisons` in the current folder.
    """
    folder = Path(library or "comparisons")
    template = pn.Template(asset("reproductions.html"))
    template.add_variable("style", Markup(asset("reproductions.css")))
    template.add_variable("body", Markup(body(folder)))
    return template


def body(library: Path) -> str:
    """Return the page's own part, as HTML."""
    written = Environment(autoescape=True).from_string(asset("reproductions.body.html"))
    along = study.committed()
    entries = []
    for name in study.names():
        recipe = study.load(name)
        found = [(result, None) for result in along if result.recipe == name]
        results = [_shown(*pair) for pair in [*_trained(recipe, library), *found]]
        entries.append(
            {
                "name": name, "title": recipe.title, "source": recipe.source,
                "known": recipe.known, "differs": recipe.differs, "results": results,
                "state": results[0]["state"] if results else "not run here yet",
            }
        )  # fmt: skip
    entries.sort(key=lambda entry: not entry["results"])
    return written.render(entries=entries, studies=studies(library), library=library)


def _trained(recipe: study.Recipe, library: Path) -> list[tuple[study.Result, str]]:
    """Return the result of the comparisons in the library that were trained for a recipe."""
    logs = {}
    for part in recipe.parts:
        place = library / f"{recipe.name}-{part.name}{files.SUFFIX}"
        if (place / "comparison.json").is_file():
            log = open_log(place)
            if study.follows(log, part):
                logs[part.name] = log
    if not logs:
        return []
    command = f"bnnlab reproduce {recipe.name}"
    return [(study.result(recipe, logs, command), recipe.name)]


def _shown(result: study.Result, prefix: str | None) -> dict[str, Any]:
    """Return what the page says of a result.

    Args:
        result: what came of a recipe.
        prefix: what the names of its comparisons in the library begin with, if they are there.
    """
    going = sum(line.verdict == "unfinished" for line in result.lines)
    good = sum(_KINDS.get(line.verdict) == "good" for line in result.lines)
    count = len(result.lines)
    state = f"{good} of {count} figures {'as expected' if result.short else 'agree or are better'}"
    heading = "In your library" if prefix else "Comes along"
    return {
        "heading": f"{heading}{', short version' if result.short else ''}",
        "state": f"{going} of {count} lanes unfinished" if going else state,
        "measure": result.measure,
        "rule": result.rule.replace("*", ""),
        "done": f"Done with {result.done.replace('`', '')}",
        "parts": [_part(result, part, prefix) for part in result.parts],
    }


def _part(result: study.Result, name: str, prefix: str | None) -> dict[str, Any]:
    lines = [line for line in result.lines if line.part == name]
    values = [value for line in lines for value in (line.published, *line.ours)]
    values += [end for line in lines for end in line.expected or ()]
    values = [value for value in values if abs(value) < 1e6]  # a lane that diverged has no place
    least, most = min(values), max(values)
    margin = _MARGIN * (most - least) or 1.0
    low, high = least - margin, most + margin

    def at(value: float) -> float:
        return round(100 * (min(max(value, low), high) - low) / (high - low), 2)

    def row(line: study.Line) -> dict[str, Any]:
        band = None if line.expected is None else [at(end) for end in line.expected]
        said = ours(line)
        return {
            "title": schemes.get(line.lane).title,
            "published": f"{line.published:.3f}",
            "published_at": at(line.published),
            "ours": [at(value) for value in line.ours],
            "said": said,
            "band": band and [band[0], round(band[1] - band[0], 2)],
            "verdict": line.verdict,
            "kind": _KINDS.get(line.verdict, "bad"),
            "words": f"published {line.published:.3f}, ours {said}",
        }

    return {
        "name": name,
        "low": f"{low:.2f}",
        "high": f"{high:.2f}",
        "open": urlencode({"open": f"{prefix}-{name}"}) if prefix else None,
        "lines": [row(line) for line in lines],
    }
