"""What `watch` keeps, against gradients worked out by hand."""

import pytest
import torch
import torch.nn.functional as F

from bnnlab import schemes
from bnnlab.nn import MLP, binarized_layers, watch
from bnnlab.schemes import sign


def data():
    g = torch.Generator().manual_seed(0)
    return torch.randn(50, 6, generator=g), torch.randint(3, (50,), generator=g)


def watched(name, **options):
    model = MLP(6, 3, 8, 2, scheme=schemes.get(name), **options)
    x, y = data()
    with watch(model) as seen:
        F.cross_entropy(model(x), y).backward()
    return model, seen


@pytest.mark.parametrize("name", schemes.names())
def test_keeps_weights_and_activations_with_gradients(name):
    model, seen = watched(name)
    assert list(seen) == ["hidden1", "hidden2", "output"]
    for layer_name, layer in binarized_layers(model).items():
        record = seen[layer_name]
        assert record.weight is layer.weight
        assert record.effective.shape == layer.weight.shape
        assert record.effective.grad is not None and record.weight.grad is not None
        if layer_name == "hidden1":
            assert record.activation_input is None and record.activation_output is None
        else:
            assert record.activation_input.grad.shape == record.activation_output.shape


def test_gradients_before_and_after_the_estimators():
    _, seen = watched("bnn")
    for record in seen.values():
        assert torch.equal(record.effective, sign(record.weight))
        assert torch.equal(record.effective.grad, record.weight.grad)
    record = seen["hidden2"]
    mask = record.activation_input.abs() <= 1
    assert 0 < mask.float().mean() < 1
    assert torch.equal(record.activation_output, sign(record.activation_input))
    assert torch.equal(record.activation_input.grad, record.activation_output.grad * mask)


def test_a_real_layer_is_its_own_effective_weight():
    _, seen = watched("xnor_net")
    assert seen["hidden1"].effective is seen["hidden1"].weight
    assert seen["hidden2"].effective is not seen["hidden2"].weight


def test_watching_changes_no_number_and_leaves_nothing_behind():
    x, y = data()
    gradients = []
    for watching in (False, True):
        model = MLP(6, 3, 8, 2, scheme=schemes.get("binary_connect_stochastic"))
        if watching:
            with watch(model) as seen:
                F.cross_entropy(model(x), y).backward()
        else:
            F.cross_entropy(model(x), y).backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    before = seen["hidden2"].effective
    model(x)
    assert seen["hidden2"].effective is before
    assert all(layer.seen is None for layer in binarized_layers(model).values())
    assert not any(module._forward_hooks for module in model.modules())


def test_is_undone_after_an_error():
    model = MLP(6, 3, 8, 2, scheme=schemes.get("lab"))
    with pytest.raises(RuntimeError), watch(model):
        model(torch.zeros(5, 7))
    assert all(layer.seen is None for layer in binarized_layers(model).values())
    assert not any(module._forward_hooks for module in model.modules())


def test_without_gradients_the_values_are_kept():
    model = MLP(6, 3, 8, 2, scheme=schemes.get("lab2"))
    with watch(model) as seen, torch.no_grad():
        model(data()[0])
    assert seen["output"].activation_output.abs().unique().tolist() == [1.0]


def test_works_on_networks_of_other_makes():
    from bnnlab.nn import binarize

    model = binarize(torch.nn.Sequential(torch.nn.Linear(6, 3)), "lab", first_and_last="binarized")
    with watch(model) as seen:
        model(data()[0]).sum().backward()
    assert seen["0"].effective.grad is not None and seen["0"].activation_input is None
