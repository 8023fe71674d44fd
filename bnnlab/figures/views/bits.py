"""The bits of a layer as an image."""

import numpy as np

from bnnlab.figures.marks import Image, Panel, Text
from bnnlab.figures.view import LayerView, Z, nothing, percent


class Bits(LayerView):
    """The signs of a layer's weights, a pixel each: rows are outputs, columns inputs.

    Dark is +1, pale is -1; what flipped since the last look stands out. Layers larger than
    128 x 128 show their first 128 rows and columns.
    """

    key = "bits"
    title = "Bits"
    question = "Which signs the weights have, and which have just flipped."
    order = 30
    columns = 4

    def applies(self, log):
        """Return whether a log has what this view shows."""
        return any(layer["weight_bits"] == 1 for run in log.runs for layer in run.layers)

    def panels(self, log):
        """Return an image for each lane and layer whose weights are 1-bit."""
        panels = [
            _panel(self, run, layer["name"], self.heading(log, run, layer["name"]))
            for run, layer in self.pairs(log)
            if layer["weight_bits"] == 1
        ]
        return panels or [nothing("no layer here has 1-bit weights")]


def unpack(packed: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Return the uint8 (rows, columns) that `np.packbits` packed."""
    rows, columns = (int(n) for n in shape)
    return np.unpackbits(packed, count=rows * columns).reshape(rows, columns)


def _panel(view, run, name, heading):
    arrays = view.arrays(run)
    packed = arrays.get(f"bits/{name}")
    if packed is None:
        levels, note = np.zeros((2, 2), dtype=np.uint8), ""
    else:
        shape = arrays[f"bits_shape/{name}"]
        levels = unpack(packed, shape)
        flipped = arrays.get(f"flipped/{name}")
        if flipped is not None:
            levels = levels + 2 * unpack(flipped, shape)
        steps, flips = run.column(f"flips/{name}")
        at = np.flatnonzero(steps == view.step) if view.step is not None else [-1]
        note = f"{percent(flips[at[0]])} flipped" if len(flips) and len(at) else ""
    rows, columns = levels.shape
    shown = note if packed is not None else ""
    return Panel(
        run.lane, name, heading,
        [
            Image(levels[::-1], (0, columns, 0, rows), "bits", 4),
            Text([columns] if shown else Z, [-0.07 * rows] if shown else Z,
                 [shown] if shown else [], align="right"),
        ],
        x_range=(0, columns), y_range=(-0.14 * rows, rows), color=run.description["color"],
        x_axis=False, empty="" if packed is not None else "nothing recorded yet", height=230,
    )  # fmt: skip
