"""SVHN: digits of house numbers, downloaded on first use."""

from functools import partial
from pathlib import Path

import numpy as np
import param

from bnnlab.tasks import download, prepared, preprocessing
from bnnlab.tasks.base import Task
from bnnlab.tasks.prepared import Pieces

MIRRORS = ("http://ufldl.stanford.edu/housenumbers/",)
# What is served without encryption is held by these.
SHA256 = {
    "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
    "extra_32x32.mat": "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3",
}
# Validation images of each digit, by the file they are taken from.
VALIDATION = {"train_32x32.mat": 400, "extra_32x32.mat": 200}
SEED = 20260101

# Raised whenever the same images would give other numbers.
VERSION = 1


class SVHN(Task):
    """Digits of house numbers, 32 x 32 pixels in three colours, cut out of street photographs.

    Source: Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Y. Ng, *Reading Digits in Natural
    Images with Unsupervised Feature Learning*, 2011; split of P. Sermanet, S. Chintala, Y. LeCun,
    *Convolutional neural networks applied to house numbers digit classification*, ICPR 2012;
    preprocessing of L. Hou, Q. Yao, J. T. Kwok, *Loss-aware Binarization of Deep Networks*, ICLR
    2017, section 4.1.

    Faithfulness: which images validate is drawn at random there and here, but not the same ones.
    The local normalization is Jarrett et al.'s, of all three colours; pylearn2's, which the papers
    used, leaves its loop after the first colour, and divides by the deviation from zero instead of
    from the local mean.
    """

    key = "svhn"
    title = "SVHN"
    description = (
        "99,289 digits of house numbers, 32 x 32 pixels in colour; downloaded on first use (250 "
        "MB) and prepared once (1.2 GB)."
    )
    kind = "image"
    shape = (3, 32, 32)
    classes = 10
    network = "vgg"
    lr = 0.001
    order = 3

    preprocessing = param.Selector(
        default="gcn_lcn",
        objects=["gcn_lcn", "centred"],
        constant=True,
        doc="Global, then local contrast normalization, as in the papers; or pixels as multiples "
        "of 1/256 from -1 to 1.",
    )
    extra = param.Boolean(
        default=False,
        constant=True,
        doc="Train on the 531,131 easier images as well, as the papers do (1.3 GB more to "
        "download, 7.4 GB to keep).",
    )

    def fetch(self, progress=None):
        """Download and prepare what is not in the cache."""
        self._kept(progress)

    def about(self):
        """Its digits, and how images are prepared."""
        if self.preprocessing == "centred":
            return super().about() | {"numbers": preprocessing.PIXELS}
        return super().about() | {"prepared": "global and local contrast normalization"}

    def load(self):
        """Return the images; all red pixels of an image first, then green, then blue.

        For validation, 400 of each digit, and with `extra` 200 of its images as well; the rest for
        training (69,257, or 598,388); the test set.
        """
        return self._kept()

    def _kept(self, progress=None):
        name = f"{self.preprocessing}{'-extra' * self.extra}-{VERSION}"
        return prepared.keep(download.cache("svhn") / name, partial(self._prepare, progress))

    def _prepare(self, progress) -> dict[str, Pieces]:
        files = ["train_32x32.mat", *["extra_32x32.mat"] * self.extra, "test_32x32.mat"]
        found = {name: _read(name, progress) for name in files}
        test = found.pop("test_32x32.mat")
        labels = np.concatenate([y for _, y in found.values()])
        validating = _drawn(found)
        parts = {
            "train": np.setdiff1d(np.arange(len(labels)), validating),
            "validation": validating,
        }
        images = [x for x, _ in found.values()]
        pieces = {}
        for name, rows in parts.items():
            pieces |= self._part(name, images, labels[rows], rows)
        return pieces | self._part("test", [test[0]], test[1], np.arange(len(test[1])))

    def _part(self, name: str, images: list, labels: np.ndarray, rows: np.ndarray) -> dict:
        change = preprocessing.centred if self.preprocessing == "centred" else _normalized
        x = (
            change(_taken(images, rows[part])).reshape(-1, self.inputs)
            for part in preprocessing.batches(len(rows))
        )
        return {
            f"{name}_x": Pieces((len(rows), self.inputs), x),
            f"{name}_y": Pieces((len(rows),), [labels]),
        }


def _normalized(images: np.ndarray) -> np.ndarray:
    flat = preprocessing.global_contrast(images.reshape(len(images), -1))
    return preprocessing.local_contrast(flat.reshape(images.shape))


def _drawn(found: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Draw which images validate: as many of each digit, in no order, numbered through files."""
    random = np.random.default_rng(SEED)
    drawn, start = [], 0
    for name, (_, labels) in found.items():
        for digit in range(10):
            of_digit = np.flatnonzero(labels == digit)
            drawn.append(start + random.permutation(of_digit)[: VALIDATION[name]])
        start += len(labels)
    return random.permutation(np.concatenate(drawn))


def _taken(sources: list[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return images by their number, counted through all sources."""
    taken = np.empty((len(rows), *sources[0].shape[1:]), np.uint8)
    start = 0
    for images in sources:
        here = (start <= rows) & (rows < start + len(images))
        taken[here] = images[rows[here] - start]
        start += len(images)
    return taken


def _read(name: str, progress) -> tuple[np.ndarray, np.ndarray]:
    remote = download.Remote("svhn", name, MIRRORS)
    return download.obtain(remote, lambda path: read(download.same(path, SHA256[name])), progress)


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return images, uint8 `(samples, 3, 32, 32)`, and their digits, int64 `(samples,)`.

    A MATLAB file of version 5 holds numbers, and functions and objects as bytes that scipy hands
    over without looking into them: reading it runs nothing. Only the two arrays are read.

    Raises Damaged when they are not there or not of these shapes.
    """
    from scipy.io import loadmat  # loaded when it is needed: trainers start faster

    try:
        found = loadmat(path, variable_names=["X", "y"])
    except (ValueError, OSError, NotImplementedError) as error:
        raise download.Damaged(f"is no MATLAB file: {error}") from None
    x, y = found.get("X"), found.get("y")
    if x is None or y is None or x.dtype != np.uint8 or x.shape != (32, 32, 3, y.size):
        raise download.Damaged("holds no images X of 32 x 32 pixels in colour and their labels y")
    return x.transpose(3, 2, 0, 1), y.ravel().astype(np.int64) % 10  # 10 stands for the digit 0
