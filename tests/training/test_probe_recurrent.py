"""What is recorded of recurrent matrices."""

import numpy as np
import pytest
import torch

import bnnlab


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Two LSTMs on Python's library, trained for a moment."""
    comparison = bnnlab.Comparison(
        task={"name": "text", "length": 20},
        network={"name": "lstm", "hidden": 16},
        schemes=["full_precision", "binary_connect", "lab"],
        steps=4, batch_size=8, probe_every=2, evaluate_every=2,
    )  # fmt: skip
    return comparison.run(tmp_path_factory.mktemp("text") / "text.bnnlab", progress=False)


def test_the_defaults_of_a_text_are_the_papers(log):
    assert log.comparison["loss"] == "cross_entropy" and log.comparison["lr"] == 0.002
    assert log.comparison["network"]["name"] == "lstm"


@pytest.mark.parametrize("lane", ["full_precision", "binary_connect", "lab"])
def test_singular_values_are_those_of_the_effective_matrix(log, lane):
    layer = log.model(lane).lstm.recurrent
    effective = layer.scheme.quantized(layer).values.reshape(4, 16, 16)
    expected = torch.linalg.matrix_norm(effective, 2).max().item()
    recorded = log.run(lane).column("singular/lstm.recurrent")[1]
    assert recorded[-1] == pytest.approx(expected, rel=1e-4)
    assert len(recorded) == 3  # at steps 0, 2, 4
    if lane == "binary_connect":
        assert (recorded >= 4 - 1e-4).all()  # sqrt(16)


def test_gradients_are_kept_for_every_time_step(log):
    for lane in log.lanes:
        norms = log.run(lane).arrays(4)["time_gradient/lstm.recurrent"]
        assert norms.shape == (20,) and np.isfinite(norms).all() and (norms > 0).all()
        assert "time_gradient/lstm.recurrent" not in log.run(lane).arrays(0)
    binary = log.run("binary_connect").arrays(4)["time_gradient/lstm.recurrent"]
    real = log.run("full_precision").arrays(4)["time_gradient/lstm.recurrent"]
    assert binary[0] / binary[-1] > 10 * real[0] / real[-1]  # it explodes on its way back


def test_only_the_recurrent_matrix_is_called_so(log):
    assert [layer["recurrent"] for layer in log.run("lab").layers] == [False, True, False]


def test_views_of_it(log):
    (time,) = bnnlab.figures.get("time").panels(log)
    assert time.y_log and time.x_range[0] == 1
    (spectrum,) = bnnlab.figures.get("spectrum").panels(log)
    floor = spectrum.marks[0]
    assert floor.label == "√n" and np.allclose(floor.y, 4)
    names = {mark.label for mark in spectrum.marks if hasattr(mark, "label")}
    assert names == {"√n", *(log.run(lane).title for lane in log.lanes)}
