"""The dashboard as a document of the server: a page in a template that asks nobody for anything."""

from pathlib import Path

import panel as pn

from bnnlab.ui.bench import asset
from bnnlab.ui.page import PERIOD, Page


def dashboard(
    folder: str | Path | None = None,
    library: str | Path | None = None,
    *,
    autoplay: bool = True,
) -> pn.Template:
    """Make the dashboard of one session: a page of its own, which ends with the session.

    Args:
        folder: a comparison to open; by default a new one begins.
        library: where comparisons are saved; by default `comparisons` in the current folder.
        autoplay: whether training begins by itself.
    """
    page = Page(folder, library=library, autoplay=autoplay)
    template = pn.Template(asset("page.html"))
    template.add_panel("bench", page.bench)
    document = pn.state.curdoc
    if document is not None and document.session_context is not None:
        document.on_session_destroyed(lambda context: page.close())
        document.add_periodic_callback(page.tick, PERIOD)
    return template
