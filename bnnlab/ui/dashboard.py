"""The dashboard as a document of the server: a page in a template that asks nobody for anything."""

import os
from collections.abc import Callable
from typing import Any

import panel as pn

from bnnlab.ui.address import read
from bnnlab.ui.bench import asset
from bnnlab.ui.page import PERIOD, Page


def dashboard(
    folder: str | os.PathLike | None = None,
    library: str | os.PathLike | None = None,
    *,
    autoplay: bool = True,
    device: str = "cpu",
) -> pn.Template:
    """Make the dashboard of one session: a page of its own, which ends with the session.

    The query of the browser's address says what it shows, if anything; it comes before `folder`.

    Args:
        folder: a comparison to open; by default a new one begins.
        library: where comparisons are saved; by default `comparisons` in the current folder.
        autoplay: whether training begins by itself.
        device: the name of the one to train on, see `bnnlab.training.devices`.
    """
    address = read(pn.state.session_args)
    page = Page(folder, library=library, autoplay=autoplay, address=address, device=device)
    template = pn.Template(asset("page.html"))
    template.add_panel("bench", page.bench)
    document = pn.state.curdoc
    if document is not None and document.session_context is not None:
        page.watched = _watched(document.session_context)
        document.on_session_destroyed(lambda context: page.close())
        document.add_periodic_callback(page.tick, PERIOD)
    return template


def _watched(context: Any) -> Callable[[], bool]:
    """Tell whether a browser is connected to a session, or may yet connect for the first time."""
    was = False

    def watched() -> bool:
        nonlocal was
        connected = context.session is not None and context.session.connection_count > 0
        was = was or connected
        return connected or not was

    return watched
