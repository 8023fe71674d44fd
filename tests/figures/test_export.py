import itertools
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

import bnnlab
from bnnlab import figures
from bnnlab.figures import elements, paper
from bnnlab.figures.compose import beside
from bnnlab.figures.export import export, sheet
from bnnlab.figures.marks import Line

VIEWS = figures.names()
LANES = ["full_precision", "bnn", "lab"]


def words(svg):
    return " ".join(t for e in ElementTree.fromstring(svg).iter() for t in [e.text or ""])


@pytest.mark.parametrize("name", VIEWS)
def test_svg_keeps_text_as_text(name, log, tmp_path):
    drawing = figures.drawing(name, log, lanes=LANES)
    svg = export(drawing, tmp_path / "figure.svg").read_text()
    said = words(svg)
    assert drawing.title in said
    for panel in drawing.panels:
        assert panel.heading in said
    assert f"bnnlab {bnnlab.__version__}" in said


def test_pdf_embeds_fonts_as_type_42_and_says_what_it_is(log, tmp_path):
    data = export(figures.drawing("curves", log), tmp_path / "figure.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert b"/Type3" not in data
    assert b"moons: curves" in data
    assert b"CreationDate" not in data
    assert b"/FontFile2" in data


def test_png_has_the_width_that_was_asked_for(log, tmp_path):
    drawing = figures.drawing("curves", log, lanes=LANES)
    for width, inches in (
        ("column", 3.25),
        (5, 5),
        ("89mm", 89 / 25.4),
        ("4", 4),
        ("ieee", 7.16),
        (None, 6.75),
    ):
        path = export(drawing, tmp_path / "figure.png", width=width, dpi=100)
        with Image.open(path) as picture:
            assert picture.width == pytest.approx(inches * 100, abs=1)
            assert picture.text["Title"] == "moons: curves"
            assert "seeds 0, 1" in picture.text["Description"]
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png"])
def test_the_same_figure_gives_the_same_file(suffix, log, tmp_path):
    files = [
        export(figures.drawing("weights", log, lanes=LANES), tmp_path / f"{number}.{suffix}")
        for number in range(2)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("name", ["curves", "boundary"])
def test_html_stands_alone(name, log, tmp_path):
    page = export(figures.drawing(name, log, lanes=LANES), tmp_path / "figure.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    loaded = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attributes):
            loaded.extend(value for key, value in attributes if key in ("src", "href"))

    Tags().feed(page)
    assert loaded == []
    assert f"moons: {name}" in page


def test_dark_figures_are_dark(log, tmp_path):
    drawing = figures.drawing("curves", log, theme="dark", lanes=LANES)
    path = export(drawing, tmp_path / "figure.png", dpi=60)
    with Image.open(path) as picture:
        assert np.asarray(picture.convert("L")).mean() < 60


@pytest.mark.parametrize("name", VIEWS)
def test_a_log_without_records_can_be_exported(name, empty_log, tmp_path):
    drawing = figures.drawing(name, empty_log, lanes=["bnn", "lab"])
    export(drawing, tmp_path / "figure.png", dpi=40)


def test_the_sheet_has_every_section(empty_log, digits_log, tmp_path):
    said = words(export(figures.drawing("sheet", empty_log), tmp_path / "sheet.svg").read_text())
    for section in ("Loss and accuracy", "Decision boundaries", "Latent and binary weights",
                    "Bits of", "Share of signs that flip", "Hessian scaling of"):  # fmt: skip
        assert section in said
    other = words(export(figures.drawing("sheet", digits_log), tmp_path / "d.svg").read_text())
    assert "Decision boundaries" not in other


def test_an_element_knows_what_it_was_made_from(digits_log, tmp_path):
    element = figures.curves(digits_log, smoothing=0.2)
    drawing = figures.drawing("curves", digits_log, smoothing=0.2)
    assert (
        export(element, tmp_path / "element.svg").read_bytes()
        == export(drawing, tmp_path / "drawing.svg").read_bytes()
    )


def test_a_restyled_element_is_drawn_as_restyled(digits_log, tmp_path):
    import holoviews as hv

    element = figures.flips(digits_log, layers=["output"])
    element = element.opts(hv.Options("Curve", color="#123456", backend="matplotlib"))
    assert elements.drawing_of(element) is None
    assert "#123456" in export(element, tmp_path / "mine.svg", width=4).read_text()


@pytest.mark.parametrize("given", ["objects", "a list", "a dictionary"])
def test_options_for_all_of_a_kind_win_over_the_style_of_each(given, digits_log):
    import holoviews as hv
    from bokeh.models import GlyphRenderer, Line, Title

    options = [
        hv.Options("Curve", color="#123456", backend="bokeh"),
        hv.Options("Overlay", title="Mine", backend="bokeh"),
    ]
    figure = figures.curves(digits_log)
    if given == "objects":
        figure = figure.opts(*options)
    elif given == "a list":
        figure = figure.opts(options)
    else:
        named = {"Curve": {"color": "#123456"}, "Overlay": {"title": "Mine"}}
        figure = figure.opts(named, backend="bokeh")
    drawn = hv.render(figure, backend="bokeh")
    glyphs = [renderer.glyph for renderer in drawn.select({"type": GlyphRenderer})]
    colors = {glyph.line_color for glyph in glyphs if isinstance(glyph, Line)}
    assert colors == {"#123456"}
    assert {title.text for title in drawn.select({"type": Title})} == {"Mine"}


def test_a_part_is_restyled_alone(digits_log):
    import holoviews as hv
    from bokeh.models import Title

    figure = figures.curves(digits_log)
    first = next(iter(figure)).opts(title="Mine", backend="bokeh")
    drawn = [title.text for title in hv.render(figure, backend="bokeh").select({"type": Title})]
    assert first.group == "P0" and drawn.count("Mine") == 1 and len(drawn) > 1


@pytest.mark.parametrize("backend", ["bokeh", "matplotlib"])
@pytest.mark.parametrize("name", VIEWS)
def test_elements_render_in_both_backends(name, backend, digits_log):
    import holoviews as hv

    plot = hv.renderer(backend).get_plot(figures.get(name)(digits_log))
    assert plot.state is not None
    if backend == "matplotlib":
        import matplotlib.pyplot as plt

        plt.close(plot.state)


def test_sheet_is_an_element(digits_log, tmp_path):
    element = sheet(digits_log)
    assert elements.drawing_of(element) is not None
    export(element, tmp_path / "sheet.png", dpi=40)


def test_a_live_view_is_exported_as_it_stands(log, tmp_path):
    live = figures.Live("curves", log, theme="dark", lanes=LANES)
    drawing = figures.drawing("curves", log, theme="dark", lanes=LANES)
    assert (
        export(live, tmp_path / "a.svg").read_bytes()
        == export(drawing, tmp_path / "b.svg").read_bytes()
    )


@pytest.mark.parametrize(
    ("path", "width", "message"),
    [
        ("figure.gif", None, r"cannot write 'figure.gif'; the formats are .pdf, .svg, .png, .html"),
        ("figure", None, r"cannot write 'figure'"),
        (
            "figure.pdf",
            "wide",
            r"no width 'wide'; give inches, .* '89mm', or one of 'column', 'page'",
        ),
        ("figure.pdf", 0.2, r"a width of 0.2 inches; it can be from 1 to 60"),
    ],
)
def test_what_cannot_be_written_is_refused(path, width, message, log, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(figures.drawing("curves", log), tmp_path / path, width=width)
    assert list(tmp_path.iterdir()) == []


def test_other_things_are_not_figures(tmp_path):
    with pytest.raises(TypeError, match="cannot export str; give a HoloViews element"):
        export("curves", tmp_path / "figure.pdf")


def test_metadata_says_how_to_make_it_again(tmp_path, digits_log):
    """What the file says is run, in a folder of its own, and gives the same picture."""
    made = tmp_path / "made"
    drawing = figures.drawing("curves", digits_log, smoothing=0.2)
    export(drawing, made / "curves.png", width="column", dpi=100)
    with Image.open(made / "curves.png") as picture:
        source = picture.text["Source"]
    assert source.startswith("import bnnlab; log = bnnlab.Comparison.from_dict(")
    again = tmp_path / "again"
    again.mkdir()
    subprocess.run(
        [sys.executable, "-c", source.replace("'column')", "'column', dpi=100)")],
        cwd=again, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert pixels(made / "curves.png") == pixels(again / "figure.png")


def pixels(path):
    with Image.open(path) as picture:
        return picture.convert("RGB").tobytes()


@pytest.mark.parametrize("suffix", ["pdf", "svg"])
def test_every_file_says_how_to_make_it_again(suffix, digits_log, tmp_path):
    path = export(figures.drawing("sheet", digits_log), tmp_path / f"sheet.{suffix}")
    data = path.read_bytes()
    assert b"bnnlab.figures.drawing" in data and b"from_dict" in data


def test_page_notebook_and_command_line_draw_the_same_picture(trained_folder, tmp_path):
    """The page's own export, an element from a notebook, and `bnnlab figures`."""
    from click.testing import CliRunner

    from bnnlab.cli import main
    from bnnlab.ui.send import figure_file

    folder = shutil.copytree(trained_folder, tmp_path / "moons.bnnlab")
    _, sent = figure_file(folder, ("weights", {}), "png")
    (tmp_path / "page.png").write_bytes(sent)
    export(figures.weights(bnnlab.open(folder)), tmp_path / "notebook.png")
    done = CliRunner().invoke(
        main, ["figures", str(folder), "--view", "weights", "--format", "png", "--out",
               str(tmp_path)],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    one = pixels(tmp_path / "page.png")
    assert one == pixels(tmp_path / "notebook.png") == pixels(tmp_path / "weights.png")


def test_a_caption_beside_is_for_latex(digits_log, tmp_path):
    path = export(figures.drawing("curves", digits_log), tmp_path / "c.svg", "neurips",
                  caption="beside")  # fmt: skip
    assert "seed 0" not in "".join(
        e.text or "" for e in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    )
    latex = (tmp_path / "c.tex").read_text()
    assert latex.startswith("\\includegraphics[width=5.5in]{c.svg}\n\\caption{digits: curves. ")
    assert "seed 0" in latex and f"bnnlab {bnnlab.__version__}" in latex
    with pytest.raises(ValueError, match="caption is 'below'; it can be 'inside' or 'beside'"):
        export(figures.drawing("curves", digits_log), tmp_path / "c.svg", caption="below")


def test_drawings_are_put_together(digits_log, tmp_path):
    both = figures.drawing("curves", digits_log) + figures.drawing("flips", digits_log)
    said = words(export(both, tmp_path / "both.svg").read_text())
    assert "digits: curves" in said and "digits: flips" in said
    assert both.remake == (
        "bnnlab.figures.drawing('curves', log, "
        "metrics=['train_loss', 'validation_loss', 'train_accuracy', 'validation_accuracy'], "
        "smoothing=0.7, log_axis=True, band='range') + bnnlab.figures.drawing('flips', log)"
    )


def test_lines_differ_in_print_by_dash_or_marker(log):
    """Without colour: no two schemes' lines look the same."""
    (panel, *_) = figures.drawing("curves", log).panels
    lines = [mark for mark in panel.marks if isinstance(mark, Line)]
    assert len({(line.dash, line.marker) for line in lines}) == len(lines) == len(log.lanes)


@pytest.mark.parametrize(
    ("lanes", "layers", "together", "columns", "expected"),
    [
        (3, 3, 2, 4, 6),  # one lane a row, though there was room for two layers of three
        (3, 4, 2, 4, 4),  # two rows a lane
        (3, 2, 1, 4, 4),  # two lanes a row
        (3, 3, 1, 4, 3),
        (3, 5, 2, 4, 4),  # no number near begins each row with a lane
        (1, 3, 2, 4, 4),  # nothing to part
        (3, 3, 2, 1.9, 2),  # a narrow figure
        (4, 1, 4, 4, 4),
    ],
)
def test_lanes_begin_rows(lanes, layers, together, columns, expected, log):
    panel = figures.drawing("weights", log).panels[0]
    panels = [
        replace(panel, lane=str(lane), title=str(layer))
        for lane in range(lanes)
        for layer in range(layers)
        for _ in range(together)
    ]
    assert beside(panels, columns) == expected


@pytest.mark.parametrize("inches", [6.75, 2.4])
def test_headings_have_room(inches, log):
    drawing = figures.drawing("weights", log)
    panels = [
        replace(panel, heading=panel.heading.replace("BNN", "A scheme of a rather long name"))
        for panel in drawing.panels
    ]
    with mpl.rc_context(paper.settings()):
        figure = paper.draw(replace(drawing, panels=panels), inches)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        headings = [axes._left_title.get_window_extent(renderer) for axes in figure.axes]
    assert len(headings) == len(panels)
    for one, following in itertools.pairwise(headings):
        assert one.x1 <= following.x0 or following.y1 < one.y0  # beside it, or below
