"""Shift-based batch normalization."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from bnnlab.nn import ShiftBatchNorm
from bnnlab.nn.norm import norm
from bnnlab.powers import ap2

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


def test_golden_powers_of_two():
    x = torch.tensor([0.3, 0.7, 1.4, 1.5, 3, 5.5, -0.1, -6, 0.0])
    assert ap2(x).tolist() == [0.25, 0.5, 1, 2, 4, 4, -0.125, -8, 0]


@given(finite)
@example(2.4e38)
@example(1e-45)
def test_powers_of_two_are_within_a_factor_of_root_two(value):
    x = torch.tensor([value])
    y = ap2(x)
    if x == 0:
        assert y == 0
        return
    mantissa, _ = torch.frexp(y)
    assert mantissa.abs() == 0.5
    ratio = (y.double() / x.double()).item()
    # Above the last power times root two there is no nearer power to go to.
    least = 0.5 if x.abs() > 2**127.5 else 2**-0.5 * (1 - 1e-6)
    assert least <= ratio <= 2**0.5 * (1 + 1e-6)
    assert torch.equal(ap2(y), y)


def test_what_is_not_finite_stays():
    x = torch.tensor([torch.nan, torch.inf, -torch.inf])
    assert torch.equal(ap2(x).isnan(), x.isnan()) and torch.equal(ap2(x)[1:], x[1:])


def test_golden_column():
    layer = ShiftBatchNorm(1)
    x = torch.tensor([[1.0], [2.0], [4.0], [-3.0], [0.5]])
    y = layer(x)
    assert torch.allclose(y[:, 0], torch.tensor([0.05, 0.55, 1.55, -1.95, -0.2]), atol=1e-6)
    assert layer.running_inverse.item() == pytest.approx(0.875 + 0.125 * 5.8626**-0.5, abs=1e-6)


@pytest.mark.parametrize("shape", [(64, 6), (8, 6, 5, 5)])
def test_it_is_batch_norm_within_a_factor_of_two(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3 + 1
    x = x.requires_grad_()
    over = [0, *range(2, len(shape))]
    plain, shifted = norm("on", 6, flat=len(shape) == 2), ShiftBatchNorm(6)
    y, z = plain(x), shifted(x)
    assert z.mean(over).abs().max() < 1e-5
    ratio = z.std(over) / y.std(over)
    assert ratio.min() > 0.5 and ratio.max() < 2
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    (g,) = torch.autograd.grad((y * weights).sum(), x)
    (h,) = torch.autograd.grad((z * weights).sum(), x)
    cosine = torch.nn.functional.cosine_similarity(g.flatten(), h.flatten(), dim=0)
    assert cosine > 0.9


def test_evaluation_shifts_by_the_running_statistics():
    layer = ShiftBatchNorm(2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([3.0, -0.3]))
        layer.bias.copy_(torch.tensor([1.0, 2.0]))
        layer.running_mean.copy_(torch.tensor([0.5, -1.0]))
        layer.running_inverse.copy_(torch.tensor([0.7, 1.4]))
    y = layer.eval()(torch.tensor([[2.5, 1.0]]))
    assert y.tolist() == [[2 * 0.5 * 4 + 1, 2 * 1.0 * -0.25 + 2]]


def test_the_norm_before_the_loss_is_ordinary():
    assert isinstance(norm("shift", 3, flat=True), ShiftBatchNorm)
    assert isinstance(norm("shift", 3, flat=True, last=True), torch.nn.BatchNorm1d)
    assert isinstance(norm("off", 3, flat=True), torch.nn.Identity)


def test_one_value_a_channel_is_refused_and_constants_stay_finite():
    layer = ShiftBatchNorm(3)
    with pytest.raises(ValueError, match="more than one value a channel"):
        layer(torch.zeros(1, 3))
    x = torch.full((4, 3), 7.0, requires_grad=True)
    layer(x).sum().backward()
    assert torch.isfinite(x.grad).all() and torch.equal(layer(x), torch.zeros(4, 3))
