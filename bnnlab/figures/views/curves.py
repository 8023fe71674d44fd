"""Loss and accuracy over training."""

import numpy as np
import param

from bnnlab.figures import lines
from bnnlab.figures.series import Series, over_seeds
from bnnlab.figures.view import View, choose, diverged, nice, through

METRICS = ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy")


class Curves(View):
    """Loss and accuracy of every lane over training, on train and validation data.

    Mini-batch losses are smoothed by an exponential moving average. With several seeds the line is
    their mean and the band their range or standard deviation. Against a baseline, each curve is
    the difference to that lane's of the same seed.
    """

    key = "curves"
    title = "Curves"
    question = "Which lanes learn, how fast, and how surely."
    order = 10
    columns = 2

    metrics = param.ListSelector(
        default=list(METRICS), objects=list(METRICS), constant=True, doc="What to show."
    )
    smoothing = param.Number(
        default=0.7, bounds=(0.0, 0.99), constant=True,
        doc="Weight of the past in the moving average of the train columns; 0 is none.",
    )  # fmt: skip
    log_axis = param.Boolean(default=True, constant=True, doc="Draw losses on a logarithmic axis.")
    baseline = param.String(
        default=None, allow_None=True, constant=True,
        doc="A lane that is subtracted from every lane, seed by seed; none when not given.",
    )  # fmt: skip
    band = param.Selector(
        default="range", objects=["range", "deviation"], constant=True,
        doc="With several seeds: from the least to the greatest, or mean +- standard deviation.",
    )  # fmt: skip

    def panels(self, log):
        """Return a panel for each metric."""
        lanes = self.chosen_lanes(log)
        if self.baseline is not None:
            choose("baseline", [self.baseline], log.lanes)
        return [self._panel(log, lanes, metric) for metric in self.metrics]

    def _panel(self, log, lanes, metric):
        loss, mini_batch = metric.endswith("loss"), metric.startswith("train")
        entries = []
        base = {run.seed: run for run in log.runs if run.lane == self.baseline}
        for lane in lanes:
            runs = [run for run in log.runs if run.lane == lane]
            title, about = runs[0].title, runs[0].description
            smoothing = self.smoothing if mini_batch else 0.0
            series = over_seeds(runs, metric, smoothing, self.band, base)
            if not loss:
                series = Series(series.x, *(100 * column for column in series[1:]))
            broken = [at for run in runs if (at := diverged(run)) is not None]
            entries.append(
                lines.Entry(
                    title if not broken else f"{title} ×", about["color"], about["dash"], series,
                    len(runs) > 1, min(broken, default=None),
                    about["marker"],
                )
            )  # fmt: skip
        log_axis = loss and self.log_axis and not base
        limits = _limits([entry.series for entry in entries], loss, log_axis, bool(base))
        unit = ("" if loss else " (%)") + (f" − {log.run(self.baseline).title}" if base else "")
        return lines.panel(
            metric.replace("_", " ") + unit, entries, through(log), limits, log=log_axis,
            number="0.0000" if loss else "0.0", height=220, events=lines.events_of(log, lanes),
        )  # fmt: skip


def _limits(series, loss, log_axis, signed):
    """Fit the axis to what was learnt: an untrained network's numbers may run off the figure."""
    settled = []
    for s in series:
        late = s.mean[s.x >= 0.04 * s.x[-1]] if len(s.x) > 1 else s.mean
        settled.append(late[np.isfinite(late)])
    values = np.concatenate([np.array([]), *settled])
    if signed:
        reach = nice(np.abs(values).max(initial=0) * 1.02)
        return -reach, reach
    if not loss:
        low = values.min() if len(values) else 0.0
        floor = next(f for f in (98, 95, 90, 80, 60, 40, 20, 0) if low >= f or f == 0)
        return float(floor), 100.0 + (100 - floor) * 0.02
    values = values[values > 0]
    if not len(values):
        return (0.01, 1.0) if log_axis else (0.0, 1.0)
    if log_axis:
        steps = (1, 1.5, 2, 3, 5, 7, 10)
        return 1 / nice(1 / values.min(), steps), nice(values.max() * 1.02, steps)
    return 0.0, nice(values.max())
