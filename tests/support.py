"""What tests of schemes and networks have in common."""

import torch
from hypothesis import assume

from bnnlab.training.lane import Lane


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def differences(function, w, step=1e-6):
    """The gradient of a function of a tensor, by central differences."""
    numeric = torch.zeros_like(w)
    for place in range(w.numel()):
        e = torch.zeros_like(w)
        e.view(-1)[place] = step
        numeric.view(-1)[place] = (function(w + e) - function(w - e)) / (2 * step)
    return numeric


def objective(values, w, d):
    """What LAB and LAT minimize: half the squared distance to the weights, by curvature."""
    return 0.5 * (d * (values - w).square()).sum(-1)


def split(pairs):
    """Weights and curvatures of drawn pairs, not all of the weights next to zero."""
    w, d = torch.tensor(pairs, dtype=torch.float64).T
    assume(w.abs().max() > 1e-3)
    return w, d


def small_lane(scheme, *, depth=1, **settings):
    """A lane with a network of eight neurons a layer, five inputs and three classes."""
    network = {"name": "mlp", "width": 8, "depth": depth} | settings.pop("network", {})
    given = {"loss": "squared_hinge", "optimizer": "adam", "lr": 0.01} | settings
    return Lane(given | {"network": network, "inputs": 5, "shape": [5], "classes": 3}, scheme, 0)


def small_batch(step=0):
    """The samples of a step of such a lane, and their classes."""
    g = generator(step)
    return torch.randn(20, 5, generator=g), torch.randint(3, (20,), generator=g)


def assert_resumes(begin):
    """Lanes that `begin` makes train on from a checkpoint bit for bit."""

    class Saved:
        pass

    saved, whole, resumed = Saved(), begin(), begin()
    for step in range(8):
        if step == 4:
            saved.step, saved.tensors = step, {k: v.clone() for k, v in whole.state().items()}
            resumed.load(saved)
        whole.advance(*small_batch(step), step / 8)
        if step >= 4:
            resumed.advance(*small_batch(step), step / 8)
    state = resumed.state()
    assert all(torch.equal(value, state[key]) for key, value in whole.state().items())
