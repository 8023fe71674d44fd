"""BinaryConnect, deterministic and stochastic, and the step size of its authors."""

import pytest
import torch
from support import generator

from bnnlab import schemes
from bnnlab.nn import MLP, BinarizedLinear, binarized_layers, networks


def test_stochastic_signs_are_unbiased():
    """E[sign] = w: the mean of n draws lies within five standard errors."""
    scheme = schemes.get("binary_connect_stochastic")
    w = torch.tensor([-1.5, -1.0, -0.6, -0.1, 0.0, 0.3, 0.9, 1.0, 1.5])
    draws = 40_000
    g = generator()
    values = scheme.quantize(w.expand(draws, -1), generator=g).values
    assert set(values.unique().tolist()) == {-1.0, 1.0}
    expected = w.clamp(-1, 1)
    error = 5 * ((1 - expected**2) / draws).sqrt()
    assert torch.all((values.mean(0) - expected).abs() <= error)


def test_weights_at_the_walls_are_certain():
    scheme = schemes.get("binary_connect_stochastic")
    w = torch.tensor([[1.0], [-1.0]]).expand(2, 200_000)
    values = scheme.quantize(w, generator=generator()).values
    assert torch.equal(values, w)


def test_stochastic_signs_come_from_the_layers_generator():
    scheme = schemes.get("binary_connect_stochastic")
    layer = BinarizedLinear(30, 20, False, scheme, generator=generator(3))
    first, second = scheme.weight(layer), scheme.weight(layer)
    assert not torch.equal(first, second)
    layer.generator = generator(3)
    assert torch.equal(scheme.weight(layer), first)
    assert torch.equal(scheme.weight(layer), second)
    state = layer.generator.get_state()
    third = scheme.weight(layer)
    layer.generator.set_state(state)
    assert torch.equal(scheme.weight(layer), third)


def test_stochastic_evaluation_uses_the_real_weights():
    scheme = schemes.get("binary_connect_stochastic")
    layer = BinarizedLinear(30, 20, True, scheme, generator=generator())
    layer.initialize(generator(1))
    q = scheme.quantized(layer)
    assert torch.equal(q.values, layer.weight) and q.signs is None and q.scale is None
    x = torch.randn(5, 30, generator=generator(2))
    assert torch.equal(layer.eval()(x), torch.nn.functional.linear(x, layer.weight, layer.bias))


def test_stochastic_training_without_a_generator_is_refused():
    scheme = schemes.get("binary_connect_stochastic")
    layer = BinarizedLinear(3, 2, False, scheme)
    with pytest.raises(ValueError, match="draws from the generator of BinarizedLinear, which is"):
        layer(torch.ones(1, 3))


@pytest.mark.parametrize("name", ["binary_connect", "bnn", "binary_connect_stochastic"])
def test_glorot_scaling_of_the_step(name):
    layer = BinarizedLinear(1000, 500, False, schemes.get(name, learning_rate_scale="glorot"))
    assert layer.scheme.learning_rate_factor(layer) == pytest.approx((1.5 / 1500) ** -0.5)
    squared = schemes.get(name, learning_rate_scale="glorot_squared")
    assert squared.learning_rate_factor(layer) == pytest.approx(1000)
    plain = schemes.get(name, learning_rate_scale="none")
    assert plain.learning_rate_factor(layer) == 1.0


def test_scaling_the_step_size_is_scaling_the_step():
    """The authors scale w_new - w after Adam; Adam's step is proportional to its step size."""
    g = torch.randn(50, generator=generator())
    steps = []
    for lr in (0.001, 0.001 * 11.3):
        w = torch.nn.Parameter(torch.zeros(50))
        optimizer = schemes.get("binary_connect").optimizer([w], lr)
        w.grad = g
        optimizer.step()
        steps.append(w.detach().clone())
    assert torch.allclose(11.3 * steps[0], steps[1], rtol=1e-5)


def test_the_gradient_passes_unchanged_even_outside_of_the_walls():
    layer = BinarizedLinear(3, 1, False, schemes.get("binary_connect"))
    layer.weight.data[:] = torch.tensor([[2.0, -0.3, -5.0]])
    layer.scheme.weight(layer).backward(torch.tensor([[1.0, -2.0, 3.0]]))
    assert layer.weight.grad.tolist() == [[1.0, -2.0, 3.0]]


NAMES = ["binary_connect", "binary_connect_stochastic"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("evaluation", ["binary", "real", "ensemble"])
def test_training_does_not_depend_on_how_the_network_is_tested(name, evaluation):
    layers = []
    for scheme in (schemes.get(name), schemes.get(name, evaluation=evaluation)):
        layers.append(BinarizedLinear(30, 20, False, scheme, generator=generator(3)))
        layers[-1].initialize(generator(1))
    plain, other = (layer.scheme.weight(layer) for layer in layers)
    assert torch.equal(plain, other) and set(other.unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("name", NAMES)
def test_the_test_with_binary_and_with_real_weights(name):
    layer = BinarizedLinear(30, 20, False, schemes.get(name, evaluation="binary"))
    layer.initialize(generator(1))
    q = layer.scheme.quantized(layer)
    assert torch.equal(q.values, torch.where(layer.weight >= 0, 1.0, -1.0))
    assert torch.equal(q.integers, q.values) and q.scale.tolist() == [[1.0]]
    for evaluation in ("real", "ensemble"):
        q = schemes.get(name, evaluation=evaluation).quantized(layer)
        assert torch.equal(q.values, layer.weight) and q.integers is None


def ensemble(members=64):
    scheme = schemes.get("binary_connect", evaluation="ensemble", ensemble=members)
    model = MLP(20, 3, 20, 3, scheme=scheme, batch_norm="off", generator=generator())
    with torch.no_grad():
        model.hidden3.layer.weight.copy_(-model.hidden2.layer.weight)
    return model.eval()


def drawn(model, member):
    for layer in binarized_layers(model).values():
        layer.member = member
    return {
        name: layer.scheme.quantized(layer).values
        for name, layer in binarized_layers(model).items()
    }


def test_members_are_fixed_and_differ_from_each_other_and_from_layer_to_layer():
    model = ensemble()
    first, again, second = (drawn(model, member) for member in (0, 0, 1))
    for name, signs in first.items():
        assert set(signs.unique().tolist()) == {-1.0, 1.0}
        assert torch.equal(signs, again[name])
        assert (signs == second[name]).float().mean() < 0.7
    # Were both drawn with the same numbers, they would agree in about one in three places more.
    assert (first["hidden2"] == first["hidden3"]).float().mean() < 0.6


def test_the_mean_of_the_members_is_the_latent_weight():
    """Their sum over a layer and over members, within what is passed once in a million."""
    model = ensemble()
    w = model.hidden2.layer.weight.detach()
    total = sum(drawn(model, member)["hidden2"] for member in range(64))
    standardized = (total - 64 * w).sum() / (64 * (1 - w**2)).sum().sqrt()
    assert standardized.abs() < 4.9
    assert torch.all((total / 64 - w).abs() < 6.5 / 8)


def test_scores_are_averaged_over_the_members():
    model = ensemble(members=3)
    x = torch.randn(5, 20, generator=generator(2))
    expected = []
    for member in range(3):
        drawn(model, member)
        expected.append(model(x))
    averaged = networks.scores(model, x)
    assert torch.allclose(averaged, sum(expected) / 3)
    assert torch.equal(networks.scores(model, x), averaged)
    assert all(layer.member is None for layer in binarized_layers(model).values())


def test_evaluating_an_ensemble_leaves_the_generator_of_training_alone():
    model = ensemble(members=2)
    state = model.hidden1.layer.generator.get_state()
    networks.scores(model, torch.ones(2, 20))
    assert torch.equal(model.hidden1.layer.generator.get_state(), state)
