"""The component that the page and the notebook widget draw: everything but the figures' insides.

The parts of the script are plain files put together in order; there is no build step.
"""

import html
import math
from pathlib import Path

import panel as pn
import param
from bokeh.models import Column, Plot, UIElement
from panel.custom import JSComponent
from panel.viewable import Child

_ASSETS = Path(__file__).parent / "assets"
# Pixels: what figures may take of a desk's screen below the tabs; from which height on they are
# pictures, whose sides belong together; and how much larger a low one may become.
_ROOM, _PICTURE, _MOST = 520, 230, 1.6
_PARTS = ("dom", "bar", "form", "lanes", "views", "library", "story", "help", "bench")


def asset(name: str) -> str:
    """The text of a file in `assets/`."""
    return (_ASSETS / name).read_text(encoding="utf-8")


class Bench(JSComponent):
    """What is drawn; a `Page` fills it and acts on its messages.

    A dictionary that is replaced is drawn again where it differs. What changes ten times a second
    (`show`) does not pass through parameters.
    """

    form = param.Dict(default={"sections": [], "values": {}, "typed": {}, "messages": {}})
    lanes = param.List(default=[])
    views = param.Dict(default={"tabs": [], "options": []})
    card = param.Dict(default={})
    library = param.Dict(default={"title": "", "saved": []})
    notice = param.Dict(default={})
    place = param.Dict(default={})
    stories = param.List(default=[])
    story = param.Dict(default={})
    address = param.String(default="")
    busy = param.String(default="")
    figures = Child(default=None)
    embedded = param.Boolean(default=False)
    token = param.String(default="", doc="Whose figures are pointed at, where pages share one.")

    _esm = "\n".join(asset(f"{part}.js") for part in _PARTS)
    _stylesheets = [asset("bench.css")]

    def __init__(self, handle, **params):
        super().__init__(sizing_mode="stretch_width", **params)
        self._handle = handle

    def _handle_msg(self, data):
        if isinstance(data, dict) and isinstance(data.get("do"), str):
            self._handle(data)

    def show(self, tick: dict) -> None:
        """Draw the numbers of one moment."""
        self._send_msg({"type": "tick", **tick})

    def show_moment(self, step: int, lanes: dict[str, dict]) -> None:
        """Draw the numbers of the step that is pointed at."""
        self._send_msg({"type": "moment", "step": step, "lanes": lanes})

    def repeat(self) -> None:
        """Draw everything that is set again."""
        names = (
            "form", "lanes", "views", "card", "library", "notice", "place", "stories", "story",
            "address", "busy",
        )  # fmt: skip
        self._send_msg({"type": "all", **{name: getattr(self, name) for name in names}})

    def deliver(self, name: str, kind: str, data: str) -> None:
        """Have the browser save a file; `data` is its content in base64."""
        self._send_msg({"type": "file", "name": name, "kind": kind, "data": data})


class Figures(pn.Column):
    """Grids of figures, one for each comparison shown, each as many columns wide as fit."""

    def __init__(self, **params):
        super().__init__(
            sizing_mode="stretch_width",
            margin=0,
            stylesheets=[asset("figures.css")],
            **params,
        )
        self._heights: dict[Plot, int] = {}  # as the views made them

    def put(self, grids: list[list[UIElement]], columns: int, names: list[str]) -> None:
        """Show figures, a list of them for each comparison, `columns` side by side on a desk.

        Several comparisons stand beside each other, each under its name.
        """
        least = {1: 560, 2: 400, 3: 300}.get(columns, 232)
        # Low ones become higher where few rows of them would leave the screen empty.
        models = [model for grid in grids for one in grid for model in one.references()]
        drawn = [model for model in models if isinstance(model, Plot)]
        self._heights = {plot: self._heights.get(plot, plot.height or 0) for plot in drawn}
        rows = max([1, *(math.ceil(len(grid) * len(grids) / columns) for grid in grids)])
        for plot, height in self._heights.items():
            if height < _PICTURE:
                plot.height = max(height, min(_ROOM // rows, int(_MOST * height)))
        low = all(height < _PICTURE for height in self._heights.values())
        roomy = low and all(len(grid) <= columns for grid in grids)
        # Few curves may be wide; of what comes in many, like images, one is no larger than another.
        fill = "auto-fit" if columns < 4 or roomy else "auto-fill"
        several = len(grids) > 1
        self.css_classes = ["several"] if several else []
        self.objects = [
            pn.Column(
                *([pn.pane.HTML(f"<h3>{html.escape(name)}</h3>", margin=0)] if several else []),
                pn.pane.Bokeh(
                    Column(
                        children=models,
                        sizing_mode="stretch_width",
                        stylesheets=[asset("grid.css")],
                        styles={"--figure": f"{least}px", "--fill": fill},
                    ),
                    sizing_mode="stretch_width",
                    margin=0,
                ),
                sizing_mode="stretch_width",
                margin=0,
            )
            for models, name in zip(grids, names, strict=True)
        ]
