"""The page and the notebook widget: Panel components built on the figures.

A `Page` belongs to one browser tab (or one notebook cell). It owns a `Session` (a comparison's
folder, its trainers and its log), the settings, and the view that is open; `Bench` is what is
drawn. Training never runs in this process: a page reads the store and sends commands.

In a notebook, `bnnlab.ui.weights(log)` and its siblings are single views, without the page.
"""

from functools import partial
from typing import Any


def __getattr__(name: str) -> Any:
    from bnnlab import figures

    if name not in figures.names():
        raise AttributeError(f"module 'bnnlab.ui' has no attribute {name!r}")
    from bnnlab.ui.notebook import LiveView

    return partial(LiveView, name)
