"""MNIST: 70,000 handwritten digits, downloaded on first use."""

import hashlib
import struct
import zlib
from typing import NamedTuple

import numpy as np

from bnnlab.tasks import download, preprocessing
from bnnlab.tasks.base import Progress, Split, Task

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


class Part(NamedTuple):
    """A file of MNIST: its name, the SHA-256 of what the gzip holds, and its shape."""

    file: str
    sha256: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The length of the IDX file: magic number, dimensions, one byte an entry."""
        return 4 + 4 * len(self.shape) + int(np.prod(self.shape))


# Digests are of the IDX payload: mirrors compress the same files differently.
PARTS = {
    "train_images": Part(
        "train-images-idx3-ubyte.gz",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        (60_000, 28, 28),
    ),
    "train_labels": Part(
        "train-labels-idx1-ubyte.gz",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        (60_000,),
    ),
    "test_images": Part(
        "t10k-images-idx3-ubyte.gz",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        (10_000, 28, 28),
    ),
    "test_labels": Part(
        "t10k-labels-idx1-ubyte.gz",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        (10_000,),
    ),
}


class MNIST(Task):
    """Images of 28 x 28 pixels with 256 grey levels.

    Source: Y. LeCun, C. Cortes, C. J. C. Burges, *The MNIST database of handwritten digits*, 1998.
    """

    key = "mnist"
    title = "MNIST"
    description = "70,000 handwritten digits of 28 x 28 pixels; downloaded on first use (11 MB)."
    classes = 10
    kind = "image"
    shape = (1, 28, 28)
    order = 1

    def fetch(self, progress=None):
        """Download what is neither in the folder BNNLAB_DATA names nor in the cache."""
        for part in PARTS.values():
            read_part(part, progress)

    def about(self):
        """Its digits, and that pixels are 0 to 255."""
        return super().about() | {"numbers": preprocessing.PIXELS}

    def load(self):
        """Return the first 50,000 images for training, 10,000 for validation, and the test set.

        Pixels p (0 to 255) become (2 p - 255) / 256: multiples of 1/256, so that their sums with
        signs are exact in float32, whatever the order.
        """
        found = {name: read_part(part) for name, part in PARTS.items()}
        train_x, train_y = _inputs(found["train_images"]), found["train_labels"].astype(np.int64)
        test_x, test_y = _inputs(found["test_images"]), found["test_labels"].astype(np.int64)
        return Split(
            train_x[:50_000], train_y[:50_000], train_x[50_000:], train_y[50_000:], test_x, test_y
        )


def _inputs(images: np.ndarray) -> np.ndarray:
    return ((2 * images.astype(np.float32) - 255) / 256).reshape(len(images), -1)


def read_part(part: Part, progress: Progress | None = None) -> np.ndarray:
    """Return a part, downloaded if it is nowhere here.

    Raises TaskUnavailable when it cannot be had.
    """
    remote = download.Remote("mnist", part.file, MIRRORS)
    return download.obtain(remote, lambda path: parse(path.read_bytes(), part), progress)


def parse(data: bytes, part: Part) -> np.ndarray:
    """Return what a gzipped IDX file holds, uint8 of `part.shape`.

    Raises Damaged when it is not the file it should be; no more is unpacked than it should hold.
    """
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        payload = unpacker.decompress(data, part.size + 1)
    except zlib.error as error:
        raise download.Damaged(f"is not a gzip file: {error}") from None
    if hashlib.sha256(payload).hexdigest() != part.sha256:
        raise download.Damaged("is damaged or another file: its checksum does not match")
    header = 4 + 4 * len(part.shape)
    magic, *shape = struct.unpack(f">{1 + len(part.shape)}I", payload[:header])
    if magic != 0x800 + len(part.shape) or tuple(shape) != part.shape or len(payload) != part.size:
        raise download.Damaged(f"is not an IDX file of {part.shape} bytes")
    return np.frombuffer(payload, np.uint8, offset=header).reshape(part.shape)
