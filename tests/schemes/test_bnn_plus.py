"""BNN+: SwishSign against the sign swish, and the regularizers' derivatives."""

import math

import pytest
import torch

from bnnlab import schemes
from bnnlab.nn import MLP, BinarizedLinear
from bnnlab.schemes.bnn_plus import SwishSign


def swish(x, beta):
    s = torch.sigmoid(beta * x)
    return 2 * s * (1 + beta * x * (1 - s)) - 1


@pytest.mark.parametrize("beta", [1.0, 5.0, 20.0])
def test_swish_sign_by_finite_differences(beta):
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)
    e = 1e-6
    numeric = (swish(x + e, beta) - swish(x - e, beta)) / (2 * e)
    assert torch.allclose(SwishSign(beta).pseudo_gradient(x), numeric, atol=1e-7)


def test_swish_sign_as_it_is_printed():
    x = torch.linspace(-2, 2, 81, dtype=torch.float64)
    printed = 5 * (2 - 5 * x * torch.tanh(5 * x / 2)) / (1 + torch.cosh(5 * x))
    assert torch.allclose(SwishSign(5.0).pseudo_gradient(x), printed)
    assert (printed < 0).any()  # it is no monotone function


def test_swish_sign_of_extremes():
    x = torch.tensor([-math.inf, -3.4e38, -40.0, 40.0, 3.4e38, math.inf])
    assert torch.equal(SwishSign(5.0).pseudo_gradient(x).abs(), torch.zeros(6))
    assert SwishSign(5.0).pseudo_gradient(torch.tensor(math.nan)).isnan()


def test_both_signs_use_it():
    scheme = schemes.get("bnn_plus", beta=3.0)
    values = torch.tensor([[-0.7, 0.1, 0.4]])
    layer = BinarizedLinear(3, 1, False, scheme)
    layer.weight.data[:] = values
    x = values.clone().requires_grad_()
    for output, leaf in ((scheme.weight(layer), layer.weight), (scheme.activation(x), x)):
        output.backward(torch.tensor([[1.0, 2.0, -1.0]]))
        assert output.tolist() == [[-1, 1, 1]]
        expected = SwishSign(3.0).pseudo_gradient(values) * torch.tensor([[1.0, 2.0, -1.0]])
        assert torch.equal(leaf.grad, expected)


@pytest.mark.parametrize("centre", ["mean", "median"])
@pytest.mark.parametrize("regularizer", ["r1", "r2"])
def test_the_regularizer_by_finite_differences(regularizer, centre):
    """Of the sum of R over the weights, alpha held where it is."""
    w = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alpha = w.abs().mean() if centre == "mean" else w.abs().median()

    def penalty(w):
        distance = (alpha - w.abs()).abs()
        return distance if regularizer == "r1" else distance**2

    numeric = (penalty(w + 1e-6) - penalty(w - 1e-6)) / 2e-6
    scheme = schemes.get("bnn_plus", regularizer=regularizer, centre=centre, strength=0.25)
    at_kink = (w.abs() - alpha).abs() < 1e-5
    assert torch.allclose(scheme.pull(w)[~at_kink], numeric[~at_kink], atol=1e-6)
    g = torch.randn(5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    layer = BinarizedLinear(7, 5, False, scheme).double()
    layer.weight.data[:] = w
    effective = scheme.weight(layer)
    assert torch.equal(effective, scheme.quantize(w).values)
    effective.backward(g)
    expected = SwishSign(5.0).pseudo_gradient(w) * g + 0.25 * scheme.pull(w)
    assert torch.allclose(layer.weight.grad, expected)


@pytest.mark.parametrize("regularizer", ["r1", "r2"])
def test_the_regularizer_draws_sizes_together(regularizer):
    scheme = schemes.get("bnn_plus", regularizer=regularizer, strength=1.0)
    layer = BinarizedLinear(20, 30, False, scheme)
    layer.initialize(torch.Generator().manual_seed(0))
    spread = layer.weight.detach().abs().std()
    optimizer = torch.optim.SGD([layer.weight], 0.001)
    for _ in range(200):
        optimizer.zero_grad()
        (0.0 * scheme.weight(layer)).sum().backward()
        optimizer.step()
    assert layer.weight.detach().abs().std() < 0.8 * spread


def test_first_and_last_layers_stay_real():
    model = MLP(6, 3, 8, 2, scheme=schemes.get("bnn_plus"))
    assert [block.layer.binarized for block in model.children()] == [False, True, False]
