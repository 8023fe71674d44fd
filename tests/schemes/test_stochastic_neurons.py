"""Stochastic binary neurons: how often they fire, what their test is, what passes back."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import generator

from bnnlab import schemes
from bnnlab.nn import MLP, Activation

X = torch.tensor([[-30.0, -2.0, -0.5, -0.0, 0.0, 0.7, 3.0, 30.0]])


def unit(**options):
    return Activation(schemes.get("stochastic_neurons", **options), 8, generator())


def test_neurons_fire_with_the_probability_of_the_sigmoid():
    """All eight within the standard errors that a right sampler leaves once in a million runs."""
    draws = 40_000
    values = unit().train()(X.expand(draws, -1))
    assert set(values.unique().tolist()) == {0.0, 1.0}
    p = X[0].sigmoid()
    z = 5.4  # P(|z| > 5.4) = 7e-8, for each of eight
    assert torch.all((values.mean(0) - p).abs() <= z * (p * (1 - p) / draws).sqrt() + 1e-9)


def test_the_test_is_a_threshold_and_draws_nothing():
    activation = unit().eval()
    state = activation.generator.get_state()
    assert activation(X).tolist() == [[0, 0, 0, 1, 1, 1, 1, 1]]  # the threshold is 0, of both signs
    assert torch.equal(activation.generator.get_state(), state)
    assert torch.equal(activation.scheme.activation(X), activation(X))


def test_without_chance_training_is_the_test():
    activation = unit(stochastic=False)
    assert torch.equal(activation.train()(X), activation.eval()(X))


@pytest.mark.parametrize("stochastic", [True, False])
@pytest.mark.parametrize("slope", ["identity", "sigmoid"])
@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=20))
def test_gradient(stochastic, slope, values):
    x = torch.tensor([values], requires_grad=True)
    g = torch.arange(1.0, len(values) + 1)[None]
    unit(stochastic=stochastic, slope=slope).train()(x).backward(g)
    p = x.detach().double().sigmoid()
    expected = g.double() * (p * (1 - p) if slope == "sigmoid" else 1)
    assert torch.allclose(x.grad.double(), expected, rtol=1e-5, atol=1e-7)


def test_draws_come_from_the_activations_generator():
    activation = unit().train()
    first = activation(X.expand(50, -1))
    assert not torch.equal(activation(X.expand(50, -1)), first)
    activation.generator = generator()
    assert torch.equal(activation(X.expand(50, -1)), first)
    activation.generator = None
    with pytest.raises(ValueError, match="stochastic_neurons draws from the generator of Activat"):
        activation(X)


@pytest.mark.parametrize("training", [True, False])
def test_nan_is_not_hidden(training):
    assert torch.isnan(unit().train(training)(torch.tensor([[math.nan, 1.0]]))[0, 0])


def test_weights_stay_real_in_every_layer_and_neurons_are_binary():
    model = MLP(6, 3, 8, 2, scheme=schemes.get("stochastic_neurons"))
    assert [block.layer.binarized for block in model.children()] == [False] * 3
    inside = model.hidden1(torch.randn(20, 6, generator=generator()))
    assert set(inside.unique().tolist()) == {0.0, 1.0}
    assert model.hidden2.layer.input_step == 1.0 and model.hidden2.layer.input_bits == 1
