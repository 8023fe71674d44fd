"""DoReFa-Net for one, two and three bits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import generator

from bnnlab import schemes
from bnnlab.nn import MLP, BinarizedConv2d, BinarizedLinear
from bnnlab.schemes.dorefa import quantize_gradient


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_activation_gradient(bits):
    x = torch.tensor([-0.1, -0.0, 0.0, 0.5, 1.0, 1.1], requires_grad=True)
    schemes.get("dorefa", activation_bits=bits).activation(x).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_activations_round_half_to_even(bits):
    levels = 2**bits - 1
    halves = (torch.arange(levels) + 0.5) / levels
    exact = ((halves * levels) % 1) == 0.5  # ties that float32 holds exactly
    codes = schemes.get("dorefa", activation_bits=bits).activation(halves) * levels
    assert exact.any()
    assert torch.all(codes[exact].round() % 2 == 0)


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_k_bit_weights_lie_on_a_grid_and_reach_an_end(bits):
    w = torch.randn(30, 40, generator=generator())
    q = schemes.get("dorefa", weight_bits=bits).quantize(w)
    levels = 2**bits - 1
    assert q.signs is None and q.scale.tolist() == [[pytest.approx(1 / levels)]]
    assert torch.equal(q.values, q.codes * q.scale) and torch.equal(q.integers, q.codes)
    assert set(q.codes.unique().tolist()) <= set(range(-levels, levels + 1, 2))
    assert q.values.abs().max() == 1
    assert len(q.values.unique()) <= 2**bits


def test_one_bit_weights_have_one_scale_a_layer_and_pass_every_gradient():
    layer = BinarizedLinear(3, 2, False, schemes.get("dorefa"))
    layer.weight.data[:] = torch.tensor([[5.0, -1.0, 0.0], [1.0, 1.0, -1.0]])
    effective = layer.scheme.weight(layer)
    assert effective.tolist() == [[1.5, -1.5, 1.5], [1.5, 1.5, -1.5]]
    effective.backward(torch.arange(6.0).reshape(2, 3))
    assert torch.equal(layer.weight.grad, torch.arange(6.0).reshape(2, 3))


def test_k_bit_weight_gradient_flows_through_tanh_and_maximum():
    layer = BinarizedLinear(4, 1, False, schemes.get("dorefa", weight_bits=2)).double()
    layer.weight.data[:] = torch.tensor([[0.5, -0.2, 1.4, 0.1]])
    layer.scheme.weight(layer).sum().backward()
    w = layer.weight.detach().requires_grad_()
    (w.tanh() / w.tanh().abs().max()).sum().backward()
    assert torch.allclose(layer.weight.grad, w.grad)


def test_bits_follow_the_options():
    scheme = schemes.get("dorefa", weight_bits=3, activation_bits=2)
    assert (scheme.weight_bits, scheme.activation_bits) == (3, 2)
    assert scheme.activation_codes == (0, 1, 2, 3) and scheme.activation_step == 1 / 3
    real = schemes.get("dorefa", activation_bits=32)
    assert real.activation_estimator is None and real.activation_step is None


def test_first_and_last_layers_stay_real_and_relu_feeds_the_last():
    model = MLP(6, 3, 8, 2, scheme=schemes.get("dorefa"))
    assert [block.layer.binarized for block in model.children()] == [False, True, False]
    assert model.hidden1.activation.scheme.key == "dorefa"
    assert model.hidden2.activation.scheme.key == "full_precision"
    assert model.hidden2.layer.input_step == 1 / 3


GRADIENT = torch.tensor([[0.5, -1.0, 0.25, 0.0], [0.0, 0.0, 0.0, 0.0], [3.0, 0.3, -0.1, 1.0]])


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        # by hand: 2m (round((2^k - 1)(g / 2m + 1/2)) / (2^k - 1) - 1/2), half to even
        (1, [[1.0, -1.0, 1.0, -1.0], [0.0] * 4, [3.0, 3.0, -3.0, 3.0]]),
        (2, [[1 / 3, -1.0, 1 / 3, 1 / 3], [0.0] * 4, [3.0, 1.0, -1.0, 1.0]]),
    ],
)
def test_gradients_without_noise(bits, expected):
    given = quantize_gradient(GRADIENT, torch.zeros(3, 4), bits)
    assert torch.allclose(given, torch.tensor(expected), atol=1e-6)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_gradients_are_unbiased(bits):
    """Each mean within what a right rounding passes once in a million runs."""
    draws = 40_000
    scheme = schemes.get("dorefa", gradient_bits=bits)
    many = GRADIENT.repeat(draws, 1)
    values = scheme.quantize_gradient(many, generator()).reshape(draws, 3, 4)
    error = values.std(0) / draws**0.5
    # P(|z| > 5.5) = 4e-8, for each of twelve
    assert torch.all((values.mean(0) - GRADIENT).abs() <= 5.5 * error + 1e-6)
    assert (values[:, 1] == 0).all()  # a sample without a gradient keeps none


@pytest.mark.parametrize("bits", [1, 3, 8])
@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20),
    noise=st.floats(-0.5, 0.5, width=32),
)
def test_gradients_are_few_values_close_by(bits, values, noise):
    g = torch.tensor([values, values])
    q = quantize_gradient(g, torch.full_like(g, noise), bits).double()
    largest, levels = g.abs().max().double(), 2**bits - 1
    assert torch.all(q.abs() <= largest * (1 + 1e-6))
    widest = largest.clamp_min(torch.finfo(g.dtype).tiny)  # even where all are subnormal
    assert torch.all((q - g).abs() <= 2 * widest / levels * (1 + 1e-4))
    if largest > 1e-30:
        codes = (q / largest + 1) / 2 * levels
        assert torch.allclose(codes, codes.round(), atol=1e-3)


def test_the_range_is_that_of_a_sample_over_everything_else():
    """Not of a channel and not of the batch: what max_0 means confused users."""
    g = torch.randn(4, 3, 5, 5, generator=generator())
    together = quantize_gradient(g, torch.zeros_like(g), 2)
    for i in range(4):
        alone = quantize_gradient(g[i].reshape(1, -1), torch.zeros(1, 75), 2)
        assert torch.equal(together[i].reshape(1, -1), alone)
        assert together[i].abs().max() == g[i].abs().max()


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_a_layer_uses_quantized_gradients_for_its_weights_and_its_inputs(bits):
    scheme = schemes.get("dorefa", gradient_bits=bits)
    layer = BinarizedConv2d(2, 3, (3, 3), False, scheme, padding=(1, 1), generator=generator(5))
    layer.initialize(generator(1))
    x = torch.randn(4, 2, 6, 6, generator=generator(2)).requires_grad_()
    g = torch.randn(4, 3, 6, 6, generator=generator(3))
    layer(x).backward(g)
    expected = scheme.quantize_gradient(g, generator(5))
    plain = schemes.get("dorefa")
    twin = BinarizedConv2d(2, 3, (3, 3), False, plain, padding=(1, 1))
    twin.load_state_dict(layer.state_dict())
    z = x.detach().requires_grad_()
    twin(z).backward(expected)
    assert torch.allclose(x.grad, z.grad)
    assert torch.allclose(layer.weight.grad, twin.weight.grad)


def test_with_32_bits_nothing_is_drawn():
    layer = BinarizedLinear(4, 3, False, schemes.get("dorefa"), generator=generator())
    state = layer.generator.get_state()
    layer(torch.ones(2, 4)).sum().backward()
    assert torch.equal(layer.generator.get_state(), state)


def test_all_bits_may_change_while_training_runs():
    scheme = schemes.get("dorefa")
    assert set(scheme.live) == {"weight_bits", "activation_bits", "gradient_bits"}
    assert set(scheme.live) <= set(scheme.options())
