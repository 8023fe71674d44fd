"""Panels as HoloViews elements that look the same through Bokeh and through matplotlib."""

from typing import Any

import holoviews as hv
import holoviews.plotting.bokeh
import holoviews.plotting.mpl
from holoviews.core.accessors import Opts

from bnnlab.figures import paper, screen
from bnnlab.figures.compose import Drawing, beside
from bnnlab.figures.marks import Band, Image, Line, Panel, Points, Spikes, Text
from bnnlab.figures.theme import Look


class _Options(Opts):
    """What `.opts` of a figure or a part of it is.

    Every part has a group of its own that its style goes by. HoloViews lets that style win over
    options of all curves, say, which is what is asked for here: they are given to each group.
    """

    def __call__(self, *args, **kwargs):
        if not args and kwargs.keys() - {"backend", "clone"}:
            rest = {key: kwargs.pop(key) for key in ("backend", "clone") if key in kwargs}
            args, kwargs = ({type(self._obj).__name__: kwargs},), rest
        return super().__call__(*self._each(args), **kwargs)

    def _each(self, args):
        groups: dict[str, list[str]] = {}
        for part in self._obj.traverse(lambda part: part):
            groups.setdefault(type(part).__name__, []).append(part.group)
        for given in args:
            if isinstance(given, hv.Options) and given.key in groups:
                yield from (given(key=f"{given.key}.{name}") for name in groups[given.key])
            elif isinstance(given, dict):
                yield {
                    f"{key}.{name}" if name else key: options
                    for key, options in given.items()
                    for name in groups.get(key, [""])
                }
            elif isinstance(given, list):
                yield [*self._each(given)]
            else:
                yield given


def _own(kind):
    """A kind of HoloViews element with such options, drawn like any other of the kind."""
    own = type(kind.__name__, (kind,), {"opts": property(_Options)})
    for backend in ("bokeh", "matplotlib"):
        hv.Store.registry[backend][own] = hv.Store.registry[backend][kind]
    return own


_KINDS = (hv.Curve, hv.Area, hv.Spikes, hv.Scatter, hv.Labels, hv.Image, hv.Overlay, hv.Layout)
_KIND = {kind: _own(kind) for kind in _KINDS}


def _image(mark: Image, **about):
    x0, x1, y0, y1 = mark.extent
    grid = mark.columns()["image"][::-1]
    return _KIND[hv.Image](grid, bounds=(x0, y0, x1, y1), vdims="value", **about)


def _by_color(style: dict) -> dict:
    """Style with its main colour as `color`, the option that users give: theirs then wins."""
    style = dict(style)
    main = "fill_color" if style.get("fill_color") else "line_color"
    if main in style:
        style["color"] = style.pop(main)
        if style.get("line_color") == style["color"]:
            del style["line_color"]
    return style


def _of(mark, *names):
    columns = mark.columns()
    return tuple(columns[name] for name in names)


# How each kind of mark is an element; its style is `screen.style` and `paper.style`.
_ELEMENTS = {
    Line: lambda mark, **about: _KIND[hv.Curve](_of(mark, "x", "y"), "x", "y", **about),
    Band: lambda mark, **about: _KIND[hv.Area](
        _of(mark, "x", "low", "high"), "x", ["low", "high"], **about
    ),
    Spikes: lambda mark, **about: _KIND[hv.Spikes](_of(mark, "x", "y"), "x", "y", **about),
    Points: lambda mark, **about: _KIND[hv.Scatter](_of(mark, "x", "y"), "x", "y", **about),
    Text: lambda mark, **about: _KIND[hv.Labels](
        _of(mark, "x", "y", "text"), ["x", "y"], "text", **about
    ),
    Image: _image,
}


def _panel_options(panel: Panel, look: Look) -> tuple[dict, dict]:
    """Return the options of a panel's overlay on screen and on paper."""

    def on_screen(plot, element):
        drawn = [part.handles["glyph_renderer"] for part in plot.subplots.values()]
        screen.dress(plot.state, drawn, panel, look)

    def on_paper(plot, element):
        paper.dress(plot.handles["axis"], panel, look)

    common = dict(
        xlabel=panel.x_label, ylabel=panel.y_label, xlim=panel.x_range, ylim=panel.y_range,
        logy=panel.y_log, show_legend=False, padding=0,
    )  # fmt: skip
    return (
        dict(**common, title=panel.heading, responsive=True, height=panel.height, toolbar=None,
             hooks=[on_screen]),
        dict(**common, title="", hooks=[on_paper]),
    )  # fmt: skip


def layout(drawing: Drawing) -> hv.Layout:
    """Return panels as one element, a Layout of Overlays, which knows what it was made from."""
    look = Look(drawing.theme)
    overlays = []
    options: tuple[dict, dict] = {}, {}
    # Options are set once for all: each mark has a group of its own to be called by.
    for number, panel in enumerate(drawing.panels):
        marks = []
        for place, mark in enumerate(panel.marks):
            kind = next(kind for kind in _ELEMENTS if isinstance(mark, kind))
            group = f"P{number}M{place}"
            marks.append(_ELEMENTS[kind](mark, group=group))
            extra = {}
            if isinstance(mark, Image):
                extra = dict(cmap=look.palette(mark), clim=(-0.5, mark.levels - 0.5))
            name = f"{type(marks[-1]).__name__}.{group}"
            options[0][name] = _by_color(screen.style(mark, look)) | extra
            options[1][name] = paper.style(mark, look) | extra
        overlays.append(_KIND[hv.Overlay](marks, group=f"P{number}"))
        for backend, own in zip(options, _panel_options(panel, look), strict=True):
            backend[f"Overlay.P{number}"] = own
    whole: Any = _KIND[hv.Layout](overlays, group="Drawing").cols(
        beside(drawing.panels, drawing.columns)
    )
    options[0]["Layout.Drawing"] = dict(shared_axes=False, toolbar=None)
    options[1]["Layout.Drawing"] = dict(shared_axes=False, sublabel_format="", tight=False)
    for backend, specs in zip(("bokeh", "matplotlib"), options, strict=True):
        made = [hv.Options(name, backend=backend, **own) for name, own in specs.items()]
        whole = whole.opts(made)
    whole.bnnlab_drawing = drawing, _identity(whole)
    return whole


def _identity(figure: hv.Layout) -> list:
    return figure.traverse(lambda part: part.id)


def drawing_of(figure) -> Drawing | None:
    """Return what an element was made from, None when it was made or styled by someone else."""
    drawing, identity = getattr(figure, "bnnlab_drawing", (None, None))
    return drawing if drawing is not None and identity == _identity(figure) else None
