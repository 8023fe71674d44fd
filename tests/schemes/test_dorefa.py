"""DoReFa-Net for one, two and three bits."""

import pytest
import torch

from bnnlab import schemes
from bnnlab.nn import MLP, BinarizedLinear


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


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
    assert q.signs is None and q.scale is None
    levels = 2**bits - 1
    codes = (q.values.double() + 1) / 2 * levels
    assert torch.allclose(codes, codes.round(), atol=1e-4)
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
