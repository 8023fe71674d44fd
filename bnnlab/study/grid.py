"""A study: one comparison, again and again with other settings.

A study is a YAML file. What a comparison takes (task, network, schemes, seeds, settings) stands at
the top; `grid` lists values, and every combination of them makes a comparison:

    title: How wide, and with or without batch norm
    task: moons
    network: {name: mlp, depth: 2}
    schemes: [full_precision, bwn, lab]
    seeds: 3
    steps: 300
    grid:
      network.width: [8, 32]
      network.batch_norm: ["on", "off"]

A key with a point reaches an option: `task.noise`, `network.width`, `scheme.lab.granularity`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from bnnlab import limits
from bnnlab.training.comparison import SETTINGS, Comparison

KEYS = ("title", "task", "network", "schemes", "seeds", *SETTINGS, "grid")
_LARGEST = 64 * 2**10  # bytes of a study


@dataclass(frozen=True)
class Study:
    """Comparisons that differ in what a grid says.

    Attributes:
        title: what it is about.
        comparisons: by name, in the order of the grid.
    """

    title: str
    comparisons: dict[str, Comparison]

    @property
    def runs(self) -> int:
        """How many runs there are in all."""
        return sum(len(comparison.runs) for comparison in self.comparisons.values())


def load(path: str | Path) -> Study:
    """Read a study's file.

    Raises ValueError when it is none; it says what is wrong, and in which combination.
    """
    path = Path(path)
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path} is larger than {_LARGEST} bytes; a study is not")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    try:
        return study(data, title=path.stem)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def study(data: Any, title: str = "study") -> Study:
    """Make a study of plain data, as its file holds it.

    Raises ValueError when something is not allowed: it says what, and in which combination.
    """
    if not isinstance(data, dict):
        raise ValueError(f"a study is a mapping of {', '.join(KEYS)}")
    unknown = [str(key) for key in data if key not in KEYS]
    if unknown:
        raise ValueError(f"a study has no {', '.join(unknown)}; it takes {', '.join(KEYS)}")
    base = {key: value for key, value in data.items() if key not in ("title", "grid")}
    comparisons: dict[str, Comparison] = {}
    count = 0
    for name, spec in _combinations(base, data.get("grid", {})):
        try:
            comparisons[name] = Comparison(**spec)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from None
        count += len(comparisons[name].runs)
        if count > limits.STUDY_RUNS:
            raise ValueError(f"it has more than {limits.STUDY_RUNS} runs; split it")
    return Study(str(data.get("title", title)), comparisons)


def _combinations(base: dict, grid: Any) -> Iterator[tuple[str, dict]]:
    """Every combination of a grid's values: a name that says what is special, and the settings."""
    fits = isinstance(grid, dict) and all(isinstance(of, list) and of for of in grid.values())
    if not fits:
        raise ValueError("grid lists the values of each key, as in network.width: [8, 32]")
    names = set()
    for values in product(*grid.values()):
        spec = _copied(base)
        for key, value in zip(grid, values, strict=True):
            _put(spec, str(key), value)
        parts = [f"{_last(key)}={_word(value)}" for key, value in zip(grid, values, strict=True)]
        name = ", ".join(parts)[:60] or "all"
        while name in names:
            name += "+"
        names.add(name)
        yield name, spec


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(of) for key, of in value.items()}
    return [_copied(of) for of in value] if isinstance(value, list) else value


def _put(spec: dict, key: str, value: Any) -> None:
    """Set a key, or with points an option of what it names."""
    first, *rest = key.split(".")
    if not rest and first in KEYS:
        spec[first] = value
    elif len(rest) == 1 and first in ("task", "network"):
        spec[first] = {**_named(spec.get(first), key), rest[0]: value}
    elif len(rest) == 2 and first == "scheme":
        schemes = spec.get("schemes")
        listed = [_named(scheme, key) for scheme in schemes] if isinstance(schemes, list) else []
        if rest[0] not in [scheme["name"] for scheme in listed]:
            raise ValueError(f"{key} in the grid, but schemes does not list {rest[0]}")
        spec["schemes"] = [
            scheme | {rest[1]: value} if scheme["name"] == rest[0] else scheme for scheme in listed
        ]
    else:
        raise ValueError(
            f"{key} in the grid is no setting; it can be one of {', '.join(KEYS[1:-1])}, or "
            "task.OPTION, network.OPTION or scheme.NAME.OPTION"
        )


def _named(given: Any, key: str) -> dict:
    if isinstance(given, str):
        return {"name": given}
    if isinstance(given, dict) and "name" in given:
        return given
    raise ValueError(f"{key} in the grid is an option of something that has no name")


def _last(key: Any) -> str:
    return str(key).rsplit(".", 1)[-1]


def _word(value: Any) -> str:
    """A value as part of a name that a folder can have."""
    if isinstance(value, dict):
        value = value.get("name", "")
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", str(value)).rstrip(".")
