"""How the page lays its figures out, and what it shows first."""

import pytest
from bokeh.models import Plot

import bnnlab
from bnnlab.figures.live import Live
from bnnlab.training.trainer import Trainer
from bnnlab.ui.bench import Figures
from bnnlab.ui.views import Views


@pytest.mark.parametrize(
    ("view", "options", "height"),
    [
        ("estimator", {"lanes": ["bnn"], "layers": ["hidden2"]}, 210),
        ("estimator", {"lanes": ["bnn", "dorefa", "lab2"]}, 150),
        ("bits", {"lanes": ["bnn"], "layers": ["hidden2"]}, 230),
    ],
)
def test_figures_that_fill_less_than_a_row_are_no_lower_than_they_must_be(
    trained_log, view, options, height
):
    live = Live(view, trained_log, **options)
    Figures().put([[panel.model for panel in live.panels]], live.view.columns, ["this"])
    drawn = [m for panel in live.panels for m in panel.model.references() if isinstance(m, Plot)]
    assert {plot.height for plot in drawn} == {height}


def test_views_open_where_there_is_something_to_see(tmp_path):
    """BNN binarizes the first layer as well, which no activations feed."""
    comparison = bnnlab.Comparison(
        task="moons", network={"name": "mlp", "width": 8, "depth": 2}, schemes=["bnn"], steps=2
    )
    log = comparison.create(tmp_path / "bnn.bnnlab")
    with Trainer(log.path) as trainer:
        for _ in trainer:
            pass
    views = Views(lambda work, then: then(work()), "")
    views.look_at(bnnlab.open(log.path))
    assert views.arguments("estimator")["layers"] == ["hidden2"]
