"""Bop as a scheme: weights that are signs, in a network and over a checkpoint."""

import torch

from bnnlab import optim, schemes
from bnnlab.nn import MLP
from bnnlab.training.lane import Lane

SETTINGS = {
    "network": {"name": "mlp", "width": 8, "depth": 2},
    "loss": "squared_hinge",
    "optimizer": "sgd",
    "lr": 0.01,
    "inputs": 5,
    "shape": [5],
    "classes": 3,
}


def data(step):
    g = torch.Generator().manual_seed(step)
    return torch.randn(20, 5, generator=g), torch.randint(3, (20,), generator=g)


def test_weights_are_signs_after_the_first_step_and_flip_as_the_rule_says():
    lane = Lane(SETTINGS, {"name": "bop", "gamma": 0.3, "tau": 1e-3}, 0)
    layer = lane.layers["hidden2"]
    before = schemes.get("bop").quantized(layer).signs
    m = torch.zeros_like(before)
    for step in range(6):
        lane.advance(*data(step))
        m = 0.7 * m + 0.3 * layer.weight.grad
        before = torch.where((m.abs() > 1e-3) & (m.sign() == before), -before, before)
        assert torch.equal(layer.weight.detach(), before)
    assert (lane.network.hidden1.norm.weight != 1).any()


def test_the_step_size_does_not_move_binary_weights():
    lanes = [Lane(SETTINGS | {"lr": lr}, {"name": "bop"}, 0) for lr in (1e-9, 1e-8)]
    for step in range(5):
        for lane in lanes:
            lane.advance(*data(step))
    for name, layer in lanes[0].layers.items():
        assert torch.equal(layer.weight, lanes[1].layers[name].weight)


def test_it_brings_its_optimizer_whatever_is_asked_for():
    scheme = schemes.get("bop", gamma=0.5, tau=0.25)
    model = MLP(4, 2, 3, 1, scheme=scheme)
    for name in optim.names():
        optimizer = scheme.optimizer(model.parameters(), 0.1, name)
        assert (type(optimizer).__name__, optimizer.gamma, optimizer.tau) == ("Bop", 0.5, 0.25)


def test_training_goes_on_from_a_checkpoint_bit_for_bit():
    class Saved:
        pass

    scheme, saved = {"name": "bop", "gamma": 0.1}, Saved()
    whole, resumed = Lane(SETTINGS, scheme, 0), Lane(SETTINGS, scheme, 0)
    for step in range(8):
        if step == 4:
            saved.step, saved.tensors = step, {k: v.clone() for k, v in whole.state().items()}
            resumed.load(saved)
        whole.advance(*data(step))
        if step >= 4:
            resumed.advance(*data(step))
    state = resumed.state()
    assert all(torch.equal(value, state[key]) for key, value in whole.state().items())
