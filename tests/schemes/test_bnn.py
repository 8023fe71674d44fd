"""BNN with deterministic and with random activations and weights."""

import math

import pytest
import torch
from support import generator

from bnnlab import schemes
from bnnlab.nn import Activation, BinarizedLinear

X = torch.tensor([[-1.5, -1.0, -0.6, -0.1, 0.0, 0.3, 0.9, 1.0, 1.5]])


def unit(name="bnn_stochastic", **options):
    return Activation(schemes.get(name, **options), 9, generator())


def test_random_activations_have_the_mean_of_hard_tanh():
    """All nine within the standard errors that a right sampler leaves once in a million runs."""
    draws = 40_000
    values = unit().train()(X.expand(draws, -1))
    assert set(values.unique().tolist()) == {-1.0, 1.0}
    mean = X[0].clamp(-1, 1)
    z = 5.4  # P(|z| > 5.4) = 7e-8, for each of nine
    assert torch.all((values.mean(0) - mean).abs() <= z * ((1 - mean**2) / draws).sqrt())


def test_the_test_takes_signs_and_draws_nothing():
    activation = unit().eval()
    state = activation.generator.get_state()
    assert torch.equal(activation(X), unit("bnn")(X))
    assert torch.equal(activation.generator.get_state(), state)
    assert torch.equal(activation.scheme.activation(X), activation(X))


@pytest.mark.parametrize("name", ["bnn", "bnn_stochastic"])
def test_gradients_pass_where_the_neuron_is_not_saturated(name):
    x = X.clone().requires_grad_()
    unit(name).train()(x).backward(torch.arange(1.0, 10.0)[None])
    assert x.grad.tolist() == [[0, 2, 3, 4, 5, 6, 7, 8, 0]]


def test_draws_come_from_the_activations_generator():
    activation = unit().train()
    first = activation(X.expand(50, -1))
    assert not torch.equal(activation(X.expand(50, -1)), first)
    activation.generator = None
    with pytest.raises(ValueError, match="bnn_stochastic draws from the generator of Activation"):
        activation(X)
    assert torch.isnan(unit().train()(torch.tensor([[math.nan]])))[0, 0]


def layer_of(**options):
    scheme = schemes.get("bnn_stochastic", **options)
    layer = BinarizedLinear(200, 300, False, scheme, generator=generator())
    layer.initialize(generator(1))
    return layer


def test_weights_are_deterministic_unless_asked():
    layer = layer_of()
    assert torch.equal(layer.scheme.weight(layer), layer.scheme.quantized(layer).values)


def test_random_weights_are_signs_and_unbiased():
    """Their code's random weights are the numbers p - u, whose sign it forgets to take."""
    layer = layer_of(stochastic_weights=True)
    drawn = layer.scheme.weight(layer)
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    assert not torch.equal(layer.scheme.weight(layer), drawn)
    w = layer.weight.detach()
    standardized = (drawn.detach() - w).sum() / (1 - w**2).sum().sqrt()
    assert standardized.abs() < 4.9  # once in a million
    assert torch.equal(layer.scheme.quantized(layer).values, torch.where(w >= 0, 1.0, -1.0))
    layer.generator = None
    with pytest.raises(ValueError, match="bnn_stochastic draws from the generator of Binarized"):
        layer.scheme.weight(layer)
