"""What a view is, and what views share."""

from typing import Any

import numpy as np
import param

from bnnlab.figures.compose import Drawing, call, caption, recipe
from bnnlab.figures.marks import Panel
from bnnlab.registry import checked, options
from bnnlab.training.store import Log, RunLog

Z = np.array([], dtype=np.float32)


def names_parameter(what: str) -> Any:
    """Return the option that chooses among the lanes or layers of a log."""
    return param.List(
        default=None, allow_None=True, item_type=str, constant=True,
        doc=f"The {what} to show, by name, in order; all of them when not given.",
    )  # fmt: skip


def step_parameter() -> Any:
    """Return the option that goes back in training time."""
    return param.Integer(
        default=None, allow_None=True, bounds=(0, None), constant=True,
        doc="The recorded step to show; the latest when not given.",
    )  # fmt: skip


def seed_parameter() -> Any:
    """Return the option that chooses one of a lane's runs."""
    return param.Integer(
        default=None, allow_None=True, constant=True,
        doc="Which seed's run of each lane to show; its first when not given.",
    )  # fmt: skip


class View(param.Parameterized):
    """A way of looking at a comparison.

    Options are constant `param` parameters; `panels` is a pure function of them and of the log.
    For one log it gives the same panels with the same marks whatever was recorded since, so that
    what is drawn once can be brought up to date.
    """

    key: str
    title: str
    question: str = ""  # what one looks at it for, in a sentence
    order = 0  # among the views
    columns = 4  # side by side on paper

    lanes: Any = names_parameter("lanes")

    def panels(self, log: Log) -> list[Panel]:
        """Return what is drawn of a log now.

        Raises ValueError, listing what there is, for a lane, layer or step the log does not have.
        """
        raise NotImplementedError

    def chosen_lanes(self, log: Log) -> list[str]:
        """Return the lanes to show."""
        return choose("lane", self.lanes, log.lanes)

    def options(self) -> dict[str, Any]:
        """Return its options by name: plain values."""
        return options(self)

    def applies(self, log: Log) -> bool:
        """Return whether a log has what this view shows."""
        return True

    def drawing(self, log: Log, *, theme: str = "light") -> Drawing:
        """Return a log as this view shows it: what `bnnlab.export` needs, at little cost."""
        title = f"{log.path.stem}: {self.title.lower()}"
        return Drawing(
            self.panels(log), title, caption(log), self.columns, theme,
            remake=call(self.key, self.options(), theme), recipe=recipe(log),
        )  # fmt: skip

    def changed(self, **options: Any) -> "View":
        """Return the same view with other options; raises ValueError as `figures.get` does."""
        return checked(type(self), f"view {self.key!r}", {**self.options(), **options})

    def __call__(self, log: Log, *, theme: str = "light", **options: Any) -> Any:
        """Return the HoloViews element of a log, with these options in place of its own.

        Raises ValueError for options that are unknown or not allowed, and for lanes, layers and
        steps that the log does not have.
        """
        from bnnlab.figures.elements import layout

        return layout(self.changed(**options).drawing(log, theme=theme))


class LayerView(View):
    """A view of single layers of single runs: a small multiple for each lane and layer."""

    layers: Any = names_parameter("layers")
    seed: Any = seed_parameter()
    step: Any = step_parameter()

    def runs(self, log: Log) -> list[RunLog]:
        """Return the run of each chosen lane."""
        return [log.run(lane, self.seed) for lane in self.chosen_lanes(log)]

    def chosen_layers(self, log: Log) -> list[str]:
        """Return the layers to show."""
        return choose("layer", self.layers, layer_names(log))

    def pairs(self, log: Log) -> list[tuple[RunLog, dict]]:
        """Return each run with each of its layers that are to be shown, lane after lane."""
        names = self.chosen_layers(log)
        return [
            (run, layer)
            for run in self.runs(log)
            for name in names
            for layer in run.layers
            if layer["name"] == name
        ]

    def heading(self, log: Log, run: RunLog, layer: str) -> str:
        """Return what stands above a panel: the lane, the layer where there are several."""
        several = len(self.chosen_layers(log)) > 1
        return heading(run, layer if several else "")

    def arrays(self, run: RunLog) -> dict[str, np.ndarray]:
        """Return the arrays of the step to show; empty when nothing was recorded yet."""
        return run.arrays(self.step)


def nothing(why: str) -> Panel:
    """Return an empty panel that says why it is empty."""
    return Panel("", "", "", [], (0, 1), (0, 1), empty=why, x_axis=False)


def layer_names(log: Log) -> list[str]:
    """Return the names of the networks' layers, in order."""
    return list(dict.fromkeys(layer["name"] for run in log.runs for layer in run.layers))


def heading(run: RunLog, layer: str = "") -> str:
    """Return lane and layer, and that the run diverged when it did."""
    parts = [run.title] + ([layer] if layer else [])
    if diverged(run) is not None:
        parts.append(f"diverged at {diverged(run)}")
    return " · ".join(parts)


def diverged(run: RunLog) -> int | None:
    """Return the step at which a run diverged, None when it did not."""
    return run.end["step"] if run.end and run.end["state"] == "diverged" else None


def choose(what: str, given: list[str] | None, known: list[str]) -> list[str]:
    """Return the given names, or all there are; raise ValueError when one is not there."""
    if given is None:
        return known
    unknown = [name for name in given if name not in known]
    if unknown or not given:
        raise ValueError(
            f"no {what} {', '.join(map(repr, unknown)) or 'given'}; "
            f"the {what}s are {', '.join(known)}"
        )
    return given


def nice(value: float, steps=(1, 1.5, 2, 3, 4, 5, 6, 8, 10)) -> float:
    """Return the next round number at or above a positive value: axes that do not jitter."""
    if not np.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(m * power for m in steps if m * power >= value * (1 - 1e-9)))


def through(log: Log) -> tuple[float, float]:
    """Return the range of the step axis: grows in round steps, to the end of the training."""
    reached = max((run.step for run in log.runs), default=0)
    return 0.0, float(min(nice(max(reached, 20), (1, 2, 3, 5, 7.5, 10)), max(log.steps, 1)))


def number(value: float) -> str:
    """Return a number in three digits, with a true minus sign."""
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e5 or size < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        shown = f"{mantissa}e{int(exponent)}"
    else:
        shown = f"{value:,.0f}" if size >= 1000 else f"{value:.3g}"
    return shown.replace("-", "−")


def percent(share: float) -> str:
    """Return a share as a percentage."""
    shown = 100 * share
    return f"{shown:.0f} %" if shown >= 9.95 or shown == 0 else f"{shown:.1f} %"


def peak(counts: np.ndarray) -> float:
    """Return the largest count, 1 when there is none."""
    return float(counts.max(initial=0)) or 1.0
