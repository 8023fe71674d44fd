"""Packed networks against the networks they came from."""

import numpy as np
import pytest
import torch

import bnnlab
from bnnlab import nn, schemes
from bnnlab.packed import NotPackable


def test_packing_leaves_the_network_alone(network, grid):
    model = network("lab2").train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    generator = model.hidden1.layer.generator.get_state()
    bnnlab.pack(model)
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(generator, model.hidden1.layer.generator.get_state())
    assert not any(parameter.grad is not None for parameter in model.parameters())


def test_what_is_packed_is_the_evaluation(network, grid):
    model, x = network("bnn"), grid(20, 64)
    assert torch.equal(bnnlab.pack(model.train())(x), bnnlab.pack(model.eval())(x))


@pytest.mark.parametrize("isa", ["scalar", "avx2", "avx512"])
def test_every_instruction_set_gives_the_same_network(network, grid, isa, monkeypatch):
    from bnnlab.packed import kernels

    if isa not in kernels.isas():
        pytest.skip(f"this processor has no {isa}")
    x = grid(30, 64)
    for scheme in ("bnn", "dorefa", "lab"):
        packed = bnnlab.pack(network(scheme))
        expected = packed(x)
        with monkeypatch.context() as patch:
            patch.setattr(kernels, "isa", lambda: isa)
            assert torch.equal(packed(x), expected)


def test_what_cannot_be_packed_says_why(network):
    def refused(model, why):
        with pytest.raises(NotPackable, match=why):
            bnnlab.pack(model)

    refused(torch.nn.Linear(3, 3), "is a Linear; it carries no scheme")
    pooling = nn.LeNet((1, 8, 8), 3, scheme=schemes.get("bnn"))
    pooling.conv1.pool = torch.nn.MaxPool2d(3, 2)
    refused(pooling, "conv1: only pixels that do not overlap can be pooled")
    refused(network("bnn").double(), "is torch.float64 on cpu")
    broken = network("bnn")
    with torch.no_grad():
        broken.hidden2.layer.weight[0, 0] = float("nan")
    refused(broken, r"hidden2.layer.weight has values that are not finite")


def test_a_function_that_is_not_monotone_is_noticed(network):
    class Cosine(torch.nn.Module):
        def forward(self, x):
            return torch.cos(x / 3)

    model = network("bnn", batch_norm="off")
    model.hidden2.norm = Cosine()
    with pytest.raises(NotPackable, match="not a monotone function"):
        bnnlab.pack(model)


def test_inputs_are_refused_with_what_was_given(network, grid):
    packed, x = bnnlab.pack(network("bnn")), grid(3, 64)
    for error, message, bad in [
        (TypeError, "x is float64", x.numpy().astype(np.float64)),
        (TypeError, "x is list", [[1.0]]),
        (ValueError, r"x has shape \(64,\); it must be \(samples, 64\)", x[0]),
        (ValueError, r"x has shape \(3, 63\)", x[:, :63]),
        (ValueError, "not finite", x * float("nan")),
        (ValueError, "not finite", x / 0),
        (ValueError, "device meta", x.to("meta")),
    ]:
        with pytest.raises(error, match=message):
            packed(bad)


def test_arrays_give_arrays_and_need_not_be_contiguous_or_writable(network, grid):
    x = grid(9, 64).numpy()
    packed = bnnlab.pack(network("lab", first_and_last="float"))  # F.linear comes first
    expected = packed(x)
    assert isinstance(expected, np.ndarray)
    sealed = x.copy()
    sealed.flags.writeable = False
    assert np.array_equal(packed(sealed), expected)
    assert np.array_equal(packed(np.asfortranarray(x)), expected)
    assert np.array_equal(packed(x[::2]), packed(x[::2].copy()))


def test_sizes_are_those_of_the_arrays(network):
    """A neuron that ends in bits keeps a threshold, one that ends in a number two floats."""
    packed = bnnlab.pack(network("bnn", width=100, depth=2))
    words, neurons = 100 * 2 + 100 * 4 + 10 * 4, 100 + 100
    assert packed.payload == 4 * (words + neurons + 2 * 4 + 2 * 10)
    assert "hidden2: 100 -> 100, 1-bit weights x signs, signs" in repr(packed)
