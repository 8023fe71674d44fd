"""Shift-based AdaMax, against its formula worked out step by step."""

import pytest
import torch

from bnnlab import optim
from bnnlab.powers import ap2


def test_names_and_unknown_ones():
    assert set(optim.names()) == {"adam", "sgd", "shift_adamax", "shift_adamax_code"}
    with pytest.raises(ValueError, match="no optimizer is called 'lion'; there are adam"):
        optim.get("lion")
    with pytest.raises(ValueError, match="variant is 'x'"):
        optim.ShiftAdaMax([torch.nn.Parameter(torch.zeros(1))], variant="x")


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_three_steps(variant):
    p = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
    optimizer = optim.ShiftAdaMax([p], lr=0.01, variant=variant)
    expected, m, v = p.detach().clone(), torch.zeros(3), torch.zeros(3)
    beta1, beta2 = (0.875, 1 - 2**-10) if variant == "paper" else (0.9, 0.999)
    for t, g in enumerate([[0.3, -0.2, 0.0], [0.1, 0.4, 0.0], [-0.2, 0.05, 0.0]], 1):
        g = torch.tensor(g)
        p.grad = g.clone()
        optimizer.step()
        m = beta1 * m + (1 - beta1) * g
        v = torch.maximum(beta2 * v, g.abs())
        size = ap2(torch.tensor(0.01 / (1 - beta1**t)))
        if variant == "paper":
            inverse = torch.where(v > 0, ap2(1 / v.clamp_min(1e-30)), 0.0)
            expected = expected - size * m * inverse
        else:
            v = ap2(v) + 2**-27
            expected = expected - size * m / v
        assert torch.allclose(p, expected, atol=1e-7)
    assert p[2] == 0.5  # never a gradient: never a step


def test_finds_a_minimum():
    p = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
    optimizer = optim.get("shift_adamax")([p], 2**-5)
    for _ in range(400):
        optimizer.zero_grad()
        p.square().sum().backward()
        optimizer.step()
    assert p.abs().max() < 0.1
