"""The packed LSTM: symbols look up columns of bits, the recurrent product is of real numbers."""

from typing import NamedTuple

import numpy as np

from bnnlab.packed import kernels
from bnnlab.packed.levels import Levels
from bnnlab.packed.packing import pack_codes, unpack_bits
from bnnlab.packed.products import Product, named_planes
from bnnlab.packed.stages import Function, Thresholds


class SignColumns:
    """Weights of a few bits, of which each symbol takes a column.

    Args:
        planes: the weights' patterns, uint32 (bits, outputs, words(symbols)).
        levels: what the patterns stand for.
        symbols: columns.

    Attributes:
        columns: the patterns symbol by symbol, uint32 (bits, symbols, words(outputs)).
    """

    def __init__(self, planes: np.ndarray, levels: Levels, symbols: int):
        self.levels, self.symbols, self.outputs = levels, symbols, planes.shape[1]
        self.columns = _turned(planes, symbols)

    @property
    def weight_bytes(self) -> int:
        """The bytes of the weights in a file."""
        return 4 * self.levels.bits * self.outputs * kernels.words(self.symbols)

    def describe(self) -> str:
        """In words."""
        return f"{self.levels.describe()} weights x symbols"

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights' patterns."""
        return named_planes(_turned(self.columns, self.outputs), self.levels)

    @property
    def nbytes(self) -> int:
        """The columns."""
        return self.columns.nbytes


def _turned(planes: np.ndarray, k: int) -> np.ndarray:
    """Bits (bits, n, words(k)) as (bits, k, words(n))."""
    turned = [pack_codes(unpack_bits(plane, k).T, 1)[0] for plane in planes]
    return np.stack(turned)


class FloatColumns:
    """Real weights, of which each symbol takes a column.

    Args:
        weights: float32 (outputs, symbols).

    Attributes:
        columns: float32 (symbols, outputs).
    """

    def __init__(self, weights: np.ndarray):
        self.outputs, self.symbols = weights.shape
        self.columns = np.ascontiguousarray(weights.T)

    @property
    def weight_bytes(self) -> int:
        """The bytes of the weights."""
        return self.columns.nbytes

    def describe(self) -> str:
        """In words."""
        return "32-bit weights x symbols"

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights."""
        return {"weights": np.ascontiguousarray(self.columns.T)}

    @property
    def nbytes(self) -> int:
        """The columns."""
        return self.columns.nbytes


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

    It agrees with PyTorch's up to rounding, step after step; where the cells' activation is a sign,
    a cell within rounding of zero may leave with the other one. Recurrent weights of several planes
    are multiplied as numbers: what a zero weight adds to sums of signs cancels only up to rounding.

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
        cell: Thresholds | Function | None,
    ):
        self.name, self.given, self.recurrent = name, given, recurrent
        self.gates, self.cell = gates, cell
        self.inputs, self.outputs = given.symbols, recurrent.outputs // 4

    @property
    def shape(self) -> tuple[int, int, int]:
        """What it gives for a symbol: channels, height, width."""
        return self.outputs, 1, 1

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
        cell = 0 if self.cell is None else self.cell.nbytes
        gates = sum(array.nbytes for array in self.gates)
        return self.given.nbytes + self.recurrent.nbytes + gates + cell

    def describe(self) -> str:
        """In words."""
        cell = "tanh" if self.cell is None else self.cell.describe()
        return (
            f"{self.inputs} symbols -> {self.outputs} cells, {self.given.describe()}, "
            f"{self.recurrent.describe()}, {cell}"
        )
