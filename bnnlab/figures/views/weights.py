"""Latent and binary weights, side by side."""

import numpy as np

from bnnlab.figures.marks import Band, Panel, Points, Spikes, Text, steps
from bnnlab.figures.view import LayerView, Z, number, peak, percent


class Weights(LayerView):
    """Latent weights beside the binary ones that the network multiplies by.

    Latent: a histogram of each layer's latent weights, the clip walls dashed, +-alpha marked, and
    the boundary below which a ternary weight is zero dotted.
    Binary: the values the weights take in the forward pass, each with its share. Within a layer
    all lanes have the same axes.
    """

    key = "weights"
    title = "Weights"
    question = "What the optimizer moves, and what the network multiplies by."
    order = 20

    def panels(self, log):
        """Return a latent and a binary panel for each lane and layer."""
        pairs = [(run, layer, self.arrays(run)) for run, layer in self.pairs(log)]
        reach: dict[str, float] = {}
        scale: dict[str, float] = {}
        for _, layer, arrays in pairs:
            name = layer["name"]
            edges = arrays.get(f"latent_edges/{name}", Z)
            values = arrays.get(f"binary_values/{name}", Z)
            reach[name] = max(reach.get(name, 0), *edges[-1:], 0)
            scale[name] = max(scale.get(name, 0), *np.abs(values), 0)
        panels = []
        for run, layer, arrays in pairs:
            name = layer["name"]
            title = self.heading(log, run, name)
            panels.append(_latent(run, name, arrays, title, reach[name] or 1.0))
            panels.append(_binary(run, layer, arrays, scale[name] or 1.0))
        return panels


def _latent(run, name, arrays, heading, reach):
    color, clip = run.description["color"], run.description["clip"]
    counts, edges = arrays.get(f"latent/{name}", Z), arrays.get(f"latent_edges/{name}", Z)
    values = arrays.get(f"binary_values/{name}", Z)
    x, y = steps(edges, counts / peak(counts)) if len(counts) else (Z, Z)
    walls = np.array([-clip, clip]) if clip and clip <= reach else Z
    alphas = values[np.abs(values) <= reach] if len(values) == 2 else Z
    beta = run.column(f"cut/{name}")[1][-1:]
    cuts = np.concatenate([-beta, beta]) if len(beta) and beta[0] <= reach else Z
    saturated = run.column(f"saturation/{name}")[1]
    share = saturated[-1] if len(saturated) else 0
    note = [f"{percent(share)} at the walls"] if share >= 0.001 else []
    if clip and clip > reach:
        note = [f"walls ±{number(clip)} →"]
    return Panel(
        run.lane, name, f"{heading} · latent",
        [
            Band(x, np.zeros_like(y), y, color, alpha=0.38),
            Spikes(walls, np.full(len(walls), 1.08), "muted", "dashed"),
            Spikes(alphas, np.full(len(alphas), 1.08), color, width=1.6),
            Spikes(cuts, np.full(len(cuts), 1.08), "ink", "dotted", 1.4),
            Text(alphas[1:], np.full(len(alphas[1:]), 1.16), ["+α"] * len(alphas[1:]), color,
                 align="center"),
            Text(alphas[:1], np.full(len(alphas[:1]), 1.16), ["−α"] * len(alphas[:1]), color,
                 align="center"),
            Text([reach] * len(note), [1.0] * len(note), note, align="right"),
        ],
        x_range=(-reach * 1.1, reach * 1.1), y_range=(0, 1.28), color=color,
        empty="" if len(counts) else "nothing recorded yet", share=1.6,
    )  # fmt: skip


def _binary(run, layer, arrays, scale):
    name, color = layer["name"], run.description["color"]
    values = arrays.get(f"binary_values/{name}", Z)
    counts = arrays.get(f"binary_counts/{name}", Z)
    shares = counts / counts.sum() if len(counts) else Z
    two = len(values) == 2
    said = [("+" if v > 0 else "") + number(v) for v in values] if two else []
    parts = [percent(s) for s in shares] if two else []
    sides = [-1.22 * scale, 1.22 * scale] if two else []
    # Heights are relative to an even split among the values, so that two halves fill the panel.
    heights = shares * max(len(shares), 1) / 2 if len(shares) else Z
    empty = "" if len(values) else "nothing yet" if not arrays else "kept in 32 bits"
    return Panel(
        run.lane, name, "binary",
        [
            Spikes(values, heights, color, width=2.4),
            Points(values, heights, color, size=4.5),
            Text(sides[:1], [1.16] * len(sides[:1]), said[:1], color),
            Text(sides[1:], [1.16] * len(sides[1:]), said[1:], color, align="right"),
            Text(sides[:1], [0.98] * len(sides[:1]), parts[:1]),
            Text(sides[1:], [0.98] * len(sides[1:]), parts[1:], align="right"),
        ],
        x_range=(-1.25 * scale, 1.25 * scale), y_range=(0, 1.28), color="muted",
        empty=empty,
    )  # fmt: skip
