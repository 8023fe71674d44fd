"""LAQ's levels and alternation, and LAT's exact solution against brute force."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import generator, objective, split

from bnnlab import schemes
from bnnlab.nn import MLP, after_step, binarized_layers
from bnnlab.schemes.laq import grid
from bnnlab.training.losses import cross_entropy

sizes = st.floats(-2, 2, width=32)
positive = st.floats(0.0009765625, 100, width=32)
pairs = st.lists(st.tuples(sizes, positive), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(pairs)
def test_exact_lat_is_the_best_of_all_ternary_patterns(pairs):
    """Over all of {-1, 0, 1}^n, each with its own best scale."""
    w, d = split(pairs)
    q = schemes.get("lat").quantize(w, second_moment=d**2)
    patterns = torch.tensor(list(itertools.product([-1.0, 0.0, 1.0], repeat=len(w))), dtype=w.dtype)
    mass = (d * patterns.abs()).sum(-1).clamp_min(1e-12)
    scales = ((d * patterns * w).sum(-1) / mass).clamp_min(0)
    best = objective(scales[:, None] * patterns, w, d).min()
    assert objective(q.values, w, d) <= best * (1 + 1e-6) + 1e-9


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_approximate_lat_is_stationary_and_no_better_than_the_exact_one(pairs):
    w, d = split(pairs)
    approximate = schemes.get("lat", solver="approximate").quantize(w, second_moment=d**2)
    exact = schemes.get("lat").quantize(w, second_moment=d**2)
    assert approximate.mask.any()
    assert objective(approximate.values, w, d) >= objective(exact.values, w, d) * (1 - 1e-6) - 1e-9
    assert torch.equal(approximate.mask, w.abs() > approximate.scale / 2)
    b = approximate.mask.double()
    assert torch.allclose(approximate.scale, (b * d * w.abs()).sum() / (b * d).sum(), atol=1e-5)


@pytest.mark.parametrize("solver", ["exact", "approximate"])
def test_lat_with_constant_curvature_has_the_best_scale_of_a_fine_scan(solver):
    w = torch.randn(400, generator=generator(), dtype=torch.float64)
    q = schemes.get("lat", solver=solver).quantize(w)
    errors = torch.stack(
        [
            objective(torch.where(w.abs() > a / 2, a * w.sign(), 0.0), w, torch.ones(400))
            for a in torch.linspace(0.5, 2.5, 2001, dtype=torch.float64)
        ]
    )
    assert objective(q.values, w, torch.ones(400)) <= errors.min() * (
        1 if solver == "exact" else 1.01
    )


@pytest.mark.parametrize(
    ("bits", "spacing", "levels"),
    [
        (2, "linear", [0, 1]),
        (3, "linear", [0, 1, 2, 3]),
        (4, "linear", range(8)),
        (2, "log", [0, 1]),
        (3, "log", [0, 1, 2, 4]),
        (4, "log", [0, 1, 2, 4, 8, 16, 32, 64]),
    ],
)
def test_weights_are_the_nearest_levels(bits, spacing, levels):
    w = torch.randn(40, 50, generator=generator(), dtype=torch.float64)
    d = torch.rand(40, 50, generator=generator(1), dtype=torch.float64)
    scheme = schemes.get("laq", bits=bits, spacing=spacing)
    q = scheme.quantize(w, second_moment=d**2)
    assert scheme.weight_bits == bits
    assert torch.equal(q.values, q.codes * q.scale) and q.scale.shape == (1, 1)
    assert set(q.codes.abs().unique().tolist()) == {float(level) for level in levels}
    grid = torch.tensor([*(-float(level) for level in levels), *map(float, levels)]).double()
    distances = (w[..., None] - q.scale * grid).abs()
    # Levels and scale were found in turns: the scale may have moved on in its last digits.
    assert torch.all((w - q.values).abs() <= distances.min(-1).values + 1e-4)


@pytest.mark.parametrize(
    ("spacing", "sizes", "codes"),
    [
        ("linear", [0.5, 0.5001, 1.5, 2.5, 2.6, 9.0], [0, 1, 1, 2, 3, 3]),
        ("log", [0.5, 0.5001, 1.5, 3.0, 3.1, 9.0], [0, 1, 1, 2, 4, 4]),
    ],
)
def test_ties_between_levels_go_to_the_smaller_one(spacing, sizes, codes):
    """Not half to even, as torch.round would have it: 1.5 is 1 and 2.5 is 2."""
    assert grid(3, spacing).nearest(torch.tensor(sizes)).tolist() == codes


@pytest.mark.parametrize("spacing", ["linear", "log"])
def test_the_scale_follows_from_the_levels(spacing):
    w = torch.randn(300, generator=generator(), dtype=torch.float64)
    d = torch.rand(300, generator=generator(1), dtype=torch.float64)
    for rule, power in (("code", 1), ("least_squares", 2)):
        q = schemes.get("laq", spacing=spacing, alpha_rule=rule).quantize(w, second_moment=d**2)
        largest = q.codes.max()
        b = (q.codes / largest).abs()
        alpha = (d * b * w.abs()).sum() / (d * b**power).sum()
        assert torch.allclose(q.scale * largest, alpha, rtol=1e-6)


def test_least_squares_has_the_best_scale_for_its_levels():
    w = torch.randn(300, generator=generator(), dtype=torch.float64)
    d = torch.rand(300, generator=generator(1), dtype=torch.float64)
    q = schemes.get("laq", alpha_rule="least_squares").quantize(w, second_moment=d**2)
    for factor in (0.99, 0.9999, 1.0001, 1.01):
        assert objective(q.values, w, d) < objective(q.codes * q.scale * factor, w, d)
    code = schemes.get("laq").quantize(w, second_moment=d**2)
    assert objective(q.values, w, d) < objective(code.values, w, d)


def test_two_bits_are_ternary():
    w = torch.randn(30, 4, generator=generator())
    d = torch.rand(30, 4, generator=generator(1))
    start = torch.tensor(0.9)  # they begin elsewhere where there is no step before
    laq = schemes.get("laq", bits=2).solve(w, d**2, start)
    lat = schemes.get("lat", solver="approximate").solve(w, d**2, start)
    assert torch.equal(laq.codes, lat.signs * lat.mask)
    assert torch.allclose(laq.scale, lat.scale, rtol=1e-4)


@pytest.mark.parametrize(("bits", "message"), [(5, "at most 4 bits, not 5"), (9, "at most 8")])
def test_levels_that_cannot_be_are_refused(bits, message):
    with pytest.raises(ValueError, match=message):
        schemes.get("laq", bits=bits, spacing="log")


ALTERNATING = [("laq", {}), ("laq", {"spacing": "log"}), ("lat", {"solver": "approximate"})]


@pytest.mark.parametrize(("name", "options"), ALTERNATING)
def test_turns_go_on_from_the_scale_of_the_step_before(name, options):
    scheme = schemes.get(name, **options)
    model = MLP(5, 3, 8, 1, scheme=scheme, generator=generator(3))
    layer = model.hidden1.layer
    assert layer.start == 0
    first = scheme.quantized(layer)
    fresh = scheme.quantize(layer.weight.detach(), torch.ones_like(layer.weight))
    assert torch.allclose(first.values, fresh.values)
    optimizer = scheme.optimizer(model.parameters(), 0.05)
    x, y = torch.randn(30, 5, generator=generator()), torch.randint(3, (30,), generator=generator())
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
        after_step(model, optimizer)
        for layer in binarized_layers(model).values():
            assert layer.start == scheme.quantized(layer).scale > 0
            assert torch.equal(scheme.weight(layer), scheme.quantized(layer).values)
    layer.start.fill_(1e9)  # far from the weights: all would be 0
    assert scheme.quantized(layer).values.any()


@pytest.mark.parametrize(("name", "options"), [*ALTERNATING, ("lat", {})])
def test_a_factor_on_the_curvature_cancels(name, options):
    w = torch.randn(6, 7, generator=generator())
    d = torch.rand(6, 7, generator=generator(1)) + 0.01
    scheme = schemes.get(name, **options)
    scale = scheme.quantize(w, second_moment=d**2).scale
    for factor in (0.01, 1000.0):
        other = scheme.quantize(w, second_moment=(factor * d) ** 2).scale
        assert torch.allclose(scale, other, rtol=1e-4)


@pytest.mark.parametrize("name", ["laq", "lat"])
def test_the_gradient_passes_and_latent_weights_are_clipped(name):
    scheme = schemes.get(name)
    model = MLP(3, 2, 4, 1, scheme=scheme)
    layer = model.hidden1.layer
    layer.weight.data[0] = torch.tensor([2.0, -0.3, -5.0])
    g = torch.arange(12.0).reshape(4, 3)
    scheme.weight(layer).backward(g)
    assert torch.equal(layer.weight.grad, g)
    after_step(model, scheme.optimizer(model.parameters(), 0.1))
    assert torch.equal(layer.weight[0].detach(), torch.tensor([1.0, -0.3, -1.0]))
