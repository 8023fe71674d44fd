"""The packed LSTM: symbols look up columns of bits, the recurrent product is of real numbers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bnnlab.packed import kernels
from bnnlab.packed.levels import Levels
from bnnlab.packed.products import FloatProduct, Product, SignProduct, named_planes
from bnnlab.packed.stages import SchemeFunction, Thresholds


class SignColumns:
    """Weights of a few bits, of which each symbol takes a column.

    Args:
        planes: the weights' patterns, uint32 (bits, outputs, words(symbols)).
        levels: what the patterns stand for.
        symbols: columns.
    """

    def __init__(self, planes: np.ndarray, levels: Levels, symbols: int):
        self.planes, self.levels, self.symbols = planes, levels, symbols
        self.outputs = planes.shape[1]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Symbols (n,) -> float32 (n, outputs)."""
        words = self.planes.transpose(2, 0, 1)[x // kernels.WORD]
        bits = (words >> (x % kernels.WORD).astype(np.uint32)[:, None, None]) & 1
        powers = (1 << np.arange(len(self.planes), dtype=np.uint32))[:, None]
        return np.array(self.levels.table, np.float32)[(bits * powers).sum(1, dtype=np.uint8)]

    @property
    def weight_bytes(self) -> int:
        """The bytes of the weights in a file."""
        return self.planes.nbytes

    def describe(self) -> str:
        """In words."""
        return f"{self.levels.describe()} weights x symbols"

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights' patterns."""
        return named_planes(self.planes, self.levels)


class FloatColumns:
    """Real weights, of which each symbol takes a column.

    Args:
        weights: float32 (outputs, symbols).
    """

    def __init__(self, weights: np.ndarray):
        self.weights = weights
        self.outputs, self.symbols = weights.shape

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Symbols (n,) -> float32 (n, outputs)."""
        return self.weights.T[x]

    @property
    def weight_bytes(self) -> int:
        """The bytes of the weights."""
        return self.weights.nbytes

    def describe(self) -> str:
        """In words."""
        return "32-bit weights x symbols"

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights."""
        return {"weights": self.weights}


class Gates(NamedTuple):
    """What scales the two products: scaling factors, batch norm and biases folded.

    gates = input_scale * (W_x x) + shift + recurrent_scale * (W_h h)

    Attributes:
        input_scale, recurrent_scale: float32 (4 hidden,), or (1,).
        shift: float32 (4 hidden,).
    """

    input_scale: np.ndarray
    shift: np.ndarray
    recurrent_scale: np.ndarray


class PackedLSTM:
    """An LSTM over symbols, evaluated in float32 but for its weights.

    It agrees with PyTorch's up to rounding, step after step, and takes its gates from it; where the
    cells' activation is a sign, a cell within rounding of zero may leave with the other one.

    Args:
        name: as in the trained network.
        given: W_x, a column a symbol.
        recurrent: W_h.
        gates: what scales their sums.
        cell: what becomes of a cell before it leaves: thresholds, what a scheme has instead, or
            None for the hyperbolic tangent.
    """

    kind = "lstm"
    codes = None

    def __init__(
        self,
        name: str,
        given: SignColumns | FloatColumns,
        recurrent: Product,
        gates: Gates,
        cell: Thresholds | SchemeFunction | None,
    ):
        self.name, self.given, self.recurrent = name, given, recurrent
        self.gates, self.cell = gates, cell
        self.inputs, self.outputs = given.symbols, recurrent.outputs // 4

    @property
    def shape(self) -> tuple[int, int, int]:
        """What it gives for a symbol: channels, height, width."""
        return self.outputs, 1, 1

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Symbols (samples, time) -> h of all steps, float32 (samples * time, 1, 1, hidden)."""
        import torch

        samples, length = x.shape
        given = self.given(np.ascontiguousarray(x.T).reshape(-1)) * self.gates.input_scale
        given = (given + self.gates.shift).reshape(length, samples, 4 * self.outputs)
        h = c = np.zeros((samples, self.outputs), np.float32)
        states = np.empty((samples, length, self.outputs), np.float32)
        multiply = self._recurrence()
        for t in range(length):
            sums = multiply(h) * self.gates.recurrent_scale
            # The gates as PyTorch has them: a sign of the cells shows the last bit of a sum.
            i, f, g, o = torch.from_numpy(given[t] + sums).chunk(4, 1)
            inner = f.sigmoid() * torch.from_numpy(c) + i.sigmoid() * g.tanh()
            c = inner.numpy()
            h = (o.sigmoid() * (inner.tanh() if self.cell is None else self._out(c))).numpy()
            states[:, t] = h
        return states.reshape(-1, 1, 1, self.outputs)

    def _recurrence(self) -> Callable[[np.ndarray], np.ndarray]:
        """The product with W_h, (n, hidden) -> (n, 4 hidden).

        Weights of several planes are unpacked for the sequence: what a zero weight adds to a sum of
        signs would cancel up to rounding alone.
        """
        recurrent = self.recurrent
        if not isinstance(recurrent, SignProduct) or len(recurrent.levels.factors) == 1:
            return lambda h: recurrent(h[:, None, None])[:, 0, 0]
        dense = FloatProduct(recurrent.integers(), None, recurrent.window)
        return lambda h: dense(h[:, None, None])[:, 0, 0]

    def _out(self, c: np.ndarray) -> Any:
        import torch

        cell = c[:, None, None]
        if isinstance(self.cell, Thresholds):
            values = self.cell.values(self.cell(cell), self.outputs)
        else:
            assert self.cell is not None
            values = self.cell(cell, flat=True)
        return torch.from_numpy(values[:, 0, 0])

    def values(self, out: Any) -> np.ndarray:
        """h, float32 (samples * time, hidden)."""
        return out[:, 0, 0]

    def parts(self) -> dict[str, dict[str, np.ndarray]]:
        """Everything a file keeps, by what it belongs to: "input" and "recurrent"."""
        return {
            "input": self.given.arrays()
            | {"scale": self.gates.input_scale, "shift": self.gates.shift},
            "recurrent": self.recurrent.arrays()
            | {"scale": self.gates.recurrent_scale}
            | ({} if self.cell is None else self.cell.arrays()),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything a file keeps of the layer."""
        return {
            f"{part}.{key}": array
            for part, arrays in self.parts().items()
            for key, array in arrays.items()
        }

    @property
    def weight_bytes(self) -> int:
        """The bytes of its weights in a file."""
        return self.given.weight_bytes + self.recurrent.weight_bytes

    @property
    def nbytes(self) -> int:
        """The memory the layer holds."""
        parts = self.parts()
        beside = sum(a.nbytes for key, a in parts["recurrent"].items() if key not in _WEIGHTS)
        return sum(a.nbytes for a in parts["input"].values()) + self.recurrent.nbytes + beside

    def describe(self) -> str:
        """In words."""
        cell = "tanh" if self.cell is None else self.cell.describe()
        return (
            f"{self.inputs} symbols -> {self.outputs} cells, {self.given.describe()}, "
            f"{self.recurrent.describe()}, {cell}"
        )


_WEIGHTS = {"signs", "mask", "codes", "weights", "bias"}
