import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bnnlab.training.probes import look

numbers = st.floats(-1e6, 1e6, allow_nan=False, width=32)


@given(numbers, st.lists(numbers, max_size=50))
def test_log_histogram_counts_what_is_not_zero_in_its_bin(value, others):
    others = [number for number in others if number != 0]
    counts = look.log_histogram(torch.tensor([value]))
    together = look.log_histogram(torch.tensor([value, 0.0, *others]))
    assert together.sum() == (value != 0) + len(others)
    assert (together >= counts).all()
    if value == 0:
        assert counts.sum() == 0
    else:
        [at] = counts.nonzero()[0]
        logarithm = np.clip(np.log10(abs(value)), *look.LOG_RANGE)
        assert look.LOG_EDGES[at] - 1e-4 <= logarithm <= look.LOG_EDGES[at + 1] + 1e-4


@given(st.floats(1e-8, 1e8))
def test_round_up_gives_a_round_number_at_or_above(value):
    nice = look.round_up(value)
    assert value <= nice * (1 + 1e-9) and nice <= value * 10
    assert f"{nice:e}"[0] in "125"


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_round_up_gives_an_axis_to_anything(value):
    assert look.round_up(value) == 1.0


def test_a_sample_is_bounded():
    assert torch.equal(look.sample(torch.arange(6.0).reshape(2, 3)), torch.arange(6.0))
    assert len(look.sample(torch.arange(4.0 * look.SAMPLE + 3))) == look.SAMPLE
