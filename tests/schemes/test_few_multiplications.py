"""Few multiplications: random weights within walls, and inputs rounded to powers of two."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import generator

from bnnlab import schemes
from bnnlab.nn import MLP, BinarizedConv2d, BinarizedLinear, after_step, binarized_layers
from bnnlab.schemes.few_multiplications import SHIFTS, round_to_power, wall

NAMES = ["few_multiplications_binary", "few_multiplications_ternary"]
floats = st.floats(-(2.0**100), 2.0**100, width=32)


def layer_of(name, **options):
    layer = BinarizedLinear(
        30, 20, False, schemes.get(name, **options), fed="activation", generator=generator(3)
    )
    layer.initialize(generator(1))
    return layer


def rounded(value, draw, exponents=None):
    x = torch.tensor([value], dtype=torch.float64)
    return round_to_power(x, torch.full_like(x, draw), exponents).item()


@pytest.mark.parametrize(
    ("value", "low", "high", "share"),
    [
        (0.3, 0.25, 0.5, 0.2),
        (5, 4, 8, 0.25),
        (-5, -4, -8, 0.25),
        (1, 1, 2, 0),
        (-0.125, -0.125, -0.25, 0),
        (3e-40, 2**-132, 2**-131, 3e-40 * 2**132 - 1),
    ],
)
def test_rounding_by_hand(value, low, high, share):
    if share:
        assert rounded(value, share - 1e-9) == high
    assert rounded(value, share + 1e-9) == low
    assert rounded(value, 0.999999) == low


@pytest.mark.parametrize("exponents", [None, SHIFTS])
@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999999])
def test_zero_stays_zero_and_what_is_not_a_number_stays_that(exponents, draw):
    """No logarithm of 0; and the authors' code makes -1/16 of 0."""
    assert rounded(0.0, draw, exponents) == rounded(-0.0, draw, exponents) == 0
    assert math.isnan(rounded(math.nan, draw, exponents))
    assert rounded(math.inf, draw, exponents) == math.inf


@settings(max_examples=80, deadline=None)
@given(st.lists(floats, min_size=1, max_size=30), st.floats(0, 1, exclude_max=True, width=32))
@example([3.4e38, -3.4e38, 1e-45, -1e-45], 0.0)
def test_every_value_is_a_power_of_two_within_a_factor_of_two(numbers, draw):
    x = torch.tensor(numbers)
    q = round_to_power(x, torch.full_like(x, draw))
    for value, power in zip(x.tolist(), q.tolist(), strict=True):
        if value == 0:
            assert power == 0
            continue
        assert math.frexp(abs(power))[0] == 0.5
        assert (power > 0) == (value > 0)
        assert 0.5 <= power / value <= 2


@settings(max_examples=80, deadline=None)
@given(st.lists(floats, min_size=1, max_size=30))
def test_the_mean_of_the_two_powers_is_the_value(numbers):
    """Exactly: the share of the upper one, found by asking with many draws in order."""
    x = torch.tensor([n for n in numbers if n], dtype=torch.float64)
    low = round_to_power(x, torch.full_like(x, 1 - 1e-16))
    p = (x / low) - 1
    assert torch.equal(round_to_power(x, p), low)
    up = torch.where(p > 0, 2 * low, low)
    assert torch.equal(round_to_power(x, torch.nextafter(p, p - 1).clamp_min(0)), up)
    assert torch.allclose((1 - p) * low + p * 2 * low, x, rtol=1e-12, atol=0)


@pytest.mark.parametrize("value", [0.3, 5.0, -0.7, 1.0, -3.99])
@pytest.mark.parametrize("exponents", [None, SHIFTS])
def test_rounding_is_unbiased(value, exponents):
    """Each mean within what a right rounding passes once in a million runs."""
    draws = 100_000
    x = torch.full((draws,), value)
    q = round_to_power(x, torch.rand(draws, generator=generator()), exponents)
    assert abs(q.mean() - value) <= 5.3 * q.std() / draws**0.5 + 1e-6  # P(|z| > 5.3) = 1.2e-7


@settings(max_examples=80, deadline=None)
@given(st.lists(floats, min_size=1, max_size=30), st.floats(0, 1, exclude_max=True, width=32))
def test_limited_shifts(numbers, draw):
    x = torch.tensor(numbers)
    limited = round_to_power(x, torch.full_like(x, draw), SHIFTS)
    free = round_to_power(x, torch.full_like(x, draw))
    for value, power, other in zip(x.tolist(), limited.tolist(), free.tolist(), strict=True):
        if value == 0:
            assert power == 0
        elif abs(value) < 2**-4:
            assert power == math.copysign(2**-4, value)
        elif abs(value) >= 2**4:
            assert power == math.copysign(2**4, value)
        else:
            assert power == other


@pytest.mark.parametrize(
    ("shape", "inputs", "outputs"),
    [((20, 30), 30, 20), ((8, 5, 3, 3), 45, 72), ((7,), 7, 1)],
)
def test_the_wall_is_half_of_glorots_bound(shape, inputs, outputs):
    assert wall(torch.zeros(shape)) == pytest.approx(0.5 * math.sqrt(6 / (inputs + outputs)))
    if len(shape) == 4:
        layer = BinarizedConv2d(5, 8, (3, 3), False, schemes.get(NAMES[0]))
        assert (layer.fan_in, layer.fan_out) == (inputs, outputs)


@pytest.mark.parametrize("name", NAMES)
def test_random_weights_take_the_values_they_claim(name):
    layer = layer_of(name)
    bound = wall(layer.weight)
    q = layer.scheme.quantize(layer.weight.detach(), generator=generator())
    assert torch.equal(q.values, q.integers * q.scale)
    allowed = {-1.0, 1.0} if name == NAMES[0] else {-1.0, 0.0, 1.0}
    assert set(q.integers.unique().tolist()) == allowed
    assert q.scale.item() == pytest.approx(bound)
    assert torch.equal(layer.scheme.weight(layer).abs().unique(), q.values.abs().unique())


@pytest.mark.parametrize("name", NAMES)
def test_random_weights_are_unbiased_within_the_walls(name):
    """All nine within the standard errors that a right sampler leaves once in a million runs."""
    draws, scheme = 40_000, schemes.get(name)
    bound = wall(torch.zeros(draws, 9))
    share = torch.tensor([-1.5, -1.0, -0.6, -0.1, 0.0, 0.3, 0.9, 1.0, 1.5])
    values = scheme.quantize((share * bound).expand(draws, -1), generator=generator()).values
    mean = share.clamp(-1, 1)
    error = values.std(0) / draws**0.5 + 1e-6 * bound
    assert torch.all((values.mean(0) - mean * bound).abs() <= 5.4 * error)
    if name == NAMES[1]:
        zeros = (values == 0).float().mean(0)
        assert torch.allclose(zeros, 1 - mean.abs(), atol=0.015) and zeros[4] == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_test_is_with_the_real_weights(name):
    layer = layer_of(name).eval()
    bound = wall(layer.weight)
    q = layer.scheme.quantized(layer)
    assert torch.equal(q.values, layer.weight.clamp(-bound, bound)) and q.integers is None
    state = layer.generator.get_state()
    x = torch.randn(5, 30, generator=generator(2))
    assert torch.allclose(layer(x), F.linear(x, q.values))
    assert torch.equal(layer.generator.get_state(), state)


@pytest.mark.parametrize("name", NAMES)
def test_latent_weights_stay_within_each_layers_walls(name):
    model = MLP(30, 3, 8, 2, scheme=schemes.get(name), batch_norm="off")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(5.0)
    after_step(model, torch.optim.Adam(model.parameters()))
    walls = set()
    for layer in binarized_layers(model).values():
        assert layer.weight.unique().tolist() == [pytest.approx(wall(layer.weight))]
        assert layer.bias.min() == 5.0
        walls.add(round(wall(layer.weight), 6))
    assert len(walls) == 3


@pytest.mark.parametrize("name", NAMES)
def test_weight_gradients_are_made_of_powers_of_two(name):
    layer = layer_of(name)
    x = torch.randn(6, 30, generator=generator(2)).requires_grad_()
    g = torch.randn(6, 20, generator=generator(4))
    layer(x).backward(g)
    replay = generator(3)
    weights = layer.scheme.quantize(layer.weight.detach(), generator=replay).values
    powers = layer.scheme.quantize_input(x.detach(), replay)
    assert torch.equal(powers.abs().frexp().mantissa.unique(), torch.tensor([0.5]))
    assert torch.allclose(layer.weight.grad, g.T @ powers, atol=1e-5)
    assert torch.allclose(x.grad, g @ weights, atol=1e-6)  # the error signal is not rounded


@pytest.mark.parametrize("name", NAMES)
def test_without_quantized_backprop_gradients_are_those_of_the_inputs(name):
    layer = layer_of(name, quantized_backprop=False)
    x = torch.randn(6, 30, generator=generator(2))
    g = torch.randn(6, 20, generator=generator(4))
    layer(x).backward(g)
    assert torch.allclose(layer.weight.grad, g.T @ x, atol=1e-5)


@pytest.mark.parametrize(
    ("shift_range", "dense", "convolution"),
    [("unlimited", False, False), ("convolutions", False, True), ("limited", True, True)],
)
def test_whose_shifts_are_limited(shift_range, dense, convolution):
    scheme = schemes.get(NAMES[0], shift_range=shift_range)
    for shape, limited in (((2, 3), dense), ((2, 3, 4, 4), convolution)):
        q = scheme.quantize_input(torch.full(shape, 2.0**-9), generator())
        assert q.unique().tolist() == [2.0**-4 if limited else 2.0**-9]


@pytest.mark.parametrize("name", NAMES)
def test_training_without_a_generator_is_refused(name):
    layer = layer_of(name)
    layer.generator = None
    with pytest.raises(ValueError, match=f"{name} draws from the generator of BinarizedLinear"):
        layer(torch.ones(1, 30))
