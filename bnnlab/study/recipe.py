"""A recipe: the protocol of a published table, as data.

A recipe is a YAML file. Keys at the top, and what a part says otherwise, describe comparisons;
`published` gives the figures of the paper, by part and scheme; `short` describes a version that
takes minutes, and where its figures are expected. `recipes/lab-mnist.yaml` shows all of it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bnnlab.training.comparison import Comparison

FOLDER = Path(__file__).parent / "recipes"
MEASURES = {
    "test_error": "test error in percent where the validation accuracy was best",
    "test_loss": "test cross-entropy where the validation cross-entropy was best",
}
_REQUIRED = {
    "title", "source", "known", "measure", "tolerance", "epochs", "steps_per_epoch",
    "parts", "published", "differs",
}  # fmt: skip
_OPTIONAL = {"task", "network", "settings", "short"}
# Of a comparison: how often is looked at and saved. Not what is compared.
CADENCE = ("test_every", "evaluate_every", "checkpoint_every", "probe_every")
_DECAY = {"after", "every", "factor"}
_SHORT = {"epochs", "width", "seeds", "expected"}
_LARGEST = 64 * 2**10  # bytes of a recipe
_LONGEST = 2000  # steps of a schedule


@dataclass(frozen=True)
class Part:
    """One comparison of a recipe.

    Attributes:
        name: also the end of its folder's name.
        spec: what `Comparison` is given, without steps and seeds.
        published: by lane, the paper's figure.
        steps_per_epoch: updates of one.
    """

    name: str
    spec: dict[str, Any]
    published: dict[str, float]
    steps_per_epoch: int

    def comparison(self, **changes: Any) -> Comparison:
        """Return the comparison, with settings that are added or changed."""
        return Comparison(**{**self.spec, **changes})


@dataclass(frozen=True)
class Short:
    """A version of a recipe that takes minutes.

    Attributes:
        epochs, width: of it, see `Recipe.comparisons`.
        seeds: with how many the bands were measured.
        expected: by part and lane, the least and largest figure to expect.
    """

    epochs: int
    width: int
    seeds: int
    expected: dict[str, dict[str, tuple[float, float]]]


@dataclass(frozen=True)
class Recipe:
    """The protocol of a published table.

    Attributes:
        name: of its file.
        title, source: what is reproduced, and where it stands.
        known: how the published figures are known.
        measure: "test_error" or "test_loss".
        tolerance: how far our mean may lie from the published figure, in the measure's unit, and
            still be said to agree; three standard deviations of our seeds if those are more.
        epochs: of training.
        parts: the comparisons.
        differs: what is known to be done otherwise here.
        short: the version that takes minutes, where there is one.
    """

    name: str
    title: str
    source: str
    known: str
    measure: str
    tolerance: float
    epochs: int
    parts: list[Part]
    differs: list[str]
    short: Short | None = None

    def comparisons(
        self,
        *,
        seeds: int = 1,
        epochs: int | None = None,
        width: int | None = None,
        schemes: list[str] | None = None,
    ) -> dict[str, Comparison]:
        """Return the comparisons by the name of their part.

        Args:
            seeds: how many.
            epochs: of training, for a short version; the schedule shrinks with them.
            width: of the network's layers (an LSTM's cells, the channels of a VGG's first layer),
                for a short version.
            schemes: lanes to train, of those the recipe has; all of them by default.

        Raises ValueError when a scheme is not in the recipe, or a value is not allowed.
        """
        lanes = [lane for part in self.parts for lane in part.published]
        unknown = [name for name in schemes or [] if name not in lanes]
        if unknown:
            raise ValueError(
                f"{self.name} has no scheme {', '.join(unknown)}; it has "
                f"{', '.join(dict.fromkeys(lanes))}"
            )
        if epochs is not None and not 1 <= epochs <= 10 * self.epochs:
            raise ValueError(f"epochs is {epochs}; give 1 to {10 * self.epochs}")
        found = {}
        for part in self.parts:
            spec = dict(part.spec)
            spec["schemes"] = [
                scheme
                for scheme in spec["schemes"]
                if schemes is None or _scheme_name(scheme) in schemes
            ]
            if not spec["schemes"]:
                continue
            share = (epochs or self.epochs) / self.epochs
            if share != 1 and "schedule" in spec:
                spec["schedule"] = [[at * share, f] for at, f in spec["schedule"]]
            if width is not None:
                spec["network"] = {**spec["network"], **resized(spec["network"]["name"], width)}
            every = part.steps_per_epoch
            cadence = dict(zip(CADENCE, (every, every, every, 5 * every), strict=True))
            steps = (epochs or self.epochs) * every
            found[part.name] = part.comparison(**{**cadence, **spec}, seeds=seeds, steps=steps)
        return found


def resized(network: str, width: int) -> dict[str, Any]:
    """Return the option that makes a network so wide."""
    if network == "vgg":
        return {"width_factor": width / 128}
    return {"hidden" if network == "lstm" else "width": width}


def _scheme_name(scheme: str | dict) -> str:
    return scheme if isinstance(scheme, str) else scheme["name"]


def names() -> list[str]:
    """Return the names of the recipes that come along."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> Recipe:
    """Return a recipe by name, or from a YAML file of the user's own.

    Raises ValueError when there is no such recipe, or the file is none; it says what is wrong.
    """
    path = FOLDER / f"{name}.yaml" if name in names() else Path(name)
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        raise ValueError(
            f"no recipe is called {name!r}; there are {', '.join(names())}, or give a YAML file"
        )
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path} is larger than {_LARGEST} bytes; a recipe is not")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    return _recipe(path, data)


def _recipe(path: Path, data: Any) -> Recipe:
    def expect(condition: bool, what: str) -> None:
        if not condition:
            raise ValueError(f"{path}: {what}")

    expect(isinstance(data, dict), "a recipe is a mapping")
    missing, unknown = _REQUIRED - set(data), set(data) - _REQUIRED - _OPTIONAL
    expect(not missing, f"it lacks {', '.join(sorted(missing))}")
    expect(not unknown, f"it does not take {', '.join(sorted(map(str, unknown)))}")
    expect(data["measure"] in MEASURES, f"measure is one of {', '.join(MEASURES)}")
    expect(_counts(data["epochs"]), "epochs is a whole number above 0")
    number = (int, float)
    expect(isinstance(data["tolerance"], number), "tolerance is a number")
    expect(isinstance(data["differs"], list), "differs is a list")
    expect(isinstance(data.get("settings", {}), dict), "settings is a mapping")
    expect(isinstance(data["parts"], dict) and data["parts"], "parts is a mapping of comparisons")
    expect(isinstance(data["published"], dict), "published is a mapping of parts")
    parts = []
    for name, own in data["parts"].items():
        expect(isinstance(own, dict) and "schemes" in own, f"part {name} lacks schemes")
        listed = own["schemes"] if isinstance(own["schemes"], list) else []
        named = [s for s in listed if isinstance(s, str) or (isinstance(s, dict) and "name" in s)]
        expect(
            bool(named) and named == own["schemes"], f"schemes of part {name} is no list of them"
        )
        own = dict(own)
        shared = {key: data[key] for key in ("task", "network") if key in data}
        settings = {**data.get("settings", {}), **own.pop("settings", {})}
        published = data["published"].get(name, {})
        expect(
            isinstance(published, dict) and all(isinstance(v, number) for v in published.values()),
            f"published figures of part {name} are not numbers by scheme",
        )
        schemes = [_scheme_name(scheme) for scheme in own["schemes"]]
        expect(set(published) == set(schemes), f"published figures of part {name} are not of its "
               f"schemes {', '.join(schemes)}")  # fmt: skip
        spec = {**shared, **settings, **own}
        if "schedule" in spec:
            spec["schedule"] = _schedule(spec["schedule"], data["epochs"], expect)
        steps = spec.pop("steps_per_epoch", data["steps_per_epoch"])
        expect(_counts(steps), "steps_per_epoch is a whole number above 0")
        parts.append(Part(name, spec, published, steps))
    expect(set(data["published"]) <= set(data["parts"]), "published has parts that are not there")
    described = {key: data[key] for key in _REQUIRED - {"parts", "published", "steps_per_epoch"}}
    short = _short(data["short"], parts, expect) if "short" in data else None
    return Recipe(path.stem, parts=parts, short=short, **described)


def _counts(value: Any) -> bool:
    return type(value) is int and value > 0


def _short(given: Any, parts: list[Part], expect: Callable[[bool, str], None]) -> Short:
    expect(
        isinstance(given, dict) and set(given) == _SHORT, f"short has {', '.join(sorted(_SHORT))}"
    )
    for key in ("epochs", "width", "seeds"):
        expect(_counts(given[key]), f"{key} of short is a whole number above 0")
    lanes = {part.name: set(part.published) for part in parts}
    expected = given["expected"]
    fits = isinstance(expected, dict) and all(isinstance(of, dict) for of in expected.values())
    fits = fits and {name: set(of) for name, of in expected.items()} == lanes
    expect(fits, "expected of short gives a band for each lane of each part")
    bands = {
        name: {lane: _band(lane, band, expect) for lane, band in of.items()}
        for name, of in expected.items()
    }
    return Short(given["epochs"], given["width"], given["seeds"], bands)


def _band(lane: str, given: Any, expect: Callable[[bool, str], None]) -> tuple[float, float]:
    fits = isinstance(given, list) and len(given) == 2
    fits = fits and all(isinstance(end, (int, float)) for end in given) and given[0] <= given[1]
    expect(fits, f"the band of {lane} in short is not [least, largest]")
    return float(given[0]), float(given[1])


def _schedule(given: Any, epochs: int, expect: Callable[[bool, str], None]) -> Any:
    """Return a schedule as a comparison takes it, from one that may be said as a decay."""
    if not isinstance(given, dict):
        return given
    fits = set(given) == _DECAY and all(isinstance(v, (int, float)) for v in given.values())
    fits = fits and given["after"] >= 0 and given["every"] > 0
    expect(fits, f"a schedule is a list of [epoch, factor], or has {', '.join(sorted(_DECAY))}")
    count = math.ceil((epochs - given["after"]) / given["every"]) - 1
    expect(count < _LONGEST, f"a schedule has at most {_LONGEST} steps")
    return [
        [given["after"] + (i + 1) * given["every"], given["factor"]] for i in range(max(0, count))
    ]
