"""The products of packed layers: from what runs between layers to the sums of the next.

Between layers runs either float32 (samples, height, width, channels) or bits: the activations'
codes as bit planes, uint32 (planes, samples, height, width, words).
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from bnnlab.packed import kernels
from bnnlab.packed.levels import SIGNS, TERNARY, Codes, Levels
from bnnlab.packed.packing import pack_codes, rows_of, unpack_bits, unpack_codes
from bnnlab.packed.window import Window

_AT_ONCE = 2**24  # bytes of rows that are laid out at a time
_UNPACKED = 2**16  # weights that are unpacked at a time
_MOST = 2**28  # the largest sum of integers that is taken
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

    Attributes:
        bound: the largest size of a sum of integers; None where sums are real.
    """

    def __init__(self, planes: np.ndarray, levels: Levels, window: Window, codes: Codes | None):
        self.levels, self.window, self.given = levels, window, codes
        self.outputs = planes.shape[1]
        largest = 0 if codes is None else window.inputs * levels.largest * codes.largest
        self.bound = largest if 0 < largest <= _MOST else None
        self.codes = codes = codes if self.bound is not None else None
        channels, taps = window.channels, window.taps
        # A row is made of parts, each of which begins with a word of its own.
        by_words = codes is not None and taps > 1 and channels >= _FEW
        self.parts, self.part = (taps, channels) if by_words else (1, window.inputs)
        self.length = self.part if self.parts == 1 else 32 * self.parts * kernels.words(channels)
        direct = levels.bits == 1 and self.parts == 1 and levels.table == SIGNS
        signs = planes if direct else self._signs(planes)
        self.panels = [kernels.pack_panels(rows, self.length) for rows in signs]
        self.ones: list[np.ndarray] = []
        self.offsets = np.zeros(0, np.int32)
        if codes is not None:
            self._prepare(codes, planes)

    def _some(self) -> Iterator[slice]:
        """Outputs, as many at a time as can be unpacked at once."""
        step = max(1, _UNPACKED // self.window.inputs)
        for first in range(0, self.outputs, step):
            yield slice(first, first + step)

    def _signs(self, planes: np.ndarray) -> np.ndarray:
        """Sign planes, in rows of parts."""
        levels, words = self.levels, self.parts * kernels.words(self.part)
        signs = np.empty((len(levels.factors), self.outputs, words), np.uint32)
        for some in self._some():
            codes = levels.sign_codes[unpack_codes(planes[:, some], self.window.inputs)]
            packed = pack_codes(codes.reshape(-1, self.part), len(signs))
            signs[:, some] = packed.reshape(len(signs), -1, words)
        return signs

    def _over_the_image(self, planes: np.ndarray) -> np.ndarray:
        """The sums of the weights that lie on the image, (ways, ways, outputs)."""
        window, table = self.window, np.array(self.levels.table, np.int32)
        taps = np.empty((self.outputs, window.taps), np.int32)
        for some in self._some():
            weights = table[unpack_codes(planes[:, some], window.inputs)]
            taps[some] = weights.reshape(-1, window.taps, window.channels).sum(-1)
        return window.over_the_image(taps)

    def _prepare(self, codes: Codes, planes: np.ndarray) -> None:
        """What the kernels need beside the panels, and what is added to their sums."""
        minus = np.zeros((1, kernels.words(self.length)), np.uint32)
        # For each plane the sum of its signs, those counted as -1 that only fill up words.
        totals = [
            -kernels.xnor_matmul(minus, panels, self.outputs, self.length)[0]
            for panels in self.panels
        ]
        sums = [
            f * total.astype(np.int64) for f, total in zip(self.levels.factors, totals, strict=True)
        ]
        filled = (self.length - self.window.inputs) * sum(self.levels.factors)
        twice = np.sum(sums, axis=0) + filled  # 2 / gap times the sum of an output's weights
        offset = np.zeros(self.outputs, np.int64)
        if codes.signs:
            offset += twice - filled
        else:
            self.ones = [(total + self.length) // 2 for total in totals]
        if codes.low != 0:
            if self.window.padding != (0, 0):
                twice = 2 // self.levels.gap * self._over_the_image(planes)
            offset = offset + codes.low * twice
        if offset.any():
            self.offsets = offset.astype(np.int32)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Sums (samples, down, across, outputs): int32, or float32 where inputs are real."""
        real = self.codes is None
        if real and self.given is not None:
            x = self.given.values(x, self.window.channels)
        multiply, axis = (self._real, 0) if real else (self._integers, 1)
        if self.window.dense and (real or self.parts > 1 or self.window.taps == 1):
            out = multiply(self.window.rows(x)).reshape(x.shape[axis], 1, 1, self.outputs)
        else:
            dtype, places = np.float32 if real else np.int32, self.window.places
            out = np.empty((x.shape[axis], *places, self.outputs), dtype)
            for some, rows in self._rows(x):
                out[some] = multiply(rows).reshape(-1, *places, self.outputs)
        if real:
            return out
        if self.offsets.size:
            out += self.offsets if self.offsets.ndim == 1 else self.window.spread(self.offsets)
        if self.levels.gap == 1:
            np.right_shift(out, 1, out=out)  # they are even
        return out

    def _rows(self, x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """The rows of a few samples at a time."""
        window = self.window
        by_bits = self.codes is not None and self.parts == 1 and window.taps > 1
        down, across = window.places
        size = max(1, down * across) * window.inputs * (4 if self.codes is None else 1)
        count, step = x.shape[0 if self.codes is None else 1], max(1, _AT_ONCE // size)
        for first in range(0, count, step):
            some = slice(first, first + step)
            if self.codes is None:
                yield some, window.rows(x[some])
            elif by_bits:
                rows = window.rows(unpack_codes(x[:, some], window.channels))
                yield some, pack_codes(rows, self.codes.planes)
            else:
                yield some, window.rows(x[:, some])

    def _real(self, rows: np.ndarray) -> np.ndarray:
        half = self.levels.gap / 2
        sums = None
        for factor, panels in zip(self.levels.factors, self.panels, strict=True):
            part = kernels.sign_matmul(rows, panels, self.outputs)
            if factor * half != 1:
                part *= np.float32(factor * half)
            sums = part if sums is None else np.add(sums, part, out=sums)
        assert sums is not None
        return sums

    def _integers(self, rows: np.ndarray) -> np.ndarray:
        sums = None
        for j, factor in enumerate(self.levels.factors):
            part = self._one_plane(rows, j)
            if factor != 1:
                part *= factor
            sums = part if sums is None else np.add(sums, part, out=sums)
        assert sums is not None and self.codes is not None
        if not self.codes.signs and self.codes.gap != 1:
            sums *= self.codes.gap
        return sums

    def _one_plane(self, rows: np.ndarray, j: int) -> np.ndarray:
        """The products with one plane of signs: of signs, or of the codes above the lowest."""
        panels = self.panels[j]
        if not self.ones:
            return kernels.xnor_matmul(rows[0], panels, self.outputs, self.length)
        sums = kernels.planes_matmul(rows[:8], panels, self.ones[j], self.length)
        for first in range(8, len(rows), 8):
            more = rows[first : first + 8]
            sums += kernels.planes_matmul(more, panels, self.ones[j], self.length) << first
        return sums

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

    def integers(self) -> np.ndarray:
        """The weights, float32 (outputs, inputs)."""
        return np.array(self.levels.table, np.float32)[self._patterns()]

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights' patterns, as packed rows."""
        return named_planes(pack_codes(self._patterns(), self.levels.bits), self.levels)

    @property
    def nbytes(self) -> int:
        """Panels (outputs padded to 16), the counts of ones, and what borders add."""
        held = [*self.panels, *self.ones, self.offsets]
        return sum(array.nbytes for array in held)


class FactoredProduct:
    """Weights of a few bits whose sums a scheme scales position by position.

    The scheme takes the input apart into what is multiplied and a factor of the sums; PyTorch
    evaluates that, in float32.

    Args:
        product: the weights, with real inputs.
        scheme: the scheme.
        fed: what the layer's inputs are, see `bnnlab.nn.BinarizedLayer`.
        flat: whether the network has them as (samples, inputs).
    """

    def __init__(self, product: SignProduct, scheme: Any, fed: str | None, flat: bool):
        self.product, self.scheme, self.fed, self.flat = product, scheme, fed, flat
        self.window, self.outputs, self.levels = product.window, product.outputs, product.levels

    @cached_property
    def layer(self) -> Any:
        """A layer such as the scheme knows it, without weights."""
        import torch

        from bnnlab.nn.conv import BinarizedConv2d
        from bnnlab.nn.linear import BinarizedLinear

        window, scheme = self.window, self.scheme
        with torch.device("meta"):
            if self.flat:
                return BinarizedLinear(window.inputs, self.outputs, False, scheme, fed=self.fed)
            return BinarizedConv2d(
                window.channels,
                self.outputs,
                window.kernel,
                False,
                scheme,
                stride=window.stride,
                padding=window.padding,
                fed=self.fed,
            )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Sums, float32 (samples, down, across, outputs)."""
        import torch

        images = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            given, factor = self.scheme.factored(
                self.layer, images.flatten(1) if self.flat else images
            )
        sums = self.product(
            np.ascontiguousarray(given.reshape(images.shape).numpy().transpose(0, 2, 3, 1))
        )
        if factor is None:
            return sums
        factors = factor.numpy()
        return sums * (factors[:, None, None] if self.flat else factors.transpose(0, 2, 3, 1))

    @property
    def weight_bytes(self) -> int:
        """The bytes of the weights in a file."""
        return self.product.weight_bytes

    def describe(self) -> str:
        """In words."""
        return f"{self.product.describe()} scaled by {self.scheme.key}"

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights' patterns."""
        return self.product.arrays()

    @property
    def nbytes(self) -> int:
        """What the product holds."""
        return self.product.nbytes


class FloatProduct:
    """Real weights: PyTorch's own products, for layers that a scheme leaves real.

    Args:
        weights: float32, in PyTorch's order: (outputs, inputs) of a dense layer, (outputs,
            channels, height, width) of a convolution.
        bias: float32 (outputs,) or None.
        window: which inputs an output sees.
        codes: what the inputs are; None where they are real.
    """

    def __init__(
        self,
        weights: np.ndarray,
        bias: np.ndarray | None,
        window: Window,
        codes: Codes | None = None,
    ):
        self.weights, self.bias, self.window, self.codes = weights, bias, window, codes
        self.outputs = len(weights)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Sums, float32 (samples, down, across, outputs)."""
        import torch  # networks without such a layer run without it
        import torch.nn.functional as F

        if self.codes is not None:
            x = self.codes.values(x, self.window.channels)
        given = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        if not given.flags.writeable:  # torch warns of memory it might write to
            given = given.copy()
        bias: Any = None if self.bias is None else torch.from_numpy(self.bias)
        weights, of = torch.from_numpy(self.weights), torch.from_numpy(given)
        if weights.ndim == 2:
            return F.linear(of.flatten(1), weights, bias).numpy()[:, None, None]
        sums = F.conv2d(of, weights, bias, self.window.stride, self.window.padding)
        return np.ascontiguousarray(sums.numpy().transpose(0, 2, 3, 1))

    @property
    def weight_bytes(self) -> int:
        """The bytes of the weights."""
        return self.weights.nbytes

    def describe(self) -> str:
        """In words."""
        given = "real" if self.codes is None else self.codes.describe()
        return f"32-bit weights x {given}"

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights and the bias."""
        return {"weights": self.weights} | ({} if self.bias is None else {"bias": self.bias})

    @property
    def nbytes(self) -> int:
        """The weights and the bias."""
        return sum(array.nbytes for array in self.arrays().values())


Product = SignProduct | FactoredProduct | FloatProduct
