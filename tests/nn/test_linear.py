"""The layer: its two forward passes agree, and the one of evaluation is exact."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support import generator

from bnnlab import schemes
from bnnlab.nn import Activation, BinarizedLinear

ONE_BIT = [
    ("binary_connect", {}),
    ("bwn", {}),
    ("bwn", {"granularity": "layer"}),
    ("bnn", {}),
    ("xnor_net", {}),
    ("dorefa", {}),
    ("dorefa", {"activation_bits": 1}),
    ("dorefa", {"activation_bits": 3}),
    ("lab", {}),
    ("lab", {"granularity": "channel"}),
    ("lab2", {}),
]
SCHEMES = [schemes.get(name, **options) for name, options in ONE_BIT]
one_bit = pytest.mark.parametrize("scheme", SCHEMES, ids=str)


def layer_of(scheme, inputs, outputs, seed=0, bias=True):
    layer = BinarizedLinear(inputs, outputs, bias, scheme, fed="activation")
    layer.initialize(generator(seed))
    with torch.no_grad():
        if bias:
            layer.bias.uniform_(-1, 1, generator=generator(seed + 1))
        if layer.second_moment is not None:
            layer.second_moment.uniform_(0, 1, generator=generator(seed + 2))
    return layer


def inputs_for(scheme, samples, features, seed=9):
    """What the layer would be given: the scheme's activations, or real numbers."""
    return scheme.activation(torch.randn(samples, features, generator=generator(seed)))


@one_bit
@settings(max_examples=15, deadline=None)
@given(st.integers(1, 70), st.integers(1, 9), st.integers(0, 1000))
def test_evaluation_multiplies_by_the_effective_weight(scheme, inputs, outputs, seed):
    layer = layer_of(scheme, inputs, outputs, seed)
    x = inputs_for(scheme, 5, inputs, seed)
    trained = layer.train()(x)
    evaluated = layer.eval()(x)
    assert torch.allclose(evaluated, trained, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "scheme",
    [scheme for scheme in SCHEMES if scheme.activation_step is not None],
    ids=str,
)
def test_sums_of_evaluation_are_exact_integers_before_scaling(scheme):
    layer = layer_of(scheme, 301, 40, bias=False).eval()
    x = inputs_for(scheme, 50, 301)
    seen = []
    layer.scaled = lambda sums, scale: seen.append(sums) or sums
    layer(x)
    q = scheme.quantized(layer)
    codes = (x.double() / scheme.activation_step).round().long()
    assert set(codes.unique().tolist()) <= set(scheme.activation_codes)
    assert torch.equal(seen[0].long(), codes @ q.signs.long().T)
    assert torch.equal(seen[0], seen[0].round())


def test_scaling_is_one_factor_and_the_bias():
    scheme = schemes.get("dorefa", activation_bits=2)
    layer = layer_of(scheme, 4, 3)
    scale = torch.tensor([[0.1]])
    sums = torch.tensor([[3.0, -6.0, 0.0]])
    assert torch.equal(layer.scaled(sums, scale), sums * (scale * (1 / 3)) + layer.bias)


def test_inputs_on_a_dyadic_grid_give_exact_sums():
    """8-bit pixels times signs: the first layer of a network is exact too."""
    layer = layer_of(schemes.get("binary_connect"), 784, 10, bias=False).eval()
    pixels = torch.randint(0, 256, (20, 784), generator=generator())
    x = (2 * pixels - 255) / 256
    exact = (2 * pixels - 255) @ layer.scheme.quantized(layer).signs.long().T
    assert torch.equal(layer(x), exact / 256)


def test_weights_of_several_bits_are_multiplied_as_integers():
    scheme = schemes.get("dorefa", weight_bits=2, activation_bits=2)
    layer = layer_of(scheme, 20, 5)
    x = inputs_for(scheme, 6, 20)
    q = scheme.quantize(layer.weight)
    sums = torch.round(3 * x).long() @ q.codes.long().T
    assert torch.equal(layer.eval()(x), sums * (q.scale * (1 / 3)).flatten() + layer.bias)
    assert torch.allclose(layer(x), F.linear(x, q.values, layer.bias), atol=1e-5)


def test_full_precision_is_a_linear_layer():
    layer = layer_of(schemes.get("full_precision"), 20, 5)
    x = torch.randn(6, 20, generator=generator())
    expected = F.linear(x, layer.weight, layer.bias)
    assert torch.equal(layer(x), expected) and torch.equal(layer.eval()(x), expected)
    assert not layer.binarized and layer.input_bits == 32


def test_initial_weights_fill_glorots_range():
    layer = layer_of(schemes.get("lab"), 300, 200)
    bound = (6 / 500) ** 0.5
    assert layer.weight.abs().max() <= bound
    assert layer.weight.abs().max() > 0.99 * bound
    assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_a_copy_draws_and_scales_on_its_own():
    scheme = schemes.get("lab")
    layer = layer_of(scheme, 6, 4)
    layer.generator = generator(3)
    twin = copy.deepcopy(layer)
    twin.second_moment.zero_()
    twin.weight.data.zero_()
    assert layer.second_moment.max() > 0 and layer.weight.abs().max() > 0


def test_state_goes_through_a_state_dict():
    scheme = schemes.get("lab")
    layer, other = layer_of(scheme, 6, 4), BinarizedLinear(6, 4, True, scheme, fed=None)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(3, 6, generator=generator())
    assert torch.equal(layer.eval()(x), other.eval()(x))
    assert "second_moment" not in BinarizedLinear(6, 4, True, schemes.get("bwn")).state_dict()


def test_prints_what_it_is():
    scheme = schemes.get("lab")
    assert "lab(granularity='layer'" in repr(layer_of(scheme, 6, 4))
    assert "lab(granularity='layer'" in repr(Activation(scheme, 4))
