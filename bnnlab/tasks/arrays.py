"""The user's own arrays, in an NPZ file."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import param

from bnnlab import limits
from bnnlab.tasks import preprocessing, splitting, userfile
from bnnlab.tasks.base import FileRefused, Split, Task
from bnnlab.tasks.npz import Archive

SPLIT = ("x_train", "y_train", "x_test", "y_test")
VALIDATION = ("x_val", "y_val")
WHOLE = ("x", "y")


class Arrays(Task):
    """Arrays as `numpy.savez` writes them: `x` and `y`; or `x_train`, `y_train`, `x_test`, `y_test`
    and perhaps `x_val`, `y_val`.

    x is `(samples, numbers)` or `(samples, channels, height, width)`, which makes it images; y are
    classes `(samples,)`, whole numbers or words. Bytes are pixels p and become (2 p - 255) / 256;
    other numbers are learnt as they are. What has no validation part is split: 15 % of each class
    validate, and 15 % test where there is no test part either, always the same samples.

    What the file holds is found out by reading the labels and no more of the samples than their
    shape, once for as long as the file stays as it is.
    """

    key = "arrays"
    title = "Arrays"
    description = "Your own arrays in an NPZ file: x and y, or their training and test parts."
    order = 21

    path = param.String(default="", constant=True, doc="The file that numpy.savez wrote.")

    @property
    def shape(self) -> tuple[int, ...]:
        """How a sample is laid out."""
        return self._about().shape

    @property
    def kind(self) -> str:
        """Whether samples are vectors or images."""
        return "image" if len(self.shape) == 3 else "vector"

    @property
    def classes(self) -> int:
        """How many classes there are in the training part."""
        return len(self._about().classes)

    def about(self):
        """Its classes, and whether its numbers are pixels."""
        about = self._about()
        known = {"task": self.key, "classes": [str(value) for value in about.classes]}
        return known | {"numbers": preprocessing.PIXELS} if about.pixels else known

    def fetch(self, progress=None):
        """See that the file is there and can be used."""
        self._about()

    def load(self):
        """Return the parts, each sample a row of numbers."""
        file = self._file()
        about = _describe(file)
        with Archive(file.path) as archive:
            found = {name: archive.read(name) for name in about.names}
        for name in found:
            if name.startswith("x"):
                found[name] = _inputs(file, name, found[name])
            else:
                found[name] = np.searchsorted(about.classes, found[name])
        return Split(*_parts(found))

    def _file(self) -> userfile.UserFile:
        example = "arrays:path=shells.npz"
        return userfile.look(self.path, example=example, most=limits.ARRAYS_BYTES)

    def _about(self) -> "_About":
        return _describe(self._file())


class _About(NamedTuple):
    """What a file holds: the arrays to read, a sample's shape, the classes in their order, whether
    what is learnt from are pixels.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    classes: np.ndarray
    pixels: bool


def _parts(found: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return inputs and labels to train, validate and test with."""
    if "x" in found:
        drawn = splitting.stratified(found["y"])
        return [found[name][part] for part in drawn for name in WHOLE]
    test = [found["x_test"], found["y_test"]]
    if "x_val" in found:
        return [found[name] for name in ("x_train", "y_train", *VALIDATION)] + test
    train, validation, rest = splitting.stratified(found["y_train"])
    drawn = (np.concatenate([train, rest]), validation)
    return [found[name][part] for part in drawn for name in ("x_train", "y_train")] + test


def _inputs(file: userfile.UserFile, name: str, x: np.ndarray) -> np.ndarray:
    x = x.reshape(len(x), -1)
    if x.dtype == np.uint8:
        return preprocessing.centred(x)
    with np.errstate(over="ignore"):  # too large for float32 is infinite, and refused
        x = np.ascontiguousarray(x, np.float32)
    if not np.isfinite(x).all():
        raise FileRefused(f"{file.path}: {name} holds numbers that are not finite")
    return x


@lru_cache(maxsize=16)
def _describe(file: userfile.UserFile) -> _About:
    with Archive(file.path) as archive:
        names = _names(archive)
        headers = {name: archive.header(name) for name in names}
        size = 0
        for name, (shape, kind) in headers.items():
            _check(file, name, shape, kind)
            size += math.prod(shape) * max(kind.itemsize, 4)  # as read, and as learnt
        if size > limits.ARRAYS_BYTES:
            raise FileRefused(
                f"{file.path} holds arrays of {size:,} bytes; {limits.ARRAYS_BYTES:,} are allowed"
            )
        shapes = {name: headers[name][0] for name in names}
        samples = {shapes[name][1:] for name in names if name.startswith("x")}
        if len(samples) > 1:
            raise FileRefused(f"{file.path} holds samples of different shapes: {shapes}")
        for x, y in zip(names[::2], names[1::2], strict=True):
            if shapes[x][0] != shapes[y][0]:
                raise FileRefused(f"{file.path}: {x} has {shapes[x][0]:,} samples, {y} has "
                                  f"{shapes[y][0]:,} labels")  # fmt: skip
        labels = {name: archive.read(name) for name in names if name.startswith("y")}
    pixels = headers[names[0]][1] == np.uint8
    return _About(names, samples.pop(), _classes(file, labels), pixels)


def _names(archive: Archive) -> tuple[str, ...]:
    """Return the arrays to read, inputs and labels in turn."""
    there = archive.names()
    if set(SPLIT) <= set(there):
        validation = VALIDATION if set(VALIDATION) <= set(there) else ()
        return (*SPLIT[:2], *validation, *SPLIT[2:])
    if set(WHOLE) <= set(there):
        return WHOLE
    shown = ", ".join(there[:10]) + (", ..." if len(there) > 10 else "")
    raise FileRefused(
        f"{archive.path} holds {shown or 'nothing'}; give x and y, or x_train, y_train, x_test, "
        "y_test and perhaps x_val, y_val"
    )


def _check(file: userfile.UserFile, name: str, shape: tuple[int, ...], kind: np.dtype) -> None:
    if name.startswith("x"):
        wanted, fits = "numbers", kind.kind in "fiub"
        form, right = "(samples, numbers) or (samples, channels, height, width)", (2, 4)
    else:
        wanted, fits = "whole numbers or words", kind.kind in "iubU"
        form, right = "(samples,)", (1,)
    if not fits:
        raise FileRefused(f"{file.path}: {name} holds {kind}; give {wanted}")
    if len(shape) not in right or 0 in shape:
        raise FileRefused(f"{file.path}: {name} has the shape {shape}; give {form}")
    if shape[0] > limits.ROWS or math.prod(shape[1:]) > limits.INPUTS:
        raise FileRefused(
            f"{file.path}: {name} has the shape {shape}; {limits.ROWS:,} samples of "
            f"{limits.INPUTS:,} numbers are allowed"
        )


def _classes(file: userfile.UserFile, labels: dict[str, np.ndarray]) -> np.ndarray:
    name, known = next(iter(labels.items()))
    classes, counts = np.unique(known, return_counts=True)
    if not 2 <= len(classes) <= limits.CLASSES:
        raise FileRefused(
            f"{file.path}: {name} takes {len(classes):,} different values; a class is learnt, of 2 "
            f"to {limits.CLASSES:,}"
        )
    rare = int(counts.argmin())
    if "y_val" not in labels and counts[rare] < splitting.LEAST:
        raise FileRefused(
            f"{file.path}: {name} is {classes[rare]!s} {counts[rare]} times; each class needs at "
            f"least {splitting.LEAST} samples"
        )
    for name, others in labels.items():
        alike = (others.dtype.kind == "U") == (known.dtype.kind == "U")
        strange = others[~np.isin(others, classes)] if alike else others
        if len(strange):
            raise FileRefused(f"{file.path}: {name} holds {strange[0]!s}, which is not trained on")
    return classes
