"""New samples for a packed network, from a file of the user's, some at a time.

A table (.csv, .tsv) has one in each row, an NPZ file has them in `x`, a text (.txt) is cut into
sequences. They are prepared as the network's `About` says, unless they are already.
"""

import csv
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnnlab import limits
from bnnlab.packed.about import AS_THEY_ARE, Numbers, Words
from bnnlab.packed.model import PackedModel
from bnnlab.tasks import text, userfile
from bnnlab.tasks.base import FileRefused
from bnnlab.tasks.npz import Archive

SEPARATORS = {".csv": ",", ".tsv": "\t"}
LABELS = ("label", "class", "target", "y")  # what columns of labels are called
STRANGE = -1  # in the place of a label that is no class of the network's
_ANY_SIZE = 2**62  # bytes of a file that is never in memory as a whole


class Batch(NamedTuple):
    """Some samples.

    Attributes:
        x: as the network takes them: float32 (samples, inputs), or int64 symbols (samples, length).
        y: labels as places among the scores, int64 (samples,) or (samples, length), STRANGE where
            a label is none of them; None where there are no labels.
    """

    x: np.ndarray
    y: np.ndarray | None


@dataclass(frozen=True)
class Samples:
    """The samples of a file.

    Attributes:
        path: .csv, .tsv or .npz; .txt where the network takes a text.
        model: the network.
        label: which column of a table says the class: its name, or its place, from 1 or backwards
            from -1. By default the one called so in training, or as in LABELS.
        header: whether a table begins with names; by default where none of the first line is a
            number.
        prepared: whether samples are as the network takes them.
    """

    path: Path
    model: PackedModel
    label: str | None = None
    header: bool | None = None
    prepared: bool = False

    def batches(self, size: int) -> Generator[Batch, None, None]:
        """Yield the samples, at most so many at a time (of a text: symbols).

        Raises FileRefused when the file is not what the network takes: says what was given and what
        it takes.
        """
        most = _ANY_SIZE if self.model.shape else limits.TEXT_BYTES
        file = userfile.look(str(self.path), example="flowers.csv", most=most)
        kind, wanted = self.path.suffix.lower(), ".csv, .tsv or .npz"
        if not self.model.shape:
            wanted = ".txt"
        if kind == ".txt" and not self.model.shape:
            yield from self._text(file, size)
        elif kind == ".npz" and self.model.shape:
            yield from self._arrays(size)
        elif kind in SEPARATORS and self.model.shape:
            yield from self._table(SEPARATORS[kind], size)
        else:
            raise FileRefused(f"{self.path} is no {wanted} file, which this network takes")

    def count(self) -> int | None:
        """How many samples there will be, about; None where that is not known before."""
        if not self.model.shape:
            return None
        if self.path.suffix.lower() == ".npz":
            with Archive(self.path) as archive:
                return archive.header(self._names(archive)[0])[0][0]
        with self.path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))

    def _numbers(self, x: np.ndarray, numbers: Numbers, first: int, what: str) -> np.ndarray:
        """Numbers as they are found, (samples, n), as the network takes them.

        Args:
            x: the numbers.
            numbers: what is known of them.
            first: the samples before these.
            what: what a place among them is called.
        """
        numbers = AS_THEY_ARE if self.prepared else numbers
        x = x.astype(np.float64, copy=False)
        off = ~(np.isfinite(x) & (x >= numbers.low) & (x <= numbers.high))
        out = numbers.prepared(x)
        off |= ~np.isfinite(out)
        if off.any():
            row, place = (int(at[0]) for at in np.nonzero(off))
            wanted = "a finite number"
            if numbers.low > -np.inf or numbers.high < np.inf:
                wanted = f"a number from {numbers.low:g} to {numbers.high:g}"
            raise FileRefused(
                f"{self.path}: sample {first + row + 1:,} has {x[row, place]:g} in {what} "
                f"{numbers.name or place + 1}, where {wanted} is wanted"
                + (" (or give --prepared, where they are as the network takes them)"
                   if numbers != AS_THEY_ARE else "")
            )  # fmt: skip
        return out

    def _labels(self, given: np.ndarray) -> np.ndarray:
        """Labels, whole numbers or words, as places among the scores."""
        outputs, classes = self.model.outputs, self.model.about.classes
        places = {name: place for place, name in enumerate(classes or map(str, range(outputs)))}
        words, inverse = np.unique(given, return_inverse=True)
        return np.array([_place(str(word), places) for word in words], np.int64)[inverse]

    # Texts ----------------------------------------------------------------------------------------

    def _text(self, file: userfile.UserFile, size: int) -> Iterator[Batch]:
        about = self.model.about
        if not about.vocabulary:
            raise FileRefused(f"{self.path}: the network's file does not say its characters")
        symbols = text.encode(text.read(file), about.vocabulary)
        length = about.length or limits.CLASSES
        x, y = symbols[:-1], symbols[1:]
        if not len(x):
            raise FileRefused(f"{self.path} has fewer than two characters")
        whole = len(x) // length * length
        step = max(1, size // length) * length
        for first in range(0, whole, step):
            part = slice(first, min(first + step, whole))
            yield Batch(x[part].reshape(-1, length), y[part].reshape(-1, length))
        if whole < len(x):
            yield Batch(x[None, whole:], y[None, whole:])

    # Arrays ---------------------------------------------------------------------------------------

    def _names(self, archive: Archive) -> list[str]:
        there = archive.names()
        for x, y in (("x", "y"), ("x_test", "y_test")):
            if x in there:
                return [x, *([y] if y in there else [])]
        shown = ", ".join(there[:10]) or "nothing"
        raise FileRefused(f"{self.path} holds {shown}; give x, and perhaps y")

    def _arrays(self, size: int) -> Iterator[Batch]:
        model = self.model
        if model.about.columns and not self.prepared:
            raise FileRefused(
                f"{self.path}: this network takes the columns of a table; give it as .csv, or "
                "--prepared numbers"
            )
        with Archive(self.path) as archive, ExitStack() as opened:
            names = self._names(archive)
            shape, kind = archive.header(names[0])
            wanted = {(model.inputs,), model.shape}
            if kind.kind not in "fiub" or shape[1:] not in wanted:
                shapes = " or ".join(
                    f"(samples, {', '.join(map(str, one))})" for one in sorted(wanted, key=len)
                )
                raise FileRefused(
                    f"{self.path}: {names[0]} is {kind} {shape}; give numbers {shapes}"
                )
            if len(names) == 2:
                labels, kind = archive.header(names[1])
                if labels != shape[:1] or kind.kind not in "iubU":
                    raise FileRefused(
                        f"{self.path}: {names[1]} is {kind} {labels}; give whole numbers or words "
                        f"({shape[0]},)"
                    )
            rows = (closing(archive.rows(name, size)) for name in names)
            first, parts = 0, [opened.enter_context(one) for one in rows]
            for x, *y in zip(*parts, strict=True):
                x = self._numbers(x.reshape(len(x), -1), model.about.numbers, first, "place")
                yield Batch(x, self._labels(y[0]) if y else None)
                first += len(x)

    # Tables ---------------------------------------------------------------------------------------

    def _table(self, separator: str, size: int) -> Iterator[Batch]:
        import pandas as pd  # loaded when it is needed: texts and arrays start faster

        try:
            with self.path.open(encoding="utf-8-sig", newline="") as source:
                names = next((row for row in csv.reader(source, delimiter=separator) if row), [])
        except (OSError, ValueError, csv.Error) as error:
            raise FileRefused(f"{self.path} cannot be read: {error}") from None
        header = self.header
        if header is None:
            header = not any(map(_is_number, names))
        by_name = bool(self.model.about.columns) and not self.prepared
        if by_name and not header:
            raise FileRefused(f"{self.path} must begin with the names of its columns")
        label = self._label_column(names, header)
        if not by_name and len(names) - (label is not None) != self.model.inputs:
            raise FileRefused(
                f"{self.path} has {len(names):,} columns"
                + (", one of them the label" if label is not None else " and no label by name")
                + f"; the network takes {self.model.inputs:,} numbers a sample (--label NAME says "
                "which column is the label, by name or place)"
            )
        try:
            # Opened here: pandas would take a name for an address, and unpack what looks packed.
            with self.path.open("rb") as source:
                read: Any = pd.read_csv  # its types are those of every way to call it
                frames = read(
                    source,
                    sep=separator,
                    header=0 if header else None,
                    names=range(len(names)) if header else None,
                    index_col=False if header else None,
                    chunksize=size,
                    low_memory=False,
                    encoding="utf-8-sig",
                    dtype={} if label is None else {label: str},
                )
                first = 0
                for frame in frames:
                    yield self._frame(frame, names if header else None, label, first)
                    first += len(frame)
        except FileRefused:
            raise
        except (OSError, ValueError) as error:
            raise FileRefused(f"{self.path} is no such table: {error}") from None
        if not first:
            raise FileRefused(f"{self.path} has no samples")

    def _label_column(self, names: list[str], header: bool) -> int | None:
        if self.label is not None:
            if header and self.label in names:
                return names.index(self.label)
            try:
                place = int(self.label)
            except ValueError:
                place = 0
            if 1 <= abs(place) <= len(names):
                return place - 1 if place > 0 else len(names) + place
            shown = ", ".join(names[:10]) if header else f"{len(names)} columns without names"
            raise FileRefused(f"{self.path} has no column {self.label!r}; it has {shown}")
        usual = (self.model.about.label, *LABELS)
        found = [
            i for i, name in enumerate(names) if name and name.lower() in map(str.lower, usual)
        ]
        inputs = {column.name for column in self.model.about.columns}
        found = [i for i in found if names[i] not in inputs]
        return found[0] if header and found else None

    def _frame(self, frame: Any, names: list[str] | None, label: int | None, first: int) -> Batch:
        given = [place for place in frame.columns if place != label]
        columns = self.model.about.columns
        if not columns or self.prepared:
            x = np.stack([self._read(frame, i, names, first) for i in given], axis=1)
            x = self._numbers(x, self.model.about.numbers, first, "column")
        else:
            parts = []
            for column in columns:
                if names is None or column.name not in names:
                    raise FileRefused(
                        f"{self.path} has no column {column.name!r}; it has "
                        f"{', '.join(map(repr, (names or [])[:10]))}"
                    )
                place = names.index(column.name)
                if isinstance(column, Words):
                    parts.append(self._words(frame, place, column, first))
                else:
                    numbers = self._read(frame, place, names, first)[:, None]
                    parts.append(self._numbers(numbers, column, first, "column"))
            x = np.concatenate(parts, axis=1)
        if label is None:
            return Batch(x, None)
        return Batch(x, self._labels(frame[label].fillna("").to_numpy(object).astype(str)))

    def _read(self, frame: Any, place: int, names: list[str] | None, first: int) -> np.ndarray:
        """A column of numbers, float64; refuses anything else."""
        import pandas as pd

        column = frame[place]
        numbers: Any = pd.to_numeric(column, errors="coerce")
        numbers = numbers.to_numpy(np.float64)
        off = np.isnan(numbers)
        if off.any():
            row = int(off.argmax())
            value = column.iloc[row]
            what = "no value" if pd.isna(value) else repr(value)
            raise FileRefused(
                f"{self.path}: sample {first + row + 1:,} has {what} in column "
                f"{names[place] if names else place + 1}, where a number is wanted"
            )
        return numbers

    def _words(self, frame: Any, place: int, column: Words, first: int) -> np.ndarray:
        """A column of words as a number for each word there can be."""
        given = frame[place].astype(str).to_numpy(object)
        known = np.array(column.values, object)
        taken = given[:, None] == known
        off = ~taken.any(axis=1)
        if off.any():
            row = int(off.argmax())
            shown = ", ".join(column.values[:10]) + (", ..." if len(known) > 10 else "")
            raise FileRefused(
                f"{self.path}: sample {first + row + 1:,} has {given[row]!r} in column "
                f"{column.name}, where the network knows {shown}"
            )
        return taken.astype(np.float32)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _place(word: str, places: dict[str, int]) -> int:
    """Where a label stands among the classes, which may be the same number written otherwise."""
    if word not in places and _is_number(word):
        same = (place for name, place in places.items()
                if _is_number(name) and float(name) == float(word))  # fmt: skip
        return next(same, STRANGE)
    return places.get(word, STRANGE)
