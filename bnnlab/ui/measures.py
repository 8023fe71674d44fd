"""What the claims of stories are measured by: pure functions of a log.

Each gives one number, or None while what it needs is not recorded yet.
"""

from collections.abc import Callable

import numpy as np

from bnnlab.training.store import Log, RunLog

_LAST = 20  # records of a mini-batch column that its level is the mean of

Measure = Callable[..., float | None]


def _levels(log: Log, lane: str, column: str) -> np.ndarray | None:
    """Where a column of a lane stands, for each seed; None while one has not recorded any."""
    last = _LAST if column.startswith("train") else 1
    values = [run.column(column)[1][-last:] for run in log.runs if run.lane == lane]
    if not all(len(found) for found in values):
        return None
    return np.array([found.mean() for found in values])


def apart(log: Log, column: str, lanes: list[str]) -> float | None:
    """How far the lanes' means lie apart, in standard deviations between one lane's seeds."""
    levels = [_levels(log, lane, column) for lane in lanes]
    known = [level for level in levels if level is not None]
    if len(known) < len(levels) or any(len(level) < 2 for level in known):
        return None
    spread = max(float(level.std(ddof=1)) for level in known)
    return float(np.ptp([level.mean() for level in known])) / spread if spread else None


def times(log: Log, column: str, lane: str, of: str) -> float | None:
    """How many times a lane's level is another's."""
    one, other = _levels(log, lane, column), _levels(log, of, column)
    if one is None or other is None or not other.mean():
        return None
    return float(one.mean() / other.mean())


def growth(log: Log, lane: str) -> float | None:
    """How many times larger the gradient is at the first time step than at the last."""
    run = log.run(lane)
    norms = run.arrays().get(f"time_gradient/{_recurrent(run)}", np.empty(0))
    return float(norms[0] / norms[-1]) if len(norms) and norms[-1] > 0 else None


def stretch(log: Log, lane: str) -> float | None:
    """The recurrent matrix's largest singular value, in units of sqrt(n)."""
    run = log.run(lane)
    layer = _recurrent(run)
    sizes = {about["name"]: about["inputs"] for about in run.layers}
    values = run.column(f"singular/{layer}")[1]
    return float(values[-1] / np.sqrt(sizes[layer])) if len(values) else None


def _recurrent(run: RunLog) -> str:
    """The name of the recurrent matrix, "" when there is none."""
    return next((layer["name"] for layer in run.layers if layer["recurrent"]), "")


def zeros(log: Log, lane: str, layer: str) -> float | None:
    """The share of a layer's weights that are zero, in percent."""
    arrays = log.run(lane).arrays()
    values, counts = (arrays.get(f"binary_{what}/{layer}") for what in ("values", "counts"))
    if values is None or counts is None:
        return None
    return 100 * float(counts[values == 0].sum() / counts.sum())


def distinct(log: Log, lane: str, layer: str) -> float | None:
    """How many different values the weights of a layer have."""
    values = log.run(lane).arrays().get(f"binary_values/{layer}")
    return None if values is None else float(len(values))


def bent(log: Log, lane: str, layer: str) -> float | None:
    """How far the curvature bends a layer's alpha from BWN's for the same weights, in percent."""
    run = log.run(lane)
    own, plain = (run.column(f"{name}/{layer}")[1] for name in ("alpha", "alpha_bwn"))
    return 100 * abs(float(own[-1] / plain[-1]) - 1) if len(own) and len(plain) else None


def smaller(log: Log, lane: str) -> float | None:
    """How many times smaller the packed network's file is than its float32 weights."""
    cost = log.run(lane).cost or {}
    packed = cost.get("bytes_packed")
    return cost["bytes_float32"] / packed if packed else None


def faster(log: Log, lane: str) -> float | None:
    """How many times faster the packed network is than PyTorch at its best, the largest batch."""
    times = _times(log, lane)
    others = [times[key]["median"] for key in ("torch_s", "onednn_s") if times.get(key)]
    return min(others) / times["packed_s"]["median"] if others else None


def slower(log: Log, lane: str, than: str) -> float | None:
    """How many times longer a lane's packed network takes than another's, the largest batch."""
    one, other = _times(log, lane), _times(log, than)
    return one["packed_s"]["median"] / other["packed_s"]["median"] if one and other else None


def _times(log: Log, lane: str) -> dict:
    batches = (log.run(lane).cost or {}).get("batches") or [{}]
    return max(batches, key=lambda row: row.get("batch", 0))


def agree(log: Log, lane: str) -> float | None:
    """The share of the packed network's predictions that are PyTorch's, in percent."""
    cost = log.run(lane).cost or {}
    made = cost.get("predictions")
    return 100 * cost["predictions_equal"] / made if made else None


MEASURES: dict[str, Measure] = {
    measure.__name__: measure
    for measure in (
        apart, times, growth, stretch, zeros, distinct, bent, smaller, faster, slower, agree
    )
}  # fmt: skip
