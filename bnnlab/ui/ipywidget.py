"""A layout as an ipywidget, for front ends where Panel has no channel of its own, like VS Code.

They bring Jupyter's widgets, of which jupyter_bokeh's draws a Bokeh document and carries messages
to and fro. Panel displays its layouts like that, too, but then (1.9) drops the changes of what is
written in JavaScript, which all of the page is, and loses what is clicked while the kernel is busy.
So here Panel is given the widget as a channel, and does as in JupyterLab.

A view of jupyter_bokeh's that is made before BokehJS and Panel's scripts have run stays empty for
good, and outputs need not run in the order in which they were sent. So what is displayed is a
button nobody sees, which a script presses as soon as they are there; then the layout takes its
place.
"""

from collections.abc import Callable, Sequence
from typing import Any

from bokeh.document import Document
from bokeh.models import UIElement
from ipywidgets import Button, Layout, VBox
from jupyter_bokeh.widgets import BokehModel
from panel.io.model import add_to_doc
from panel.io.notebook import patch_inline_stylesheets
from panel.viewable import Viewable
from pyviz_comms import Comm
from tornado.ioloop import IOLoop

_PATIENCE = 1.0  # seconds: what is drawn anew is gone for a moment
# For ten minutes: a cell may be emptied before its layout is drawn.
_PRESS = """
(function wait(tries) {{
  const button = document.querySelector(".bnnlab-ready.bnnlab-{id}")
  if (button && window.Bokeh?.Panel) button.click()
  else if (tries) setTimeout(wait, 50, tries - 1)
}})(12000)
"""


class IPyWidget(BokehModel):
    """A layout in a notebook.

    Args:
        layout: what is shown.
        gone: called when no cell shows it any more.
    """

    def __init__(self, layout: Viewable, gone: Callable[[], None]):
        self._loop = IOLoop.current()
        self._gone = gone
        document = Document()
        model: Any = layout.get_root(document, _Channel(self))
        for element in model.select({"type": UIElement}):
            patch_inline_stylesheets(element)
        # Held, a document tells nobody of its changes but Panel, when it sends them.
        add_to_doc(model, document, hold=True)
        # Whoever combines events drops all but the last of a kind: a click, for a frame drawn.
        super().__init__(model, combine_events=False)
        self._view_count = 0  # from now on the front end counts
        self.observe(lambda _: self._loop.call_later(_PATIENCE, self._look), "_view_count")

    def _look(self) -> None:
        if self._view_count == 0:
            self._gone()
            # Who shows it again begins with what there is now.
            self.render_bundle = self._model_to_traits(self._model)

    def _sync_model(self, model: Any, content: dict[str, Any], buffers: list) -> None:
        """Take a message on the kernel's loop, whichever thread it came on.

        What the page has to say are events. Changes are but the echo of the kernel's own: taken for
        news, they would be sent out again, and again.
        """
        if content.get("kind") == "MessageSent":
            self._loop.add_callback(super()._sync_model, model, content, buffers)


class OnceReady(VBox):
    """A layout in a notebook, drawn once the browser has the scripts.

    Args:
        widget: the layout.
        name: what the browser knows it by.

    Attributes:
        script: JavaScript that tells when the browser has them.
    """

    def __init__(self, widget: IPyWidget, name: str):
        button = Button(layout=Layout(display="none"))
        button.add_class("bnnlab-ready").add_class(f"bnnlab-{name}")
        super().__init__([button])
        self.script = _PRESS.format(id=name)
        loop = IOLoop.current()

        def show() -> None:
            self.children = [widget]

        # On the kernel's loop, whichever thread the message comes on.
        button.on_click(lambda _: loop.add_callback(show))


class _Channel(Comm):
    """What Panel sends changes through: a widget."""

    def __init__(self, widget: IPyWidget):
        super().__init__()
        self._comm = widget  # Panel waits until there is one

    def send(self, data: Any = None, metadata: Any = None, buffers: Sequence[Any] = ()) -> None:
        """Send a part of a message: text, or a buffer."""
        if buffers:
            self._comm.send({"msg": "patch"}, [*buffers])
        else:
            self._comm.send({"msg": "patch", "payload": data})
