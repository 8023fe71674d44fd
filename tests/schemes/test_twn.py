"""Ternary Weight Networks: threshold, scale, and how close they come to the best."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import generator

from bnnlab import schemes
from bnnlab.nn import BinarizedLinear


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=20))
def test_threshold_and_scale(values):
    w = torch.tensor(values, dtype=torch.float64)
    q = schemes.get("twn").quantize(w)
    cut = 0.7 * sum(map(abs, values)) / len(values)
    above = [abs(v) for v in values if abs(v) > cut]
    assert q.cut.item() == pytest.approx(cut)
    assert q.mask.sum() == len(above) > 0 or not w.any()
    assert q.scale.item() == pytest.approx(sum(above) / max(len(above), 1))
    assert torch.equal(q.values, q.signs * q.mask * q.scale)


@pytest.mark.parametrize("draw", [torch.randn, torch.rand])
def test_the_threshold_is_near_the_best(draw):
    """The squared error is within 2 % of that of the best threshold, for its two distributions."""
    w = draw(4000, generator=generator(), dtype=torch.float64)
    w = w if draw is torch.randn else 2 * w - 1
    errors = []
    for cut in torch.linspace(0.01, 2, 200, dtype=torch.float64):
        above = w.abs() > cut
        if above.any():
            scale = w.abs()[above].mean()
            errors.append(((w.sign() * above * scale - w) ** 2).sum())
    q = schemes.get("twn").quantize(w)
    assert ((q.values - w) ** 2).sum() <= 1.02 * min(errors)


def test_a_scale_for_each_channel_is_that_of_each_channel():
    w = torch.randn(4, 2, 3, 3, generator=generator())
    q = schemes.get("twn", granularity="channel").quantize(w)
    for row in range(4):
        alone = schemes.get("twn").quantize(w[row])
        assert torch.allclose(q.values[row], alone.values)
        assert torch.equal(q.mask[row], alone.mask)


def test_the_gradient_passes_unchanged_and_nothing_is_clipped():
    scheme = schemes.get("twn")
    layer = BinarizedLinear(3, 1, False, scheme)
    layer.weight.data[:] = torch.tensor([[2.0, -0.3, -5.0]])
    scheme.weight(layer).backward(torch.tensor([[1.0, -2.0, 3.0]]))
    assert layer.weight.grad.tolist() == [[1.0, -2.0, 3.0]]
    scheme.after_step(layer, torch.optim.Adam([layer.weight]))
    assert layer.weight.tolist() == [[2.0, -0.30000001192092896, -5.0]]
