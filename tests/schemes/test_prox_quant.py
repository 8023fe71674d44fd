"""ProxQuant's proximal maps against brute force, and its two stages."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import assert_resumes, small_batch, small_lane

from bnnlab import schemes


def train(options, steps=12):
    lane = small_lane({"name": "prox_quant", **options})
    for step in range(steps):
        lane.advance(*small_batch(step), step / steps)
        yield step / steps, lane


@settings(max_examples=60, deadline=None)
@given(st.floats(-3, 3), st.floats(0, 2))
def test_the_binary_step_is_the_proximal_map(value, strength):
    w = torch.tensor([value], dtype=torch.float64)
    found = schemes.get("prox_quant").proximal(w, strength)

    def objective(v):
        return 0.5 * (v - w) ** 2 + strength * (v.abs() - 1).abs()

    grid = torch.linspace(-4, 4, 16_001, dtype=torch.float64)
    assert objective(found) <= objective(grid).min() + 1e-9
    assert found.sign() == (1 if value >= 0 else -1) or found == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=2, max_size=9), st.floats(0, 2))
def test_the_ternary_step_is_the_proximal_map_for_fixed_targets(values, strength):
    w = torch.tensor(values, dtype=torch.float64)
    scheme = schemes.get("prox_quant", levels="ternary")
    found, target = scheme.proximal(w, strength), scheme.quantize(w).values

    def objective(v):
        return 0.5 * (v - w) ** 2 + 0.5 * strength * (v - target) ** 2

    for change in (-1e-3, 1e-3):
        assert torch.all(objective(found) <= objective(found + change))


@pytest.mark.parametrize("levels", ["binary", "ternary"])
def test_no_strength_changes_nothing(levels):
    w = torch.randn(50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(schemes.get("prox_quant", levels=levels).proximal(w, 0.0), w)


@pytest.mark.parametrize("levels", ["binary", "ternary"])
def test_weights_are_real_then_quantized_for_good(levels):
    hard = None
    for progress, lane in train({"levels": levels, "harden": 0.5}):
        layer = lane.layers["hidden1"]
        q = lane.scheme.quantized(layer)
        if progress < 0.5:
            assert q.signs is None and torch.equal(q.values, layer.weight)
            assert lane.scheme.weight(layer) is layer.weight
        else:
            assert len(q.values.unique()) <= (2 if levels == "binary" else 3)
            assert torch.equal(lane.scheme.weight(layer), q.values)
            assert hard is None or torch.equal(q.values, hard)
            hard = q.values
        norm = lane.network.hidden1.norm.weight.detach().clone()
    lane.advance(*small_batch(50), 0.99)
    assert not torch.equal(lane.network.hidden1.norm.weight, norm)  # the rest goes on


def test_the_strength_grows_with_progress():
    moved = []
    for rate in (0.0, 0.5):
        for progress, lane in train({"rate": rate}, steps=4):
            if progress == 0.25:
                moved.append(lane.layers["hidden1"].weight.detach().clone())
                break
    distance = (moved[1].abs() - moved[0].abs())[moved[0].abs() < 0.8]
    assert torch.allclose(distance, torch.full_like(distance, 0.125), atol=1e-6)


def test_evaluation_can_always_be_quantized():
    for progress, lane in train({"evaluation": "quantized"}, steps=4):
        layer = lane.layers["hidden1"]
        if progress < 0.5:
            assert set(lane.scheme.quantized(layer).values.unique().tolist()) == {-1.0, 1.0}
            assert lane.scheme.weight(layer) is layer.weight


def test_it_says_when_it_hardens_and_how_many_bits():
    scheme = schemes.get("prox_quant", harden=0.25)
    assert [event["at"] for event in scheme.events()] == [0.25]
    assert (scheme.weight_bits, schemes.get("prox_quant", levels="ternary").weight_bits) == (1, 2)


def test_training_goes_on_from_a_checkpoint_bit_for_bit():
    assert_resumes(lambda: small_lane({"name": "prox_quant", "harden": 0.7}))
