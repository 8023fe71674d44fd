"""What a probe may look at, and the histograms they share."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bnnlab.nn.watch import Seen
from bnnlab.schemes.base import Quantized
from bnnlab.training.lane import Lane

if TYPE_CHECKING:
    from bnnlab.training.trainer import Samples

# Histograms of larger tensors are taken over about this many entries, those of their first rows:
# neurons and samples come in no order, so the picture is the same, and looking stays cheap beside
# the step itself.
SAMPLE = 8_192
LOG_BINS = 48
LOG_RANGE = (-10.0, 2.0)


@dataclass
class Look:
    """A lane after a step.

    Attributes:
        lane: the lane; probes do not change it and draw no random numbers.
        seen: what passed in that step, by layer (empty at step 0).
        extent: `(x0, x1, y0, y1)` of a 2-D task's points, None for other tasks.
        sample: inputs and labels of the validation set that are looked at often.
        quantized: by layer, the deployed weights now, of the layers that are binarized.
        signs: by layer, True where a 1-bit weight is +1.
    """

    lane: Lane
    seen: dict[str, Seen]
    extent: tuple[float, float, float, float] | None
    sample: "Samples | None" = None
    quantized: dict[str, Quantized] = field(init=False)
    signs: dict[str, Tensor] = field(init=False)

    def __post_init__(self):
        self.quantized = {
            name: layer.scheme.quantized(layer)
            for name, layer in self.lane.layers.items()
            if layer.binarized
        }
        self.signs = {
            name: quantized.signs > 0
            for name, quantized in self.quantized.items()
            if quantized.signs is not None
        }


def sample(tensor: Tensor) -> Tensor:
    """Return the entries of the tensor's first rows, SAMPLE at most, as a vector on the CPU."""
    return tensor.detach().reshape(-1)[:SAMPLE].cpu()


def histogram(values: Tensor, low: float, high: float, bins: int) -> np.ndarray:
    """Count values in equal bins over [low, high]; the end bins hold what lies beyond."""
    counts = torch.histc(values.clamp(low, high), bins, low, high)
    return counts.numpy().astype(np.int32)


def edges(low: float, high: float, bins: int) -> np.ndarray:
    """Return the `bins + 1` edges of `histogram`."""
    return np.linspace(low, high, bins + 1, dtype=np.float32)


def log_histogram(values: Tensor) -> np.ndarray:
    """Count log10 |value| over LOG_RANGE; zeros are left out."""
    values = sample(values)
    counts = histogram(values.abs().log10(), *LOG_RANGE, LOG_BINS)
    counts[0] -= values.numel() - int(values.count_nonzero())
    return counts


LOG_EDGES = edges(*LOG_RANGE, LOG_BINS)


def round_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, ... at or above a value: axes that do not jitter."""
    if not np.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(m * power for m in (1, 2, 5, 10) if m * power >= value * (1 - 1e-9)))
