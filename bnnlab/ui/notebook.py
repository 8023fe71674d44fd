"""The page as the last line of a notebook cell."""

import panel as pn

from bnnlab.training.comparison import Comparison
from bnnlab.training.store import Log
from bnnlab.ui.page import PERIOD, Page


class Widget(pn.viewable.Viewer):
    """A page in a cell: trains a comparison, or shows a log.

    Args:
        shown: a Comparison, which begins to train when the cell is displayed, or a Log.
    """

    def __init__(self, shown: Comparison | Log, **params):
        super().__init__(**params)
        if isinstance(shown, Log):
            self.page = Page(shown.path, library=shown.path.parent, autoplay=False, embedded=True)
        else:
            self.page = Page(comparison=shown, embedded=True)
        self._beat = None

    def close(self) -> None:
        """Stop training and let everything go."""
        if self._beat is not None:
            self._beat.stop()
        self.page.close()

    def __panel__(self):
        """Return what is drawn, and begin to keep it up to date."""
        if self._beat is None:
            self._beat = pn.state.add_periodic_callback(self.page.tick, PERIOD)
        return self.page.bench


def widget(shown: Comparison | Log) -> Widget:
    """Make the widget of a comparison or a log; the scripts it needs come with it."""
    if not pn.extension._loaded:
        pn.extension(inline=True)
    return Widget(shown)
