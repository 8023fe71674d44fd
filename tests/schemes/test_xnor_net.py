"""BWN's three gradient rules, its scaling factor, and XNOR-Net's input scale."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnlab import schemes
from bnnlab.nn import MLP, BinarizedLinear, after_step


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


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

    numeric = torch.zeros_like(w)
    for i in range(3):
        for j in range(5):
            e = torch.zeros_like(w)
            e[i, j] = 1e-6
            numeric[i, j] = (surrogate(w + e) - surrogate(w - e)) / 2e-6
    assert torch.allclose(layer.weight.grad, numeric, atol=1e-7)


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


def test_input_scale_is_the_mean_absolute_input_of_each_sample():
    scheme = schemes.get("xnor_net", input_scale=True)
    x = torch.tensor([[1.0, -3.0], [0.5, 0.0]], requires_grad=True)
    y = scheme.activation(x)
    assert y.tolist() == [[2.0, -2.0], [0.25, 0.25]]
    y.sum().backward()
    assert x.grad.tolist() == [[2.0, 0.0], [0.25, 0.25]]  # K is a constant; |-3| > 1 is blocked


def test_input_scale_in_a_network_evaluates_as_it_trains():
    """The inputs are no longer integers, and the layer does not treat them as such."""
    model = MLP(6, 3, 8, 3, scheme=schemes.get("xnor_net", input_scale=True))
    assert model.hidden2.layer.input_step is None
    x = torch.randn(20, 6, generator=generator())
    inside = model.hidden1(x)
    trained = model.hidden2.layer(inside)
    model.eval()
    assert torch.allclose(model.hidden2.layer(inside), trained, atol=1e-6)
