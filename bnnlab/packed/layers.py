"""The layers of a packed network: a product of bits, then what becomes of the sums."""

from dataclasses import dataclass

import numpy as np

from bnnlab.packed.levels import Codes
from bnnlab.packed.products import Product
from bnnlab.packed.stages import Affine, Thresholds
from bnnlab.packed.window import Pair, Window


@dataclass
class PackedLayer:
    """One layer: its product, then thresholds or an affine map, with pooling before or after.

    Attributes:
        name: as in the trained network.
        kind: "linear" or "conv".
        product: the weights.
        after: what becomes of the sums.
        pool: height and width of the pixels of which the largest is kept, or None.
        pool_last: whether that comes last; else it comes before `after`.
    """

    name: str
    kind: str
    product: Product
    after: Thresholds | Affine
    pool: Pair | None = None
    pool_last: bool = False

    @property
    def window(self) -> Window:
        """Which inputs an output sees."""
        return self.product.window

    @property
    def inputs(self) -> int:
        """Weights of an output."""
        return self.window.inputs

    @property
    def outputs(self) -> int:
        """Neurons or channels out."""
        return self.product.outputs

    @property
    def shape(self) -> tuple[int, int, int]:
        """What it gives: channels, height, width."""
        high, wide = self.window.places
        if self.pool is not None:
            high, wide = high // self.pool[0], wide // self.pool[1]
        return self.outputs, high, wide

    @property
    def codes(self) -> Codes | None:
        """What its outputs are; None where they are real."""
        return self.after.codes if isinstance(self.after, Thresholds) else None

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything a file keeps of the layer."""
        return self.product.arrays() | self.after.arrays()

    @property
    def weight_bytes(self) -> int:
        """The bytes of its weights in a file."""
        return self.product.weight_bytes

    @property
    def nbytes(self) -> int:
        """The memory the layer holds."""
        return self.product.nbytes + self.after.nbytes

    def describe(self) -> str:
        """In words."""
        given = f"{self.inputs} -> {self.outputs}"
        if self.kind == "conv":
            window, size = self.window, "x".join(map(str, self.window.kernel))
            given = f"{window.channels} -> {self.outputs}, {size} window"
        pooled = "" if self.pool is None else ", {} x {} pooling".format(*self.pool)
        return f"{given}, {self.product.describe()}, {self.after.describe()}{pooled}"
