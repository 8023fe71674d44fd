"""BinaryConnect, deterministic and stochastic, and the step size of its authors."""

import pytest
import torch

from bnnlab import schemes
from bnnlab.nn import BinarizedLinear


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


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
    with pytest.raises(ValueError, match=r"draws its signs from layer\.generator, which is None"):
        layer(torch.ones(1, 3))


@pytest.mark.parametrize("name", ["binary_connect", "bnn", "binary_connect_stochastic"])
def test_glorot_scaling_of_the_step(name):
    layer = BinarizedLinear(1000, 500, False, schemes.get(name, learning_rate_scale="glorot"))
    assert layer.scheme.learning_rate_factor(layer) == pytest.approx((1.5 / 1500) ** -0.5)
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
