"""The views of a page: which one is open, with what options, and its live figures.

Only the open view is drawn and kept up to date. Options are derived from the view's parameters.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import param

from bnnlab import figures
from bnnlab.figures import Live
from bnnlab.figures.view import layer_names
from bnnlab.training.store import Log
from bnnlab.ui.bench import Figures

_ALL = "all layers"
# Chosen elsewhere on the page, or not at all while training is watched.
_COST = "cost"
_HIDDEN = {"name", "lanes", "step"}


# HoloViews keeps styles in tables of its own: one view is drawn at a time, whoever asks.
_drawing = threading.Lock()


class Views:
    """The row of views, the options of each, and the figures of the one that is open.

    Args:
        later: does work off the server's loop, then hands its result to a function on it:
            `later(work, then)`.
        on_pointed: what the browser runs when a step is pointed at (see Live.on_pointed).

    Attributes:
        pane: what is put on the page.
        active: the name of the open view.
        other_name: the saved comparison that this one is compared with, if any.
        lanes: the lanes to show; all of them when None.
    """

    def __init__(
        self,
        later: Callable[[Callable[[], Any], Callable[[Any], None]], None],
        on_pointed: str,
    ):
        self._on_pointed = on_pointed
        self.pane = Figures()
        self.active = figures.names()[0]
        self.other_name: str | None = None
        self.lanes: list[str] | None = None
        self._wish: dict[str, str] = {}
        self._later = later
        self._log: Log | None = None
        self._other: Log | None = None
        self._live: list[Live] = []
        self._chosen: dict[str, dict[str, Any]] = {}
        self._theme = "light"
        self._asked = 0
        self._put_last = self._shown = 0

    def look_at(self, log: Log) -> list[str]:
        """Show another comparison; return what was wished for and cannot be, in words."""
        self._log = log
        self.lanes = [lane for lane in self.lanes or [] if lane in log.lanes] or None
        refused = self._take_wish(log)
        if self.active not in self._offered():
            self.active = self._offered()[0]
        layers = layer_names(log)
        for chosen in self._chosen.values():
            if any(name not in layers for name in chosen.get("layers") or []):
                del chosen["layers"]
            if chosen.get("baseline") not in log.lanes:
                chosen.pop("baseline", None)
        self._draw()
        return refused

    def wish(self, address: dict[str, str]) -> None:
        """Note what an address says of views; the next comparison to be shown is shown like that.

        What it does not say is as it is by default.
        """
        self._wish = {
            key: value
            for key, value in address.items()
            if key == "view" or key.partition(".")[0] in figures.kinds()
        }
        self._chosen = {}
        self.active = figures.names()[0]

    def _take_wish(self, log: Log) -> list[str]:
        wish, self._wish, refused = self._wish, {}, []
        for key, value in wish.items():
            try:
                if key == "view":
                    self._find(value)
                    self.active = value
                else:
                    view, _, option = key.partition(".")
                    self._choose(log, view, option, value)
            except ValueError as error:
                refused.append(f"{key}={value}: {error}.")
        return refused

    def to_address(self) -> dict[str, str]:
        """Return the open view and the chosen options as an address has them."""
        first = self._offered()[0]
        chosen = {
            f"{view}.{key}": _word(value)
            for view, options in self._chosen.items()
            for key, value in options.items()
        }
        return ({} if self.active == first else {"view": self.active}) | chosen

    def chosen(self, view: str, key: str) -> Any:
        """An option that was chosen for a view, None when it was left as it is."""
        return self._chosen.get(view, {}).get(key)

    def show_lanes(self, lanes: list[str] | None) -> None:
        """Show just these lanes; all of them when None."""
        if lanes != self.lanes:
            self.lanes = lanes
            self._draw()

    def compare_with(self, name: str | None, folder: Path | None) -> None:
        """Show a saved comparison beside this one; None shows this one alone."""
        self._other = None if folder is None else Log(folder)
        self.other_name = name
        self._draw()

    def open(self, name: str) -> None:
        """Open a view; a name that is not offered is ignored."""
        if name in self._offered() and name != self.active:
            self.active = name
            self._draw()

    def set(self, key: str, value: Any, view: str | None = None) -> None:
        """Choose an option of a view, by default of the open one.

        Raises ValueError, in words, for what the view does not take.
        """
        if self._log is not None:
            self._choose(self._log, view or self.active, key, value)
            self._draw()

    def _choose(self, log: Log, view: str, key: str, value: Any) -> None:
        self._find(view)
        parameters: dict[str, Any] = dict(figures.kinds()[view].param.objects())
        if key not in parameters or key in _HIDDEN:
            known = ", ".join(name for name in parameters if name not in _HIDDEN)
            raise ValueError(f"the view {view} has no option {key!r}; it takes {known}")
        before = self._chosen.get(view, {})
        self._chosen[view] = {**before, key: _value(parameters[key], value)}
        try:
            figures.get(view, **self.arguments(view)).panels(log)
        except (ValueError, TypeError) as error:
            self._chosen[view] = before
            raise ValueError(str(error)) from None
        if key == "baseline" and not value:
            del self._chosen[view][key]

    def _find(self, view: str) -> None:
        if view not in self._offered():
            offered = ", ".join(self._offered())
            raise ValueError(f"there is no view {view!r} here; there are {offered}")

    def theme(self, name: str) -> None:
        """Draw in "light" or "dark"."""
        self._theme = name
        if self._patchable:
            for live in self._live:
                live.set_theme(name)

    def arguments(self, view: str | None = None) -> dict[str, Any]:
        """The options of a view, by default of the open one."""
        view = view or self.active
        chosen = dict(self._chosen.get(view, {}))
        if "layers" in figures.kinds()[view].param and "layers" not in chosen:
            assert self._log is not None
            chosen["layers"] = [_telling_layer(self._log)]
        if self.lanes is not None:
            chosen["lanes"] = self.lanes
        return chosen

    def refresh(self) -> bool:
        """Read what was appended to the other comparison; return whether anything is new."""
        return self._other is not None and self._other.refresh()

    def update(self) -> None:
        """Bring the figures up to date."""
        if self._patchable:
            for live in self._live:
                live.update()

    @property
    def _patchable(self) -> bool:
        """Whether the browser has what was put on the page last.

        A patch could otherwise overtake the message that brings what it is a patch of.
        """
        return bool(self._live) and self._shown == self._put_last

    def shown(self, stamp: object) -> None:
        """Note that the browser has what was put on the page under that stamp."""
        if stamp == self._put_last and not self._patchable:
            self._shown = self._put_last
            for live in self._live:
                live.set_theme(self._theme)

    def close(self) -> None:
        """Let the figures go."""
        self._asked += 1
        self._live = []
        self.pane.clear()
        self._log = self._other = None

    def _draw(self) -> None:
        """Show the open view: by patching what is drawn where that will do, else anew."""
        if self._log is None:
            return
        self._asked += 1
        view = figures.get(self.active, **self.arguments())
        wanted = [(view, self._log)]
        if self._other is not None:
            wanted.append((self._fitting(view, self._other), self._other))
        if self._patchable and len(wanted) == len(self._live):
            turned = [live.turn(*one) for live, one in zip(self._live, wanted, strict=True)]
            if all(turned):
                return
        self._live = []
        self.pane.clear()
        asked, theme = self._asked, self._theme

        def work() -> list[Live]:
            with _drawing:
                made = [Live(view, log, theme) for view, log in wanted]
            for live in made:
                live.on_pointed(self._on_pointed)
            return made

        self._later(work, lambda drawn: self._put(asked, drawn))

    def _put(self, asked: int, drawn: list[Live]) -> None:
        if asked != self._asked:
            return  # another view was opened meanwhile
        self._live = drawn
        self._put_last += 1
        self.pane.put(
            [[panel.model for panel in live.panels] for live in drawn],
            self._columns(),
            ["This comparison", str(self.other_name)][: len(drawn)],
        )

    def _columns(self) -> int:
        columns = figures.kinds()[self.active].columns
        return columns if self._other is None else max(1, columns // 2)

    def _fitting(self, view: Any, log: Log) -> Any:
        options = view.options()
        if options.get("layers") and not set(options["layers"]) <= set(layer_names(log)):
            options["layers"] = [_telling_layer(log)]
        if options.get("lanes") and not set(options["lanes"]) <= set(log.lanes):
            options["lanes"] = None
        if options.get("baseline") not in log.lanes:
            options.pop("baseline", None)
        return figures.get(view.key, **options)

    def _offered(self) -> list[str]:
        log = self._log
        if log is None:
            return figures.names()
        # What packed networks cost is measured on demand, from its own view.
        return [name for name in figures.names() if name == _COST or figures.get(name).applies(log)]

    def to_form(self, *, measuring: bool = False) -> dict[str, Any]:
        """What the page needs to draw the tabs and the options."""
        kinds = figures.kinds()
        kind = kinds[self.active]
        options = [] if self._log is None else self._options(kind)
        if self.active == _COST:
            options.append(
                {
                    "kind": "button",
                    "key": "measure",
                    "label": "Measuring …" if measuring else "Measure now",
                    "disabled": measuring,
                    "help": "",
                }
            )
        return {
            "tabs": [{"name": name, "title": kinds[name].title} for name in self._offered()],
            "active": self.active,
            "caption": kind.question,
            "options": options,
            "paired": self._other is not None,
            "drawing": not self._live,
            "stamp": self._put_last,
        }

    def _options(self, kind: Any) -> list[dict[str, Any]]:
        assert self._log is not None
        view = figures.get(self.active, **self.arguments())
        seeds = sorted({run.seed for run in self._log.runs})
        fields = []
        known: dict[str, Any] = dict(kind.param.objects())
        for name, parameter in known.items():
            if name in _HIDDEN:
                continue
            value = getattr(view, name)
            field = {"key": name, "label": parameter.label, "help": parameter.doc or ""}
            if name == "layers":
                choices = [*layer_names(self._log), _ALL]
                chosen = _ALL if value is None else value[0]
                fields.append({**field, "label": "Layer", **_select(choices, chosen)})
            elif name == "seed":
                if len(seeds) > 1:
                    fields.append({**field, **_select(seeds, seeds[0] if value is None else value)})
            elif name == "batch":
                costs = [run.cost or {} for run in self._log.runs]
                sizes = sorted({row["batch"] for cost in costs for row in cost.get("batches", [])})
                if sizes:
                    fields.append({**field, **_select(sizes, value or sizes[-1])})
            elif isinstance(parameter, param.ListSelector) or (name == "band" and len(seeds) < 2):
                continue
            elif isinstance(parameter, param.Boolean):
                fields.append({**field, "kind": "switch", "value": value})
            elif isinstance(parameter, param.Selector):
                fields.append({**field, **_select(parameter.objects, value)})
            elif isinstance(parameter, param.Number) and None not in (parameter.bounds or (None,)):
                bounds: Any = parameter.bounds
                low, high = bounds
                step = 1 if isinstance(parameter, param.Integer) else (high - low) / 100
                limits = {"low": low, "high": high, "step": step}
                fields.append({**field, "kind": "range", **limits, "value": value})
        return fields


def _value(parameter: Any, typed: Any) -> Any:
    """What was typed or chosen, as a view's parameter takes it. Raises ValueError."""
    if parameter.name == "layers":
        return None if typed == _ALL else [str(typed)]
    if isinstance(parameter, param.Boolean):
        if typed not in (True, False, "on", "off"):
            raise ValueError(f"{typed!r} is neither on nor off")
        return typed in (True, "on")
    if isinstance(typed, str) and isinstance(parameter, param.Integer):
        return int(typed)
    if isinstance(typed, str) and isinstance(parameter, param.Number):
        return float(typed)
    if parameter.name == "baseline":
        return str(typed) or None
    return typed


def _word(value: Any) -> str:
    """An option's value as `_value` takes it back."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return _ALL if value is None else value[0] if isinstance(value, list) else str(value)


def _select(choices: Any, chosen: Any) -> dict[str, Any]:
    return {
        "kind": "select",
        "choices": [[str(choice), str(choice).replace("_", " ")] for choice in choices],
        "value": str(chosen),
    }


def _telling_layer(log: Log) -> str:
    """The layer to look at first: of those that most lanes binarize, one that activations feed."""
    counts = {name: 0 for name in layer_names(log)}
    for run in log.runs:
        for layer in run.layers:
            counts[layer["name"]] += layer["binarized"]
    first = next(iter(counts))
    return max(counts, key=lambda name: (counts[name], name != first))
