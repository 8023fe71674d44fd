"""The straight-through estimators against the closed forms they state."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import differences

from bnnlab.schemes.estimators import (
    TanhQuantizer,
    UnitQuantizer,
    hard_tanh,
    identity,
    quantize_unit,
    sign,
    straight_through,
)

# The smallest and the largest numbers, the walls and their neighbours.
EDGES = [0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 3.4e38, -3.4e38]
EDGES += [1.0000001, 0.99999994, -1.0000001, -0.99999994, 0.5, 2.0]

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
lists = st.lists(floats, min_size=1, max_size=40)
gradients = st.lists(st.floats(-1e6, 1e6, width=32), min_size=40, max_size=40)


def both(f):
    """Run a property on the edge cases as well as on random lists."""
    f = example(values=EDGES, incoming=[1.0] * 40)(f)
    return settings(max_examples=60, deadline=None)(given(values=lists, incoming=gradients)(f))


def gradient_of(estimator, values, incoming):
    x = torch.tensor(values, requires_grad=True)
    g = torch.tensor(incoming[: len(values)])
    y = estimator(x)
    y.backward(g)
    return y.detach(), x.grad, g


@both
def test_sign_with_identity(values, incoming):
    y, gradient, g = gradient_of(identity, values, incoming)
    assert y.tolist() == [1.0 if v >= 0 else -1.0 for v in values]
    assert torch.equal(gradient, g)


@both
def test_sign_with_hard_tanh(values, incoming):
    y, gradient, g = gradient_of(hard_tanh, values, incoming)
    assert y.tolist() == [1.0 if v >= 0 else -1.0 for v in values]
    expected = [gi if abs(v) <= 1 else 0.0 for v, gi in zip(torch.tensor(values), g, strict=True)]
    assert gradient.tolist() == [float(e) for e in expected]


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
@both
def test_unit_quantizer(bits, values, incoming):
    y, gradient, g = gradient_of(UnitQuantizer(bits), values, incoming)
    levels = 2**bits - 1
    x = torch.tensor(values)
    codes = y.double() * levels
    assert torch.allclose(codes, codes.round(), atol=1e-4)
    assert torch.all((y - x.clamp(0, 1)).abs() <= 0.5 / levels + 1e-6)
    assert gradient.tolist() == [
        float(gi) if 0 <= v <= 1 else 0.0 for v, gi in zip(x.tolist(), g, strict=True)
    ]


@pytest.mark.parametrize("estimator", [identity, hard_tanh, UnitQuantizer(2), UnitQuantizer(1)])
@both
def test_chain_is_the_pseudo_gradient_times_the_gradient(estimator, values, incoming):
    x = torch.tensor(values)
    g = torch.tensor(incoming[: len(values)])
    assert torch.equal(estimator.chain(g, x), g * estimator.pseudo_gradient(x))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=20), st.integers(2, 4))
def test_tanh_quantizer_follows_its_formula(values, bits):
    x = torch.tensor(values, dtype=torch.float64)
    largest = x.tanh().abs().max()
    y = TanhQuantizer(bits).forward(x)
    if largest > 1e-30:
        levels = 2**bits - 1
        unit = x.tanh() / (2 * largest) + 0.5
        assert torch.allclose(y, 2 * (unit * levels).round() / levels - 1)
        slope = TanhQuantizer(bits).pseudo_gradient(x)
        assert torch.allclose(slope, (1 - x.tanh() ** 2) / largest)
    assert torch.all(y.abs() <= 1)


def test_tanh_quantizer_of_zeros_is_finite():
    x = torch.zeros(4, requires_grad=True)
    estimator = TanhQuantizer(2)
    y = estimator(x)
    y.sum().backward()
    assert torch.isfinite(y).all() and torch.isfinite(x.grad).all()


def test_tanh_quantizer_gradient_by_finite_differences():
    """With the rounding taken for the identity, the rest is differentiated exactly."""
    torch.manual_seed(0)
    x = torch.randn(7, dtype=torch.float64, requires_grad=True)
    g = torch.randn(7, dtype=torch.float64)
    estimator = TanhQuantizer(3)
    estimator(x).backward(g)

    def smooth(x):
        bent = x.tanh()
        return ((bent / bent.abs().max()) * g).sum()

    assert torch.allclose(x.grad, differences(smooth, x.detach()), atol=1e-7)


def test_the_forward_value_is_exact():
    """Not w + (q - w), which rounds: q itself, to the last bit."""
    w = torch.full((3,), 0.1, requires_grad=True)
    values = torch.tensor([1e-9, 1 / 3, -7.7])
    assert torch.equal(identity.through(w, values), values)
    assert torch.equal(hard_tanh.through(w, values), values)


def test_straight_through_uses_the_given_chain():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    straight_through(x, torch.zeros(2), lambda gradient, x: gradient * x).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_walls_belong_to_the_inside_in_every_precision(dtype):
    one = torch.ones((), dtype=dtype)
    beyond = torch.nextafter(one, 2 * one)
    x = torch.stack([one, beyond, -one, -beyond]).requires_grad_()
    hard_tanh(x).sum().backward()
    assert x.grad.tolist() == [1, 0, 1, 0]


def test_sign_of_zeros_infinities_and_nan():
    x = torch.tensor([0.0, -0.0, math.inf, -math.inf])
    assert sign(x).tolist() == [1, 1, 1, -1]
    assert torch.isnan(sign(torch.tensor([math.nan, 1.0, -1.0] * 11))[::3]).all()


def test_sign_does_not_change_its_argument_and_keeps_shape_and_type():
    x = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    y = sign(x)
    assert torch.equal(x, before) and y.shape == x.shape and y.dtype == x.dtype
    assert sign(x.T).shape == (5, 3)


def test_rounding_is_half_to_even():
    assert quantize_unit(torch.tensor([0.5]), 1).tolist() == [0.0]
    assert quantize_unit(torch.tensor([0.5 / 3, 1.5 / 3, 2.5 / 3], dtype=torch.float64), 2).mul(
        3
    ).tolist() == [0.0, 2.0, 2.0]
