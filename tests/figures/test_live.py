from collections import Counter

import numpy as np
import pytest
from bokeh.document import Document

from bnnlab import figures
from bnnlab.figures import Live, theme

VIEWS = figures.names()
# What any lanes show, these do: a scheme with real weights, one with +-1, one with k bits, one of
# curvature.
LANES = ["full_precision", "bnn", "dorefa", "lab"]


def plots(live):
    return [plot for p in live.panels for plot in getattr(p.model, "children", [p.model])]


def content(live):
    """Everything that is drawn: sources, ranges, titles."""
    drawn = []
    for plot in plots(live):
        ranges = plot.x_range.start, plot.x_range.end, plot.y_range.start, plot.y_range.end
        drawn.append((plot.title.text, *map(float, ranges)))  # an end of 1 may be Bokeh's own int
        for renderer in plot.renderers:
            data = renderer.data_source.data
            drawn.append({key: [np.asarray(v).tolist() for v in data[key]] for key in data})
    return drawn


@pytest.mark.parametrize("name", VIEWS)
def test_an_updated_view_is_the_one_drawn_anew(name, growing):
    live = Live(name, growing.log, lanes=LANES)
    models = [panel.model for panel in live.panels]
    log = growing()
    live.update()
    # nan is not equal to itself; as text it is.
    assert repr(content(live)) == repr(content(Live(name, log, lanes=LANES)))
    assert [panel.model for panel in live.panels] == models


def events(live):
    """Put a live view on a page and note every change that would be sent to a browser."""
    document = Document()
    for panel in live.panels:
        document.add_root(panel.model)
    noted = []
    document.on_change(noted.append)
    return noted


@pytest.mark.parametrize("name", VIEWS)
def test_what_did_not_change_is_not_sent(name, log):
    live = Live(name, log, lanes=LANES)
    sent = events(live)
    live.update()
    assert sent == []


def test_only_sources_and_ranges_are_sent(growing):
    live = Live("weights", growing.log, layers=["hidden2"])
    sent = events(live)
    growing()
    live.update()
    assert sent
    assert {type(event.model).__name__ for event in sent} <= {"ColumnDataSource", "Range1d"}


def test_panels_say_what_they_show(log):
    live = Live("weights", log, lanes=["bnn", "lab"], layers=["hidden1", "hidden2"])
    assert [(panel.lane, panel.title) for panel in live.panels] == [
        ("bnn", "hidden1"), ("bnn", "hidden2"), ("lab", "hidden1"), ("lab", "hidden2"),
    ]  # fmt: skip
    # Latent and binary stand beside each other in one model.
    assert [len(panel.model.children) for panel in live.panels] == [2] * 4
    assert [panel.title for panel in Live("curves", log).panels] == [
        "train loss", "validation loss", "train accuracy (%)", "validation accuracy (%)",
    ]  # fmt: skip


@pytest.mark.parametrize("name", VIEWS)
def test_the_theme_changes_in_place(name, log):
    live, dark = Live(name, log, lanes=LANES), Live(name, log, lanes=LANES, theme="dark")
    live.set_theme("dark")
    for ours, theirs in zip(plots(live), plots(dark), strict=True):
        assert ours.title.text_color == theirs.title.text_color
        assert ours.xaxis[0].major_label_text_color == theirs.xaxis[0].major_label_text_color
        for one, other in zip(ours.renderers, theirs.renderers, strict=True):
            for key in ("line_color", "fill_color", "fill_alpha", "text_color"):
                assert getattr(one.glyph, key, None) == getattr(other.glyph, key, None)
            if hasattr(one.glyph, "color_mapper"):
                assert one.glyph.color_mapper.palette == other.glyph.color_mapper.palette
    with pytest.raises(ValueError, match="no theme 'blue'"):
        live.set_theme("blue")


def test_figures_fit_the_page(log):
    for plot in plots(Live("curves", log)):
        assert plot.sizing_mode == "stretch_width"
        assert plot.height > 0
        assert plot.background_fill_color is plot.border_fill_color is None
        assert plot.toolbar_location is None
        assert plot.output_backend == "canvas"


def test_curves_have_tooltips_that_name_the_lane(log):
    plot = plots(Live("curves", log))[0]
    (hover,) = plot.hover
    titles = [log.run(lane).title for lane in log.lanes]
    assert [renderer.name for renderer in hover.renderers] == titles
    color = log.run("lab").description["color"]
    line = next(renderer for renderer in hover.renderers if renderer.name == "LAB")
    assert line.glyph.line_color == theme.resolve(color, "light")


def test_wrong_options_are_refused_before_anything_is_drawn(log):
    with pytest.raises(ValueError, match="no lane 'x'"):
        Live("curves", log, lanes=["x"])
    with pytest.raises(ValueError, match="has no option 'colour'"):
        Live("curves", log, colour="red")


def test_an_update_of_eight_lanes_changes_each_model_once(growing):
    """What it costs goes with how much is sent; benchmarks/live.py measures it."""
    lanes = growing.log.lanes[:8]
    views = [
        Live("weights", growing.log, lanes=lanes, layers=["hidden2"]),
        Live("curves", growing.log, lanes=lanes),
    ]
    sent = [events(live) for live in views]
    growing()
    for live in views:
        live.update()
    for noted in sent:
        changed = Counter((event.model.id, event.attr) for event in noted)
        assert changed and max(changed.values()) == 1


def test_a_live_view_turns_to_other_options_by_patching(log):
    live = Live("weights", log, lanes=LANES, layers=["hidden1"])
    models = [panel.model for panel in live.panels]
    assert live.turn(live.view.changed(layers=["hidden2"]), log)
    assert repr(content(live)) == repr(
        content(Live("weights", log, lanes=LANES, layers=["hidden2"]))
    )
    assert [panel.model for panel in live.panels] == models


def test_a_live_view_does_not_turn_to_what_looks_different(log):
    live = Live("curves", log, lanes=LANES)
    before = repr(content(live))
    assert not live.turn(live.view.changed(log_axis=False), log)
    assert not live.turn(live.view.changed(lanes=["lab"]), log)
    assert not live.turn(figures.get("weights"), log)
    assert repr(content(live)) == before
