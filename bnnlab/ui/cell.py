"""Something live in a notebook's cell: its scripts, the picture that stays, and its end.

What is live needs BokehJS (3 MB), which is sent once for each browser and taken out of the notebook
again as soon as it has run. What stays is the last state as a picture: it is hidden while
the live thing is there, and seen wherever the notebook is opened without its kernel.
"""

import base64
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import panel as pn
import param
from panel.custom import JSComponent
from tornado.ioloop import IOLoop

from bnnlab.figures.compose import Drawing
from bnnlab.figures.export import png
from bnnlab.ui.page import PERIOD

_PATIENCE = 60.0  # seconds of training between two pictures
_DPI = 110
# One picture is drawn at a time, off the kernel's loop.
_drawer = ThreadPoolExecutor(1, thread_name_prefix="bnnlab-picture")

# What the kernel keeps in mind: who is in which cell, and which browsers have the scripts.
_in_cells: dict[str, list["InCell"]] = {}
_browsers: set[str] = set()

# The part of a saved notebook that is live runs only in the browser it was made in: elsewhere there
# is nobody to talk to.
_LIVE = "(window.bnnlab_live = window.bnnlab_live || new Set()).add('{id}')"
_GUARD = (
    "(function wait(tries) {{"
    " if (window.bnnlab_live && window.bnnlab_live.has('{id}')) {{ {script} }}"
    " else if (tries) setTimeout(wait, 50, tries - 1) }})(100)"
)
_NOTHING = "Run the cell to train."
_ELSEWHERE = "Live where the notebook's kernel runs."
_OPEN, _CLOSE = '<script type="application/javascript">', "</script>"


class Signal(JSComponent):
    """Tells whether what stands above it in the cell is there.

    That it is, once it is drawn (a change in the middle of that may end it), again and again until
    it was heard: a message that is sent while the kernel is busy may overtake the one that opens
    its channel (JupyterLab sends them by ways of their own), and is lost then.

    That the cell is gone is told over a channel of its own, where there can be one: with the cell
    Panel's is gone, too. What is drawn anew, as an ipywidget may be, says so under another name.
    """

    heard = param.String(doc="The name of what the kernel heard of last; empty once that is gone.")

    _esm = """
function connect(node) {
  while (node && !node.dataset?.rootId) node = node.parentNode ?? node.host
  const name = node?.dataset.rootId
  const channel = window.PyViz?.kernels?.[name]?.connectToComm(`bnnlab-${name}`)
  channel?.open()
  return channel
}

export function render({ model, el }) {
  const name = String(Math.random())
  const above = () => el.getRootNode().host?.previousElementSibling
  let channel, there = false
  setInterval(() => {
    if (el.isConnected) {
      there ||= above()?.offsetHeight > 0
      if (!there) return
      channel ??= connect(el)
      if (model.heard !== name) model.send_msg({ name, there })
    } else if (there) {
      there = false
      channel ? channel.send({ name, there }) : model.send_msg({ name, there })
    }
  }, 250)
}
"""

    def __init__(self, there: Callable[[bool], None]):
        super().__init__(width=0, height=0, margin=0)
        self._there = there

    def _handle_msg(self, data):
        name = str(data["name"])
        if not data["there"]:
            if name == self.heard:
                self.gone()
        elif name != self.heard:
            self.heard = name
            self._there(True)

    def gone(self) -> None:
        """Note that the cell is gone. May be called twice."""
        if self.heard:
            self.heard = ""
            self._there(False)

    def listen(self, shell: Any, name: str) -> None:
        """Open the channel of the cell whose element in the browser has that id."""
        loop = IOLoop.current()

        def opened(channel: Any, message: Any) -> None:
            channel.on_msg(
                lambda said: loop.add_callback(self._handle_msg, said["content"]["data"])
            )

        shell.kernel.comm_manager.register_target(f"bnnlab-{name}", opened)


class _Root(pn.Column):
    """What is in the cell.

    JupyterLab has the kernel take the messages of a widget on threads of their own (subshells).
    Panel and the page are not made for that: they get them on the kernel's loop.
    """

    def __init__(self, *content):
        super().__init__(*content, sizing_mode="stretch_width", margin=0)
        self._loop = IOLoop.current()

    def _on_msg(self, ref, manager, msg) -> None:
        self._loop.add_callback(super()._on_msg, ref, manager, msg)


class InCell(pn.viewable.Viewer):
    """Something live, from when it is displayed in a cell until that is run again or deleted."""

    def __init__(self, **params):
        super().__init__(**params)
        self._beat: Any = None
        self._passing: list[str] = []  # outputs that go once the browser has drawn
        self._picture: _Picture | None = None
        self._roots: list[pn.viewable.Viewable] = []  # what was displayed, once for each cell
        self._seen = False
        self._signal = Signal(self._there)

    # What is displayed says this of itself.

    def content(self) -> Any:
        """Return what is drawn."""
        raise NotImplementedError

    def tick(self) -> None:
        """Bring what is drawn up to date."""

    def greet(self) -> None:
        """Draw everything: the browser is there, and what was sent before may not have come."""

    def rest(self) -> None:
        """Do nothing that costs: the cell was deleted, or is not shown."""

    def end(self) -> None:
        """Let everything go."""

    def state(self) -> tuple[object, Callable[[], Drawing] | None]:
        """Return what the picture depends on, and what draws it; None while there is nothing."""
        raise NotImplementedError

    # The rest is done here.

    def close(self) -> None:
        """Stop, and let everything go. May be called twice."""
        if self._beat is not None:
            self._beat.stop()
            self._beat = None
            self.end()

    def __panel__(self):
        """Return what is drawn, and begin to keep it up to date."""
        if self._beat is None:
            self._beat = pn.state.add_periodic_callback(self._on_beat, PERIOD)
        return _Root(self.content(), self._signal)

    def _on_beat(self) -> None:
        # A cell that is out of sight is not drawn yet, and what is sent to it would be lost.
        if self._seen:
            self.tick()
            pn.io.push_notebook(*self._roots)  # what changed in figures goes by no other way
        if self._picture is not None:
            self._picture.follow(*self.state())

    def _there(self, there: bool) -> None:
        self._seen = there
        if not there:
            return self.rest()
        self.greet()
        for name in self._passing:
            _publish({"text/plain": ""}, name, update=True)
        self._passing = []

    def _ipython_display_(self) -> None:
        shell = _kernel()
        parent = shell.get_parent()
        self._passing += _load_scripts(parent.get("header", {}).get("session", ""))
        cell = parent.get("metadata", {}).get("cellId")
        if cell:
            if _before_cell not in shell.events.callbacks["pre_run_cell"]:
                shell.events.register("pre_run_cell", _before_cell)
            _in_cells.setdefault(cell, []).append(self)
        root: Any = self._create_view()
        self._roots.append(root)
        script, data, metadata = _bundle(root, self._signal.gone)
        (live,) = root._models
        self._signal.listen(shell, live)
        self._passing.append(_publish({"application/javascript": script}))
        _publish(data, metadata=metadata)
        self._picture = _Picture(live, *self.state())


def _kernel() -> Any:
    """Return the shell of the kernel this runs in; elsewhere IPython prints the object's words."""
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        raise NotImplementedError
    return shell


def _publish(data: dict, name: str = "", *, metadata: Any = None, update: bool = False) -> str:
    """Put something into the cell's output under a name, by which it can be replaced."""
    from IPython.display import publish_display_data

    name = name or uuid.uuid4().hex
    transient = {"display_id": name}
    publish_display_data(data, metadata or {}, transient=transient, update=update)
    return name


def _load_scripts(browser: str) -> list[str]:
    """Send the scripts to a browser that does not have them yet; return their outputs' names."""
    from IPython.utils.capture import capture_output
    from panel.io.notebook import load_notebook

    if browser in _browsers or (pn.extension._loaded and not _browsers):
        return []  # in the second case the notebook's writer loaded Panel as they like
    with capture_output(stdout=False, stderr=False) as captured:
        if pn.extension._loaded:
            load_notebook(inline=True)
        else:
            pn.extension(inline=True)
    _browsers.add(browser)
    return [_publish(output.data, metadata=output.metadata) for output in captured.outputs]


def _bundle(root: Any, gone: Callable[[], None]) -> tuple[str, dict, dict]:
    """Return a script that goes before, the output that makes a layout live, and its metadata.

    `gone` is called where the front end tells itself that it shows it no longer.
    """
    if pn.config.comms in ("ipywidgets", "vscode"):
        # jupyter_bokeh comes with the extra `notebook`
        from bnnlab.ui.ipywidget import IPyWidget, OnceReady

        widget = IPyWidget(root, gone)
        (name,) = root._models
        shown: Any = OnceReady(widget, name)
        return shown.script, {**shown._repr_mimebundle_(), "text/plain": _ELSEWHERE}, {}
    data, metadata = root._repr_mimebundle_()
    (name,) = root._models
    page, script = data["text/html"].split(_OPEN)
    script = script.removesuffix(_CLOSE)
    guarded = _GUARD.format(id=name, script=script)
    html = f"{page}{_OPEN}{guarded}{_CLOSE}"
    return _LIVE.format(id=name), {**data, "text/html": html}, metadata


def _before_cell(info: Any) -> None:
    """End what is in a cell before the cell is run again."""
    for shown in _in_cells.pop(getattr(info, "cell_id", None) or "", []):
        shown.close()


class _Picture:
    """The last state, as an output of its own that is hidden while the live one is there.

    Args:
        live: the id of the live element in the browser.
        of, draw: what it depends on and what draws it, as `InCell.state` returns them.
    """

    def __init__(self, live: str, of: object, draw: Callable[[], Drawing] | None):
        self._live = live
        self._of = of
        self._at = time.monotonic()
        self._drawing: Future | None = None
        if draw is not None:
            self._name = _publish(self._bundle(png(draw(), dpi=_DPI)))
        else:
            self._name = _publish({"text/html": self._page(_NOTHING), "text/plain": _NOTHING})

    def follow(self, of: object, draw: Callable[[], Drawing] | None) -> None:
        """Draw anew when what it shows changed, or after a while; put it in when it is there."""
        if self._drawing is not None:
            if self._drawing.done():
                _publish(self._bundle(self._drawing.result()), self._name, update=True)
                self._drawing = None
        elif draw is not None and (of != self._of or time.monotonic() - self._at > _PATIENCE):
            self._of, self._at = of, time.monotonic()
            self._drawing = _drawer.submit(lambda: png(draw(), dpi=_DPI))

    def _bundle(self, picture: bytes) -> dict[str, str]:
        data = base64.b64encode(picture).decode()
        image = f'<img alt="The last state" src="data:image/png;base64,{data}">'
        return {"text/html": self._page(image), "image/png": data, "text/plain": "The last state"}

    def _page(self, inside: str) -> str:
        return (
            f'<style>body:has([data-root-id="{self._live}"] > *) .bnnlab-{self._live} '
            "{ display: none }</style>"
            f'<div class="bnnlab-{self._live}">{inside}</div>'
        )
