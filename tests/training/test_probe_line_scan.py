"""The loss along alpha, against networks whose latent weights are scaled instead."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from bnnlab import schemes
from bnnlab.training.lane import Lane
from bnnlab.training.probes import line_scan, observe
from bnnlab.training.probes.look import Look

SETTINGS = {
    "network": {"name": "mlp", "width": 12, "depth": 2},
    "loss": "squared_hinge",
    "optimizer": "adam",
    "lr": 0.01,
    "inputs": 6,
    "shape": [6],
    "classes": 3,
}
TEXT = {
    "network": {"name": "lstm", "hidden": 5, "first_and_last": "binarized"},
    "loss": "cross_entropy",
    "inputs": 4,
    "shape": [],
    "classes": 4,
}
LAYERS = ["hidden1", "hidden2", "output"]


def numbers(seed, count=30):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=g), torch.randint(3, (count,), generator=g)


def letters(seed, count=20, length=9):
    x = torch.randint(4, (count, length), generator=torch.Generator().manual_seed(seed))
    return x, x.roll(-1, 1)


def look_at(scheme, settings=SETTINGS, data=numbers, sample=None):
    lane = Lane(settings, scheme, 0)
    for step in range(5):
        lane.advance(*data(step))
    sample = data(99) if sample is None else sample
    with torch.no_grad():
        return Look(lane, {}, None, sample)


@pytest.mark.parametrize("batch_norm", ["on", "off"])
@pytest.mark.parametrize(
    "scheme",
    [
        {"name": "lab"},
        {"name": "lab2"},
        {"name": "lab", "curvature_from": "fisher"},
        {"name": "laq"},
        {"name": "lat"},
    ],
)
def test_losses_are_those_of_scaled_latent_weights(scheme, batch_norm):
    """alpha is proportional to the latent weights, whose signs a factor leaves alone."""
    network = SETTINGS["network"] | {"batch_norm": batch_norm, "first_and_last": "binarized"}
    look = look_at(scheme, SETTINGS | {"network": network})
    found = line_scan.probe(look)
    assert set(found) == {f"{what}/{name}" for what in ("line_scan", "line_scan_alpha")
                          for name in LAYERS}  # fmt: skip
    for name in LAYERS:
        losses, alphas = found[f"line_scan/{name}"], found[f"line_scan_alpha/{name}"]
        own = look.quantized[name].scale.item()
        np.testing.assert_allclose(alphas[[0, 6, 12]], [own / 4, own, own * 4], rtol=1e-5)
        np.testing.assert_allclose(np.diff(np.log(alphas)), np.log(16) / 12, rtol=1e-4)
        for at in (0, 4, 6, 12):
            scaled = deepcopy(look.lane)
            layer = scaled.layers[name]
            layer.weight.data *= float(alphas[at] / own)
            if hasattr(layer, "start"):
                layer.start *= float(alphas[at] / own)
            assert losses[at] == pytest.approx(scaled.evaluate(*look.sample)[0], rel=1e-3)


@pytest.mark.parametrize("scheme", [{"name": "lab"}, {"name": "lat", "solver": "approximate"}])
@pytest.mark.parametrize(("settings", "data"), [(SETTINGS, numbers), (SETTINGS | TEXT, letters)])
def test_nothing_changes_and_nothing_is_drawn(settings, data, scheme):
    look = look_at(scheme, settings, data)
    before = {key: value.clone() for key, value in look.lane.state().items()}
    carried = {name: layer.scheme for name, layer in look.lane.layers.items()}
    drawn = torch.get_rng_state()
    found = line_scan.probe(look)
    assert len(found) == 2 * len(carried)
    assert torch.equal(torch.get_rng_state(), drawn)
    state = look.lane.state()
    assert all(torch.equal(state[key], value) for key, value in before.items())
    assert all(layer.scheme is carried[name] for name, layer in look.lane.layers.items())
    again = line_scan.probe(look)
    assert all(np.array_equal(again[key], value) for key, value in found.items())


def test_a_layer_keeps_its_scheme_when_the_loss_fails():
    look = look_at({"name": "lab"})
    carried = look.lane.layers["hidden1"].scheme
    look.sample = look.sample[0][:, :3], look.sample[1]
    with pytest.raises(RuntimeError):
        line_scan.probe(look)
    assert look.lane.layers["hidden1"].scheme is carried


@pytest.mark.parametrize(
    "scheme",
    [
        {"name": "full_precision"},
        {"name": "bwn"},
        {"name": "lab", "granularity": "channel"},
        {"name": "lab", "curvature_from": "identity"},
    ],
)
def test_only_layers_with_a_curvature_and_one_scale_are_scanned(scheme):
    assert line_scan.probe(look_at(scheme)) == {}


def test_large_layers_are_left_out(monkeypatch):
    monkeypatch.setattr(line_scan, "WEIGHTS", 12 * 6)
    found = line_scan.probe(look_at({"name": "lab"}))
    assert {name.split("/")[1] for name in found} == {"hidden1", "output"}


def test_without_samples_there_is_no_scan():
    look = look_at({"name": "lab"})
    look.sample = None
    assert line_scan.probe(look) == {}


@pytest.mark.parametrize(
    ("sample", "settings", "data", "count"),
    [
        (numbers(9, 300), SETTINGS, numbers, line_scan.SAMPLES),
        (numbers(9, 30), SETTINGS, numbers, 30),
        (letters(9, 50, 60), SETTINGS | TEXT, letters, 1024 // 60),
        (letters(9, 50, 600), SETTINGS | TEXT, letters, 8),
    ],
)
def test_large_samples_are_fewer(sample, settings, data, count, monkeypatch):
    look = look_at({"name": "lab"}, settings, data, sample)
    seen = []
    loss = look.lane.loss
    look.lane.loss = lambda scores, y: seen.append(len(y)) or loss(scores, y)
    line_scan.probe(look)
    assert set(seen) == {count}


def test_the_marks_of_the_view_are_recorded_too():
    look = look_at({"name": "lab"})
    scalars, arrays = observe(look)
    for name in LAYERS:
        own = arrays[f"line_scan_alpha/{name}"][6]
        assert scalars[f"alpha/{name}"] == pytest.approx(own, rel=1e-6)
        plain = look.lane.layers[name].weight.detach().abs().mean().item()
        assert scalars[f"alpha_bwn/{name}"] == pytest.approx(plain, rel=1e-6)
    assert schemes.get("lab").quantized(look.lane.layers["hidden1"]).scale.numel() == 1
