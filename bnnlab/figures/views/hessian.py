"""LAB's Hessian scaling."""

from typing import Any

import numpy as np

from bnnlab.figures import lines
from bnnlab.figures.marks import Band, Image, Panel, steps
from bnnlab.figures.series import over_seeds
from bnnlab.figures.view import LayerView, Z, nice, nothing, number, peak, through

LEVELS = 24


class Hessian(LayerView):
    """Loss-aware scaling: the curvature d = sqrt(second moment), and what it does to alpha.

    For each layer: the distribution of d; |w| against d; the scaling factor under LAB beside that
    under BWN for the same weights; the weighted error sum d (alpha b - w)^2 under both, which LAB's
    alpha makes least (Hou, Yao, Kwok 2017, proposition 3.1).
    """

    key = "hessian"
    title = "Hessian scaling"
    question = "How the curvature bends LAB's scaling factor."
    order = 60

    def applies(self, log):
        """Return whether a log has what this view shows."""
        return any(layer["curvature"] for run in log.runs for layer in run.layers)

    def panels(self, log):
        """Return four panels for each layer of each lane that weighs errors by a curvature."""
        panels = []
        for run, layer in self.pairs(log):
            if layer["curvature"]:
                panels += self._of_layer(log, run, layer["name"])
        return panels or [nothing("no lane here weighs errors by a curvature: add lab or lab2")]

    def _of_layer(self, log, run, name):
        heading, color = f"{run.title} · {name}", run.description["color"]
        arrays = self.arrays(run)
        counts, edges = arrays.get(f"curvature/{name}", Z), arrays.get(f"curvature_edges/{name}", Z)
        low, high = (edges[0], edges[-1]) if len(counts) else (-8, 0)
        x, y = steps(edges, counts / peak(counts)) if len(counts) else (Z, Z)
        empty = "" if len(counts) else "nothing recorded yet"
        about: dict[str, Any] = dict(
            x_range=(float(low), float(high)), color=color, empty=empty, height=170
        )
        distribution = Panel(
            run.lane, f"{name} d", f"{heading} · curvature d",
            [Band(x, np.zeros_like(y), y, color, alpha=0.38)], y_range=(0, 1.1),
            x_label="log₁₀ d", **about,
        )  # fmt: skip
        grid = arrays.get(f"weight_curvature/{name}", np.zeros((2, 2)))
        w = arrays.get(f"weight_curvature_w_edges/{name}", np.array([0.0, 1.0]))
        d = arrays.get(f"weight_curvature_d_edges/{name}", np.array([-10.0, 2.0]))
        joint = np.ceil(np.sqrt(grid / peak(grid)) * (LEVELS - 1)).astype(np.uint8)
        against = Panel(
            run.lane, f"{name} |w| d", f"{heading} · |w| against d",
            [Image(joint, (d[0], d[-1], w[0], w[-1]), "density", LEVELS)],
            y_range=(0, float(w[-1])), y_axis=True, x_label="log₁₀ d", y_label="|w|", **about,
        )  # fmt: skip
        return [
            distribution,
            against,
            self._pair(log, run, name, "α", ("alpha", "alpha_bwn")),
            self._pair(log, run, name, "error", ("error", "error_bwn")),
        ]

    def _pair(self, log, run, name, what, keys):
        entries, values, now = [], [], []
        for key, who, color, dash in zip(
            keys, ("LAB", "BWN"), (run.description["color"], "muted"), ("solid", "dashed"),
            strict=True,
        ):  # fmt: skip
            series = over_seeds([run], f"{key}/{name}", 0.0, "range")
            entries.append(lines.Entry(who, color, dash, series))
            values.append(series.mean[np.isfinite(series.mean)])
            now += [number(value) for value in values[-1][-1:]]
        said = "{} · BWN {}".format(*now) if len(now) == 2 else ""
        every = np.concatenate(values)
        if what == "error":
            limits = (0.0, nice(every.max(initial=0.0)))
        else:
            low, high = (every.min(), every.max()) if len(every) else (0.0, 1.0)
            step = nice((high - low) / 2 or high / 2 or 1.0, (1, 2, 5, 10))
            limits = (float(np.floor(low / step) * step), float(np.ceil(high / step) * step))
            limits = limits if limits[0] < limits[1] else (limits[0], limits[0] + step)
        return lines.panel(
            f"{name} {what}", entries, through(log), limits, lane=run.lane,
            heading=f"{run.title} · {what} {said}",
            color=run.description["color"], height=170, width=200,
        )  # fmt: skip
