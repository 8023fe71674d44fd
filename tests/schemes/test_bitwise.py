"""Bitwise networks: the boundary, both stages with their derivatives, and the switch-over."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support import generator

from bnnlab import schemes
from bnnlab.nn import MLP, Activation, BinarizedConv2d, BinarizedLinear, anneal, binarized_layers
from bnnlab.schemes.bitwise import boundary, ternary

W = torch.tensor([0.9, -0.1, 0.4, -0.6, 0.05, 0.2, -0.8, 0.3])


def network(**options):
    scheme = schemes.get("bitwise", **options)
    return MLP(6, 3, 8, 2, batch_norm="off", scheme=scheme, generator=generator())


def data():
    return torch.randn(20, 6, generator=generator(1)), torch.randn(20, 3, generator=generator(2))


def test_ternary_weights_by_hand():
    q = ternary(W, 0.25)
    assert q.cut.tolist() == pytest.approx([0.175])
    assert q.values.tolist() == [1, 0, 1, -1, 0, 1, -1, 1]
    assert q.mask.tolist() == [True, False, True, True, False, True, True, True]
    assert q.signs.tolist() == [1, -1, 1, -1, 1, 1, -1, 1]
    assert q.scale.tolist() == [1.0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=60), st.floats(0.01, 0.95))
def test_the_boundary_is_the_quantile_and_weights_below_it_are_zero(numbers, sparsity):
    w = torch.tensor(numbers, dtype=torch.float64)
    cut = boundary(w, sparsity)
    assert cut.item() == pytest.approx(np.quantile(np.abs(w.numpy()), sparsity), abs=1e-12)
    q = ternary(w, sparsity)
    assert torch.equal(q.values, q.signs * q.mask * q.scale)
    for value, bit in zip(w.tolist(), q.values.tolist(), strict=True):
        assert bit == (0 if abs(value) <= cut.item() else math.copysign(1, value))


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("shape", [(64, 50), (8, 5, 3, 3)])
def test_the_share_of_zeros(sparsity, shape):
    w = torch.randn(shape, generator=generator())
    q = schemes.get("bitwise", sparsity=sparsity).quantize(w)
    assert (q.values == 0).float().mean().item() == pytest.approx(sparsity, abs=1 / w.numel())
    assert q.cut.shape == q.scale.shape == (1,) * len(shape)


def test_without_sparsity_only_zero_is_zero():
    assert ternary(torch.tensor([0.1, -1e-30, 0.0]), 0.0).values.tolist() == [1, -1, 0]


@pytest.mark.parametrize("inputs", ["bipolar", "real"])
def test_stage_1_by_finite_differences(inputs):
    """Of every weight and bias, in double precision: these derivatives are exact."""
    model = network(inputs=inputs).double()
    x, y = (part.double() for part in data())
    with torch.no_grad():
        for layer in binarized_layers(model).values():
            layer.bias.normal_(generator=generator(3))

    def loss():
        return F.mse_loss(model(x), y)

    loss().backward()
    for parameter in model.parameters():
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for i in range(0, len(flat), 5):
            there = flat[i].item()
            flat[i] = there + 1e-6
            above = loss().item()
            flat[i] = there - 1e-6
            below = loss().item()
            flat[i] = there
            assert gradient[i].item() == pytest.approx((above - below) / 2e-6, abs=1e-8, rel=1e-5)


def test_stage_1_by_hand():
    model = network(inputs="real")
    x, _ = data()
    h = x
    for name in ("hidden1", "hidden2", "output"):
        layer = getattr(model, name).layer
        h = F.linear(h, layer.weight.tanh(), layer.bias.tanh())
        h = h.tanh() if name != "output" else h
    assert torch.allclose(model(x), h, atol=1e-6)
    assert torch.allclose(model.eval()(x), h, atol=1e-6)
    assert model.hidden1.layer.scheme.quantized(model.hidden1.layer).integers is None


@pytest.mark.parametrize("rule", ["identity", "tanh"])
def test_stage_2_by_hand(rule):
    model = network(sparsity=0.3, switch=0.0, latent="raw", weight_gradient=rule)
    anneal(model, 0.0)
    x, y = data()
    with torch.no_grad():
        for layer in binarized_layers(model).values():
            layer.bias.normal_(generator=generator(3))
    model(x).backward(y)
    layers = list(binarized_layers(model).values())
    latent = [(layer.weight.detach(), layer.bias.detach()) for layer in layers]
    bits = [tuple(ternary(v, 0.3).values for v in pair) for pair in latent]
    z, sums = [torch.where(x >= 0, 1.0, -1.0)], []
    for w, b in bits:
        sums.append(z[-1] @ w.T + b)
        z.append(torch.where(sums[-1] >= 0, 1.0, -1.0))
    delta = y
    for i in (2, 1, 0):
        slope = [1 - v.tanh() ** 2 if rule == "tanh" else 1.0 for v in latent[i]]
        assert torch.allclose(layers[i].weight.grad, delta.T @ z[i] * slope[0], atol=1e-5)
        assert torch.allclose(layers[i].bias.grad, delta.sum(0) * slope[1], atol=1e-5)
        if i:
            delta = (delta @ bits[i][0]) * (1 - sums[i - 1].tanh() ** 2)
    assert torch.equal(model.eval()(x), sums[-1])


@pytest.mark.parametrize("latent", ["compressed", "raw"])
def test_the_switch_happens_once_and_keeps_the_bits(latent):
    model = network(switch=0.5, latent=latent)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    anneal(model, 0.49)
    assert not any(layer.noisy for layer in binarized_layers(model).values())
    for progress in (0.5, 0.6):
        anneal(model, progress)
        assert all(layer.noisy for layer in binarized_layers(model).values())
        for name, p in model.named_parameters():
            expected = before[name].tanh() if latent == "compressed" else before[name]
            assert torch.equal(p, expected)
    w = model.hidden1.layer.weight.detach()
    assert torch.equal(ternary(w, 0.1).values, ternary(before["hidden1.layer.weight"], 0.1).values)
    assert model.hidden1.activation.noisy


def test_the_stage_is_part_of_the_state():
    model, fresh = network(), network()
    anneal(model, 0.9)
    fresh.load_state_dict(model.state_dict())
    x, _ = data()
    assert torch.equal(fresh(x), model(x))
    assert fresh.hidden1.layer.noisy and fresh.hidden1.activation.noisy


def test_the_activation_of_both_stages():
    activation = Activation(schemes.get("bitwise"), 3)
    x = torch.tensor([[-2.0, -0.0, 0.5]], requires_grad=True)
    assert torch.equal(activation(x), x.tanh())
    anneal(activation, 1.0)
    y = activation(x)
    assert y.tolist() == [[-1, 1, 1]]
    y.sum().backward()
    assert torch.allclose(x.grad, 1 - x.detach().tanh() ** 2)
    assert torch.equal(activation.scheme.activation(x), y)


@pytest.mark.parametrize("inputs", ["bipolar", "real"])
def test_inputs_are_bits_in_the_first_layer_alone(inputs):
    model = network(inputs=inputs)
    first = model.hidden1.layer
    bits = inputs == "bipolar"
    assert (first.input_step, first.input_bits) == ((1.0, 1) if bits else (None, 32))
    x, _ = data()
    seen = x if inputs == "real" else torch.where(x >= 0, 1.0, -1.0)
    for training in (True, False):
        expected = F.linear(seen, first.weight.tanh(), first.bias.tanh())
        assert torch.allclose(first.train(training)(x), expected, atol=1e-6)
    other = BinarizedLinear(6, 4, False, first.scheme)
    other.initialize(generator())
    assert torch.allclose(other(x), F.linear(x, other.weight.tanh()), atol=1e-6)


def test_a_convolution_is_ternary_too():
    layer = BinarizedConv2d(2, 3, (3, 3), False, schemes.get("bitwise", sparsity=0.4))
    layer.initialize(generator())
    anneal(layer, 1.0)
    assert set(layer.scheme.weight(layer).unique().tolist()) == {-1.0, 0.0, 1.0}


def test_what_a_timeline_is_told():
    scheme = schemes.get("bitwise", switch=0.25)
    assert scheme.events() == [{"at": 0.25, "label": "noisy back-propagation"}]
    assert scheme.live == ("sparsity",) and scheme.anneals
