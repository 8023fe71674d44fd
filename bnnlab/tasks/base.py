"""What a task is."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import param

from bnnlab import registry

# Called with bytes done and bytes in all while something is downloaded.
Progress = Callable[[int, int], None]


class Split(NamedTuple):
    """A task's data: inputs float32 `(samples, inputs)`, labels int64 `(samples,)`.

    Of a text, inputs and labels are both symbols, int64 `(samples, length)`: each label is the
    symbol that follows.
    """

    train_x: np.ndarray
    train_y: np.ndarray
    validation_x: np.ndarray
    validation_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


class TaskUnavailable(RuntimeError):
    """A task's data is not here and could not be fetched; the message says what would help."""


class NoFile(ValueError):
    """A task that learns from a file of the user's, and none is named."""


class FileRefused(TaskUnavailable, ValueError):
    """A file the user named cannot be used; the message names the file and says why.

    Both a task without data and a wrong value: whoever expects either of them catches it.
    """


class Task(param.Parameterized):
    """A classification task; its options are constant `param` parameters.

    Attributes:
        key, title, description: its name, and what to call it.
        kind: what a sample is: "vector", "image" or "text".
        shape: what a sample is laid out as: `(inputs,)`, an image's `(channels, height, width)`, or
            `()` for a text.
        classes: kinds of samples; the size of the vocabulary for a text.
        is_2d: whether samples are points of the plane, so that boundaries can be drawn.
        network, loss, lr: what a comparison takes where nothing is said.
        order: where it stands in lists.

    Where `shape`, `inputs`, `classes` depend on a file the user names, looking at them reads the
    file, as a comparison does when it is made; they raise ValueError when none is named,
    FileRefused when it cannot be used. What was found is remembered while the file stays as it is.
    """

    key: str
    title: str
    description: str
    shape: tuple[int, ...]
    classes: int
    kind = "vector"
    is_2d = False
    network = "mlp"
    loss = "squared_hinge"
    lr = 0.005
    order = 0

    @property
    def inputs(self) -> int:
        """How many numbers a sample is; the size of the vocabulary for a text."""
        return math.prod(self.shape)

    def options(self) -> dict[str, Any]:
        """Its options by name: plain values that can be written as JSON."""
        return registry.options(self)

    def about(self) -> dict[str, Any]:
        """What must be known to use a trained network on new samples: plain data.

        "task" and "classes" (their names); and how samples are prepared as `load` does: "numbers",
        {"centre", "unit"} and perhaps "low" and "high", where (number - centre) / unit is learnt;
        or "columns" of a table, with the name of its "label"; or the "vocabulary" of a text and the
        "length" of its sequences; or "prepared", words for what cannot be said so.
        """
        return {"task": self.key, "classes": [str(i) for i in range(self.classes)]}

    def fetch(self, progress: Progress | None = None) -> None:
        """See to it that the data is on this machine; most tasks' data always is.

        Args:
            progress: told of a download; by default a bar is drawn on standard error.

        Raises TaskUnavailable when the data is not here and cannot be fetched.
        """

    def load(self) -> Split:
        """Return the data, always split in the same way; fetch it first if it is not here.

        Raises TaskUnavailable when the data is not here and cannot be fetched.
        """
        raise NotImplementedError
