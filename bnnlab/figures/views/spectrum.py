"""How much a recurrent matrix can stretch."""

import numpy as np

from bnnlab.figures import lines
from bnnlab.figures.series import Series, over_seeds
from bnnlab.figures.view import diverged, nice, through
from bnnlab.figures.views.time import RecurrentView


class Spectrum(RecurrentView):
    """The largest singular value of the recurrent matrix over training, against sqrt(n).

    A matrix of -1 and +1 has one of at least sqrt(n), n the number of cells, whatever is learnt
    (Hou, Yao, Kwok 2017, proposition 3.2); with a scaling factor it is alpha times that. Of the
    four gates' matrices the largest is shown. With several seeds the line is their mean and the
    band their range.
    """

    key = "spectrum"
    title = "Singular value"
    question = "Why one binarized LSTM explodes and another does not."
    order = 55

    def panel(self, log, layer):
        """Return a line for each lane, and one at sqrt(n)."""
        size = next(at["inputs"] for run in log.runs for at in run.layers if at["name"] == layer)
        reach, bound = through(log), float(np.sqrt(size))
        line = np.full(2, bound)
        floor = lines.Entry("√n", "muted", "dotted", Series(np.array(reach), line, line, line))
        entries, values = [], [line]
        for lane in self.chosen_lanes(log):
            runs = [run for run in log.runs if run.lane == lane]
            series = over_seeds(runs, f"singular/{layer}", 0.0, "range")
            values.append(series.mean[np.isfinite(series.mean) & (series.mean > 0)])
            broken = [at for run in runs if (at := diverged(run)) is not None]
            about = runs[0].description
            entries.append(
                lines.Entry(
                    runs[0].title, about["color"], about["dash"], series, len(runs) > 1,
                    min(broken, default=None),
                    about["marker"],
                )
            )  # fmt: skip
        every = np.concatenate(values)
        limits = (1 / nice(1 / every.min(), (1, 2, 5, 10)), nice(every.max() * 1.1, (1, 2, 5, 10)))
        return lines.panel(
            "singular value", entries, reach, limits, log=True, references=[floor],
            heading=f"{layer} · largest singular value, n = {size}", number="0.00", height=280,
        )  # fmt: skip
