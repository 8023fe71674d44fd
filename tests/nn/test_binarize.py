"""Binarizing networks that were built elsewhere."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import bnnlab
from bnnlab import schemes
from bnnlab.nn import Activation, BinarizedLinear, after_step, binarized_layers


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(16, 16),
        nn.BatchNorm1d(16),
        nn.Tanh(),
        nn.Linear(16, 3),
    )


def kinds(model):
    return [type(child).__name__ for child in model.children()]


def test_weights_only():
    model = network()
    weights = [p for p in model.parameters()]
    assert bnnlab.binarize(model, "lab") is model
    assert [layer.scheme.key for layer in binarized_layers(model).values()] == ["lab"] * 3
    assert all(a is b for a, b in zip(weights, model.parameters(), strict=True))
    assert "ReLU" in kinds(model) and "Tanh" in kinds(model)
    assert model[4].second_moment.shape == (16, 16)


def test_binary_activations_replace_what_feeds_a_binarized_layer():
    model = bnnlab.binarize(network(), "lab2")
    assert isinstance(model[2], Activation) and isinstance(model[6], Activation)
    assert [model[i].input_step for i in (0, 4, 7)] == [None, 1.0, 1.0]


def test_first_and_last_follow_the_paper():
    model = bnnlab.binarize(network(), schemes.get("dorefa", activation_bits=3))
    assert [model[i].binarized for i in (0, 4, 7)] == [False, True, False]
    assert isinstance(model[2], Activation) and isinstance(model[6], nn.Tanh)
    assert model[4].input_step == 1 / 7 and model[7].input_step is None
    model = bnnlab.binarize(network(), "dorefa", first_and_last="binarized")
    assert all(layer.binarized for layer in binarized_layers(model).values())


@pytest.mark.parametrize("name", schemes.names())
def test_trains_and_evaluates(name):
    model = bnnlab.binarize(network(), name)
    scheme = schemes.get(name)
    optimizer = scheme.optimizer(model.parameters(), 0.01)
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 6, generator=g), torch.randint(3, (60,), generator=g)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        after_step(model, optimizer)
        losses.append(loss.item())
    assert sum(losses[-5:]) < sum(losses[:5])
    for layer in binarized_layers(model).values():
        if layer.binarized and scheme.clip is not None:
            assert layer.weight.abs().max() <= scheme.clip
    assert torch.isfinite(model.eval()(x)).all()


def test_a_single_layer_and_a_layer_used_twice():
    assert isinstance(bnnlab.binarize(nn.Linear(3, 2), "bnn"), BinarizedLinear)
    shared = nn.Linear(4, 4)
    model = bnnlab.binarize(nn.Sequential(shared, nn.ReLU(), shared), "lab")
    assert model[0] is model[2] and isinstance(model[0], BinarizedLinear)


def test_layers_inside_other_modules():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
            self.head = nn.Linear(8, 2)

        def forward(self, x):
            return self.head(self.body(x))

    model = bnnlab.binarize(Two(), "xnor_net")
    assert [layer.binarized for layer in binarized_layers(model).values()] == [False, True, False]
    assert isinstance(model.body[1], Activation) and isinstance(model.body[3], nn.ReLU)
    message = "'head', but no activation module .* real activations .*full_precision, .*lab"
    with pytest.raises(ValueError, match=message):
        bnnlab.binarize(Two(), "bnn")


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Conv1d(1, 2, 3), nn.Linear(2, 2)), "0 is a Conv1d; only nn.Linear"),
        (nn.Conv2d(2, 4, 3, groups=2), "grouped and dilated convolutions cannot"),
        (nn.Conv2d(2, 4, 3, padding="same"), "padded with a given number of zeros"),
        (nn.LSTM(2, 3, num_layers=2), "one layer, one direction"),
        (nn.GRU(2, 3), "the module is a GRU"),
        (nn.MultiheadAttention(4, 2), "the module is a MultiheadAttention"),
        (nn.Sequential(nn.ReLU()), "Sequential holds no nn.Linear, nn.Conv2d or"),
    ],
)
def test_what_cannot_be_binarized_is_refused_and_left_alone(module, message):
    before = copy.deepcopy(module)
    with pytest.raises(ValueError, match=message):
        bnnlab.binarize(module, "bnn")
    assert repr(module) == repr(before)


def test_a_refusal_changes_nothing():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Linear(2, 2))
    before = repr(model)
    with pytest.raises(ValueError, match="layer '3'"):
        bnnlab.binarize(model, "bnn")
    assert repr(model) == before


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="no scheme is called 'x'"):
        bnnlab.binarize(network(), "x")
    with pytest.raises(ValueError, match="first_and_last is 'x'"):
        bnnlab.binarize(network(), "bnn", first_and_last="x")


def test_keeps_mode_and_precision():
    model = bnnlab.binarize(network().double().eval(), "lab2")
    assert not any(module.training for module in model.modules())
    assert model[4].second_moment.dtype == torch.float64
    assert model(torch.zeros(2, 6, dtype=torch.float64)).dtype == torch.float64


def test_convolutions_with_their_strides_and_paddings():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, (1, 3), padding=(0, 1), bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 4 * 4, 5),
    )
    x = torch.randn(2, 3, 16, 16)
    expected = model.eval()(x)
    weights = [model[0].weight, model[4].weight, model[7].weight]
    plain = bnnlab.binarize(copy.deepcopy(model), "full_precision")
    assert torch.allclose(plain(x), expected, atol=1e-6)
    binary = bnnlab.binarize(model, "bnn")
    layers = list(binarized_layers(binary).values())
    assert [type(layer).__name__ for layer in layers] == [
        "BinarizedConv2d",
        "BinarizedConv2d",
        "BinarizedLinear",
    ]
    assert all(layer.weight is w for layer, w in zip(layers, weights, strict=True))
    assert [layer.input_step for layer in layers] == [None, 1.0, 1.0]
    assert binary(x).shape == (2, 5)


def test_an_lstm_keeps_its_interface():
    torch.manual_seed(0)
    for batch_first in (False, True):
        lstm = nn.LSTM(5, 7, batch_first=batch_first)
        x = torch.randn(4, 6, 5)
        out, (h, c) = lstm(x)
        weight = lstm.weight_hh_l0
        swapped = bnnlab.binarize(lstm, "full_precision")
        again, (h2, c2) = swapped(x)
        assert swapped.recurrent.weight is weight
        for given, expected in ((again, out), (h2, h), (c2, c)):
            assert given.shape == expected.shape
            assert torch.allclose(given, expected, atol=1e-6)
        more, _ = swapped(x, (h2, c2))
        assert not torch.allclose(more, again)


def test_parameters_of_an_activation_are_those_of_its_own_channels():
    """Though a Flatten makes more inputs of them before the layer that it feeds."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Flatten(), nn.Linear(6 * 6 * 6, 5), nn.ReLU(), nn.Linear(5, 2),
    )  # fmt: skip
    bnnlab.binarize(model, "react_net")
    assert model(torch.randn(3, 1, 8, 8)).shape == (3, 2)
