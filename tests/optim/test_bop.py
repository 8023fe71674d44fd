"""Bop against its rule written out, and Adam for everything else."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnlab.optim.bop import Bop

gradients = st.lists(
    st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4), min_size=1, max_size=12
)


def parameter(values):
    return torch.nn.Parameter(torch.tensor(values))


def binary(p, **options):
    return Bop([{"params": [p], "binarized": True}], **options)


@settings(max_examples=80, deadline=None)
@given(gradients, st.sampled_from([0.01, 0.3, 1.0]), st.sampled_from([0.0, 0.05, 0.4]))
def test_weights_flip_where_the_average_is_strong_and_has_their_sign(steps, gamma, tau):
    p = parameter([1.0, -1.0, 1.0, -1.0])
    optimizer = binary(p, gamma=gamma, tau=tau)
    w, m = p.detach().double(), torch.zeros(4, dtype=torch.float64)
    for g in steps:
        p.grad = torch.tensor(g)
        optimizer.step()
        m = (1 - gamma) * m + gamma * p.grad.double()
        near = (m.abs() - tau).abs() < 1e-6  # either side of the threshold, by rounding
        w = torch.where((m.abs() > tau) & (m.sign() == w), -w, w)
        assert torch.equal(p.detach()[~near].double(), w[~near])
        w = p.detach().double()
    assert set(p.abs().tolist()) == {1.0}


def test_a_flip_needs_more_than_the_threshold():
    p = parameter([1.0, 1.0, -1.0])
    optimizer = binary(p, gamma=1.0, tau=0.5)
    p.grad = torch.tensor([0.5, 0.50001, 0.6])  # the last one's gradient wants -1 already
    optimizer.step()
    assert p.tolist() == [1.0, -1.0, -1.0]


def test_weights_begin_as_the_signs_of_what_they_were():
    p = parameter([0.3, -0.2, 0.0, -0.0, float("nan")])
    optimizer = binary(p, tau=1.0)
    p.grad = torch.zeros(5)
    optimizer.step()
    assert p[:4].tolist() == [1.0, -1.0, 1.0, 1.0] and p[4].isnan()


def test_weights_without_a_gradient_stay():
    p = parameter([0.3])
    binary(p).step()
    assert p.item() == pytest.approx(0.3)


def test_everything_else_is_adams():
    g = torch.Generator().manual_seed(0)
    ours, theirs = parameter([0.3, -0.2]), parameter([0.3, -0.2])
    signs = parameter([1.0])
    groups = [
        {"params": [signs], "binarized": True},
        {"params": [ours], "lr": 0.02, "binarized": False},
    ]
    optimizer, adam = Bop(groups, 0.5), torch.optim.Adam([theirs], 0.02, fused=True)
    for _ in range(5):
        ours.grad = torch.randn(2, generator=g)
        theirs.grad = ours.grad.clone()
        signs.grad = torch.ones(1)
        optimizer.step()
        adam.step()
        assert torch.equal(ours, theirs)
    assert len(optimizer.param_groups) == 2
    assert abs(signs.item()) == 1.0


def test_groups_that_do_not_say_are_adams():
    p = parameter([0.3])
    p.grad = torch.ones(1)
    Bop([p], 0.1).step()
    assert p.item() == pytest.approx(0.2)


def test_its_state_can_be_saved_and_loaded():
    def make():
        groups = [
            {"params": [parameter([1.0, -1.0])], "binarized": True},
            {"params": [parameter([0.5])], "binarized": False},
        ]
        return Bop(groups, 0.1, gamma=0.5, tau=0.3)

    def advance(optimizer, step):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = torch.full_like(p, 0.4 + 0.1 * step)
        optimizer.step()

    one, two = make(), make()
    for step in range(3):
        advance(one, step)
    two.load_state_dict(deepcopy(one.state_dict()))
    for a, b in zip(one.param_groups, two.param_groups, strict=True):
        b["params"][0].data.copy_(a["params"][0])
    for step in range(3):
        advance(one, step)
        advance(two, step)
    for a, b in zip(one.param_groups, two.param_groups, strict=True):
        assert torch.equal(a["params"][0], b["params"][0])


def test_a_closure_is_evaluated_with_gradients():
    p = parameter([1.0])
    optimizer = binary(p, gamma=1.0, tau=0.0)

    def closure():
        loss = (3 * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 3.0
    assert p.item() == -1.0
