"""IR-Net: the estimator's path, power-of-two scales, the gradient through standardization."""

import math

import pytest
import torch
from support import differences, generator, small_batch, small_lane

from bnnlab import schemes
from bnnlab.nn import MLP, BinarizedConv2d, BinarizedLinear, anneal, binarized_layers
from bnnlab.schemes.ir_net import ErrorDecay


@pytest.mark.parametrize("t", [0.001, 0.1, 1.0, 10.0])
def test_error_decay_by_finite_differences(t):
    x = torch.linspace(-2, 2, 401, dtype=torch.float64)
    e = 1e-6

    def smooth(x):
        return max(1 / t, 1) * (t * x).tanh()

    numeric = (smooth(x + e) - smooth(x - e)) / (2 * e)
    assert torch.allclose(ErrorDecay(t).pseudo_gradient(x), numeric, atol=1e-6)


def test_the_estimator_goes_from_the_identity_to_the_sign():
    scheme = schemes.get("ir_net")
    path = [scheme.decay(progress) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert [e.t for e in path] == pytest.approx([0.1, 0.1 * 10**0.5, 1.0, 10**0.5, 10.0])
    assert [e.k for e in path] == pytest.approx([10.0, 10**0.5, 1.0, 1.0, 1.0])
    x = torch.linspace(-1, 1, 101)
    assert torch.all((path[0].pseudo_gradient(x) - 1).abs() < 0.011)
    sharp = path[-1].pseudo_gradient(x)
    assert sharp[50] == 10 and torch.all(sharp[x.abs() > 0.5] < 0.01)
    other = schemes.get("ir_net", t_min=0.001)
    assert other.decay(0.0).t == pytest.approx(0.001)


@pytest.mark.parametrize("shape", [(4, 9), (3, 2, 3, 3)])
def test_signs_are_those_of_the_centred_weights_and_scales_powers_of_two(shape):
    w = torch.randn(shape, generator=generator()) * 0.1 + 0.05
    q = schemes.get("ir_net").quantize(w)
    flat = w.flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    assert torch.equal(q.signs.flatten(1), torch.where(centred >= 0, 1.0, -1.0))
    mean = (centred / flat.std(1, keepdim=True)).abs().mean(1)
    expected = 2 ** mean.log2().round()
    assert torch.equal(q.scale.flatten(), expected)
    assert q.scale.shape == (shape[0], *[1] * (len(shape) - 1))


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_the_weight_gradient_by_finite_differences(progress):
    """Of scale k tanh(t standardized(w)), the scale held where it is."""
    scheme = schemes.get("ir_net")
    layer = BinarizedLinear(5, 3, False, scheme).double()
    w = torch.randn(3, 5, generator=generator(), dtype=torch.float64) * 0.3 + 0.1
    g = torch.randn(3, 5, generator=generator(1), dtype=torch.float64)
    layer.weight.data[:] = w
    scheme.anneal(layer, progress)
    effective = scheme.weight(layer)
    assert torch.equal(effective, scheme.quantized(layer).values)
    effective.backward(g)
    t, scale = 0.1 * 100 ** float(torch.tensor(progress)), scheme.quantize(w).scale

    def surrogate(w):
        standard = (w - w.mean(1, keepdim=True)) / w.std(1, keepdim=True)
        return (g * scale * max(1 / t, 1) * (t * standard).tanh()).sum()

    assert torch.allclose(layer.weight.grad, differences(surrogate, w), atol=1e-6)


def test_activations_take_the_estimator_of_the_time():
    scheme = schemes.get("ir_net")
    model = MLP(6, 3, 8, 3, scheme=scheme)
    activation = model.hidden1.activation
    x = torch.tensor([[0.2, -0.4]])
    for progress in (0.0, 0.5, 1.0):
        anneal(model, progress)
        leaf = x.clone().requires_grad_()
        y = activation(leaf)
        y.sum().backward()
        assert y.tolist() == [[1, -1]]
        expected = scheme.decay(progress).pseudo_gradient(x)
        assert torch.allclose(leaf.grad, expected, rtol=1e-5)
    assert model.hidden2.layer.progress == 1.0
    assert not hasattr(model.hidden1.layer, "progress")  # it is real


def test_how_far_training_is_goes_with_the_network():
    lane = small_lane({"name": "ir_net"}, depth=2)
    lane.advance(*small_batch(), progress=0.25)
    assert lane.network.state_dict()["hidden2.layer.progress"] == 0.25
    assert lane.network.state_dict()["hidden1.activation.progress"] == 0.25


def test_constant_channels_are_zero_and_finite():
    scheme = schemes.get("ir_net")
    layer = BinarizedConv2d(1, 2, (1, 1), False, scheme)  # one weight a channel
    layer.weight.data[:] = torch.tensor([0.7, -0.2]).reshape(2, 1, 1, 1)
    effective = scheme.weight(layer)
    effective.sum().backward()
    assert effective.abs().max() == 0
    assert layer.weight.grad.isfinite().all()
    assert not math.isnan(scheme.quantize(torch.full((2, 3), 0.3)).values.sum())


def test_first_and_last_layers_stay_real():
    model = MLP(6, 3, 8, 3, scheme=schemes.get("ir_net"))
    assert [layer.binarized for layer in binarized_layers(model).values()] == [
        False,
        True,
        True,
        False,
    ]
