"""The multilayer perceptron and how networks are named and built."""

import json

import pytest
import torch
from support import generator
from torch import nn

from bnnlab import schemes
from bnnlab.nn import MLP, Activation, binarized_layers, networks


def test_every_scheme_starts_from_the_same_latent_weights():
    states = [
        MLP(20, 5, 32, 3, scheme=schemes.get(name), generator=generator(4)).state_dict()
        for name in schemes.names()
    ]
    for state in states[1:]:
        shared = states[0].keys() & state.keys()
        assert {key for key in states[0] if key.endswith("weight")} <= shared
        assert all(torch.equal(states[0][key], state[key]) for key in shared)
    other = MLP(20, 5, 32, 3, generator=generator(5)).state_dict()
    assert not torch.equal(other["hidden1.layer.weight"], states[0]["hidden1.layer.weight"])


def test_blocks_and_names():
    model = MLP(20, 5, 32, 3, scheme=schemes.get("bnn"))
    assert list(binarized_layers(model)) == ["hidden1", "hidden2", "hidden3", "output"]
    sizes = [(x.in_features, x.out_features) for x in binarized_layers(model).values()]
    assert sizes == [(20, 32), (32, 32), (32, 32), (32, 5)]
    for name, block in model.named_children():
        assert block.layer.bias is None
        assert isinstance(block.norm, nn.BatchNorm1d)
        assert (block.norm.eps, block.norm.momentum) == (1e-4, 0.1)
        assert isinstance(block.activation, nn.Identity if name == "output" else Activation)
    assert model(torch.zeros(7, 20)).shape == (7, 5)


def test_without_batch_norm_there_are_biases():
    model = MLP(20, 5, 32, 2, batch_norm="off", scheme=schemes.get("bnn"))
    for block in model.children():
        assert isinstance(block.norm, nn.Identity)
        assert torch.equal(block.layer.bias, torch.zeros_like(block.layer.bias))
    model(torch.zeros(1, 20))  # a batch of one is no trouble without batch norm


@pytest.mark.parametrize(
    ("name", "policy", "expected"),
    [
        ("bnn", "paper", [1, 1, 1, 1]),
        ("lab", "paper", [1, 1, 1, 1]),
        ("xnor_net", "paper", [0, 1, 1, 0]),
        ("dorefa", "paper", [0, 1, 1, 0]),
        ("xnor_net", "binarized", [1, 1, 1, 1]),
        ("bnn", "float", [0, 1, 1, 0]),
        ("full_precision", "paper", [0, 0, 0, 0]),
    ],
)
def test_first_and_last_layers(name, policy, expected):
    model = MLP(20, 5, 32, 3, first_and_last=policy, scheme=schemes.get(name))
    layers = list(binarized_layers(model).values())
    assert [layer.binarized for layer in layers] == expected
    assert layers[0].input_step is None
    for before, layer in zip(list(model.children())[:-1], layers[1:], strict=True):
        assert before.activation.scheme is layer.scheme
        assert layer.input_step == layer.scheme.activation_step


def test_an_unknown_policy_is_refused():
    message = "first_and_last is 'none'; it can be 'paper', 'binarized', 'float'"
    with pytest.raises(ValueError, match=message):
        MLP(2, 2, first_and_last="none")


def test_full_precision_is_the_default():
    assert not any(layer.binarized for layer in binarized_layers(MLP(4, 2)).values())


def test_a_spec_is_completed_and_can_be_written():
    spec = networks.complete({"name": "mlp", "width": 64})
    assert spec == {
        "name": "mlp",
        "width": 64,
        "depth": 2,
        "batch_norm": "on",
        "first_and_last": "paper",
    }
    assert networks.complete(json.loads(json.dumps(spec))) == spec
    assert networks.complete({}) == networks.complete({"name": "mlp"})


def test_a_network_is_built_from_a_spec():
    spec = {"name": "mlp", "width": 7, "depth": 1, "batch_norm": "off"}
    model = networks.build(spec, 3, 2, schemes.get("lab"), generator(1))
    assert isinstance(model, MLP)
    same = MLP(3, 2, 7, 1, batch_norm="off", scheme=schemes.get("lab"), generator=generator(1))
    assert torch.equal(model.hidden1.layer.weight, same.hidden1.layer.weight)
    assert model.hidden1.layer.out_features == 7 and model.output.layer.bias is not None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": {}}, "no network is called {}"),
        ({"width": None}, "width"),
        ({"name": "cnn"}, "no network is called 'cnn'; there are mlp"),
        ({"name": "mlp", "hidden": 3}, "has no option 'hidden'; it takes width, depth, batch_norm"),
        ({"width": 0}, "width' must be at least 1, not 0"),
        ({"width": 5000}, "width' must be at most 4096, not 5000"),
        ({"width": True}, "width does not accept True"),
        ({"width": "64"}, "width' must be an integer"),
        ({"depth": 9}, "depth' must be at most 8, not 9"),
        ({"batch_norm": "yes"}, "batch_norm"),
        ({"first_and_last": "none"}, "'none'"),
    ],
)
def test_bad_specs_are_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        networks.complete(spec)


def test_options_carry_bounds_and_help():
    options = networks.parameters_of("mlp")
    assert networks.names() == ["mlp", "lenet", "vgg", "lstm"]
    assert options.param.width.bounds == (1, 4096) and options.param.depth.bounds == (1, 8)
    assert all(options.param[name].doc for name in networks.complete({}) if name != "name")
