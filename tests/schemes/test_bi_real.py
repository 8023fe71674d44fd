"""Bi-Real Net: ApproxSign against the function it belongs to, and its weights."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnlab import schemes
from bnnlab.nn import MLP, BinarizedConv2d, BinarizedLinear
from bnnlab.schemes.bi_real import approx_sign


def smooth(x):
    """-1, 2x + x^2, 2x - x^2, 1 on the intervals between -1, 0 and 1."""
    inside = torch.where(x < 0, 2 * x + x * x, 2 * x - x * x)
    return torch.where(x.abs() < 1, inside, x.sign())


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20))
def test_approx_sign_by_finite_differences(values):
    x = torch.tensor(values, dtype=torch.float64)
    e = 1e-6
    numeric = (smooth(x + e) - smooth(x - e)) / (2 * e)
    assert torch.allclose(approx_sign.pseudo_gradient(x), numeric, atol=1e-5)


def test_approx_sign_in_a_pass():
    x = torch.tensor([-1.5, -1.0, -0.5, -0.0, 0.25, 1.0, 9.0], requires_grad=True)
    y = schemes.get("bi_real").activation(x)
    y.backward(torch.tensor([1.0, 1, 1, 2, 1, 1, 1]))
    assert y.tolist() == [-1, -1, -1, 1, 1, 1, 1]
    assert x.grad.tolist() == [0, 0, 1, 4, 1.5, 0, 0]


def test_the_weight_gradient_is_cut_but_not_scaled():
    scheme = schemes.get("bi_real")
    layer = BinarizedLinear(4, 2, False, scheme)
    layer.weight.data[:] = torch.tensor([[0.5, -1.0, 1.5, 0.2], [1.0, -3.0, 0.0, 0.1]])
    effective = scheme.weight(layer)
    scales = [3.2 / 4, 4.1 / 4]
    expected = torch.tensor([[1.0, -1, 1, 1], [1, -1, 1, 1]]) * torch.tensor(scales)[:, None]
    assert torch.allclose(effective, expected)
    effective.backward(torch.full((2, 4), 3.0))
    assert layer.weight.grad.tolist() == [[3, 3, 0, 3], [3, 0, 3, 3]]


def test_a_convolution_has_a_scale_for_each_output_channel():
    layer = BinarizedConv2d(2, 3, (3, 3), False, schemes.get("bi_real"))
    layer.initialize(torch.Generator().manual_seed(0))
    q = layer.scheme.quantized(layer)
    assert q.scale.shape == (3, 1, 1, 1)
    assert torch.allclose(q.scale.flatten(), layer.weight.abs().mean((1, 2, 3)))


def test_first_and_last_layers_stay_real_and_nothing_is_clipped():
    model = MLP(6, 3, 8, 2, scheme=schemes.get("bi_real"))
    assert [block.layer.binarized for block in model.children()] == [False, True, False]
    assert model.hidden2.layer.input_step == 1.0
    assert schemes.get("bi_real").clip is None
