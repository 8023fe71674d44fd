"""The packed network."""

import os
from typing import Any

import numpy as np

from bnnlab.packed.layers import PackedLayer


class PackedModel:
    """A network that runs on packed bits, layer after layer.

    It needs neither gradients nor the network it came from. Layers with quantized inputs and 1-bit
    weights give exactly the sums of the PyTorch network, and so the same codes; so does a first
    layer with 1-bit weights whose inputs lie on a dyadic grid (multiples of a power of two, as the
    tasks here give them). Real outputs agree up to rounding.

    Attributes:
        layers: in order.
        inputs: features of a sample.
        outputs: scores.
    """

    def __init__(self, layers: list[PackedLayer]):
        self.layers = layers
        self.inputs, self.outputs = layers[0].inputs, layers[-1].outputs

    def __call__(self, x: Any) -> Any:
        """Scores of a batch.

        Args:
            x: float32 (samples, inputs), a numpy array or a CPU tensor.

        Returns:
            float32 (samples, outputs), an array or a tensor as x is one.

        Raises:
            ValueError: x has another shape, or values that are not finite.
            TypeError: x is not float32.
        """
        bits = self._checked(x)
        for layer in self.layers:
            bits = layer(bits)
        if isinstance(x, np.ndarray):
            return bits
        import torch

        return torch.from_numpy(bits)

    def hidden(self, x: Any) -> dict[str, np.ndarray]:
        """Each layer's outputs as numbers, float32 (samples, outputs), by the layer's name."""
        bits, seen = self._checked(x), {}
        for layer in self.layers:
            bits = layer(bits)
            seen[layer.name] = layer.after.values(bits, layer.outputs)
        return seen

    def _checked(self, x: Any) -> np.ndarray:
        if hasattr(x, "data_ptr"):
            if x.device.type != "cpu":
                raise ValueError(f"x is on device {x.device}; it must be on the CPU")
            x = x.detach().numpy()
        if not isinstance(x, np.ndarray) or x.dtype != np.float32:
            given = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
            raise TypeError(f"x is {given}; it must be a float32 array or tensor")
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise ValueError(f"x has shape {x.shape}; it must be (samples, {self.inputs})")
        if not np.isfinite(x).all():
            raise ValueError("x has values that are not finite")
        return np.ascontiguousarray(x)

    @property
    def nbytes(self) -> int:
        """The memory held by weights, thresholds and scales."""
        return sum(layer.nbytes for layer in self.layers)

    @property
    def payload(self) -> int:
        """The bytes of all arrays in its file (the file adds a description of a few hundred)."""
        return sum(array.nbytes for layer in self.layers for array in layer.arrays().values())

    @property
    def other_32bit(self) -> int:
        """How many 32-bit numbers its file holds beside the weights: thresholds, scales, biases."""
        weights = sum(layer.product.weight_bytes for layer in self.layers)
        return (self.payload - weights) // 4

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as a safetensors file, which `bnnlab.load_packed` reads."""
        from bnnlab.packed.format import save

        save(self, path)

    def __repr__(self) -> str:
        lines = [f"PackedModel({self.inputs} inputs, {self.outputs} outputs)"]
        for layer in self.layers:
            lines.append(
                f"  {layer.name}: {layer.inputs} -> {layer.outputs}, {layer.product.describe()}, "
                f"{layer.after.describe()}, {layer.nbytes:,} bytes"
            )
        return "\n".join(lines)
