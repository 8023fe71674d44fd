"""A view at one recorded step after the other: what animations and reports are made of."""

from dataclasses import replace

import numpy as np

from bnnlab.figures.marks import Panel
from bnnlab.training.store import Log


def steps_of(log: Log, most: int) -> list[int]:
    """Return the steps at which every run recorded arrays, at most so many, first and last kept."""
    steps = np.array(sorted(set.intersection(*(set(run.array_steps) for run in log.runs))))
    chosen = np.linspace(0, len(steps) - 1, min(len(steps), most)).round().astype(int)
    return steps[chosen].tolist()


def level(frames: list[list[Panel]]) -> list[list[Panel]]:
    """Give each panel the same axes in every frame: what moves is then what was learnt."""
    ranges = [
        {
            axis: (min(getattr(p, axis)[0] for p in same), max(getattr(p, axis)[1] for p in same))
            for axis in ("x_range", "y_range")
        }
        for same in zip(*frames, strict=True)
    ]
    return [
        [replace(panel, **limits) for panel, limits in zip(frame, ranges, strict=True)]
        for frame in frames
    ]
