"""The LSTM: against PyTorch's, its clipping, its symbols, its parts."""

import pytest
import torch
import torch.nn.functional as F
from support import generator
from torch import nn

from bnnlab import schemes
from bnnlab.nn import LSTM, BinarizedLSTM, binarized_layers, watch


def pair(inputs=5, hidden=4):
    """Ours in full precision and PyTorch's, with the same weights."""
    ours = BinarizedLSTM(inputs, hidden, schemes.get("full_precision"), generator=generator())
    ours.initialize(generator(3))
    theirs = nn.LSTM(inputs, hidden, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.input.weight)
        theirs.weight_hh_l0.copy_(ours.recurrent.weight)
        theirs.bias_ih_l0.copy_(ours.bias)
        theirs.bias_hh_l0.zero_()
    return ours, theirs


def test_in_full_precision_it_is_pytorchs():
    ours, theirs = pair()
    x = torch.randn(3, 11, 5, generator=generator(1))
    out, (h, c) = ours(x)
    expected, (h2, c2) = theirs(x)
    for given, wanted in ((out, expected), (h, h2), (c, c2)):
        assert torch.allclose(given, wanted, atol=1e-6)
    out.square().sum().backward()
    expected.square().sum().backward()
    assert torch.allclose(ours.recurrent.weight.grad, theirs.weight_hh_l0.grad, atol=1e-5)
    assert torch.allclose(ours.input.weight.grad, theirs.weight_ih_l0.grad, atol=1e-5)
    assert torch.allclose(ours.bias.grad, theirs.bias_ih_l0.grad, atol=1e-5)


def test_symbols_stand_for_one_hot_vectors():
    ours, _ = pair()
    symbols = torch.randint(5, (3, 8), generator=generator(2))
    one_hot = F.one_hot(symbols, 5).float()
    assert torch.allclose(ours(symbols)[0], ours(one_hot)[0], atol=1e-6)


def test_gradients_of_the_gates_are_clipped_at_each_time_step():
    """With one step and one sample the bias's gradient is the gates' own."""
    ours, _ = pair()
    x = torch.randn(1, 1, 5, generator=generator(1))
    (1e4 * ours(x)[0]).sum().backward()
    free = ours.bias.grad.clone()
    assert free.abs().max() > 5
    ours.bias.grad = None
    ours.gradient_clip = 5.0
    (1e4 * ours(x)[0]).sum().backward()
    assert torch.equal(ours.bias.grad, free.clamp(-5, 5))


@pytest.mark.parametrize("name", ["binary_connect", "bwn", "lab", "bnn", "dorefa"])
@pytest.mark.parametrize("batch_norm", ["off", "on"])
def test_evaluation_is_what_training_computes(name, batch_norm):
    """Integers times a scale afterwards, instead of scaled weights."""
    model = LSTM(
        20, 20, hidden=9, scheme=schemes.get(name), generator=generator(), batch_norm=batch_norm
    )
    x = torch.randint(20, (4, 6), generator=generator(1))
    if batch_norm == "off":
        assert torch.allclose(model(x), model.eval()(x), atol=1e-5)
    else:
        model(x)
        assert model.eval()(x).shape == (4, 6, 20)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("paper", [1, 1, 0]), ("binarized", [1, 1, 1]), ("float", [0, 1, 0])],
)
def test_which_layers_are_binarized(policy, expected):
    model = LSTM(20, 20, hidden=4, first_and_last=policy, scheme=schemes.get("bwn"))
    layers = binarized_layers(model)
    assert list(layers) == ["lstm.input", "lstm.recurrent", "output"]
    assert [layer.binarized for layer in layers.values()] == expected
    assert {n: tuple(x.weight.shape) for n, x in layers.items()} == LSTM.sizes(20, 20, hidden=4)


def test_initial_weights_are_the_papers():
    model = LSTM(20, 20, hidden=50)
    assert 0.07 < model.lstm.recurrent.weight.abs().max() <= 0.08
    assert model.lstm.bias.reshape(4, 50).sum(1).tolist() == [0, 50, 0, 0]


def test_binary_activations_replace_the_cells_tanh():
    """LAB2's authors: h = o * sign(c), so |h| is the output gate."""
    model = BinarizedLSTM(3, 6, schemes.get("lab2"), generator=generator())
    model.initialize(generator())
    x = torch.randn(2, 1, 3, generator=generator(1))
    out, (_, c) = model(x)
    gates = model.input(x.flatten(0, 1)) + model.bias
    o = gates.chunk(4, 1)[3].sigmoid()
    assert torch.allclose(out[:, 0], o * torch.where(c[0] >= 0, 1.0, -1.0), atol=1e-6)


def test_watching_keeps_the_states_and_their_gradients():
    model = LSTM(10, 10, hidden=4, scheme=schemes.get("lab"))
    x = torch.randint(10, (3, 7), generator=generator(1))
    with watch(model) as seen:
        model(x)[:, -1].sum().backward()
    states = seen["lstm.recurrent"].states
    assert len(states) == 7 and all(state.shape == (3, 4) for state in states)
    norms = [state.grad.norm().item() for state in states]
    assert all(norm > 0 for norm in norms) and norms[-1] > norms[0]
    assert seen["lstm.input"].states is None and model.lstm.seen is None
