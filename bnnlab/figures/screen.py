"""Figures on the page: panels as Bokeh figures, their style, and what their sources hold."""

from typing import Any

import numpy as np
from bokeh.core.properties import value
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    CrosshairTool,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    PrintfTickFormatter,
    Range1d,
    Span,
    glyphs,
)
from bokeh.plotting import figure as new_figure

from bnnlab.figures import theme
from bnnlab.figures.marks import Band, Image, Line, Panel, Points, Spikes, Text


def source_data(mark) -> dict[str, Any]:
    """Return the data of the source that draws a mark."""
    c = mark.columns()
    if isinstance(mark, Band):
        # One closed outline: there along the upper edge, back along the lower.
        return {
            "x": np.concatenate([c["x"], c["x"][::-1]]),
            "y": np.concatenate([c["high"], c["low"][::-1]]),
        }
    if isinstance(mark, Spikes):
        return {"x": c["x"], "y0": np.zeros_like(c["x"]), "y1": c["y"]}
    if isinstance(mark, Text):
        return {"x": c["x"], "y": c["y"], "text": list(mark.text)}
    if isinstance(mark, Image):
        x0, x1, y0, y1 = mark.extent
        image = np.ascontiguousarray(c["image"])
        return {"image": [image], "x": [x0], "y": [y0], "dw": [x1 - x0], "dh": [y1 - y0]}
    return {"x": c["x"], "y": c["y"]}


def is_seen(mark) -> bool:
    """Return whether a mark has anything to draw; a browser takes its time over empty ones, too."""
    return any(column.size for column in mark.columns().values())


def style(mark, look) -> dict[str, Any]:
    """Return the properties of the glyph that draws a mark, HoloViews' Bokeh options as well."""
    if isinstance(mark, Text):
        return dict(
            text_color=look(mark.color, words=True), text_align=mark.align,
            text_baseline=mark.baseline, text_font=value(theme.SANS),
            text_font_size=f"{theme.SMALL * mark.size:g}px",
        )  # fmt: skip
    if isinstance(mark, Image):
        return {}
    color = look(mark.color, words=bool(getattr(mark, "edge", "")))
    if isinstance(mark, Band):
        return dict(fill_color=color, fill_alpha=look.fill(mark.alpha), line_color=None)
    if isinstance(mark, Points):
        return dict(marker=mark.marker, size=mark.size, line_color=look(mark.edge or mark.color),
                    line_width=0.7 if mark.edge else 1,
                    fill_color=color if mark.filled else None)  # fmt: skip
    return dict(line_color=color, line_dash=mark.dash, line_width=mark.width)


def _glyph(mark, look):
    looks = style(mark, look)
    if isinstance(mark, Line):
        return glyphs.Line(x="x", y="y", line_join="round", **looks)
    if isinstance(mark, Band):
        return glyphs.Patch(x="x", y="y", **looks)
    if isinstance(mark, Spikes):
        return glyphs.Segment(x0="x", x1="x", y0="y0", y1="y1", **looks)
    if isinstance(mark, Points):
        return glyphs.Scatter(x="x", y="y", **looks)
    if isinstance(mark, Text):
        return glyphs.Text(x="x", y="y", text="text", **looks)
    mapper = LinearColorMapper(palette=look.palette(mark), low=-0.5, high=mark.levels - 0.5)
    return glyphs.Image(image="image", x="x", y="y", dw="dw", dh="dh", color_mapper=mapper)


def draw(panel: Panel, look) -> tuple[Any, list[Any]]:
    """Return a panel as a Bokeh figure, and its renderers in the order of the panel's marks."""
    figure: Any = new_figure(
        y_axis_type="log" if panel.y_log else "linear",
        x_range=_range(panel.x_range), y_range=_range(panel.y_range), title=panel.heading,
        toolbar_location=None, tools="",
    )  # fmt: skip
    drawn = [
        figure.add_glyph(
            ColumnDataSource(source_data(mark)), _glyph(mark, look),
        )
        for mark in panel.marks
    ]  # fmt: skip
    for renderer, mark in zip(drawn, panel.marks, strict=True):
        renderer.visible = is_seen(mark)
    figure.xaxis[0].axis_label, figure.yaxis[0].axis_label = panel.x_label, panel.y_label
    dress(figure, drawn, panel, look)
    return figure, drawn


def _range(limits):
    return Range1d(start=limits[0], end=limits[1])


def dress(figure, drawn, panel: Panel, look) -> None:
    """Give a figure the style of the page: light axes, fixed ranges, no chart junk."""
    figure.update(
        background_fill_color=None, border_fill_color=None, outline_line_color=None,
        min_border=0, min_border_right=6, min_border_bottom=4, sizing_mode="stretch_width",
        height=panel.height, lod_threshold=None,
    )  # fmt: skip
    figure.title.update(
        text_font=theme.SANS, text_font_size="11.5px", text_font_style="normal", standoff=3
    )
    # Panels without a y axis are small, and their labels on the x axis would touch.
    x_ticks = 4 if panel.y_axis else 3
    for axis, shown, ticks in (
        (figure.xaxis[0], panel.x_axis, x_ticks), (figure.yaxis[0], panel.y_axis, 4),
    ):  # fmt: skip
        axis.update(
            axis_label_text_font=theme.SANS, axis_label_text_font_size="10px",
            axis_label_text_font_style="normal", axis_label_standoff=3, axis_line_width=0.8,
            major_label_text_font=theme.SANS, major_label_text_font_size="10px",
            major_label_standoff=3, major_tick_in=0, major_tick_out=3, minor_tick_line_color=None,
            ticker=BasicTicker(desired_num_ticks=ticks), visible=shown,
        )  # fmt: skip
    if panel.y_log:
        figure.yaxis[0].update(
            ticker=FixedTicker(ticks=panel.y_ticks()),
            formatter=PrintfTickFormatter(format="%.3g"),
        )
    for axis, ticks in ((figure.xaxis[0], panel.x_ticks), (figure.yaxis[0], panel.ticks)):
        if ticks:
            axis.update(
                ticker=FixedTicker(ticks=[at for at, _ in ticks]),
                major_label_overrides=dict(ticks),
            )
    figure.xgrid.grid_line_color = None
    figure.ygrid.visible = panel.y_axis and not panel.ticks
    if panel.hover:
        lines = [(r, m) for r, m in zip(drawn, panel.marks, strict=True) if isinstance(m, Line)]
        for renderer, mark in lines:
            renderer.name = mark.label
        figure.add_tools(
            HoverTool(
                renderers=[renderer for renderer, _ in lines], tooltips=panel.hover, mode="mouse",
                line_policy="nearest", visible=False,
            )
        )  # fmt: skip
    _recolor_axes(figure, panel, look)


def link(figures: list[Any], panels: list[Panel], look) -> dict[tuple[str, Any], Span]:
    """Have what is pointed at in one figure marked in every other of the same axis.

    A line at the same x stands in all panels whose x axis bears the same label; over images, one at
    the same y as well. Panels whose y axis names things are left out. Returns the lines, by
    the axis' label and "height" (upright) or "width".
    """
    lines: dict[tuple[str, Any], Span] = {}
    for figure, panel in zip(figures, panels, strict=True):
        if panel.ticks:
            continue
        image = any(isinstance(mark, Image) for mark in panel.marks)
        wanted: list[tuple[str, Any]] = [
            (panel.x_label, way) for way in (("height", "width") if image else ("height",))
        ]
        for key in wanted:
            if key not in lines:
                # Where it is stays in the browser: nobody else has to know.
                lines[key] = Span(
                    dimension=key[1], location=None, syncable=False, level="overlay",
                    line_color=look("muted"), line_width=1,
                )  # fmt: skip
        marks: Any = tuple(lines[key] for key in wanted)
        figure.add_tools(CrosshairTool(overlay=marks if image else marks[0]))
    return lines


def recolor(figure, drawn, panel: Panel, look) -> None:
    """Give everything in a figure the colours of a theme."""
    _recolor_axes(figure, panel, look)
    for renderer, mark in zip(drawn, panel.marks, strict=True):
        if isinstance(mark, Image):
            renderer.glyph.color_mapper.palette = look.palette(mark)
        else:
            renderer.glyph.update(**style(mark, look))


def _recolor_axes(figure, panel: Panel, look) -> None:
    figure.title.text_color = look(panel.color, words=True)
    for axis in (figure.xaxis[0], figure.yaxis[0]):
        axis.update(
            axis_line_color=look("faint"), major_tick_line_color=look("faint"),
            major_label_text_color=look("muted"), axis_label_text_color=look("muted"),
        )  # fmt: skip
    figure.yaxis[0].axis_line_color = None
    figure.ygrid.grid_line_color = look("grid")
