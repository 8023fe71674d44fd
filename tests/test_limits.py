"""The limits hold for a comparison however it comes: typed, or as a file's plain data."""

import pytest

from bnnlab import Comparison, limits


def test_as_many_runs_as_are_allowed_and_no_more():
    limits.check_runs(limits.RUNS)
    with pytest.raises(ValueError, match="129 runs, at most 128"):
        limits.check_runs(limits.RUNS + 1)
    with pytest.raises(ValueError, match="144 runs, at most 128"):
        Comparison(task="moons", schemes=["bnn", "lab"], seeds=72)


def test_as_many_weights_as_are_allowed_and_no_more():
    limits.check_network({"hidden1": (5000, 9000), "output": (5000, 1000)})
    said = r"has 50,001,000 weights, 45,000,000 of them in hidden1; at most 50,000,000"
    with pytest.raises(ValueError, match=said):
        limits.check_network({"hidden1": (5000, 9000), "output": (5001, 1000)})
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
