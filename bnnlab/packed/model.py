"""The packed network."""

import math
import os
from typing import Any

import numpy as np

from bnnlab.packed.layers import PackedLayer
from bnnlab.packed.lstm import PackedLSTM
from bnnlab.packed.stages import Entry

Layer = PackedLayer | PackedLSTM


class PackedModel:
    """A network that runs on packed bits, layer after layer.

    It needs neither gradients nor the network it came from. Layers with quantized inputs and
    quantized weights give exactly the sums of the PyTorch network (below 2^24, where float32 holds
    integers), and so the same codes; so does a first layer with quantized weights whose inputs lie
    on a dyadic grid (multiples of a power of two, as the tasks here give them). Real outputs agree
    up to rounding.

    Attributes:
        layers: in order.
        shape: what a sample is: (features,) or (channels, height, width); () for a text.
        inputs: numbers of a sample; symbols of a text.
        outputs: scores.
        entry: what is made of the input first.
    """

    def __init__(self, layers: list[Layer], shape: tuple[int, ...], entry: Entry):
        self.layers, self.shape, self.entry = layers, shape, entry
        self.inputs = math.prod(shape) if shape else layers[0].inputs
        self.outputs = layers[-1].outputs

    def __call__(self, x: Any) -> Any:
        """Scores of a batch.

        Args:
            x: float32 (samples, inputs) or images as they are, or int64 symbols (samples, time); a
                numpy array or a CPU tensor.

        Returns:
            float32 (samples, outputs), or (samples, time, outputs); an array or a tensor as x is
            one.

        Raises:
            ValueError: x has another shape, or values that are not finite or no symbols.
            TypeError: x is of another type.
        """
        given = self._checked(x)
        between = self._entered(given)
        for layer in self.layers:
            between = layer(between)
        scores = self._values(self.layers[-1], between, given)
        if isinstance(x, np.ndarray):
            return scores
        import torch

        return torch.from_numpy(scores)

    def hidden(self, x: Any) -> dict[str, np.ndarray]:
        """Each layer's outputs as numbers by the layer's name, shaped as the network has them."""
        given, seen = self._checked(x), {}
        between = self._entered(given)
        for layer in self.layers:
            between = layer(between)
            seen[layer.name] = self._values(layer, between, given)
        return seen

    def entered(self, x: Any) -> np.ndarray:
        """What the first layer takes, made of a batch; see `__call__`."""
        return self._entered(self._checked(x))

    def _entered(self, x: np.ndarray) -> np.ndarray:
        first = self.layers[0]
        if isinstance(first, PackedLSTM):
            return x
        flat = first.kind == "linear"
        if flat:
            return self.entry(x.reshape(len(x), 1, 1, self.inputs), flat)
        return self.entry(x.reshape(len(x), *self.shape).transpose(0, 2, 3, 1), flat)

    def _values(self, layer: Layer, between: np.ndarray, x: np.ndarray) -> np.ndarray:
        numbers = np.ascontiguousarray(layer.values(between))
        return numbers if self.shape else numbers.reshape(*x.shape, layer.outputs)

    def _checked(self, x: Any) -> np.ndarray:
        if hasattr(x, "data_ptr"):
            if x.device.type != "cpu":
                raise ValueError(f"x is on device {x.device}; it must be on the CPU")
            x = x.detach().numpy()
        wanted = np.dtype(np.float32 if self.shape else np.int64)
        if not isinstance(x, np.ndarray) or x.dtype != wanted:
            given = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
            raise TypeError(f"x is {given}; it must be a {wanted} array or tensor")
        if not self.shape:
            if x.ndim != 2:
                raise ValueError(f"x has shape {x.shape}; it must be (samples, time)")
            if x.size and not (0 <= x.min() and x.max() < self.inputs):
                raise ValueError(f"x has values that are no symbols from 0 to {self.inputs - 1}")
            return x
        if x.shape[1:] not in ((self.inputs,), self.shape):
            shapes = {f"(samples, {', '.join(map(str, s))})" for s in [(self.inputs,), self.shape]}
            raise ValueError(f"x has shape {x.shape}; it must be {' or '.join(sorted(shapes))}")
        if not np.isfinite(x).all():
            raise ValueError("x has values that are not finite")
        return np.ascontiguousarray(x).reshape(len(x), self.inputs)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything a file keeps, by name."""
        named = {layer.name: layer.arrays() for layer in self.layers}
        kept = {f"{name}.{key}": array for name in named for key, array in named[name].items()}
        return kept | self.entry.arrays()

    @property
    def nbytes(self) -> int:
        """The memory held by weights, thresholds and scales."""
        return self.entry.nbytes + sum(layer.nbytes for layer in self.layers)

    @property
    def payload(self) -> int:
        """The bytes of all arrays in its file (the file adds a description of a few hundred)."""
        return sum(array.nbytes for array in self.arrays().values())

    @property
    def other_32bit(self) -> int:
        """How many 32-bit numbers its file holds beside the weights: thresholds, scales, biases."""
        weights = sum(layer.weight_bytes for layer in self.layers)
        return (self.payload - weights) // 4

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as a safetensors file, which `bnnlab.load_packed` reads."""
        from bnnlab.packed.format import save

        save(self, path)

    def __repr__(self) -> str:
        lines = [f"PackedModel({self.inputs} inputs, {self.outputs} outputs)"]
        for layer in self.layers:
            lines.append(f"  {layer.name}: {layer.describe()}, {layer.nbytes:,} bytes")
        return "\n".join(lines)
