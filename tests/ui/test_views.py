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
        ("estimator", {"lanes": ["bnn"], "layers": ["hidden2"]}, 240),
        ("curves", {}, 260),
        ("weights", {"layers": ["hidden2"]}, 173),  # three rows
        ("weights", {}, 130),  # more than a screen, whatever one does
        ("bits", {"lanes": ["bnn"], "layers": ["hidden2"]}, 230),
    ],
)
def test_figures_are_as_high_as_a_screen_has_room_for(trained_log, view, options, height):
    live = Live(view, trained_log, **options)
    shown, models = Figures(), [panel.model for panel in live.panels]
    drawn = [m for model in models for m in model.references() if isinstance(m, Plot)]
    for _ in range(2):  # nor do they grow when they are put again
        shown.put([models], live.view.columns, ["this"])
        assert {plot.height for plot in drawn} == {height}
    shown.put([models] * 4, live.view.columns, list("abcd"))  # four, beside each other
    assert all(plot.height <= height for plot in drawn)


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
