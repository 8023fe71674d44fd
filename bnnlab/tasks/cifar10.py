"""CIFAR-10: 60,000 small photographs, downloaded on first use."""

import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import param

from bnnlab.tasks import download, prepared, preprocessing
from bnnlab.tasks.base import Task
from bnnlab.tasks.prepared import Pieces

MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
# The binary version: the one for Python is pickled, and reading it would run what it says.
FILE = "cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
TRAIN = [f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)]
TEST = "cifar-10-batches-bin/test_batch.bin"
IMAGES = 10_000  # of each file
PIXELS = 3 * 32 * 32
CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

# Raised whenever the same photographs would give other numbers.
VERSION = 1


class CIFAR10(Task):
    """Photographs of 32 x 32 pixels in three colours: aeroplanes, cars, birds, cats, deer, dogs,
    frogs, horses, ships, lorries.

    Source: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009;
    preprocessing of L. Hou, Q. Yao, J. T. Kwok, *Loss-aware Binarization of Deep Networks*, ICLR
    2017, section 4.1, and of Goodfellow et al., *Maxout Networks*, ICML 2013.

    Faithfulness: `gcn_zca` is pylearn2's `gcn_whitened`: norm 55, 0.1 added to the covariance's
    diagonal, and the whitening fitted to all 50,000 training photographs. The 5,000 of them that
    validate are among these; the test set is not.
    """

    key = "cifar10"
    title = "CIFAR-10"
    description = (
        "60,000 photographs of 32 x 32 pixels in colour, of ten kinds of things; downloaded on "
        "first use (170 MB) and prepared once (740 MB)."
    )
    kind = "image"
    shape = (3, 32, 32)
    classes = 10
    network = "vgg"
    order = 2

    preprocessing = param.Selector(
        default="gcn_zca",
        objects=["gcn_zca", "centred"],
        constant=True,
        doc="Global contrast normalization and whitening, as in the papers; or pixels as multiples "
        "of 1/256 from -1 to 1.",
    )

    def fetch(self, progress=None):
        """Download and prepare what is not in the cache."""
        self._kept(progress)

    def about(self):
        """Its classes, and how photographs are prepared."""
        known = super().about() | {"classes": list(CLASSES)}
        if self.preprocessing == "centred":
            return known | {"numbers": preprocessing.PIXELS}
        return known | {"prepared": "global contrast normalization and whitening"}

    def load(self):
        """Return the first 45,000 photographs for training, 5,000 for validation, and the test set;
        all red pixels of a photograph first, then green, then blue.
        """
        return self._kept()

    def _kept(self, progress=None):
        place = download.cache("cifar10") / f"{self.preprocessing}-{VERSION}"
        return prepared.keep(place, partial(self._prepare, progress))

    def _prepare(self, progress) -> dict[str, Pieces]:
        remote = download.Remote("cifar10", FILE, MIRRORS)
        found = download.obtain(remote, lambda path: read(download.same(path, SHA256)), progress)
        x = np.concatenate([found[name][:, 1:] for name in TRAIN])
        y = np.concatenate([found[name][:, 0] for name in TRAIN])
        change = preprocessing.centred
        if self.preprocessing == "gcn_zca":
            change = _Whitened(x)
        split = 9 * len(x) // 10
        parts = {
            "train": (x[:split], y[:split]),
            "validation": (x[split:], y[split:]),
            "test": (found[TEST][:, 1:], found[TEST][:, 0]),
        }
        return {
            f"{name}_{field}": piece
            for name, part in parts.items()
            for field, piece in zip("xy", _pieces(*part, change), strict=True)
        }


def _pieces(images: np.ndarray, labels: np.ndarray, change: Callable) -> tuple[Pieces, Pieces]:
    rows = (change(images[part]) for part in preprocessing.batches(len(images)))
    return Pieces(images.shape, rows), Pieces(labels.shape, [labels])


class _Whitened:
    """Global contrast normalization and whitening, fitted to photographs `(samples, pixels)`."""

    def __init__(self, x: np.ndarray):
        self.mean, self.matrix = preprocessing.whitening(self._normalized(x), bias=0.1)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return (self._normalized(x) - self.mean) @ self.matrix

    def _normalized(self, x: np.ndarray) -> np.ndarray:
        return preprocessing.global_contrast(x, scale=55)


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the records of an archive by file name, uint8 `(IMAGES, 1 + PIXELS)`: the label first.

    Nothing is unpacked to the disk, and nothing is read but files of the right name and size.
    Raises Damaged when one is missing.
    """
    shape = IMAGES, 1 + PIXELS
    found = {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            wanted = member.name in (*TRAIN, TEST) and member.size == IMAGES * (1 + PIXELS)
            file = archive.extractfile(member) if wanted and member.isreg() else None
            if file is not None:
                found[member.name] = np.frombuffer(file.read(), np.uint8).reshape(shape)
    missing = [name for name in (*TRAIN, TEST) if name not in found]
    if missing:
        raise download.Damaged(f"holds no {', '.join(missing)}")
    return found
