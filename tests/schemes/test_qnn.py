"""QNN: linear and logarithmic quantization of weights, activations and gradients."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import generator

from bnnlab import schemes
from bnnlab.nn import MLP, BinarizedLinear
from bnnlab.schemes.qnn import quantize_gradient

W = torch.tensor([0.8, -0.3, 0.05, -1.2, 0.6, 0.0, -0.0])
BITS = [*(("linear", bits) for bits in range(1, 9)), *(("log", bits) for bits in range(1, 6))]
values = st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=30)


def qnn(spacing, bits, **options):
    return schemes.get("qnn", spacing=spacing, weight_bits=bits, activation_bits=bits, **options)


@pytest.mark.parametrize(
    ("spacing", "bits", "expected"),
    [
        ("linear", 1, [1, -1, 1, -1, 1, 1, 1]),
        ("linear", 2, [0.5, -0.5, 0, -1, 0.5, 0, 0]),  # 0.8 / 0.5 = 1.6, and 2 is out of range
        ("linear", 3, [0.75, -0.25, 0, -1, 0.5, 0, 0]),
        ("log", 1, [1, -1, 1, -1, 1, 1, 1]),
        ("log", 2, [1, -0.5, 0.5, -1, 0.5, 0.5, 0.5]),
        ("log", 3, [1, -0.25, 0.125, -1, 0.5, 0.125, 0.125]),  # log2(0.3) = -1.74
        ("log", 4, [1, -0.25, 0.0625, -1, 0.5, 2**-7, 2**-7]),  # log2(0.05) = -4.3
    ],
)
def test_by_hand(spacing, bits, expected):
    scheme = qnn(spacing, bits)
    assert scheme.quantize(W).values.tolist() == expected
    assert scheme.activation(W[None])[0].tolist() == expected


@pytest.mark.parametrize(("spacing", "bits"), BITS)
@settings(max_examples=30, deadline=None)
@given(values)
def test_values_are_integers_times_the_scale_and_stay_as_they_are(spacing, bits, numbers):
    scheme = qnn(spacing, bits)
    q = scheme.quantize(torch.tensor([numbers]))
    assert torch.equal(q.values, q.integers * q.scale)
    assert q.scale.shape == (1, 1) and scheme.activation_step == q.scale.item()
    assert set(q.integers.unique().tolist()) <= set(scheme.activation_codes)
    assert len(scheme.activation_codes) == 2**bits
    assert q.values.abs().max() <= 1
    assert torch.equal(scheme.quantize(q.values).values, q.values)
    assert torch.equal(scheme.activation(torch.tensor([numbers])), q.values)


@settings(max_examples=60, deadline=None)
@given(values, st.integers(2, 5))
def test_logarithmic_values_are_the_nearest_powers_on_a_logarithmic_scale(numbers, bits):
    w = torch.tensor(numbers)
    q = qnn("log", bits).quantize(w).values
    smallest = 2.0 ** (1 - 2 ** (bits - 1))
    for value, near in zip(w.tolist(), q.tolist(), strict=True):
        assert math.log2(abs(near)).is_integer() and (near > 0) == (value >= 0)
        if smallest <= abs(value) <= 1:
            assert abs(math.log2(abs(near) / abs(value))) <= 0.5 + 1e-6


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=30), st.integers(2, 8))
def test_linear_values_are_the_nearest(numbers, bits):
    w, step = torch.tensor(numbers), 2.0 ** (1 - bits)
    error = (qnn("linear", bits).quantize(w).values - w).abs()
    assert torch.all(error <= torch.where(w > 1 - step, step, step / 2))


def test_ties_go_to_the_even_neighbour():
    w = torch.tensor([0.125, 0.375, -0.125, -0.375])
    assert qnn("linear", 3).quantize(w).codes.tolist() == [0, 2, 0, -2]


@pytest.mark.parametrize(("spacing", "bits"), BITS)
def test_gradients_pass_within_the_range(spacing, bits):
    scheme = qnn(spacing, bits)
    x = torch.tensor([[-1.5, -1.0, -0.0, 0.7, 1.0, 1.1]], requires_grad=True)
    scheme.activation(x).backward(torch.arange(1.0, 7.0)[None])
    assert x.grad.tolist() == [[0, 2, 3, 4, 5, 0]]


def test_one_bit_is_bnn():
    models = []
    for scheme in (qnn("log", 1), schemes.get("bnn")):
        model = MLP(6, 3, 8, 2, scheme=scheme, generator=generator(1))
        model(torch.randn(20, 6, generator=generator())).square().sum().backward()
        models.append(model)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        # Latent weights are inside the walls, where BNN's gradient passes too.
        assert torch.equal(one.grad, other.grad)


GRADIENT = torch.tensor([[0.5, -1.0, 0.25, 0.0], [0.0, 0.0, 0.0, 0.0], [3.0, 0.3, -0.1, 1.0]])


@pytest.mark.parametrize("bits", [2, 3, 6])
def test_stochastic_gradients_are_unbiased_multiples(bits):
    """Each mean within what a right rounding passes once in a million runs."""
    draws, top = 40_000, 2 ** (bits - 1) - 1
    many = quantize_gradient(GRADIENT.repeat(draws, 1), bits, "stochastic", generator())
    many = many.reshape(draws, 3, 4)
    error = many.std(0) / draws**0.5
    # P(|z| > 5.5) = 4e-8, for each of twelve
    assert torch.all((many.mean(0) - GRADIENT).abs() <= 5.5 * error + 1e-6)
    codes = many[:, 2].double() / 3 * top
    assert torch.allclose(codes, codes.round(), atol=1e-4) and codes.abs().max() <= top + 1e-6


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        # AP2 of 1 is 1 and of 3 is 4; of 2^(k - 1) - 1 sizes those below the smallest become 0
        (2, [[0.0, -1.0, 0.0, 0.0], [0.0] * 4, [4.0, 0.0, 0.0, 0.0]]),
        (3, [[0.5, -1.0, 0.25, 0.0], [0.0] * 4, [4.0, 0.0, 0.0, 1.0]]),
        (4, [[0.5, -1.0, 0.25, 0.0], [0.0] * 4, [4.0, 0.25, -0.125, 1.0]]),
    ],
)
def test_logarithmic_gradients(bits, expected):
    state = generator()
    before = state.get_state()
    assert quantize_gradient(GRADIENT, bits, "log", state).tolist() == expected
    assert torch.equal(state.get_state(), before)


@pytest.mark.parametrize("rounding", ["stochastic", "log"])
def test_nan_gradients_are_not_hidden(rounding):
    gradient = torch.tensor([[1.0, math.nan], [1.0, 2.0]])
    q = quantize_gradient(gradient, 4, rounding, generator())
    assert torch.isnan(q[0, 1]) and torch.isfinite(q[1]).all()


@pytest.mark.parametrize("rounding", ["stochastic", "log"])
def test_a_layer_uses_quantized_gradients(rounding):
    scheme = qnn("linear", 3, gradient_bits=3, gradient_rounding=rounding)
    layer = BinarizedLinear(5, 4, False, scheme, generator=generator(5))
    layer.initialize(generator(1))
    x = torch.randn(6, 5, generator=generator(2))
    g = torch.randn(6, 4, generator=generator(3))
    layer(x).backward(g)
    expected = scheme.quantize_gradient(g, generator(5)).T @ x
    assert torch.allclose(layer.weight.grad, expected, atol=1e-6)


@pytest.mark.parametrize("spacing", ["linear", "log"])
@pytest.mark.parametrize("bits", [2, 5])
def test_a_network_evaluates_as_it_trains(spacing, bits):
    model = MLP(6, 3, 16, 3, scheme=qnn(spacing, bits), batch_norm="off", generator=generator())
    x = torch.randn(20, 6, generator=generator(1))
    trained = model(x).detach()
    assert torch.allclose(model.eval()(x), trained, atol=1e-5)


def test_more_bits_than_a_logarithm_takes_are_refused():
    with pytest.raises(ValueError, match="spacing='log' takes at most 5 bits, not 6"):
        schemes.get("qnn", spacing="log", activation_bits=6)


def test_all_bits_may_change_while_training_runs():
    scheme = schemes.get("qnn")
    assert set(scheme.live) == {"weight_bits", "activation_bits", "gradient_bits"}
