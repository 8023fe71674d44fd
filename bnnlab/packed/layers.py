"""The layers of a packed network: a product of bits, then what becomes of the sums.

Between layers runs either float32 (samples, features) or bits: the features' codes as bit planes,
uint32 (planes, samples, words). One plane of signs stands for -1 and +1.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from bnnlab.packed import kernels
from bnnlab.packed.packing import rows_of, unpack_codes

Input = Literal["real", "signs", "codes"]


class SignProduct:
    """1-bit weights, with real, +-1 or k-bit inputs.

    Args:
        bits: the weights' signs, uint32 (outputs, words).
        inputs: features in.
        kind: what the inputs are: "real" numbers, "signs", or "codes" in bit planes.
    """

    def __init__(self, bits: np.ndarray, inputs: int, kind: Input):
        self.inputs, self.outputs, self.kind = inputs, len(bits), kind
        self.panels = kernels.pack_panels(bits, inputs)
        self.ones = np.zeros(0, np.int32)
        if kind == "codes":
            minus = np.zeros((1, kernels.words(inputs)), np.uint32)
            sums = kernels.xnor_matmul(minus, self.panels, self.outputs, inputs)[0]
            self.ones = np.ascontiguousarray((inputs - sums) // 2)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Sums, exact integers unless the inputs are real."""
        if self.kind == "real":
            return kernels.sign_matmul(x, self.panels, self.outputs)
        if self.kind == "signs":
            return kernels.xnor_matmul(x[0], self.panels, self.outputs, self.inputs)
        return kernels.planes_matmul(x, self.panels, self.ones, self.inputs)

    @property
    def weight_bytes(self) -> int:
        """The bytes of the weights in a file: rows padded to words."""
        return 4 * self.outputs * kernels.words(self.inputs)

    def describe(self) -> str:
        """In words."""
        return f"1-bit weights x {self.kind}"

    def arrays(self) -> dict[str, np.ndarray]:
        """The signs, as packed rows."""
        return {"signs": rows_of(self.panels, self.outputs)}

    @property
    def nbytes(self) -> int:
        """Panels (outputs padded to 16) and the counts of ones."""
        return self.panels.nbytes + self.ones.nbytes


class FloatProduct:
    """Real weights: PyTorch's own `F.linear`, for layers that a scheme leaves real.

    Args:
        weights: float32 (outputs, inputs).
        bias: float32 (outputs,) or None.
    """

    def __init__(self, weights: np.ndarray, bias: np.ndarray | None = None):
        self.weights, self.bias = weights, bias
        self.outputs = len(weights)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """float32 (samples, inputs) -> float32 (samples, outputs)."""
        import torch  # networks without such a layer run without it

        if not x.flags.writeable:  # torch warns of memory it might write to
            x = x.copy()
        bias = None if self.bias is None else torch.from_numpy(self.bias)
        weights = torch.from_numpy(self.weights)
        return torch.nn.functional.linear(torch.from_numpy(x), weights, bias).numpy()

    @property
    def weight_bytes(self) -> int:
        """The bytes of the weights."""
        return self.weights.nbytes

    def describe(self) -> str:
        """In words."""
        return "32-bit weights x real"

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights and the bias."""
        return {"weights": self.weights} | ({} if self.bias is None else {"bias": self.bias})

    @property
    def nbytes(self) -> int:
        """The weights and the bias."""
        return sum(array.nbytes for array in self.arrays().values())


@dataclass
class Thresholds:
    """From sums to the next layer's bits: batch norm and quantized activation in one.

    A neuron's code is the number of its thresholds that the sum reaches, or the number it does not
    reach where the neuron is flipped (a negative batch norm weight turns the comparison round).

    Attributes:
        levels: int32 (2**planes - 1, outputs); compared with float keys where sums are real.
        flip: uint32 (words(outputs),).
        signs: whether the activations are -1 and +1; otherwise code / (2**planes - 1).
    """

    levels: np.ndarray
    flip: np.ndarray
    signs: bool

    def __call__(self, sums: np.ndarray) -> np.ndarray:
        """Sums (samples, outputs) -> bit planes."""
        return kernels.threshold(sums, self.levels, self.flip)

    def values(self, bits: np.ndarray, outputs: int) -> np.ndarray:
        """What the bits stand for, float32 (samples, outputs)."""
        codes = unpack_codes(bits, outputs).astype(np.float32)
        return codes * 2 - 1 if self.signs else codes / np.float32(len(self.levels))

    def describe(self) -> str:
        """In words."""
        return "signs" if self.signs else f"{len(self.levels).bit_length()}-bit codes"

    def arrays(self) -> dict[str, np.ndarray]:
        """Levels and flips."""
        return {"thresholds": self.levels, "flip": self.flip}

    @property
    def nbytes(self) -> int:
        """Levels and flips."""
        return self.levels.nbytes + self.flip.nbytes


@dataclass
class Affine:
    """From sums to real outputs: sum * scale + shift, then perhaps ReLU.

    Scaling factor, bias and batch norm are folded into the two numbers of a neuron.

    Attributes:
        scale: float32 (outputs,), or (1,) where all have the same.
        shift: float32 (outputs,), or (1,).
        relu: whether ReLU follows.
    """

    scale: np.ndarray
    shift: np.ndarray
    relu: bool

    def __call__(self, sums: np.ndarray) -> np.ndarray:
        """Sums (samples, outputs) -> float32 (samples, outputs)."""
        out = np.multiply(sums, self.scale, dtype=np.float32)
        out += self.shift
        return np.maximum(out, 0, out=out) if self.relu else out

    def values(self, out: np.ndarray, outputs: int) -> np.ndarray:
        """The outputs as they are."""
        return out

    def describe(self) -> str:
        """In words."""
        return "ReLU" if self.relu else "real outputs"

    def arrays(self) -> dict[str, np.ndarray]:
        """Scale and shift."""
        return {"scale": self.scale, "shift": self.shift}

    @property
    def nbytes(self) -> int:
        """Scale and shift."""
        return self.scale.nbytes + self.shift.nbytes


@dataclass
class PackedLayer:
    """One layer: its product, then thresholds or an affine map.

    Attributes:
        name: as in the trained network.
        inputs: features in.
        product: the weights.
        after: what becomes of the sums.
    """

    name: str
    inputs: int
    product: SignProduct | FloatProduct
    after: Thresholds | Affine
    outputs: int = field(init=False)

    def __post_init__(self):
        self.outputs = self.product.outputs

    def __call__(self, x: Any) -> np.ndarray:
        """What runs between layers, in and out."""
        return self.after(self.product(x))

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything a file keeps of the layer."""
        return self.product.arrays() | self.after.arrays()

    @property
    def nbytes(self) -> int:
        """The memory the layer holds."""
        return self.product.nbytes + self.after.nbytes
