"""BWN's three gradient rules, its scaling factor, and XNOR-Net's input scale."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support import differences, generator

from bnnlab import schemes
from bnnlab.nn import MLP, BinarizedConv2d, BinarizedLinear, LeNet, after_step


def layer_of(scheme, w):
    layer = BinarizedLinear(w.shape[1], w.shape[0], False, scheme).to(w.dtype)
    layer.weight.data[:] = w
    return layer


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=1, max_size=12), st.floats(-0.5, 0.5))
def test_no_other_scale_is_closer(values, change):
    w = torch.tensor(values, dtype=torch.float64)
    q = schemes.get("bwn").quantize(w)
    other = q.signs * (q.scale * (1 + change))
    assert (q.values - w).square().sum() <= (other - w).square().sum() + 1e-12


@pytest.mark.parametrize("granularity", ["channel", "layer"])
def test_exact_rule_by_finite_differences(granularity):
    """The derivative of alpha(w) clip(w, -1, 1)-like: signs fixed in one factor at a time."""
    w = torch.randn(3, 5, generator=generator(), dtype=torch.float64) * 0.8
    g = torch.randn(3, 5, generator=generator(1), dtype=torch.float64)
    scheme = schemes.get("bwn", grad_rule="exact", granularity=granularity)
    layer = layer_of(scheme, w)
    scheme.weight(layer).backward(g)
    q = scheme.quantize(w)

    def surrogate(v):
        """Both ways w acts: through the scale (signs fixed), through the signs (scale fixed)."""
        through_scale = scheme.quantize(v).scale * q.signs
        through_signs = q.scale * v.clamp(-1, 1)
        return (g * (through_scale + through_signs)).sum()

    assert torch.allclose(layer.weight.grad, differences(surrogate, w), atol=1e-7)


@pytest.mark.parametrize("granularity", ["channel", "layer"])
def test_paper_rule(granularity):
    w = torch.randn(3, 5, generator=generator()) * 0.8
    g = torch.randn(3, 5, generator=generator(1))
    scheme = schemes.get("bwn", grad_rule="paper", granularity=granularity)
    layer = layer_of(scheme, w)
    scheme.weight(layer).backward(g)
    count = 5 if granularity == "channel" else 15
    expected = g * (1 / count + scheme.quantize(w).scale * (w.abs() <= 1))
    assert torch.allclose(layer.weight.grad, expected)


@pytest.mark.parametrize("rule", ["ste", "paper", "exact"])
def test_the_forward_pass_is_the_same_under_every_rule(rule):
    w = torch.randn(3, 5, generator=generator())
    scheme = schemes.get("bwn", grad_rule=rule)
    assert torch.equal(scheme.weight(layer_of(scheme, w)), schemes.get("bwn").quantize(w).values)


def test_centring_takes_the_mean_of_each_channel_away_before_the_clip():
    scheme = schemes.get("bwn", centre=True)
    layer = layer_of(scheme, torch.tensor([[3.0, 1.0, -1.0], [0.1, 0.2, 0.3]]))
    scheme.after_step(layer, torch.optim.Adam([layer.weight]))
    expected = torch.tensor([[1.0, 0.0, -1.0], [-0.1, 0.0, 0.1]])
    assert torch.allclose(layer.weight, expected, atol=1e-7)


def test_first_and_last_layers_stay_real():
    model = MLP(6, 3, 8, 3, scheme=schemes.get("xnor_net"))
    assert [block.layer.binarized for block in model.children()] == [False, True, True, False]
    optimizer = torch.optim.Adam(model.parameters())
    with torch.no_grad():
        model.hidden1.layer.weight.fill_(3.0)
    after_step(model, optimizer)
    assert model.hidden1.layer.weight.min() == 3.0


def test_input_scale_of_a_dense_layer_by_hand():
    scheme = schemes.get("xnor_net", input_scale=True)
    layer = BinarizedLinear(2, 1, True, scheme, fed="activation")
    layer.weight.data[:] = torch.tensor([[0.5, -0.1]])  # alpha 0.3, signs +1, -1
    layer.bias.data[:] = 0.25
    x = torch.tensor([[1.0, -3.0], [0.5, 0.0]], requires_grad=True)
    y = layer(scheme.activation(x))
    # (1 + 1) * 2 * 0.3 and (1 - 1) * 0.25 * 0.3
    assert torch.allclose(y, torch.tensor([[1.45], [0.25]]))
    assert torch.allclose(layer.eval()(scheme.activation(x)), y)
    y.sum().backward()
    # K is a constant, so K alpha sign(w) comes back; |-3| > 1 is blocked.
    assert torch.allclose(x.grad, torch.tensor([[0.6, 0.0], [0.075, -0.075]]))


@pytest.mark.parametrize(
    ("window", "stride", "padding"),
    [((3, 3), (1, 1), (1, 1)), ((5, 3), (2, 1), (0, 1)), ((1, 1), (1, 1), (0, 0))],
)
def test_input_scale_of_a_convolution(window, stride, padding):
    """K as the paper has it: the mean over the channels, then a box filter of the window's size."""
    scheme = schemes.get("xnor_net", input_scale=True)
    layer = BinarizedConv2d(
        4, 3, window, False, scheme, stride=stride, padding=padding, fed="activation"
    )
    layer.initialize(generator())
    x = torch.randn(2, 4, 8, 7, generator=generator(1))
    size = x.abs().mean(1, keepdim=True)
    box = torch.ones(1, 1, *window) / (window[0] * window[1])
    k = F.conv2d(size, box, stride=stride, padding=padding)
    q = scheme.quantize(layer.weight.detach())
    sums = F.conv2d(torch.where(x >= 0, 1.0, -1.0), q.signs, stride=stride, padding=padding)
    expected = sums * k * q.scale.reshape(1, -1, 1, 1)
    assert torch.allclose(layer(scheme.activation(x)), expected, atol=1e-5)
    assert torch.allclose(layer.eval()(scheme.activation(x)), expected, atol=1e-5)


def test_input_scale_of_a_dense_layer_after_convolutions_is_over_all_inputs():
    scheme = schemes.get("xnor_net", input_scale=True)
    layer = BinarizedLinear(4 * 9, 3, False, scheme, fed="activation")
    layer.initialize(generator())
    x = torch.randn(2, 4, 3, 3, generator=generator(1))
    q = scheme.quantize(layer.weight.detach())
    signs = torch.where(x >= 0, 1.0, -1.0).flatten(1)
    expected = signs @ q.values.T * x.abs().flatten(1).mean(1, keepdim=True)
    assert torch.allclose(layer(scheme.activation(x).flatten(1)), expected, atol=1e-5)


def test_products_with_input_scale_are_close_to_the_real_ones():
    """Closer than without, which is what K is for."""
    w = torch.randn(50, 400, generator=generator())
    x = torch.randn(30, 400, generator=generator(1)) * torch.rand(30, 1, generator=generator(2))
    errors = []
    for input_scale in (True, False):
        scheme = schemes.get("xnor_net", input_scale=input_scale)
        layer = BinarizedLinear(400, 50, False, scheme, fed="activation")
        layer.weight.data[:] = w
        errors.append((layer(scheme.activation(x)) - x @ w.T).square().mean())
    assert errors[0] < 0.7 * errors[1]


@pytest.mark.parametrize("pool", ["before_norm", "after_activation"])
def test_input_scale_in_the_layers_of_a_convolutional_network_evaluates_as_it_trains(pool):
    scheme = schemes.get("xnor_net", input_scale=True)
    model = LeNet(
        (1, 8, 8), 3, 4, 8, scheme=scheme, pool=pool, batch_norm="off", first_and_last="binarized"
    )
    x = torch.randn(6, 1, 8, 8, generator=generator())
    for block in model.children():
        x = x.flatten(1) if isinstance(block.layer, BinarizedLinear) else x
        trained = block.train().layer(x)
        assert torch.allclose(block.eval().layer(x), trained, atol=1e-5)
        assert trained.abs().max() > 0.01
        x = block(x)


def test_input_scale_in_a_network_evaluates_as_it_trains():
    """The inputs are no longer integers, and the layer does not treat them as such."""
    model = MLP(6, 3, 8, 3, scheme=schemes.get("xnor_net", input_scale=True))
    assert model.hidden2.layer.input_step is None
    x = torch.randn(20, 6, generator=generator())
    inside = model.hidden1(x)
    trained = model.hidden2.layer(inside)
    model.eval()
    assert torch.allclose(model.hidden2.layer(inside), trained, atol=1e-6)


def test_a_convolution_has_a_scale_for_each_filter_or_one():
    w = torch.randn(4, 3, 5, 5, generator=generator())
    channel = schemes.get("bwn").quantize(w)
    assert channel.scale.shape == (4, 1, 1, 1)
    assert torch.allclose(channel.scale[:, 0, 0, 0], w.abs().flatten(1).mean(1))
    layer = schemes.get("bwn", granularity="layer").quantize(w)
    assert layer.scale.shape == (1, 1, 1, 1)
    assert torch.allclose(layer.scale, w.abs().mean())


def test_centring_a_convolution_is_over_the_input_channels_alone():
    scheme = schemes.get("bwn", centre=True)
    layer = BinarizedConv2d(3, 2, (3, 3), False, scheme)
    layer.initialize(generator())
    w = layer.weight.detach().clone()
    scheme.after_step(layer, torch.optim.Adam([layer.weight]))
    assert torch.allclose(layer.weight, w - w.mean(1, keepdim=True))
    assert layer.weight.flatten(2).mean(2).abs().min() > 1e-4  # not over the window


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_k_bits_by_the_papers_formula(bits):
    x = torch.linspace(-1, 1, 1001)
    levels = 2**bits - 1
    expected = 2 * (((levels * (x.double() + 1) / 2).round() / levels) - 0.5)
    scheme = schemes.get("xnor_net", bits=bits)
    away = (((levels * (x.double() + 1) / 2) % 1) - 0.5).abs() > 1e-6  # from ties
    assert torch.allclose(scheme.activation(x[None])[0].double()[away], expected[away], atol=1e-6)
    w = torch.randn(6, 20, generator=generator())
    q = schemes.get("bwn", bits=bits).quantize(w)
    assert torch.equal(q.values, q.codes * q.scale)
    assert torch.equal(torch.sign(q.codes), torch.where(w >= 0, 1.0, -1.0))
    clipped = w.double().clamp(-1, 1)
    near = 2 * (((levels * (clipped + 1) / 2).round() / levels) - 0.5)
    assert torch.allclose(q.codes.double() / levels, near)


@pytest.mark.parametrize("bits", [1, 2, 5])
@pytest.mark.parametrize("granularity", ["channel", "layer"])
@settings(max_examples=40, deadline=None)
@given(change=st.floats(-0.5, 0.5), seed=st.integers(0, 1000))
def test_no_other_scale_of_k_bits_is_closer(bits, granularity, change, seed):
    w = torch.randn(3, 7, generator=generator(seed), dtype=torch.float64)
    q = schemes.get("bwn", bits=bits, granularity=granularity).quantize(w)
    other = q.integers * (q.scale * (1 + change))
    assert (q.values - w).square().sum() <= (other - w).square().sum() + 1e-12


@pytest.mark.parametrize("granularity", ["channel", "layer"])
def test_exact_rule_of_k_bits_by_finite_differences(granularity):
    """As for signs: one of the two ways w acts is held at a time."""
    w = torch.randn(3, 5, generator=generator(), dtype=torch.float64) * 0.8
    g = torch.randn(3, 5, generator=generator(1), dtype=torch.float64)
    scheme = schemes.get("bwn", grad_rule="exact", granularity=granularity, bits=3)
    layer = layer_of(scheme, w)
    scheme.weight(layer).backward(g)
    q = scheme.quantize(w)
    over = (1,) if granularity == "channel" else (0, 1)

    def surrogate(v):
        scale = (v * q.codes).sum(over, keepdim=True) / (q.codes**2).sum(over, keepdim=True)
        return (g * (scale * q.codes + 7 * q.scale * v.clamp(-1, 1))).sum()

    assert torch.allclose(layer.weight.grad, differences(surrogate, w), atol=1e-7)


def test_k_bits_of_activations_and_their_integers():
    scheme = schemes.get("xnor_net", bits=2)
    assert (scheme.weight_bits, scheme.activation_bits) == (2, 2)
    assert scheme.activation_codes == (-3, -1, 1, 3) and scheme.activation_step == 1 / 3
    x = torch.tensor([[-2.0, -0.5, -0.0, 0.5, 0.9, 2.0]], requires_grad=True)
    y = scheme.activation(x)
    assert torch.allclose(y * 3, torch.tensor([[-3.0, -1.0, 1.0, 1.0, 3.0, 3.0]]))
    y.sum().backward()
    assert x.grad.tolist() == [[0, 1, 1, 1, 1, 0]]


def test_the_paper_scales_signs_alone():
    with pytest.raises(ValueError, match="input_scale=True takes bits=1, not 2"):
        schemes.get("xnor_net", bits=2, input_scale=True)
