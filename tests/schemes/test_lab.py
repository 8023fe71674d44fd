"""LAB's closed form against brute force, and what it says of BWN and BinaryConnect."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support import generator, objective, split

from bnnlab import schemes
from bnnlab.nn import MLP, after_step, binarized_layers

sizes = st.floats(-2, 2, width=32)
positive = st.floats(0.0009765625, 100, width=32)
pairs = st.lists(st.tuples(sizes, positive), min_size=1, max_size=7)


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_no_signs_and_scale_do_better(pairs):
    """Over all 2^n sign patterns, each with its own best scale."""
    w, d = split(pairs)
    q = schemes.get("lab").quantize(w, second_moment=d**2)
    patterns = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=len(w))), dtype=w.dtype)
    scales = (d * patterns * w).sum(-1).clamp_min(0) / d.sum()
    best = objective(scales[:, None] * patterns, w, d).min()
    assert objective(q.values, w, d) <= best * (1 + 1e-6) + 1e-9


@settings(max_examples=60, deadline=None)
@given(pairs, st.floats(-0.5, 0.5))
def test_no_other_scale_does_better(pairs, change):
    w, d = split(pairs)
    q = schemes.get("lab").quantize(w, second_moment=d**2)
    other = q.signs * (q.scale * (1 + change))
    assert objective(q.values, w, d) <= objective(other, w, d) * (1 + 1e-6) + 1e-9


def test_the_scale_is_the_best_of_a_fine_scan():
    w = torch.randn(300, generator=generator(), dtype=torch.float64)
    d = torch.rand(300, generator=generator(1), dtype=torch.float64) ** 4
    q = schemes.get("lab").quantize(w, second_moment=d**2)
    scales = torch.linspace(0, 2, 20_001, dtype=torch.float64)
    errors = torch.stack([objective(scale * q.signs, w, d) for scale in scales])
    assert abs(scales[errors.argmin()] - q.scale) <= 0.5001e-4
    assert objective(q.values, w, d) <= errors.min()


@settings(max_examples=60, deadline=None)
@given(pairs, st.floats(1e-3, 1e3))
def test_a_factor_on_the_curvature_cancels(pairs, factor):
    w, d = split(pairs)
    scheme = schemes.get("lab")
    scale = scheme.quantize(w, second_moment=d**2).scale
    scaled = scheme.quantize(w, second_moment=(factor * d) ** 2).scale
    # Only epsilon does not scale along; it is 1e-8 beside a curvature of at least 1e-6.
    assert torch.allclose(scale, scaled, rtol=0.05 if factor < 1 else 1e-4)


def test_constant_curvature_is_bwn():
    w = torch.randn(6, 8, generator=generator())
    for granularity in ("layer", "channel"):
        bwn = schemes.get("bwn", granularity=granularity).quantize(w)
        lab = schemes.get("lab", granularity=granularity)
        for moment in (None, torch.zeros(6, 8), torch.full((6, 8), 0.3)):
            q = lab.quantize(w, second_moment=moment)
            assert torch.allclose(q.scale, bwn.scale, rtol=1e-6)
            assert q.scale.shape == bwn.scale.shape


def test_a_scale_for_each_channel_is_lab_of_each_channel():
    w = torch.randn(4, 9, generator=generator())
    v = torch.rand(4, 9, generator=generator(1))
    q = schemes.get("lab", granularity="channel").quantize(w, second_moment=v)
    for row in range(4):
        alone = schemes.get("lab").quantize(w[row], second_moment=v[row])
        assert torch.allclose(q.values[row], alone.values)


def test_a_large_epsilon_leads_to_bwn():
    w = torch.randn(6, 8, generator=generator())
    v = torch.rand(6, 8, generator=generator(1)) * 1e-8
    mean = w.abs().mean()
    near = schemes.get("lab", epsilon=1.0).quantize(w, second_moment=v).scale
    far = schemes.get("lab").quantize(w, second_moment=v).scale
    assert abs(near - mean) < 1e-4 < abs(far - mean)


def batch():
    g = generator(4)
    return torch.randn(40, 10, generator=g), torch.randint(3, (40,), generator=g)


def test_the_first_step_is_bwn():
    """Loss, gradients and updated weights of the first step, within rounding."""
    x, y = batch()
    models = []
    for scheme in (schemes.get("lab"), schemes.get("bwn", granularity="layer")):
        model = MLP(10, 3, 16, 2, first_and_last="binarized", scheme=scheme, generator=generator(7))
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        models.append((loss, binarized_layers(model)))
    (lab_loss, lab), (bwn_loss, bwn) = models
    assert torch.allclose(lab_loss, bwn_loss, rtol=1e-5)
    for name, layer in lab.items():
        assert torch.allclose(layer.weight.grad, bwn[name].weight.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["lab", "lab2"])
def test_the_scale_uses_adams_second_moment_of_the_step_before(name):
    scheme = schemes.get(name)
    model = MLP(10, 3, 16, 2, scheme=scheme)
    optimizer = scheme.optimizer(model.parameters(), 0.01)
    x, y = batch()
    for step in range(3):
        for layer in binarized_layers(model).values():
            w = layer.weight.detach()
            if step == 0:
                expected = w.abs().mean()
            else:
                d = optimizer.state[layer.weight]["exp_avg_sq"].sqrt() + 1e-8
                expected = (d * w.abs()).sum() / d.sum()
            assert torch.allclose(scheme.weight(layer).abs(), expected, rtol=1e-5)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        after_step(model, optimizer)
    layer = model.hidden2.layer
    assert torch.equal(layer.second_moment, optimizer.state[layer.weight]["exp_avg_sq"])
    assert "hidden2.layer.second_moment" in model.state_dict()


def test_curvature_of_zero_and_of_the_smallest_numbers():
    scheme = schemes.get("lab")
    v = torch.tensor([0.0, 1e-45, 1e-38, 1e-16, 1e-4, 1e38])
    expected = v.double().sqrt() + 1e-8
    assert torch.allclose(scheme.curvature(v).double(), expected, rtol=1e-6)
    assert v[0] == 0
