"""Figures: what a log records, drawn. `bnnlab.figures.weights(log)` and its siblings.

Each view is called with a log and its options and returns a HoloViews element, which renders
through Bokeh and matplotlib alike; `bnnlab.export` writes it to a file; `Live` draws it once on a
page and keeps it up to date.
"""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bnnlab.figures import views
from bnnlab.figures.compose import Drawing, sheet, sheet_drawing
from bnnlab.figures.view import View
from bnnlab.registry import checked, discover

if TYPE_CHECKING:
    from bnnlab.figures.animation import animate
    from bnnlab.figures.live import Live

__all__ = ["Drawing", "Live", "View", "animate", "drawing", "get", "kinds", "names", "sheet"]


@cache
def kinds() -> dict[str, type[View]]:
    """Every view's class by name, in the order to show them in."""
    found = sorted(discover(views, View), key=lambda kind: (kind.order, kind.key))
    return {kind.key: kind for kind in found}


def names() -> list[str]:
    """The names of the views."""
    return list(kinds())


def get(name: str, **options: Any) -> View:
    """Return a view by name, with its options.

    Raises ValueError for an unknown view, an unknown option or a value that is not allowed; the
    message lists what there is.
    """
    if name not in kinds():
        raise ValueError(f"no view is called {name!r}; there are {', '.join(kinds())}")
    return checked(kinds()[name], f"view {name!r}", options)


def drawing(name: str, log: Any, *, theme: str = "light", **options: Any) -> Drawing:
    """Return a view of a log, or with "sheet" all of them, as `bnnlab.export` takes it.

    It costs a hundredth of what a HoloViews element does. Raises ValueError as `get` does.
    """
    if name == "sheet":
        return sheet_drawing(log, theme)
    return get(name, **options).drawing(log, theme=theme)


def __getattr__(name: str) -> Any:
    # Views need no plotting library to be listed; drawing one does.
    if name == "Live":
        return import_module("bnnlab.figures.live").Live
    if name == "animate":
        return import_module("bnnlab.figures.animation").animate
    if name in names():
        return get(name)
    raise AttributeError(f"module 'bnnlab.figures' has no attribute {name!r}")


def __dir__():
    return sorted([*__all__, *names()])
