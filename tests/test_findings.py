"""What the program says of binarization, held to with several seeds."""

import numpy as np
import pytest

import bnnlab

LANES = ["binary_connect", "bwn", "lab"]
SEEDS = 4


def losses(folder, batch_norm):
    """The training loss of each lane and seed at the end: (lanes, seeds)."""
    comparison = bnnlab.Comparison(
        task="digits",
        network={"name": "mlp", "width": 64, "batch_norm": batch_norm,
                 "first_and_last": "binarized"},
        schemes=LANES, seeds=SEEDS, steps=250, probe_every=250, evaluate_every=250,
    )  # fmt: skip
    log = comparison.run(folder, progress=False)
    ends = [[log.run(lane, seed).column("train_loss")[1][-20:].mean() for seed in range(SEEDS)]
            for lane in LANES]  # fmt: skip
    return np.array(ends)


@pytest.fixture(scope="module")
def with_norm(tmp_path_factory):
    return losses(tmp_path_factory.mktemp("on") / "on.bnnlab", "on")


@pytest.fixture(scope="module")
def without_norm(tmp_path_factory):
    return losses(tmp_path_factory.mktemp("off") / "off.bnnlab", "off")


def test_batch_norm_hides_the_scale(with_norm):
    """The weight-only schemes agree within three times the spread of their seeds."""
    means, spread = with_norm.mean(1), with_norm.std(1, ddof=1).max()
    assert np.ptp(means) < 3 * spread


def test_without_batch_norm_they_separate(without_norm):
    """BinaryConnect, whose weights have no scale, is far behind; each seed says so."""
    binary_connect, bwn, lab = without_norm
    assert binary_connect.min() > 10 * max(bwn.max(), lab.max())


def test_the_gap_is_the_norms_doing(with_norm, without_norm):
    assert np.ptp(without_norm.mean(1)) > 20 * np.ptp(with_norm.mean(1))


def test_binary_connect_explodes_in_an_lstm_and_lab_does_not(tmp_path):
    """LAB's table 4 in small: over 50 time steps the real and the LAB network learn alike, and
    BinaryConnect, whose gradients explode on their way back, stays far behind.
    """
    comparison = bnnlab.Comparison(
        task={"name": "text", "length": 50}, network={"name": "lstm", "hidden": 48},
        schemes=["full_precision", "binary_connect", "lab"], steps=200, batch_size=50, lr=0.01,
        probe_every=100, evaluate_every=200,
    )  # fmt: skip
    log = comparison.run(tmp_path / "text.bnnlab", progress=False)
    end = {lane: log.run(lane).end["test_loss"] for lane in log.lanes}
    assert end["lab"] < end["full_precision"] + 0.35
    assert end["binary_connect"] > end["lab"] + 0.3
    norms = {lane: log.run(lane).arrays()["time_gradient/lstm.recurrent"] for lane in log.lanes}
    back = {lane: float(norm[0] / norm[-1]) for lane, norm in norms.items()}
    assert back["binary_connect"] > 1e2 and max(back["lab"], back["full_precision"]) < 10
    singular = {lane: log.run(lane).column("singular/lstm.recurrent")[1] for lane in log.lanes}
    assert (singular["binary_connect"] >= 48**0.5).all()
    assert singular["lab"].max() < 48**0.5
