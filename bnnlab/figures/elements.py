"""Panels as HoloViews elements that look the same through Bokeh and through matplotlib."""

import holoviews as hv
import holoviews.plotting.bokeh
import holoviews.plotting.mpl  # noqa: F401 (registers its renderer)

from bnnlab.figures import paper, screen
from bnnlab.figures.compose import About
from bnnlab.figures.marks import Band, Image, Line, Panel, Points, Spikes, Text
from bnnlab.figures.theme import Look



def _image(mark: Image):
    x0, x1, y0, y1 = mark.extent
    return hv.Image(mark.columns()["image"][::-1], bounds=(x0, y0, x1, y1), vdims="value")


# How each kind of mark is an element; its style is `screen.style` and `paper.style`.
_ELEMENTS = {
    Line: lambda mark: hv.Curve(_of(mark, "x", "y"), "x", "y"),
    Band: lambda mark: hv.Area(_of(mark, "x", "low", "high"), "x", ["low", "high"]),
    Spikes: lambda mark: hv.Spikes(_of(mark, "x", "y"), "x", "y"),
    Points: lambda mark: hv.Scatter(_of(mark, "x", "y"), "x", "y"),
    Text: lambda mark: hv.Labels(_of(mark, "x", "y", "text"), ["x", "y"], "text"),
    Image: _image,
}


def _of(mark, *names):
    columns = mark.columns()
    return tuple(columns[name] for name in names)


def overlay(panel: Panel, about: About) -> hv.Overlay:
    """Return one panel as an overlay of its marks, in order."""
    look = Look(about.theme)
    layers = []
    for mark in panel.marks:
        layer = next(make(mark) for kind, make in _ELEMENTS.items() if isinstance(mark, kind))
        on_screen, on_paper = screen.style(mark, look), paper.style(mark, look)
        if isinstance(mark, Image):
            colors = dict(cmap=look.palette(mark), clim=(-0.5, mark.levels - 0.5))
            on_screen, on_paper = on_screen | colors, on_paper | colors
        layer = layer.opts(**on_screen, backend="bokeh")
        layers.append(layer.opts(**on_paper, backend="matplotlib"))
    common = dict(
        title=panel.heading, xlabel=panel.x_label, ylabel=panel.y_label, xlim=panel.x_range,
        ylim=panel.y_range, logx=panel.x_log, logy=panel.y_log, show_legend=False, padding=0,
    )  # fmt: skip

    def on_screen_hook(plot, element):
        screen.dress(plot.state, panel)
        drawn = [part.handles["glyph_renderer"] for part in plot.subplots.values()]
        screen.recolor(plot.state, drawn, panel, look)

    def on_paper_hook(plot, element):
        paper.dress(plot.handles["axis"], panel, about)

    element = hv.Overlay(layers).opts(
        **common, responsive=True, height=panel.height, toolbar=None, hooks=[on_screen_hook],
        backend="bokeh",
    )  # fmt: skip
    return element.opts(**common, hooks=[on_paper_hook], backend="matplotlib")


def layout(panels: list[Panel], about: About) -> hv.Layout:
    """Return panels as one element, which knows what it is about."""
    whole = hv.Layout([overlay(panel, about) for panel in panels]).cols(about.columns)
    whole = whole.opts(shared_axes=False, toolbar=None, backend="bokeh")
    return whole.opts(shared_axes=False, sublabel_format="", tight=False, backend="matplotlib")
