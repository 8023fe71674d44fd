"""Handwritten digits: the 1,797 images that come with scikit-learn."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bnnlab.tasks.base import Split, Task, TaskUnavailable

SEED = 20260101


class Digits(Task):
    """Images of 8 x 8 pixels with 17 grey levels, from 43 people.

    Source: E. Alpaydin, C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine
    Learning Repository, 1998 (its test set).
    """

    key = "digits"
    title = "Digits"
    description = "1,797 handwritten digits of 8 x 8 pixels; always at hand."
    classes = 10
    kind = "image"
    shape = (1, 8, 8)
    order = 0

    def about(self):
        """Its digits, and that pixels are 0 to 16."""
        return super().about() | {"numbers": {"centre": 8, "unit": 8, "low": 0, "high": 16}}

    def load(self):
        """Return 1257, 270 and 270 images, each class in equal shares.

        Pixels p (0 to 16) become (p - 8) / 8: multiples of 1/8, so that their sums with signs are
        exact in float32, whatever the order.
        """
        table = np.loadtxt(_file(), delimiter=",", dtype=np.int64)
        table = np.random.default_rng(SEED).permutation(table)
        x, y = ((table[:, :-1] - 8) / 8).astype(np.float32), table[:, -1]
        # Dealt out class after class, so that each part gets its share of every class.
        turn = np.empty(len(y), dtype=np.int64)
        turn[np.argsort(y, kind="stable")] = np.arange(len(y)) % 20
        validation, test = turn < 3, (turn >= 3) & (turn < 6)
        parts = ~(validation | test), validation, test
        return Split(*(values[part] for part in parts for values in (x, y)))


def _file() -> Path:
    # To import scikit-learn for the one file that lies in it takes every trainer a second.
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise TaskUnavailable("the digits come with scikit-learn, which is not installed")
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
