"""The packed network."""

import math
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bnnlab.packed import kernels
from bnnlab.packed.about import NOTHING_KNOWN, About
from bnnlab.packed.layers import PackedLayer
from bnnlab.packed.lstm import PackedLSTM
from bnnlab.packed.network import Network
from bnnlab.packed.program import Program, lower
from bnnlab.packed.stages import Entry

Layer = PackedLayer | PackedLSTM
_BAD_INPUT = 7
_INT64 = np.dtype(np.int64)


class PackedModel:
    """A network that runs on packed bits, all of it in one call of the kernels.

    It needs neither gradients nor the network it came from, nor PyTorch. Layers with quantized
    inputs and quantized weights give exactly the sums of the PyTorch network (below 2^24, where
    float32 holds integers), and so the same codes; so does a first layer with quantized weights
    whose inputs lie on a dyadic grid (multiples of a power of two, as the tasks here give them).
    Real outputs agree up to rounding. A sample's result depends neither on the others of its batch
    nor on threads.

    Several threads may call it at once: each call has a workspace of its own, kept for later ones.

    Attributes:
        layers: in order.
        shape: what a sample is: (features,) or (channels, height, width); () for a text.
        inputs: numbers of a sample; symbols of a text.
        outputs: scores.
        entry: what is made of the input first.
        about: what users must know of samples and scores, where it was said; can be set.
    """

    def __init__(
        self,
        layers: list[Layer],
        shape: tuple[int, ...],
        entry: Entry,
        about: About = NOTHING_KNOWN,
    ):
        self.layers, self.shape, self.entry, self.about = layers, shape, entry, about
        self.inputs = math.prod(shape) if shape else layers[0].inputs
        self.outputs = layers[-1].outputs
        self._spare: list[np.ndarray] = []

    @cached_property
    def program(self) -> Program:
        """What the kernels run."""
        return lower(self.layers, self.shape, self.entry)

    @cached_property
    def _network(self) -> Network:
        return Network(self.program.steps)

    def __call__(self, x: Any, threads: int = 1) -> Any:
        """Scores of a batch.

        Args:
            x: float32 (samples, inputs) or images as they are, or int64 symbols (samples, time); a
                numpy array or a CPU tensor.
            threads: among which the samples are shared out; all but one are started for the call.

        Returns:
            float32 (samples, outputs), or (samples, time, outputs); an array or a tensor as x is
            one.

        Raises:
            ValueError: x has another shape, or values that are not finite or no symbols; or there
                is no thread.
            TypeError: x is of another type.
        """
        scores = self._run(self._network, self._checked(x), (self.outputs,), threads)
        if isinstance(x, np.ndarray):
            return scores
        import torch

        return torch.from_numpy(scores)

    def hidden(self, x: Any) -> dict[str, np.ndarray]:
        """Each layer's outputs as numbers by the layer's name, shaped as the network has them."""
        return self._seen(self._checked(x), False)

    def sums(self, x: Any) -> dict[str, np.ndarray]:
        """Each layer's sums by its name, float32, before pooling and what follows; see `hidden`.

        Of an LSTM there are none: it has sums at every symbol.
        """
        return self._seen(self._checked(x), True)

    def _seen(self, x: np.ndarray, sums: bool) -> dict[str, np.ndarray]:
        seen, before = {}, len(self.program.steps) - len(self.layers)
        for i, layer in enumerate(self.layers):
            if sums and isinstance(layer, PackedLSTM):
                continue
            part = self.program.until(before + i + 1, sums)
            shape = part.shapes[-1] if layer.kind == "conv" else part.shapes[-1][:1]
            seen[layer.name] = self._run(Network(part.steps), x, shape, 1)
        return seen

    def _run(
        self, network: Network, x: np.ndarray, shape: tuple[int, ...], threads: int
    ) -> np.ndarray:
        """Run a batch that has been checked; `shape` is what comes of a sample, or a symbol."""
        if threads < 1:
            raise ValueError(f"threads is {threads}; there must be at least one")
        samples, length = (len(x), 1) if self.shape else x.shape
        out = np.empty(
            (samples, *shape) if self.shape else (samples, length, *shape), kernels.FLOAT32
        )
        if not out.size:
            return out
        size = network.workspace(samples, length, threads)
        try:
            workspace = self._spare.pop()
        except IndexError:
            workspace = kernels.aligned((size,), kernels.UINT8)
        if workspace.size < size:
            workspace = kernels.aligned((size,), kernels.UINT8)
        status = network.run(x, out, workspace, threads, kernels.isa_number(None))
        self._spare.append(workspace)
        if status == _BAD_INPUT:
            what = "not finite" if self.shape else f"no symbols from 0 to {self.inputs - 1}"
            raise ValueError(f"x has values that are {what}")
        kernels.check(status)
        return out

    def _checked(self, x: Any) -> np.ndarray:
        wanted = kernels.FLOAT32 if self.shape else _INT64
        given = x if isinstance(x, np.ndarray) else kernels.array_of("x", x)
        if given is None or given.dtype != wanted:
            what = type(x).__name__ if given is None else given.dtype
            raise TypeError(f"x is {what}; it must be a {wanted} array or tensor")
        x = given
        if not self.shape:
            if x.ndim != 2:
                raise ValueError(f"x has shape {x.shape}; it must be (samples, time)")
        elif x.shape[1:] != (self.inputs,):
            if x.shape[1:] != self.shape:
                shapes = {(self.inputs,), self.shape}
                allowed = sorted(f"(samples, {', '.join(map(str, s))})" for s in shapes)
                raise ValueError(f"x has shape {x.shape}; it must be {' or '.join(allowed)}")
            x = x.reshape(len(x), self.inputs)
        return x if x.flags.c_contiguous else np.ascontiguousarray(x)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything a file keeps, by name."""
        named = {layer.name: layer.arrays() for layer in self.layers}
        kept = {f"{name}.{key}": array for name in named for key, array in named[name].items()}
        return kept | self.entry.arrays()

    @property
    def nbytes(self) -> int:
        """The memory held by weights, thresholds and scales."""
        return self.entry.nbytes + sum(layer.nbytes for layer in self.layers)

    def workspace(self, samples: int, length: int = 1, threads: int = 1) -> int:
        """The bytes that a call needs beside, of so many samples (texts of a length) in threads."""
        return self._network.workspace(samples, length, threads)

    @property
    def workspace_nbytes(self) -> int:
        """The memory held beside, for calls to come: what the calls so far have needed."""
        return sum(workspace.nbytes for workspace in self._spare)

    @property
    def payload(self) -> int:
        """The bytes of all arrays in its file (the file adds a description of a few hundred)."""
        return sum(array.nbytes for array in self.arrays().values())

    @property
    def other_32bit(self) -> int:
        """How many 32-bit numbers its file holds beside the weights: thresholds, scales, biases."""
        weights = sum(layer.weight_bytes for layer in self.layers)
        return (self.payload - weights) // 4

    def save(self, path: str | os.PathLike[str], samples: np.ndarray | None = None) -> list[Path]:
        """Write it to a file, of the kind that its ending says.

        .onnx: standard operators, for other runtimes. .c: C99 that needs nothing else, with a
        header beside it. Any other, best .safetensors: what `bnnlab.load_packed` reads.

        Args:
            path: the file; it is written whole or not at all.
            samples: inputs, of which C keeps some as test vectors; by default it makes them up.

        Returns:
            The files written.

        Raises:
            ValueError: the file's name is no name for C.
            ExtraMissing: .onnx, and the package onnx is not installed.
        """
        path = Path(path)
        if path.suffix == ".c":
            from bnnlab.packed import export_c

            return export_c.write(self, path, samples)
        if path.suffix == ".onnx":
            from bnnlab.packed import export_onnx

            export_onnx.write(self, path)
        else:
            from bnnlab.packed.format import save

            save(self, path)
        return [path]

    def __repr__(self) -> str:
        lines = [f"PackedModel({self.inputs} inputs, {self.outputs} outputs)"]
        for layer in self.layers:
            lines.append(f"  {layer.name}: {layer.describe()}, {layer.nbytes:,} bytes")
        return "\n".join(lines)
