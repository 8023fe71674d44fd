"""What the user of a packed network must know beside it: what samples are, what scores are of."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

MAX_NAMES = 2**16  # classes, columns, values of a column, characters
MAX_NAME = 256  # characters

_KEYS = {"task", "classes", "label", "numbers", "columns", "vocabulary", "length", "prepared"}


class Numbers(NamedTuple):
    """Numbers as they are found, and as the network takes them: (number - centre) / unit.

    Attributes:
        centre, unit: of all numbers of a sample, or of a column.
        low, high: between which they lie, where that is known.
        name: of a column; "" of all numbers alike.
    """

    centre: float = 0.0
    unit: float = 1.0
    low: float = -math.inf
    high: float = math.inf
    name: str = ""

    def prepared(self, x: np.ndarray) -> np.ndarray:
        """float64 -> float32, the same shape."""
        with np.errstate(over="ignore"):  # infinite, and refused
            return ((x - self.centre) / self.unit).astype(np.float32)


AS_THEY_ARE = Numbers()


class Words(NamedTuple):
    """A column of words: 1 for the one that is taken, 0 for the others.

    Attributes:
        name: of the column.
        values: the words, in their order.
    """

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class About:
    """What a packed network is for; empty where nobody has said.

    Attributes:
        task: what it was trained on.
        classes: what each score is of.
        label: the name of the column that says the class, in a table.
        numbers: what all numbers of a sample are alike, or
        columns: what each column of a table is.
        vocabulary: of a text: each symbol's character, the first for all others.
        length: of a text: symbols of a sequence in training.
        prepared: how samples were prepared in a way that is not brought along.
    """

    task: str = ""
    classes: tuple[str, ...] = ()
    label: str = ""
    numbers: Numbers = AS_THEY_ARE
    columns: tuple[Numbers | Words, ...] = ()
    vocabulary: str = ""
    length: int = 0
    prepared: str = ""

    def described(self) -> dict[str, Any]:
        """As plain data: what is not known is left out."""
        data: dict[str, Any] = {
            key: getattr(self, key)
            for key in ("task", "label", "vocabulary", "length", "prepared")
            if getattr(self, key)
        }
        if self.classes:
            data["classes"] = list(self.classes)
        if self.numbers != AS_THEY_ARE:
            data["numbers"] = _numbers_described(self.numbers)
        if self.columns:
            data["columns"] = [
                {"name": column.name, "values": list(column.values)}
                if isinstance(column, Words)
                else _numbers_described(column)
                for column in self.columns
            ]
        return data


NOTHING_KNOWN = About()


def _numbers_described(numbers: Numbers) -> dict[str, Any]:
    finite = {key: value for key, value in numbers._asdict().items() if value != ""}
    return {key: value for key, value in finite.items() if value not in (-math.inf, math.inf)}


def checked(given: Any, inputs: int, outputs: int, text: bool) -> About:
    """What plain data says of a network.

    Args:
        given: an object with any of "task", "classes", "label", "prepared", and either "numbers"
            ({"centre", "unit"} and perhaps "low" and "high"), or "columns" (of these with a "name",
            or {"name", "values"}), or "vocabulary" and "length".
        inputs: numbers of a sample, or symbols.
        outputs: scores.
        text: whether samples are texts.

    Raises:
        ValueError: it is no such object, or does not fit the network; says where.
    """
    if not isinstance(given, dict) or not set(given) <= _KEYS:
        raise ValueError("about: odd keys")
    words = {
        key: _word(given.get(key, ""), f"about: {key}") for key in ("task", "label", "prepared")
    }
    classes = _names(given.get("classes", []), "about: classes")
    if classes and len(classes) != outputs:
        raise ValueError(f"about: {len(classes)} classes for {outputs} scores")
    vocabulary, length = given.get("vocabulary", ""), given.get("length", 0)
    if type(vocabulary) is not str or (vocabulary and not (text and len(vocabulary) == inputs)):
        raise ValueError("about: the vocabulary does not fit the symbols")
    if type(length) is not int or not 0 <= length <= MAX_NAMES or (length and not text):
        raise ValueError("about: length is out of range")
    if text and ("numbers" in given or "columns" in given):
        raise ValueError("about: a text has no numbers")
    numbers = _numbers(given["numbers"], False) if "numbers" in given else AS_THEY_ARE
    columns = _columns(given.get("columns", []), inputs)
    return About(
        classes=classes, numbers=numbers, columns=columns, vocabulary=vocabulary, length=length,
        **words,
    )  # fmt: skip


def _word(given: Any, what: str) -> str:
    if type(given) is not str or len(given) > MAX_NAME:
        raise ValueError(f"{what} is no word of at most {MAX_NAME} characters")
    return given


def _names(given: Any, what: str) -> tuple[str, ...]:
    if not isinstance(given, list) or len(given) > MAX_NAMES:
        raise ValueError(f"{what} are no list of at most {MAX_NAMES:,}")
    return tuple(_word(name, what) for name in given)


def _numbers(given: Any, named: bool) -> Numbers:
    wanted = {"centre", "unit"} | ({"name"} if named else set())
    if not isinstance(given, dict) or not wanted <= set(given) <= wanted | {"low", "high"}:
        raise ValueError("about: numbers have odd keys")
    values = {key: value for key, value in given.items() if key != "name"}
    if not all(type(value) in (int, float) and abs(value) < 1e300 for value in values.values()):
        raise ValueError("about: numbers that are out of range")
    if values["unit"] == 0:
        raise ValueError("about: the unit is 0")
    return Numbers(**values, name=_word(given.get("name", ""), "about: name"))


def _columns(given: Any, inputs: int) -> tuple[Numbers | Words, ...]:
    if not isinstance(given, list) or len(given) > MAX_NAMES:
        raise ValueError(f"about: columns are no list of at most {MAX_NAMES:,}")
    columns, size = [], 0
    for column in given:
        if isinstance(column, dict) and set(column) == {"name", "values"}:
            values = _names(column["values"], "about: values")
            columns.append(Words(_word(column["name"], "about: name"), values))
            size += len(values)
        else:
            columns.append(_numbers(column, True))
            size += 1
    if columns and size != inputs:
        raise ValueError(f"about: columns of {size} numbers for {inputs} inputs")
    return tuple(columns)
