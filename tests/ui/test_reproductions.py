"""The page of reproductions and studies says what is in the recipes, results and library."""

import json
import math
from html.parser import HTMLParser
from statistics import mean, stdev

import pytest

import bnnlab
from bnnlab import study
from bnnlab.study import folder, grid, results
from bnnlab.ui.reproductions import _part, body


def line(lane, published, ours, verdict="agrees", expected=None):
    return study.Line("weights", lane, published, ours, 0, verdict, expected)


def made(*lines, **changes):
    recipe = study.load("lab-mnist")
    given = {
        "recipe": recipe.name, "title": recipe.title, "source": recipe.source,
        "known": recipe.known, "differs": recipe.differs, "measure": "error", "rule": "A rule.",
        "short": False, "done": "`<b>command</b>`", "parts": ["weights"], "lines": list(lines),
    }  # fmt: skip
    return study.Result(**{**given, **changes})


class Reader(HTMLParser):
    """Collects the text, and the tags that are open at the end."""

    def __init__(self, text):
        super().__init__()
        self.text, self.depth, self.links = "", [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.links.append(dict(attrs)["href"])
        self.depth.append(tag)

    def handle_endtag(self, tag):
        assert self.depth.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def along(tmp_path, monkeypatch):
    """A folder in the place of the results that come along."""
    folder = tmp_path / "measured"
    folder.mkdir()
    monkeypatch.setattr(results, "FOLDER", folder)
    return folder


def test_every_recipe_is_there_and_says_what_it_is(along, tmp_path):
    page = Reader(body(tmp_path))
    assert not page.depth
    for name in study.names():
        recipe = study.load(name)
        assert f"#{name}" in page.links and f"bnnlab reproduce {name}" in page.text
        assert all(text in page.text for text in (recipe.title, recipe.source, *recipe.differs))
    assert page.text.count("Not run here yet") == len(study.names())


def test_results_that_come_along_are_shown_as_text(along, tmp_path):
    lines = line("lab", 1.17, [1.2, 1.3]), line("bwn", 1.2, [9.0], "worse")
    (along / "a.json").write_text(json.dumps(made(*lines).to_dict()))
    written = body(tmp_path)
    page = Reader(written)
    assert "1.250 ± 0.071" in page.text and "9.000" in page.text
    assert "1 of 2 figures agree or are better" in page.text
    assert "<b>command</b>" in page.text and "<b>" not in written


def test_figures_have_their_place_between_the_ends():
    part = _part(made(line("lab", 1.0, [1.0, 2.0]), line("bwn", 2.0, [math.inf])), "weights", None)
    first, second = part["lines"]
    assert first["published_at"] == first["ours"][0] < first["ours"][1] == second["published_at"]
    assert math.isclose(first["ours"][0] + first["ours"][1], 100, abs_tol=0.02)
    assert second["ours"] == [100] and second["said"] == "inf"
    assert float(part["low"]) < 1 and float(part["high"]) > 2 and part["open"] is None


def test_a_band_spans_what_is_expected():
    short = made(line("lab", 1.0, [1.5], "as expected", (1.0, 2.0)), short=True)
    (only,) = _part(short, "weights", None)["lines"]
    assert only["band"][0] == only["published_at"]
    assert only["band"][0] < only["ours"][0] < only["band"][0] + only["band"][1]


def test_only_what_follows_the_recipe_is_taken_from_the_library(along, tmp_path):
    library = tmp_path / "library"
    parts = study.load("lab-mnist").comparisons(epochs=1, width=8)
    parts["weights"].create(library / "lab-mnist-weights.bnnlab")
    other = bnnlab.Comparison(task="moons", schemes=["bnn"], steps=5)
    other.create(library / "lab-mnist-activations.bnnlab")
    page = Reader(body(library))
    assert "./?open=lab-mnist-weights" in page.links and "unfinished" in page.text
    assert "./?open=lab-mnist-activations" not in page.links


def test_studies_show_how_far_they_came_and_what_they_gave(along, tmp_path):
    library = tmp_path / "library"
    assert "None in the library yet" in body(library)
    made = grid.study(
        {"title": "<b>Widths</b>", "task": "moons", "network": {"name": "mlp", "depth": 2},
         "schemes": ["bwn"], "seeds": 2, "steps": 4, "grid": {"network.width": [4, 8]}}
    )  # fmt: skip
    kept = folder.create(made, library / "widths.bnnlab")
    first, second = kept.logs.values()
    made.comparisons["width=4"].run(first.path, progress=False)
    written = body(library)
    page = Reader(written)
    assert not page.depth and "<b>" not in written
    assert "2 of 4 runs done" in page.text and "data-going" in written
    assert "./?open=widths%2Fwidth%3D8" in page.links
    first.refresh()
    accuracy = [run.end["test_accuracy"] for run in first.runs]
    assert f"{mean(accuracy):.4f} ± {stdev(accuracy):.4f}" in page.text
    assert written.count("seed 1: done at step 4") == written.count("seed 1: step 0 of 4") == 2
    made.comparisons["width=8"].run(second.path, progress=False)
    assert "all 4 runs done" in body(library) and "data-going" not in body(library)
