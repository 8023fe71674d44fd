"""Gradients on their way back through the time steps of a recurrent network."""

from typing import Any

import numpy as np

from bnnlab.figures import lines
from bnnlab.figures.marks import Panel
from bnnlab.figures.series import Series
from bnnlab.figures.view import View, Z, diverged, nice, nothing, seed_parameter, step_parameter
from bnnlab.training.store import Log

_LEAST = 1e-12  # what the axis goes down to at most


class RecurrentView(View):
    """A view of recurrent matrices: a panel for each."""

    columns = 2

    def applies(self, log):
        """Return whether a log has what this view shows."""
        return bool(recurrent_layers(log))

    def panels(self, log):
        """Return a panel for each recurrent matrix."""
        panels = [self.panel(log, layer) for layer in recurrent_layers(log)]
        return panels or [nothing("no network here is recurrent: take the task text")]

    def panel(self, log: Log, layer: str) -> Panel:
        """Return what is drawn of one recurrent matrix."""
        raise NotImplementedError


class Time(RecurrentView):
    """The norm of the loss's gradient with respect to h_t, for each time step t of the sequence.

    It reaches the last time step first and the first one last: where the line rises to the left
    the gradient explodes on its way back, where it falls it vanishes. A matrix of -1 and +1
    stretches by sqrt(n) at least (Hou, Yao, Kwok 2017, proposition 3.2); a scaling factor tames
    it.
    """

    key = "time"
    title = "Back in time"
    question = "Whether gradients explode on their way back through a sequence."
    order = 54

    seed: Any = seed_parameter()
    step: Any = step_parameter()

    def panel(self, log, layer):
        """Return a line for each lane, from the first time step to the last."""
        entries, length, values = [], 2, [np.array([])]
        for lane in self.chosen_lanes(log):
            run = log.run(lane, self.seed)
            norms = run.arrays(self.step).get(f"time_gradient/{layer}", Z).astype(float)
            norms = np.where(norms > 0, norms, np.nan)
            length = max(length, len(norms))
            values.append(norms[np.isfinite(norms)])
            x = np.arange(1, len(norms) + 1)
            about = run.description
            label = run.title if diverged(run) is None else f"{run.title} ×"
            series = Series(x, norms, norms, norms)
            entries.append(
                lines.Entry(label, about["color"], about["dash"], series, marker=about["marker"])
            )
        every = np.concatenate(values)
        high = nice(every.max(), (1, 3, 10)) if len(every) else 1.0
        low = 1 / nice(1 / max(every.min(), _LEAST), (1, 3, 10)) if len(every) else 0.01
        return lines.panel(
            "gradient norm", entries, (1.0, float(length)), (low, max(high, 10 * low)), log=True,
            heading=f"{layer} · gradient norm at h_t",
            x_label="time step", number="0.0e", height=280,
        )  # fmt: skip


def recurrent_layers(log):
    """Return the names of the layers that are recurrent matrices."""
    names = [at["name"] for run in log.runs for at in run.layers if at["recurrent"]]
    return list(dict.fromkeys(names))
