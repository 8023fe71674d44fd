"""The loss along the scaling factor of loss-aware schemes."""

import numpy as np

from bnnlab.figures.marks import Line, Panel, Points, Text
from bnnlab.figures.view import LayerView, Z, heading, nice, nothing, number

# Of the words, from the top, as shares of the axis.
_HEIGHTS = np.array([0.06, 0.15, 0.24])


class LineScan(LayerView):
    """The loss that the deployed network obtains when one layer has another scaling factor.

    A loss-aware scheme chooses alpha by a quadratic model of the loss. For each layer: the loss on
    a few validation samples along alpha, a quarter of the scheme's own to four times as much, all
    else as it is; the filled mark is the scheme's choice, the open one what it would be with
    constant curvature (BWN's for binary weights), the cross the best of the scan.
    """

    key = "line_scan"
    title = "Loss along alpha"
    question = "Whether the scaling factor chosen by curvature is the one the loss wants."
    order = 65
    columns = 3

    def applies(self, log):
        """Return whether a log has what this view shows, or may come to have it."""
        return any(
            layer["curvature"]
            and (not run.array_steps or f"line_scan/{layer['name']}" in run.arrays())
            for run in log.runs
            for layer in run.layers
        )

    def panels(self, log):
        """Return a panel for each layer of each lane that weighs errors by a curvature."""
        panels = [
            self._panel(run, layer["name"], layer["weight_bits"])
            for run, layer in self.pairs(log)
            if layer["curvature"]
        ]
        return panels or [nothing("no lane here weighs errors by a curvature: add lab or lab2")]

    def _panel(self, run, name, bits):
        arrays = self.arrays(run)
        losses = arrays.get(f"line_scan/{name}", Z)
        alphas = arrays.get(f"line_scan_alpha/{name}", Z)
        low, high = _limits(losses)
        shown = np.where(np.isfinite(losses), np.clip(losses, low, high), high)
        known = len(losses) > 0 and alphas.min() > 0
        own, plain, best, said = (Z, Z), (Z, Z), (Z, Z), []
        places = np.log2(alphas / alphas[len(alphas) // 2]) if known else Z
        if known:
            middle, least = len(losses) // 2, int(np.argmin(shown))
            constant = self._constant(run, name)
            across = np.log2(constant / alphas[middle])
            own = [places[middle]], [shown[middle]]
            plain = [across], [np.interp(across, places, shown)]
            best = [places[least]], [shown[least]]
            other = "BWN" if bits == 1 else "constant d"
            words = ("●  α", f"○  {other}", "×  best")
            scales = (alphas[middle], constant, alphas[least])
            said = [f"{who} {number(float(a))}" for who, a in zip(words, scales, strict=True)]
        if arrays and not known:
            empty = "only layers with one scaling factor and not too many weights are scanned"
        else:
            empty = "" if known else "nothing recorded yet"
        color, dash = run.description["color"], run.description["dash"]
        return Panel(
            run.lane, name, f"{heading(run, name)} · loss",
            [
                Line(places, shown if known else Z, color, dash, label=run.title),
                Points(*plain, "ink", "circle", 8, filled=False),
                Points(*best, "accent", "x", 8),
                Points(*own, color, "circle", 6),
                Text([-0.45] * len(said), high * (low / high) ** _HEIGHTS[: len(said)], said),
            ],
            x_range=(-2.0, 2.0), y_range=(low, high), color=color, x_label="log₂ of α over its own",
            y_axis=True, y_log=True, empty=empty, height=200,
            hover=[("", "$name"), ("log₂", "@x{0.00}"), ("loss", "@y{0.0000}")],
        )  # fmt: skip

    def _constant(self, run, name):
        """Return the scaling factor under constant curvature, at the step that is shown."""
        steps, values = run.column(f"alpha_bwn/{name}")
        at = run.array_steps[-1] if self.step is None else self.step
        return float(values[np.flatnonzero(steps == at)[0]])


def _limits(losses):
    """Return round limits of a logarithmic axis that holds the losses that are not out of reach."""
    finite = losses[np.isfinite(losses) & (losses > 0)]
    if not len(finite):
        return 0.01, 1.0
    high = nice(float(min(finite.max(), 1e4)), (1, 2, 5, 10))
    least = float(max(finite.min(), high / 1e4))
    low = 10.0 ** np.floor(np.log10(least))
    low = max(m * low for m in (1, 2, 5) if m * low <= least)
    return (float(low), high) if low < high else (float(low) / 2, high)
