"""What becomes of the sums of a layer: bits by thresholds, or real numbers and their function."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnlab.packed import kernels
from bnnlab.packed.levels import Codes
from bnnlab.packed.packing import pack_codes, unpack_codes
from bnnlab.packed.window import Pair, max_pool


@dataclass
class Thresholds:
    """From sums to the next layer's bits: batch norm and quantized activation in one.

    A neuron's code is the one whose place is the number of its thresholds that the sum reaches, or
    the number it does not reach where the neuron is flipped (a negative batch norm weight turns the
    comparison round).

    Attributes:
        levels: int32 (codes - 1, outputs); compared with float keys where sums are real.
        flip: uint32 (words(outputs),).
        codes: the activations.
    """

    levels: np.ndarray
    flip: np.ndarray
    codes: Codes

    def __call__(self, sums: np.ndarray) -> np.ndarray:
        """Sums (samples, down, across, outputs) -> bit planes."""
        outputs = sums.shape[-1]
        bits = kernels.threshold(sums.reshape(-1, outputs), self.levels, self.flip)
        codes = self.codes.from_indices(bits, outputs)
        return codes.reshape(len(codes), *sums.shape[:-1], codes.shape[-1])

    def pooled(self, bits: np.ndarray, size: Pair, outputs: int) -> np.ndarray:
        """The largest of neighbouring activations, still as bits."""
        if len(bits) == 1:  # 1 wherever there is one
            high, wide = bits.shape[2] // size[0], bits.shape[3] // size[1]
            kept = bits[:, :, : high * size[0], : wide * size[1]]
            parts = kept.reshape(1, bits.shape[1], high, size[0], wide, size[1], bits.shape[4])
            return np.bitwise_or.reduce(parts, axis=(3, 5))
        return pack_codes(max_pool(unpack_codes(bits, outputs), size), len(bits))

    def values(self, bits: np.ndarray, outputs: int) -> np.ndarray:
        """What the bits stand for, float32 (samples, down, across, outputs)."""
        return self.codes.values(bits, outputs)

    def describe(self) -> str:
        """In words."""
        return self.codes.describe()

    def arrays(self) -> dict[str, np.ndarray]:
        """Levels and flips."""
        return {"thresholds": self.levels, "flip": self.flip}

    @property
    def nbytes(self) -> int:
        """Levels and flips."""
        return self.levels.nbytes + self.flip.nbytes


class SchemeFunction:
    """A function that only a scheme knows: PyTorch evaluates it, in float32.

    Args:
        scheme: the scheme.
        module: its `Activation`, in evaluation mode; without it, what the scheme makes of inputs.
    """

    def __init__(self, scheme: Any, module: Any = None):
        self.scheme, self.module = scheme, module

    def __call__(self, x: np.ndarray, flat: bool) -> np.ndarray:
        """float32 (samples, down, across, channels) -> the same shape.

        Args:
            x: what the function is of.
            flat: whether the network has it as (samples, channels).
        """
        import torch

        function = self.scheme.input if self.module is None else self.module
        given = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            given = function(given.flatten(1) if flat else given).reshape(given.shape)
        return np.ascontiguousarray(given.numpy().transpose(0, 2, 3, 1))

    def describe(self) -> str:
        """In words."""
        return f"activation of {self.scheme.key}"

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters and buffers of the activation, as float32 whatever they are."""
        kept = {} if self.module is None else self.module.state_dict()
        return {
            f"activation.{name}": tensor.numpy().astype(np.float32) for name, tensor in kept.items()
        }


@dataclass
class Affine:
    """From sums to real outputs: sum * scale + shift, then perhaps a function.

    Scaling factor, bias and batch norm are folded into the two numbers of a neuron.

    Attributes:
        scale: float32 (outputs,), or (1,) where all have the same.
        shift: float32 (outputs,), or (1,).
        function: None, "relu", or what a scheme has instead.
        flat: whether the network has the outputs as (samples, outputs).
    """

    scale: np.ndarray
    shift: np.ndarray
    function: Any = None
    flat: bool = True

    def __call__(self, sums: np.ndarray) -> np.ndarray:
        """Sums (samples, down, across, outputs) -> float32, the same shape."""
        out = np.multiply(sums, self.scale, dtype=np.float32)
        out += self.shift
        if self.function is None:
            return out
        return np.maximum(out, 0, out=out) if self.function == "relu" else self.function(
            out, self.flat
        )  # fmt: skip

    def pooled(self, out: np.ndarray, size: Pair, outputs: int) -> np.ndarray:
        """The largest of neighbouring outputs."""
        return max_pool(out, size)

    def values(self, out: np.ndarray, outputs: int) -> np.ndarray:
        """The outputs as they are."""
        return out

    def describe(self) -> str:
        """In words."""
        if self.function is None:
            return "real outputs"
        return "ReLU" if self.function == "relu" else self.function.describe()

    def arrays(self) -> dict[str, np.ndarray]:
        """Scale, shift, and what the function keeps."""
        kept = self.function.arrays() if isinstance(self.function, SchemeFunction) else {}
        return {"scale": self.scale, "shift": self.shift} | kept

    @property
    def nbytes(self) -> int:
        """All of them."""
        return sum(array.nbytes for array in self.arrays().values())


class Entry:
    """What a scheme makes of the network's input before the first layer.

    Args:
        channels: channels of the input.
        codes: the values it takes, if these are few.
        levels: int32 (codes - 1,), the float keys that divide them.
        function: the scheme's function, if they are not.
    """

    def __init__(
        self,
        channels: int,
        codes: Codes | None = None,
        levels: np.ndarray | None = None,
        function: SchemeFunction | None = None,
    ):
        self.codes, self.levels, self.function = codes, levels, function
        self.after = None
        if codes is not None and levels is not None:
            every = np.repeat(levels[:, None], channels, axis=1)
            self.after = Thresholds(every, np.zeros(kernels.words(channels), np.uint32), codes)

    def __call__(self, x: np.ndarray, flat: bool) -> np.ndarray:
        """float32 (samples, height, width, channels) -> what the first layer takes."""
        x = np.ascontiguousarray(x)
        if self.after is not None:
            return self.after(x)
        return x if self.function is None else self.function(x, flat)

    def arrays(self) -> dict[str, np.ndarray]:
        """The levels, where there are some."""
        return {} if self.levels is None else {"thresholds": self.levels}

    @property
    def nbytes(self) -> int:
        """The thresholds of every channel."""
        return 0 if self.after is None else self.after.nbytes
