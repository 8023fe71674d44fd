"""The limits hold for a comparison however it comes: typed, or as a file's plain data."""

import pytest

from bnnlab import Comparison, limits


def test_as_many_runs_as_are_allowed_and_no_more():
    limits.check_runs(limits.RUNS)
    with pytest.raises(ValueError, match="65 runs, at most 64"):
        limits.check_runs(limits.RUNS + 1)
    with pytest.raises(ValueError, match="72 runs, at most 64"):
        Comparison(task="moons", schemes=["bnn", "lab"], seeds=36)


def test_as_many_weights_as_are_allowed_and_no_more():
    widest = {"width": 4096, "depth": 3}
    limits.check_network(widest, inputs=2, classes=2)
    with pytest.raises(ValueError, match=r"width 4096 and depth 4 has 50,348,032 weights"):
        limits.check_network(widest | {"depth": 4}, inputs=2, classes=2)
    spec = Comparison(task="moons", schemes=["bnn"]).to_dict()
    spec["network"] |= {"width": 4096, "depth": 8}
    with pytest.raises(ValueError, match="narrower or shallower"):
        Comparison.from_dict(spec)


@pytest.mark.parametrize(
    ("setting", "most"), [("steps", limits.STEPS), ("batch_size", limits.BATCH_SIZE)]
)
def test_settings_are_bounded(setting, most):
    assert getattr(Comparison(task="moons", schemes=["bnn"], **{setting: most}), setting) == most
    with pytest.raises(ValueError, match=f"must be at most {most}"):
        Comparison(task="moons", schemes=["bnn"], **{setting: most + 1})
