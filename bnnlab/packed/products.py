"""The products of packed layers: weights as the kernels want them, and as a file keeps them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from bnnlab.packed import kernels
from bnnlab.packed.levels import SIGNS, TERNARY, Codes, Levels
from bnnlab.packed.packing import pack_codes, rows_of, unpack_bits, unpack_codes
from bnnlab.packed.window import Window

_UNPACKED = 2**16  # weights that are unpacked at a time
_MOST = 2**28  # the largest sum of integers that is taken
FACTORS = ("xnor_net",)  # schemes whose sums are scaled position by position
_FEW = 16  # channels below which rows of bits are laid out bit by bit, not word by word


def named_planes(planes: np.ndarray, levels: Levels) -> dict[str, np.ndarray]:
    """Stored weights, uint32 (bits, outputs, words), under the names they have in a file."""
    if levels.bits == 1:
        return {"signs": planes[0]}
    if levels.table == TERNARY:
        return {"signs": planes[0], "mask": planes[1]}
    return {"codes": planes}


class SignProduct:
    """Weights of a few bits, as planes of signs, with real or quantized inputs.

    With quantized inputs the sums are exact integers, unless they could be larger than 2^28: then
    the inputs are multiplied as the real numbers that they stand for. Where the window lies over
    the border there are zeros, which for signs is no value: they count as the lowest code, and what
    that adds is taken off again.

    Args:
        planes: the weights' patterns, uint32 (bits, outputs, words), the inputs of an output in
            the order height, width, channel.
        levels: what the patterns stand for.
        window: which inputs an output sees.
        codes: what the inputs are; None where they are real.
        first: whether they are the network's own; those on a grid are then multiplied as bytes.

    Attributes:
        bound: the largest size of a sum of integers; None where sums are real.
        panels: the signs, uint32 (sign planes, ceil(outputs / 16), words, 16).
        ones: with codes that are no signs, how many +1 each row has, int32 (sign planes, outputs).
        offsets: what is added to sums of integers, int32 (outputs,), or (ways, ways, outputs) by
            the ways the window may lie on the image; None where nothing is.
        totals: of first layers with real inputs, the sums of factors times signs over the image,
            shaped as `offsets`.
    """

    def __init__(
        self,
        planes: np.ndarray,
        levels: Levels,
        window: Window,
        codes: Codes | None,
        first: bool = False,
    ):
        self.levels, self.window, self.given = levels, window, codes
        self.outputs = planes.shape[1]
        largest = 0 if codes is None else window.inputs * levels.largest * codes.largest
        self.bound = largest if 0 < largest <= _MOST else None
        self.codes = codes = codes if self.bound is not None else None
        channels, taps = window.channels, window.taps
        # A row is made of parts, each of which begins with a word of its own.
        by_words = codes is not None and taps > 1 and channels >= _FEW
        self.parts, self.part = (taps, channels) if by_words else (1, window.inputs)
        words = self.parts * kernels.words(self.part)
        direct = levels.bits == 1 and self.parts == 1 and levels.table == SIGNS
        signs = planes if direct else self._signs(planes, words)
        size = (len(levels.factors), -(-self.outputs // kernels.LANES), words, kernels.LANES)
        self.panels = kernels.aligned(size, kernels.UINT32)
        for rows, panels in zip(signs, self.panels, strict=True):
            kernels.pack_panels(rows, kernels.WORD * words, out=panels)
        self.ones: np.ndarray | None = None
        self.offsets: np.ndarray | None = None
        self.totals: np.ndarray | None = None
        if codes is not None:
            self._prepare(codes, planes)
        elif first and self.given is None:
            self.totals = self._over_the_image(planes)

    def _some(self) -> Iterator[slice]:
        """Outputs, as many at a time as can be unpacked at once."""
        step = max(1, _UNPACKED // self.window.inputs)
        for first in range(0, self.outputs, step):
            yield slice(first, first + step)

    def _signs(self, planes: np.ndarray, words: int) -> np.ndarray:
        """Sign planes, in rows of parts."""
        levels = self.levels
        signs = np.empty((len(levels.factors), self.outputs, words), np.uint32)
        for some in self._some():
            codes = levels.sign_codes[unpack_codes(planes[:, some], self.window.inputs)]
            packed = pack_codes(codes.reshape(-1, self.part), len(signs))
            signs[:, some] = packed.reshape(len(signs), -1, words)
        return signs

    def _over_the_image(self, planes: np.ndarray) -> np.ndarray:
        """The sums of factors times signs of the weights that lie on the image, as `totals`."""
        window, table = self.window, np.array(self.levels.table, np.int32)
        taps = np.empty((self.outputs, window.taps), np.int32)
        for some in self._some():
            weights = table[unpack_codes(planes[:, some], window.inputs)]
            taps[some] = weights.reshape(-1, window.taps, window.channels).sum(-1)
        taps *= 2 // self.levels.gap
        if window.padding == (0, 0):
            return taps.sum(1, dtype=np.int32)
        return window.over_the_image(taps).astype(np.int32)

    def _prepare(self, codes: Codes, planes: np.ndarray) -> None:
        """What the kernels need beside the panels, and what is added to their sums."""
        words = self.panels.shape[2]
        minus = np.zeros((1, words), np.uint32)
        # For each plane how many of its signs are +1: the fillers count as -1.
        ones = [
            kernels.WORD * words - kernels.xnor_matmul(minus, panels, self.outputs, 32 * words)[0]
            for panels in self.panels
        ]
        ones = np.stack(ones) // 2
        if not codes.signs:
            self.ones = ones.astype(np.int32)
        if codes.low == 0 or (codes.signs and self.window.padding == (0, 0)):
            return
        inside = self._over_the_image(planes)
        offsets = codes.low * inside
        if codes.signs:
            factors = np.array(self.levels.factors)[:, None]
            offsets = offsets + (factors * (2 * ones - self.window.inputs)).sum(0)
        self.offsets = offsets.astype(np.int32)

    @property
    def weight_bytes(self) -> int:
        """The bytes of the weights in a file: rows padded to words."""
        return 4 * self.levels.bits * self.outputs * kernels.words(self.window.inputs)

    def describe(self) -> str:
        """In words."""
        given = "real" if self.given is None else self.given.describe()
        return f"{self.levels.describe()} weights x {given}"

    def _patterns(self) -> np.ndarray:
        codes = np.zeros((self.outputs, self.window.inputs), np.int32)
        for j, panels in enumerate(self.panels):
            rows = rows_of(panels, self.outputs).reshape(self.outputs, self.parts, -1)
            bits = unpack_bits(rows, self.part).reshape(self.outputs, -1)
            codes |= bits.astype(np.int32) << j
        return self.levels.patterns(codes)

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights' patterns, as packed rows."""
        return named_planes(pack_codes(self._patterns(), self.levels.bits), self.levels)

    @property
    def nbytes(self) -> int:
        """Panels (outputs padded to 16), the counts of ones, and what borders and grids add."""
        held = [self.panels, self.ones, self.offsets, self.totals]
        return sum(array.nbytes for array in held if array is not None)


class FactoredProduct:
    """Weights of a few bits times the signs of real inputs, each sum times the mean size of what
    its window sees: XNOR-Net's K (arXiv:1603.05279, eq. 11).

    Args:
        product: the weights, with signs.
        scheme: the scheme's name, which a file keeps,
        options: its hyper-parameters,
        fed: and what the layer's inputs are, see `bnnlab.nn.BinarizedLayer`.
    """

    def __init__(self, product: SignProduct, scheme: str, options: dict[str, Any], fed: str | None):
        self.product, self.scheme, self.options, self.fed = product, scheme, options, fed
        self.window, self.outputs, self.levels = product.window, product.outputs, product.levels

    @property
    def weight_bytes(self) -> int:
        """The bytes of the weights in a file."""
        return self.product.weight_bytes

    def describe(self) -> str:
        """In words."""
        return f"{self.product.describe()} scaled by {self.scheme}"

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights' patterns."""
        return self.product.arrays()

    @property
    def nbytes(self) -> int:
        """What the product holds."""
        return self.product.nbytes


class FloatProduct:
    """Real weights, for layers that a scheme leaves real.

    Args:
        weights: float32, in PyTorch's order: (outputs, inputs) of a dense layer, (outputs,
            channels, height, width) of a convolution.
        bias: float32 (outputs,) or None.
        window: which inputs an output sees.
        codes: what the inputs are; None where they are real.

    Attributes:
        panels: the weights, float32 (ceil(outputs / 16), inputs, 16), the inputs in the order
            height, width, channel.
    """

    def __init__(
        self,
        weights: np.ndarray,
        bias: np.ndarray | None,
        window: Window,
        codes: Codes | None = None,
    ):
        self.bias, self.window, self.codes = bias, window, codes
        self.outputs, self.shape = len(weights), weights.shape
        images = weights.reshape(self.outputs, window.channels, *window.kernel)
        rows = images.transpose(0, 2, 3, 1).reshape(self.outputs, -1)
        lanes = kernels.LANES
        size = (-(-self.outputs // lanes), window.inputs, lanes)
        self.panels = kernels.aligned(size, kernels.FLOAT32)
        self.panels[-1] = 0
        for p, panel in enumerate(self.panels):
            some = rows[p * lanes : (p + 1) * lanes]
            panel[:, : len(some)] = some.T

    @property
    def weight_bytes(self) -> int:
        """The bytes of the weights."""
        return 4 * self.outputs * self.window.inputs

    def describe(self) -> str:
        """In words."""
        given = "real" if self.codes is None else self.codes.describe()
        return f"32-bit weights x {given}"

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights and the bias."""
        rows = self.panels.transpose(0, 2, 1).reshape(-1, self.window.inputs)[: self.outputs]
        images = rows.reshape(self.outputs, *self.window.kernel, -1).transpose(0, 3, 1, 2)
        kept = {"weights": np.ascontiguousarray(images).reshape(self.shape)}
        return kept if self.bias is None else kept | {"bias": self.bias}

    @property
    def nbytes(self) -> int:
        """The panels (outputs padded to 16) and the bias."""
        return self.panels.nbytes + (0 if self.bias is None else self.bias.nbytes)


Product = SignProduct | FactoredProduct | FloatProduct
