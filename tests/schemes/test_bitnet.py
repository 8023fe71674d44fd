"""BitNet's centred signs, its ternary weights, and 8-bit activations a sample at a time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import generator

from bnnlab import schemes
from bnnlab.nn import MLP, BinarizedLinear

BOTH = ["bitnet", "bitnet_158"]


def test_signs_are_those_of_the_centred_weights():
    w = torch.randn(6, 7, generator=generator()) + 0.4
    q = schemes.get("bitnet").quantize(w)
    assert torch.equal(q.signs, torch.where(w - w.mean() >= 0, 1.0, -1.0))
    assert q.scale.shape == (1, 1) and torch.allclose(q.scale, w.abs().mean())
    assert abs(q.signs.mean()) < abs(w.sign().mean())


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=30))
def test_ternary_weights_are_rounded_multiples_of_the_mean(values):
    w = torch.tensor(values, dtype=torch.float64)
    q = schemes.get("bitnet_158").quantize(w)
    scale = w.abs().mean().clamp_min(1e-300)
    near = ((w / scale).abs() - 0.5).abs() < 1e-9  # where rounding decides
    expected = (w / scale).round().clamp(-1, 1)
    assert torch.equal((q.signs * q.mask)[~near], expected[~near])
    assert torch.equal(q.values, q.signs * q.mask * q.scale)


def test_a_half_is_rounded_to_zero():
    q = schemes.get("bitnet_158").quantize(torch.tensor([1.5, -0.5, 1.0, 1.0]))
    assert (q.signs * q.mask).tolist() == [1, 0, 1, 1]
    assert (q.scale.item(), q.cut.item()) == (1.0, 0.5)


@pytest.mark.parametrize("shape", [(20, 30), (5, 4, 3, 3)])
def test_activations_have_127_steps_up_to_each_samples_largest(shape):
    scheme = schemes.get("bitnet")
    x = torch.randn(shape, generator=generator(), dtype=torch.float64) * 3
    y = scheme.activation(x)
    for sample, given_back in zip(x, y, strict=True):
        largest = sample.max()
        codes = given_back * 127 / largest
        assert torch.allclose(codes, codes.round(), atol=1e-9)
        assert codes.min() == 0 and round(codes.max().item()) == 127
        assert torch.all((given_back - sample.relu()).abs() <= largest / 254 + 1e-12)
        alone = scheme.activation(sample[None])[0]
        assert torch.equal(alone, given_back)


def test_activations_of_samples_without_positive_values_are_zero():
    x = torch.tensor([[-1.0, -2.0], [0.0, 0.0], [3.0, -1.0]])
    assert schemes.get("bitnet").activation(x).tolist() == [[0, 0], [0, 0], [3, 0]]


def test_the_activation_gradient_is_relus():
    x = torch.tensor([[-1.0, 0.0, 0.001, 5.0]], requires_grad=True)
    schemes.get("bitnet").activation(x).backward(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    assert x.grad.tolist() == [[0, 0, 3, 4]]


@pytest.mark.parametrize("name", BOTH)
def test_every_weight_gradient_passes(name):
    layer = BinarizedLinear(3, 1, False, schemes.get(name))
    layer.weight.data[:] = torch.tensor([[2.0, -0.3, -5.0]])
    layer.scheme.weight(layer).backward(torch.tensor([[1.0, -2.0, 3.0]]))
    assert layer.weight.grad.tolist() == [[1.0, -2.0, 3.0]]


@pytest.mark.parametrize("name", BOTH)
def test_evaluation_is_what_training_computes(name):
    """The activations are no multiples of one step, and the layer does not treat them as such."""
    model = MLP(6, 3, 8, 3, scheme=schemes.get(name))
    assert [block.layer.binarized for block in model.children()] == [False, True, True, False]
    assert model.hidden2.layer.input_step is None
    x = torch.randn(20, 6, generator=generator())
    inside = model.hidden1(x)
    trained = model.hidden2.layer(inside)
    model.eval()
    assert torch.allclose(model.hidden2.layer(inside), trained, atol=1e-5)
