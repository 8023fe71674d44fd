import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnlab.figures.series import over_seeds, smooth, spread_labels, thin

floats = st.floats(-1e3, 1e3)


@given(st.lists(floats, max_size=300), st.floats(0, 0.99))
def test_smooth_is_the_corrected_moving_average(values, weight):
    expected, average = [], 0.0
    for t, value in enumerate(values):
        average = weight * average + (1 - weight) * value
        expected.append(average / (1 - weight ** (t + 1)))
    np.testing.assert_allclose(smooth(np.array(values), weight), expected, rtol=1e-9, atol=1e-7)


def test_smooth_ends_where_the_values_do():
    values = np.array([1.0, 2.0, np.inf, 3.0])
    assert np.isfinite(smooth(values, 0.9)).tolist() == [True, True, False, False]
    assert np.isfinite(smooth(values, 0.0)).tolist() == [True, True, False, False]


@given(st.integers(0, 5000), st.integers(0, 2**32 - 1))
def test_thin_keeps_ends_and_every_bins_extremes(n, seed):
    values = np.random.default_rng(seed).standard_normal(n)
    kept = thin(values)
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= 4 * 80
    if n:
        assert kept[0] == 0
        assert kept[-1] == n - 1
        assert {int(values.argmin()), int(values.argmax())} <= set(kept.tolist())


@given(st.lists(st.floats(-5, 15), min_size=1, max_size=30))
def test_spread_labels_do_not_touch_and_keep_their_order(places):
    places = np.array(places)
    at = spread_labels(places, 0.5, 0.0, 10.0)
    assert at.min() >= -1e-9
    assert at.max() <= 10 + 1e-9
    gap = min(0.5, 10 / max(len(places) - 1, 1))
    assert (np.diff(np.sort(at)) >= gap - 1e-9).all()
    order = np.argsort(places, kind="stable")
    assert (np.diff(at[order]) >= -1e-9).all()


def test_over_seeds_is_the_mean_and_its_band(log):
    runs = [run for run in log.runs if run.lane == "lab"]
    assert len(runs) == 2
    both = np.stack([run.column("train_loss")[1] for run in runs])
    series = over_seeds(runs, "train_loss", 0.0, "range")
    np.testing.assert_allclose(series.mean, both.mean(axis=0))
    np.testing.assert_allclose(series.low, both.min(axis=0))
    np.testing.assert_allclose(series.high, both.max(axis=0))
    spread = over_seeds(runs, "train_loss", 0.0, "deviation")
    np.testing.assert_allclose(spread.high - spread.mean, both.std(axis=0, ddof=1))


def test_over_seeds_leaves_diverged_runs_out(diverged_log):
    runs = [run for run in diverged_log.runs if run.lane == "bnn"]
    series = over_seeds(runs, "train_loss", 0.0, "range")
    np.testing.assert_allclose(series.mean, runs[1].column("train_loss")[1])
    alone = over_seeds(runs[:1], "train_loss", 0.0, "range")
    assert not np.isfinite(alone.mean[-1])


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_smooth_of_nothing_is_nothing(weight):
    assert len(smooth(np.array([]), weight)) == 0
