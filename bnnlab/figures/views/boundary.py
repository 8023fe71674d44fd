"""Decision boundaries of 2-D tasks."""

import numpy as np

from bnnlab.figures.marks import Image, Panel, Points
from bnnlab.figures.theme import class_color
from bnnlab.figures.view import View, heading, nothing, seed_parameter, step_parameter

LEVELS = 16
MOST_POINTS = 240
_MARKERS = ("circle", "triangle", "square", "diamond")


class Boundary(View):
    """What each lane says at every point of a 2-D task, with the data over it.

    Colour is the class, strength how sure the network is relative to its own surest point.
    """

    key = "boundary"
    title = "Boundary"
    question = "What shape each network can cut out."
    order = 15

    seed = seed_parameter()
    step = step_parameter()

    def applies(self, log):
        """Return whether a log has what this view shows."""
        return bool(log.task["is_2d"])

    def panels(self, log):
        """Return a panel for each lane."""
        if not log.task["is_2d"]:
            return [nothing(f"{log.task['title']} does not lie in a plane: try moons or spirals")]
        points = np.array(log.task["points"], dtype=np.float32)
        points = points[:: -(-len(points) // MOST_POINTS)]
        return [
            _panel(log.run(lane, self.seed), points, log.task["classes"], self.step)
            for lane in self.chosen_lanes(log)
        ]


def _panel(run, points, classes, step):
    arrays = run.arrays(step)
    said = arrays.get("boundary")
    x0, x1, y0, y1 = arrays.get("boundary_extent", _around(points))
    extent = (float(x0), float(x1), float(y0), float(y1))
    palette, levels = ("score", LEVELS) if classes == 2 else ("classes", classes)
    if said is None:
        out_of_sight = (x1, 2 * x1 - x0, y0, y1)
        image = Image(np.zeros((2, 2)), out_of_sight, palette, levels)
    else:
        image = Image(_levels(said) if classes == 2 else said, extent, palette, levels)
    dots = []
    for index in range(classes):
        mine = points[points[:, 2] == index]
        x, y, marker = mine[:, 0], mine[:, 1], _MARKERS[index % len(_MARKERS)]
        dots.append(Points(x, y, class_color(index), marker, 4.6, edge="paper"))
    return Panel(
        run.lane, "", heading(run), [image, *dots], x_range=extent[:2], y_range=extent[2:],
        color=run.description["color"], x_axis=False, height=230,
        empty="" if said is not None else "nothing recorded yet",
    )  # fmt: skip


def _around(points):
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    return low[0], high[0], low[1], high[1]


def _levels(score):
    """Turn scores into levels: the sign is never lost, the square root shows the unsure ones."""
    half = LEVELS // 2
    size = np.sqrt(np.abs(score) / (np.abs(score).max() or 1.0))
    step = np.minimum((size * half).astype(int), half - 1)
    return np.where(score >= 0, half + step, half - 1 - step)
