"""Stories: short guided comparisons, as data.

A story is a YAML file in `stories/`. Each step's `page` is an address (see
`bnnlab.ui.address`); a step shows what all pages up to its own set. What a step claims is measured
in the comparison on the page while one reads: a claim says with which of `bnnlab.ui.measures`, and
above or below what the number has to be, from which step of the training on.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bnnlab.figures.view import number
from bnnlab.training.store import Log
from bnnlab.ui.address import Address
from bnnlab.ui.measures import MEASURES

FOLDER = Path(__file__).parent / "stories"


class Claim(NamedTuple):
    """What a step says of the numbers.

    Attributes:
        say: a sentence with `{}` where the number belongs.
        measure, of: a function of MEASURES and its arguments.
        above, below: what the number has to be.
        since: the step of the training from which on it holds.
    """

    say: str
    measure: str
    of: dict[str, Any]
    above: float = float("-inf")
    below: float = float("inf")
    since: int = 1

    @property
    def lanes(self) -> set[str]:
        """The lanes it speaks of."""
        named = {self.of[key] for key in ("lane", "of", "than") if key in self.of}
        return named | {*self.of.get("lanes", [])}

    def look(self, log: Log | None) -> dict[str, str]:
        """Return what it says of a log now, and its state: "waiting", "holds" or "fails"."""
        value = None
        # A reader may have gone on to a comparison that it does not speak of.
        if log is not None and self.lanes <= {*log.lanes} and log.step >= self.since:
            value = MEASURES[self.measure](log, **self.of)
        if value is None:
            when = f" (from step {self.since} on)" if self.since > 1 else ""
            return {"text": self.say.replace("{}", "…") + when, "state": "waiting"}
        holds = self.above < value < self.below
        return {
            "text": self.say.replace("{}", number(value)),
            "state": "holds" if holds else "fails",
        }


class Step(NamedTuple):
    """A step of a story.

    Attributes:
        title, text: what is told; `text` has a string for each paragraph.
        page: the whole address of what is shown.
        look: what is pointed at: "lanes", "view", "play", "tab NAME", "lane NAME", "field KEY".
        claims: what is measured meanwhile.
        paused: whether the training waits to be started by the reader.
    """

    title: str
    text: list[str]
    page: Address
    look: str
    claims: list[Claim]
    paused: bool = False


class Story(NamedTuple):
    """A story: its steps, and what the opening page says of it."""

    name: str
    title: str
    about: str
    steps: list[Step]


def names() -> list[str]:
    """Return the names of the stories, in the order to tell them in."""
    return list(_all())


def get(name: str) -> Story:
    """Return a story.

    Raises ValueError, listing what there is, when there is none of that name.
    """
    if name not in _all():
        raise ValueError(f"there is no story {name!r}; there are {', '.join(_all())}")
    return _all()[name]


@lru_cache(maxsize=1)
def _all() -> dict[str, Story]:
    found = [(path.stem, yaml.safe_load(path.read_text())) for path in FOLDER.glob("*.yaml")]
    found.sort(key=lambda one: one[1]["order"])
    return {name: _story(name, data) for name, data in found}


def _story(name: str, data: dict[str, Any]) -> Story:
    page: Address = {}
    steps = []
    for step in data["steps"]:
        page = page | {key: str(value) for key, value in step.get("page", {}).items()}
        paragraphs = [" ".join(text.split()) for text in step["text"].split("\n\n")]
        claims = [Claim(**claim) for claim in step.get("claims", [])]
        paused = step.get("paused", False)
        steps.append(Step(step["title"], paragraphs, page, step["look"], claims, paused))
    return Story(name, data["title"], data["about"], steps)


class Telling:
    """Which story a page tells, and where in it.

    Attributes:
        story: the story, None when none is told.
        at: the step, counted from 1.
    """

    def __init__(self) -> None:
        self.story: Story | None = None
        self.at = 0

    def go(self, name: str, at: int) -> Step:
        """Go to a step of a story, the nearest there is. Raises ValueError as `get`."""
        story = get(name)
        self.story, self.at = story, min(max(at, 1), len(story.steps))
        return self.step

    def end(self) -> None:
        """Tell none."""
        self.story, self.at = None, 0

    @property
    def step(self) -> Step:
        """The step that is told."""
        assert self.story is not None
        return self.story.steps[self.at - 1]

    def claims(self, log: Log | None) -> list[dict[str, str]]:
        """Return what the step claims, as it is measured now."""
        return [] if self.story is None else [claim.look(log) for claim in self.step.claims]

    def to_form(self) -> dict[str, Any]:
        """Return what the page needs to draw the step, without its claims; {} for no story."""
        if self.story is None:
            return {}
        story, step = self.story, self.step
        return {
            "name": story.name, "story": story.title, "at": self.at, "of": len(story.steps),
            "title": step.title, "text": step.text, "look": step.look,
            "link": f"?story={story.name}&at={self.at}",
        }  # fmt: skip


def shelf() -> list[dict[str, str]]:
    """Return what the opening page says of the stories."""
    return [
        {"name": story.name, "title": story.title, "about": story.about}
        for story in _all().values()
    ]
