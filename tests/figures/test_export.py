import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import bnnlab
from bnnlab import figures
from bnnlab.figures import elements
from bnnlab.figures.export import export, sheet

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
    for width, inches in (("column", 3.35), (5, 5), (None, 6.9)):
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
    element = element.opts([hv.Options("Curve.P0M0", color="#123456", backend="matplotlib")])
    assert elements.drawing_of(element) is None
    assert "#123456" in export(element, tmp_path / "mine.svg", width=4).read_text()


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
        ("figure.pdf", "wide", r"no width 'wide'; give inches or one of 'column', 'page', 'sheet'"),
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
