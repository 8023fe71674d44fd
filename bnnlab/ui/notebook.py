"""The page, or one view alone, as the last line of a notebook's cell."""

from typing import Any

from panel.io import hold

from bnnlab import figures
from bnnlab.figures import Live
from bnnlab.training.comparison import Comparison
from bnnlab.training.store import Log
from bnnlab.ui import actions
from bnnlab.ui.bench import Figures
from bnnlab.ui.cell import InCell
from bnnlab.ui.page import Page


class Widget(InCell):
    """A page in a cell: trains a comparison, or shows a log.

    Args:
        shown: a Comparison, which begins to train when it is displayed, or a Log.

    Attributes:
        page: the page; None before it is displayed and once it was closed.
    """

    def __init__(self, shown: Comparison | Log, **params):
        super().__init__(**params)
        self._shown = shown
        self.page: Page | None = None

    @property
    def log(self) -> Log | None:
        """What is being recorded; None until the trainers have started."""
        return None if self.page is None else self.page.session.log

    def content(self) -> Any:
        """Return the page, which begins to train."""
        if self.page is None:
            log = self._shown
            if isinstance(log, Log):
                self.page = Page(log.path, library=log.path.parent, autoplay=False, embedded=True)
            else:
                self.page = Page(comparison=log, embedded=True)
        return self.page.bench

    def tick(self) -> None:
        """Draw what is new."""
        if self.page is not None:
            self.page.tick()

    def greet(self) -> None:
        """Draw everything."""
        if self.page is not None:
            self.page.greet()

    def rest(self) -> None:
        """Have the trainers leave; Play starts them again."""
        if self.page is not None:
            actions.stop(self.page, {"do": "stop"})

    def end(self) -> None:
        """Stop training and delete what was not saved."""
        if self.page is not None:
            self.page.close()
            self.page = None

    def state(self) -> tuple:
        """Return the open view, whether it goes on, and what draws it."""
        log, page = self.log, self.page
        if isinstance(self._shown, Log) and log is None:
            log, arguments, name = self._shown, {}, figures.names()[0]  # not opened yet
        elif page is None or log is None:
            return "nothing", None
        else:
            name, arguments = page.views.active, page.views.arguments()
        going = page is not None and page.session.status().state in ("playing", "pausing")
        view = figures.get(name, **arguments)
        # Read anew: the page reads its own log on, and this is drawn on another thread.
        return (name, going), lambda: view.drawing(Log(log.path))


class LiveView(InCell):
    """One view of a log in a cell, without the rest of the page; grows while the log does.

    Args:
        name: the view's name.
        log: what it shows; it is only read.
        theme: "light" or "dark".
        options: the view's options.

    Raises ValueError as `bnnlab.figures.get` and the view do.
    """

    def __init__(self, name: str, log: Log, *, theme: str = "light", **options: Any):
        super().__init__()
        self._log = log
        self._live = Live(name, log, theme, **options)

    def content(self) -> Any:
        """Return the figures of the view."""
        pane = Figures()
        pane.put([[panel.model for panel in self._live.panels]], self._live.view.columns, [""])
        return pane

    def tick(self) -> None:
        """Draw what was recorded since."""
        if self._log.refresh():
            with hold():
                self._live.update()

    def state(self) -> tuple:
        """Return whether it is complete, and what draws it."""
        ended = all(run.end for run in self._log.runs)
        view, theme = self._live.view, self._live.look.theme
        return ended, lambda: view.drawing(Log(self._log.path), theme=theme)
