"""What becomes of the sums of a layer: codes by thresholds, or real numbers and their function."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnlab.packed.levels import Codes

BLOCK = 64  # outputs whose thresholds lie together in the kernels

# The functions that schemes have in the place of a quantized activation or of ReLU, as the kernels
# call them, by the scheme: what a file names.
FUNCTIONS = {
    "bitwise": "tanh",  # its first stage
    "bitnet": "absmax",
    "bitnet_158": "absmax",
    "xnor_net": "sign_mean",  # with `input_scale`
}


PLAIN = {"relu": "ReLU", "hard_tanh": "hard tanh"}  # functions that belong to no scheme


class Thresholds:
    """From sums to the next layer's bits: batch norm and quantized activation in one.

    A neuron's code is the one whose place is the number of its thresholds that the sum reaches, or
    the number it does not reach where the neuron is flipped (a negative batch norm weight turns the
    comparison round).

    Args:
        levels: int32 (codes - 1, outputs); compared with float keys where sums are real.
        flip: uint32 (words(outputs),).
        codes: the activations.

    Attributes:
        blocks: the levels of 64 outputs after those of the 64 before, int32 (levels.size,).
    """

    def __init__(self, levels: np.ndarray, flip: np.ndarray, codes: Codes):
        self.flip, self.codes, self.outputs = flip, codes, levels.shape[1]
        some = [levels[:, j : j + BLOCK].reshape(-1) for j in range(0, self.outputs, BLOCK)]
        self.blocks = np.concatenate(some)

    @property
    def levels(self) -> np.ndarray:
        """The thresholds, int32 (codes - 1, outputs)."""
        count = len(self.codes.codes) - 1
        ends = range(BLOCK * count, self.blocks.size, BLOCK * count)
        return np.hstack([block.reshape(count, -1) for block in np.split(self.blocks, list(ends))])

    def describe(self) -> str:
        """In words."""
        return self.codes.describe()

    def arrays(self) -> dict[str, np.ndarray]:
        """Levels and flips."""
        return {"thresholds": self.levels, "flip": self.flip}

    @property
    def nbytes(self) -> int:
        """Levels and flips."""
        return self.blocks.nbytes + self.flip.nbytes


@dataclass
class Function:
    """A function that a scheme has in the place of an activation.

    Attributes:
        scheme: the scheme's name, one of `FUNCTIONS`.
        options: its hyper-parameters, which a file keeps.
        kept: what the scheme keeps with its activation, float32 by name.
    """

    scheme: str
    options: dict[str, Any]
    kept: dict[str, np.ndarray]

    @property
    def name(self) -> str:
        """What the kernels call it."""
        return FUNCTIONS[self.scheme]

    def describe(self) -> str:
        """In words."""
        return f"activation of {self.scheme}"

    def arrays(self) -> dict[str, np.ndarray]:
        """What the scheme keeps with it."""
        return {f"activation.{name}": array for name, array in self.kept.items()}

    @property
    def nbytes(self) -> int:
        """Of what is kept."""
        return sum(array.nbytes for array in self.kept.values())


@dataclass
class Affine:
    """From sums to real outputs: sum * scale + shift, then perhaps a function.

    Scaling factor, bias and batch norm are folded into the two numbers of a neuron.

    Attributes:
        scale: float32 (outputs,), or (1,) where all have the same.
        shift: float32 (outputs,), or (1,).
        function: None, "relu", "hard_tanh", or what a scheme has instead.
    """

    scale: np.ndarray
    shift: np.ndarray
    function: Any = None

    def describe(self) -> str:
        """In words."""
        if self.function is None:
            return "real outputs"
        if isinstance(self.function, Function):
            return self.function.describe()
        return PLAIN[self.function]

    def arrays(self) -> dict[str, np.ndarray]:
        """Scale, shift, and what the function keeps."""
        kept = self.function.arrays() if isinstance(self.function, Function) else {}
        return {"scale": self.scale, "shift": self.shift} | kept

    @property
    def nbytes(self) -> int:
        """All of them."""
        return sum(array.nbytes for array in self.arrays().values())


class Entry:
    """What a scheme makes of the network's input before the first layer: nothing, or few values.

    Args:
        channels: channels of the input.
        codes: the values it takes, if there are few.
        levels: int32 (codes - 1,), the float keys that divide them.
    """

    def __init__(self, channels: int, codes: Codes | None = None, levels: np.ndarray | None = None):
        self.codes, self.levels = codes, levels
        self.after = None
        if codes is not None and levels is not None:
            every = np.repeat(levels[:, None], channels, axis=1)
            self.after = Thresholds(every, np.zeros(-(-channels // 32), np.uint32), codes)

    def arrays(self) -> dict[str, np.ndarray]:
        """The levels, where there are some."""
        return {} if self.levels is None else {"thresholds": self.levels}

    @property
    def nbytes(self) -> int:
        """The thresholds of every channel."""
        return 0 if self.after is None else self.after.nbytes
