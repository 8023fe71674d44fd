"""Gradients before and after the estimator."""

import numpy as np

from bnnlab.figures.marks import Band, Line, Panel, Text, steps
from bnnlab.figures.view import Z, peak, percent
from bnnlab.figures.views.estimator import EstimatorView, blocked


class Gradients(EstimatorView):
    """Histograms of log10 |gradient| before (grey) and after (coloured) the estimator.

    Both are counts on one scale: what is missing under the grey outline was blocked. Entries that
    are exactly zero are not counted.
    """

    key = "gradients"
    title = "Gradients"
    question = "How large the gradients are, and how many survive the estimator."
    order = 50

    def panel(self, log, run, name):
        """Return the panel of a layer."""
        return _panel(self, log, run, name)


def _panel(view, log, run, name):
    color, arrays = run.description["color"], view.arrays(run)
    before = arrays.get(f"gradient_{view.of}_before/{name}", Z)
    after = arrays.get(f"gradient_{view.of}_after/{name}", Z)
    edges = arrays.get("gradient_edges", Z)
    top = max(peak(before), peak(after))
    x, grey = steps(edges, before / top) if len(before) else (Z, Z)
    _, colored = steps(edges, after / top) if len(after) else (Z, Z)
    share = blocked(view, run, name) if len(before) else None
    note = [] if share is None else [f"{percent(share)} blocked"]
    shown = edges[:-1][np.maximum(before, after) > 0.003 * top] if len(before) else Z
    low = float(np.floor(shown.min())) if len(shown) else -8.0
    high = float(np.ceil(shown.max() + 0.25)) if len(shown) else 0.0
    return Panel(
        run.lane, name, view.heading(log, run, name),
        [
            Band(x, np.zeros_like(grey), colored, color, alpha=0.38),
            Line(x, grey, "muted", width=1.0, label="before"),
            Text([low + 0.02 * (high - low)] * len(note), [1.13] * len(note), note, "ink"),
        ],
        x_range=(low, high), y_range=(0, 1.22), color=color,
        x_label="log₁₀ |gradient|: grey before, colour after",
        empty="" if len(before) else "nothing recorded yet",
    )  # fmt: skip
