"""A column over training, layer by layer: a panel for each, in it a line for each lane."""

from typing import Any

import numpy as np

from bnnlab.figures.lines import Entry, panel
from bnnlab.figures.marks import Panel
from bnnlab.figures.series import Series, over_seeds
from bnnlab.figures.view import (
    View,
    choose,
    diverged,
    layer_names,
    names_parameter,
    nice,
    nothing,
    through,
)
from bnnlab.training.store import Log


class LayerLines(View):
    """What a column of every layer did over training; with seeds, their mean and their range."""

    columns = 3
    column: str  # what is recorded as COLUMN/LAYER
    named: str  # what it is called beside the layer's name
    digits = "0.0000"
    lacking: str  # what is said where no layer has it

    layers: Any = names_parameter("layers")

    def has(self, layer: dict) -> bool:
        """Return whether a layer may record it."""
        raise NotImplementedError

    def shown(self, series: Series) -> Series:
        """Return what is shown of a lane's column."""
        raise NotImplementedError

    def panels(self, log: Log) -> list[Panel]:
        """Return a panel for each layer that may record it in some lane."""
        panels = []
        for layer in choose("layer", self.layers, layer_names(log)):
            lanes = self.chosen_lanes(log)
            entries = [e for lane in lanes if (e := self._entry(log, lane, layer)) is not None]
            if entries:
                tops = [np.nanmax(e.series.high, initial=0) for e in entries]
                panels.append(
                    panel(
                        f"{layer} · {self.named}", entries, through(log),
                        (0, nice(max(*tops, 1e-3))), number=self.digits, height=200,
                    )
                )  # fmt: skip
        return panels or [nothing(self.lacking)]

    def _entry(self, log, lane, layer):
        runs = [run for run in log.runs if run.lane == lane]
        if not any(at["name"] == layer and self.has(at) for at in runs[0].layers):
            return None
        series = over_seeds(runs, f"{self.column}/{layer}", 0.0, "range")
        series = self.shown(series)
        broken = [at for run in runs if (at := diverged(run)) is not None]
        about = runs[0].description
        return Entry(runs[0].title, about["color"], about["dash"], series, len(runs) > 1,
                           min(broken, default=None), about["marker"])  # fmt: skip
