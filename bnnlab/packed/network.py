"""A network as the kernels take it: its structs made once, its calls passing pointers alone."""

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from bnnlab.packed import kernels

_POINTERS = {"float32": "float", "int32": "int32_t", "uint32": "uint32_t", "uint8": "uint8_t"}


class Network:
    """A network that the kernels run by one call; see kernels/include/bnnlab_network.h.

    Args:
        steps: for each layer a dataclass whose fields are those of struct bnnlab_layer: numbers,
            dataclasses of numbers, contiguous arrays or None. See `bnnlab.packed.program`.

    Raises:
        ValueError: the layers do not fit one another.
    """

    def __init__(self, steps: Any):
        kernels.require()
        self._kept: list[Any] = []
        self._layers = kernels.ffi.new("struct bnnlab_layer[]", len(steps))
        for layer, step in zip(self._layers, steps, strict=True):
            self._fill(layer, step)
        self._network = kernels.ffi.new("struct bnnlab_network *", (self._layers, len(steps)))
        self.outputs = kernels.lib.bnnlab_network_outputs(self._network)
        if self.outputs == 0:
            raise ValueError(kernels.STATUS[6])
        self._last = ((0, 0, 0), 0)  # what was asked of `workspace`, and answered

    def _fill(self, struct: Any, values: Any) -> None:
        for field in fields(values):
            value = getattr(values, field.name)
            if isinstance(value, np.ndarray):
                assert value.flags.c_contiguous
                into = getattr(struct, field.name)
                pointer = kernels.ffi.from_buffer(f"{_POINTERS[value.dtype.name]}[]", value)
                self._kept.append(pointer)
                into.at, into.length = pointer, value.size
            elif is_dataclass(value):
                self._fill(getattr(struct, field.name), value)
            elif value is not None:
                setattr(struct, field.name, value)

    def workspace(self, samples: int, length: int = 1, threads: int = 1) -> int:
        """The bytes of workspace that a batch needs.

        Raises:
            ValueError: they are too many to be counted.
        """
        asked = (samples, length, threads)
        before, size = self._last
        if asked != before:
            size = kernels.lib.bnnlab_network_workspace(self._network, *asked)
            if size == 0:
                raise ValueError(kernels.STATUS[2])
            self._last = (asked, size)
        return size

    def run(
        self, x: np.ndarray, out: np.ndarray, workspace: np.ndarray, threads: int, number: int
    ) -> int:
        """Run a batch, and say how it went: 0, or a status of the kernels.

        Args:
            x: float32 (samples, inputs), or int64 (samples, length).
            out: float32 (samples, outputs), or (samples, length, outputs).
            workspace: uint8, as long as `workspace` says at least.
            threads: among which the samples are shared out.
            number: of the instruction set, see `isa_number`.
        """
        real = x.dtype == kernels.FLOAT32
        return kernels.lib.bnnlab_network_run(
            number,
            self._network,
            kernels.ffi.from_buffer(x),
            x.size,
            len(x),
            1 if real else x.shape[1],
            kernels.ffi.from_buffer("float[]", out),
            out.size,
            kernels.ffi.from_buffer(workspace),
            workspace.size,
            threads,
        )
