"""The straight-through estimator over what reaches it."""

import numpy as np
import param

from bnnlab.figures.marks import Band, Line, Panel, Text, steps
from bnnlab.figures.view import LayerView, Z, nothing, peak, percent

_REACHES = {"weights": "latent", "activations": "reach_activations"}


class EstimatorView(LayerView):
    """A view of the layers in which an estimator stands in for a derivative."""

    of = param.Selector(
        default="activations", objects=["activations", "weights"], constant=True,
        doc="The estimator of the activations that feed a layer, or of its weights.",
    )  # fmt: skip

    def panels(self, log):
        """Return a panel for each lane and layer that has such an estimator."""
        panels = [self.panel(log, run, layer["name"]) for run, layer in estimated(self, log)]
        where = f" in {', '.join(self.layers)}" if self.layers else ""
        return panels or [nothing(f"no lane here estimates gradients of {self.of}{where}")]

    def panel(self, log, run, name):
        """Return the panel of a layer."""
        raise NotImplementedError


class StraightThrough(EstimatorView):
    """The forward function and the pseudo-gradient that stands in for its derivative.

    Behind them, the histogram of what reaches the estimator now. Where the pseudo-gradient is zero
    nothing is learnt: the share of entries it blocks is stated.
    """

    key = "estimator"
    title = "Estimator"
    question = "What the straight-through estimator lets through."
    order = 40

    def panel(self, log, run, name):
        """Return the panel of a layer."""
        return _panel(self, log, run, name)


def estimated(view, log):
    """Return the runs and layers in which an estimator stands in for a derivative."""
    pairs = []
    for run, layer in view.pairs(log):
        first = layer["name"] == run.layers[0]["name"]
        fed = view.of == "weights" or not first
        if layer["binarized"] and fed and run.description["estimators"][view.of]:
            pairs.append((run, layer))
    return pairs


def blocked(view, run, name) -> float | None:
    """Return the share of entries whose gradient is blocked at the step shown."""
    at, shares = run.column(f"blocked_{view.of}/{name}")
    if view.step is not None:
        shares = shares[at == view.step]
    return float(shares[-1]) if len(shares) else None


def _panel(view, log, run, name):
    color = run.description["color"]
    curve = run.description["estimators"][view.of]
    arrays = view.arrays(run)
    reach = _REACHES[view.of]
    counts = arrays.get(f"{reach}/{name}", Z)
    edges = arrays.get(f"{reach}_edges/{name}", Z)
    x, y = steps(edges, counts / peak(counts) * 0.95) if len(counts) else (Z, Z)
    share = blocked(view, run, name)
    note = [] if share is None else [f"{percent(share)} blocked"]
    grid, forward, pseudo = (
        np.array(curve[k], dtype=np.float32) for k in ("x", "forward", "pseudo_gradient")
    )
    # Where both curves end at one height, one is named above it and the other below.
    beside = pseudo[-1] + (0.14 if pseudo[-1] != forward[-1] else -0.16)
    return Panel(
        run.lane, name, view.heading(log, run, name),
        [
            Band(x, np.zeros_like(y), y, color, alpha=0.22),
            Line(grid, forward, "muted", width=1.0, label="forward"),
            Line(grid, pseudo, color, width=1.8, label="pseudo-gradient"),
            Text([1.96], [forward[-1] + 0.14], ["forward"], align="right"),
            Text([1.96], [beside], ["pseudo-gradient"], color, align="right"),
            Text([-1.97] * len(note), [1.36] * len(note), note, "ink"),
        ],
        x_range=(-2, 2), y_range=(-1.15, 1.5), color=color, y_axis=True,
        x_label="what reaches it" if view.of == "activations" else "latent weight", height=150,
        ticks=[(-1, "−1"), (0, "0"), (1, "1")],
    )  # fmt: skip
