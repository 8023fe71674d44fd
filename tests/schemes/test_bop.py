"""Bop as a scheme: weights that are signs, in a network and over a checkpoint."""

import torch
from support import assert_resumes, small_batch, small_lane

from bnnlab import optim, schemes
from bnnlab.nn import MLP


def test_weights_are_signs_after_the_first_step_and_flip_as_the_rule_says():
    lane = small_lane({"name": "bop", "gamma": 0.3, "tau": 1e-3}, depth=2, optimizer="sgd")
    layer = lane.layers["hidden2"]
    before = schemes.get("bop").quantized(layer).signs
    m = torch.zeros_like(before)
    for step in range(6):
        lane.advance(*small_batch(step))
        m = 0.7 * m + 0.3 * layer.weight.grad
        before = torch.where((m.abs() > 1e-3) & (m.sign() == before), -before, before)
        assert torch.equal(layer.weight.detach(), before)
    assert (lane.network.hidden1.norm.weight != 1).any()


def test_the_step_size_does_not_move_binary_weights():
    lanes = [small_lane({"name": "bop"}, depth=2, lr=lr) for lr in (1e-9, 1e-8)]
    for step in range(5):
        for lane in lanes:
            lane.advance(*small_batch(step))
    for name, layer in lanes[0].layers.items():
        assert torch.equal(layer.weight, lanes[1].layers[name].weight)


def test_it_brings_its_optimizer_whatever_is_asked_for():
    scheme = schemes.get("bop", gamma=0.5, tau=0.25)
    model = MLP(4, 2, 3, 1, scheme=scheme)
    for name in optim.names():
        optimizer = scheme.optimizer(model.parameters(), 0.1, name)
        assert (type(optimizer).__name__, optimizer.gamma, optimizer.tau) == ("Bop", 0.5, 0.25)


def test_training_goes_on_from_a_checkpoint_bit_for_bit():
    assert_resumes(lambda: small_lane({"name": "bop", "gamma": 0.1}, depth=2))
