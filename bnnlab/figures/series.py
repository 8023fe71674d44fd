"""Columns over training steps: smoothed, averaged over seeds, thinned to what a figure can show."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from bnnlab.training.store import RunLog

BINS = 80
_BLOCK = 64


def smooth(values: np.ndarray, weight: float) -> np.ndarray:
    """Return the exponential moving average, corrected for its start as Adam's moments are.

    y[t] = (1 - weight) sum_i weight^i x[t-i] / (1 - weight^(t+1)); `weight` in [0, 1). From the
    first value that is not finite on, the result is nan.
    """
    broken = np.flatnonzero(~np.isfinite(values))
    length = int(broken[0]) if len(broken) else len(values)
    result = np.full(len(values), np.nan)
    if weight == 0:
        result[:length] = values[:length]
    if weight == 0 or length == 0:
        return result
    # In blocks: within one a small matrix, from one to the next a single number.
    blocks = -(-length // _BLOCK)
    padded = np.zeros(blocks * _BLOCK)
    padded[:length] = values[:length]
    within = padded.reshape(blocks, _BLOCK) @ _kernel(weight)
    carry, decay = 0.0, weight ** np.arange(1, _BLOCK + 1)
    for block in within:
        block += carry * decay
        carry = block[-1]
    result[:length] = within.ravel()[:length] / (1 - weight ** np.arange(1, length + 1))
    return result


@lru_cache(maxsize=8)
def _kernel(weight):
    lag = np.subtract.outer(np.arange(_BLOCK), np.arange(_BLOCK))
    return np.where(lag >= 0, (1 - weight) * weight ** np.maximum(lag, 0), 0).T


def thin(values: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return indices that keep a curve's look: of each bin the first, the last and both extremes.

    Spikes survive. Everything is kept when there are few values.
    """
    n = len(values)
    if n <= 4 * bins:
        return np.arange(n)
    size = -(-n // bins)
    whole = np.full(-(-n // size) * size, np.nan)
    whole[:n] = values
    rows = whole.reshape(-1, size)
    start = np.arange(len(rows)) * size
    low = start + np.argmin(np.where(np.isnan(rows), np.inf, rows), axis=1)
    high = start + np.argmax(np.where(np.isnan(rows), -np.inf, rows), axis=1)
    ends = np.minimum(start + size - 1, n - 1)
    return np.unique(np.concatenate([start, low, high, ends]))


class Series(NamedTuple):
    """A lane's column: steps, mean over seeds, and the edges of the band (equal with one seed)."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def over_seeds(
    runs: list[RunLog],
    key: str,
    smoothing: float,
    band: str,
    minus: dict[int, RunLog] | None = None,
) -> Series:
    """Return a column of a lane's runs, as far as all of those that did not diverge have got.

    `band`: "range" (least to greatest) or "deviation" (mean +- one standard deviation over seeds).
    `minus`: by seed, runs to subtract. They saw the same batches, so that what the draw of the
    batches does to both cancels.
    """
    going = [run for run in runs if not (run.end and run.end["state"] == "diverged")] or runs
    columns = [_difference(run, (minus or {}).get(run.seed), key) for run in going]
    length = min(len(steps) for steps, _ in columns)
    x = columns[0][0][:length]
    if len(columns) == 1:
        y = smooth(columns[0][1], smoothing)
        kept = thin(y)
        return Series(x[kept], y[kept], y[kept], y[kept])
    every = np.stack([smooth(values[:length], smoothing) for _, values in columns])
    mean = every.mean(axis=0)
    if band == "range":
        low, high = every.min(axis=0), every.max(axis=0)
    else:
        spread = every.std(axis=0, ddof=1)
        low, high = mean - spread, mean + spread
    if length <= 4 * BINS:
        return Series(x, mean, low, high)
    kept = np.unique(np.concatenate([thin(y, BINS // 2) for y in (mean, low, high)]))
    return Series(x[kept], mean[kept], low[kept], high[kept])


def _difference(run: RunLog, other: RunLog | None, key: str) -> tuple[np.ndarray, np.ndarray]:
    steps, values = run.column(key)
    if other is None:
        return steps, values
    values_there = other.column(key)[1]
    length = min(len(values), len(values_there))
    return steps[:length], values[:length] - values_there[:length]


def spread_labels(places: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Return heights for labels near `places`, at least `gap` apart where [low, high] has room."""
    order = np.argsort(places, kind="stable")
    at = np.clip(places[order], low, high)
    gap = min(gap, (high - low) / max(len(at) - 1, 1))
    for i in range(1, len(at)):
        at[i] = max(at[i], at[i - 1] + gap)
    # What was pushed over the top comes back down, and pushes what is below it.
    limit = high
    for i in range(len(at) - 1, -1, -1):
        at[i] = min(at[i], limit)
        limit = at[i] - gap
    result = np.empty_like(at)
    result[order] = at
    return result
