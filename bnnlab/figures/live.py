"""A view on a page: drawn once, then kept up to date by patching what is drawn."""

from typing import Any, NamedTuple

import numpy as np
from bokeh.layouts import row
from bokeh.models import CustomJS

from bnnlab.figures import screen
from bnnlab.figures import theme as themes
from bnnlab.figures.compose import Drawing
from bnnlab.figures.marks import Panel
from bnnlab.figures.view import View
from bnnlab.training.store import Log

_PATCHED = {"title", "heading", "marks", "x_range", "y_range", "empty"}


class LivePanel(NamedTuple):
    """One picture of a live view, to be put on a page."""

    lane: str
    title: str
    model: Any


class Drawn:
    """A panel that is drawn: its figure, its renderers, and the numbers they show."""

    def __init__(self, panel: Panel, look: themes.Look):
        self.panel = panel
        self.figure: Any
        self.renderers: list[Any]
        self.figure, self.renderers = screen.draw(panel, look)
        self.shown = [mark.columns() for mark in panel.marks]

    def update(self, panel: Panel) -> None:
        """Show the numbers of a newer panel; what did not change is not sent."""
        was, figure = self.panel, self.figure
        if [type(m) for m in panel.marks] != [type(m) for m in was.marks]:
            raise RuntimeError(f"the marks of {panel.title!r} changed; a view must keep them")
        self.panel = panel
        for place, (mark, renderer) in enumerate(zip(panel.marks, self.renderers, strict=True)):
            columns = mark.columns()
            if not _same(columns, self.shown[place]):
                self.shown[place] = columns
                renderer.data_source.data = screen.source_data(mark)
                if renderer.visible != (seen := screen.is_seen(mark)):
                    renderer.visible = seen
        for axis, new, old in (
            (figure.x_range, panel.x_range, was.x_range),
            (figure.y_range, panel.y_range, was.y_range),
        ):
            if new != old:
                axis.update(start=new[0], end=new[1])
        if panel.y_ticks() != was.y_ticks():
            figure.yaxis[0].ticker.ticks = panel.y_ticks()
        if panel.heading != was.heading:
            figure.title.text = panel.heading


def _same(one, other):
    return all(
        a is b or (a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
        for a, b in zip(one.values(), other.values(), strict=True)
    )


class Live:
    """A view of a log on a page.

    Its panels are drawn once; `update` then writes the newest numbers into the sources and ranges
    of what was drawn, and sends nothing that did not change.

    Args:
        view: a view's name, or a view.
        log: the log it shows; whoever owns it calls `log.refresh()`.
        theme: "light" or "dark".
        options: the view's options.

    Attributes:
        panels: lane, title and Bokeh model of each picture, to be laid out as the page likes.

    Raises ValueError as `bnnlab.figures.get` and the view do.
    """

    def __init__(self, view: str | View, log: Log, theme: str = "light", **options: Any):
        from bnnlab import figures

        named = figures.get(view) if isinstance(view, str) else view
        self.view = named.changed(**options)
        self.log = log
        self.look = themes.Look(theme)
        self._seen = self._state()
        self._drawn = [Drawn(panel, self.look) for panel in self.view.panels(log)]
        self._lines = screen.link(
            [drawn.figure for drawn in self._drawn],
            [drawn.panel for drawn in self._drawn],
            self.look,
        )
        self.panels = grouped(self._drawn)

    def on_pointed(self, code: str) -> None:
        """Have the browser run a script whenever a step of the training is pointed at.

        In it `cb_obj.location` is the step, NaN when none is any more.
        """
        line = self._lines.get(("step", "height"))
        if line is not None:
            line.js_on_change("location", CustomJS(code=code))

    @property
    def model(self) -> Any:
        """All of it in one column, for a page that does not lay the panels out itself."""
        from bokeh.layouts import column

        return column([panel.model for panel in self.panels], sizing_mode="stretch_width")

    def drawing(self) -> Drawing:
        """Return what it shows now, to be exported."""
        return self.view.drawing(self.log, theme=self.look.theme)

    def _state(self) -> list:
        """Return what changes whenever the log records something, or its runs are extended."""
        return [self.log.steps] + [
            (run.step, len(run.array_steps), run.end, id(run.cost)) for run in self.log.runs
        ]

    def update(self) -> None:
        """Show the newest records of the log."""
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        for drawn, panel in zip(self._drawn, self.view.panels(self.log), strict=True):
            drawn.update(panel)

    def turn(self, view: View, log: Log) -> bool:
        """Show another view or log by patching; return False, untouched, where that cannot do."""
        panels = view.panels(log)
        was = [drawn.panel for drawn in self._drawn]
        if [_fixed(panel) for panel in panels] != [_fixed(panel) for panel in was]:
            return False
        self.view, self.log = view, log
        self._seen = self._state()
        for drawn, panel in zip(self._drawn, panels, strict=True):
            drawn.update(panel)
        return True

    def set_theme(self, theme: str) -> None:
        """Show it in the other theme, without drawing it anew.

        Raises ValueError for a theme there is not.
        """
        self.look = themes.Look(theme)
        for drawn in self._drawn:
            screen.recolor(drawn.figure, drawn.renderers, drawn.panel, self.look)
        for line in self._lines.values():
            line.line_color = self.look("muted")


def _fixed(panel: Panel) -> list:
    """Return what of a panel `update` leaves as it was drawn."""
    about = {key: value for key, value in vars(panel).items() if key not in _PATCHED}
    plain = (str, int, float, bool)
    styles = [
        {key: value for key, value in vars(mark).items() if isinstance(value, plain)}
        for mark in panel.marks
    ]
    return [about, [type(mark) for mark in panel.marks], styles]


def grouped(every: list[Drawn]) -> list[LivePanel]:
    """Put the panels of one lane and title beside each other."""
    groups: dict[tuple[str, str], list[Drawn]] = {}
    for drawn in every:
        groups.setdefault((drawn.panel.lane, drawn.panel.title), []).append(drawn)
    return [
        LivePanel(lane, title, members[0].figure if len(members) == 1 else _beside(members))
        for (lane, title), members in groups.items()
    ]


def page_panels(panels: list[Panel], look: themes.Look) -> list[LivePanel]:
    """Return panels as pictures for a page that does not change."""
    return grouped([Drawn(panel, look) for panel in panels])


def _beside(members):
    for drawn in members:
        # Bokeh lays rows out with CSS: shares become flex factors.
        drawn.figure.styles = {"flex": f"{drawn.panel.share} 1 0", "min-width": "0"}
    return row([drawn.figure for drawn in members], sizing_mode="stretch_width", spacing=4)
