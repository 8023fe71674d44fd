"""How many signs flip, over training."""

import numpy as np

from bnnlab.figures import lines
from bnnlab.figures.series import Series, over_seeds
from bnnlab.figures.view import View, choose, diverged, layer_names, names_parameter, nice, through
from bnnlab.figures.views.bits import nothing


class Flips(View):
    """Share of each layer's signs that changed between one look and the next.

    With several seeds the line is their mean and the band their range.
    """

    key = "flips"
    title = "Flips"
    question = "Whether the bits settle, and in which layers."
    order = 35
    columns = 3

    layers = names_parameter("layers")

    def panels(self, log):
        """Return a panel for each layer in which some lane has 1-bit weights."""
        lanes = self.chosen_lanes(log)
        panels = []
        for layer in choose("layer", self.layers, layer_names(log)):
            entries = [entry for lane in lanes if (entry := _entry(log, lane, layer)) is not None]
            if entries:
                tops = [np.nanmax(e.series.high, initial=0) for e in entries]
                panels.append(
                    lines.panel(
                        f"{layer} · flips (%)", entries, through(log), (0, nice(max(*tops, 1e-3))),
                        number="0.00", height=200,
                    )
                )  # fmt: skip
        return panels or [nothing("no layer here has 1-bit weights")]


def _entry(log, lane, layer):
    runs = [run for run in log.runs if run.lane == lane]
    if not any(at["name"] == layer and at["weight_bits"] == 1 for at in runs[0].layers):
        return None
    series = over_seeds(runs, f"flips/{layer}", 0.0, "range")
    series = Series(series.x, *(100 * column for column in series[1:]))
    broken = [at for run in runs if (at := diverged(run)) is not None]
    about = runs[0].description
    return lines.Entry(lane, about["color"], about["dash"], series, len(runs) > 1,
                       min(broken, default=None), about["marker"])  # fmt: skip
