"""sign(0), sign(-0.0) and NaN: torch, the packer and every instruction set agree, on every path.

The sign of either zero is +1, of the smallest denormals their own; NaN has none and is refused.
"""

import numpy as np
import pytest
import torch

import bnnlab
from bnnlab import schemes
from bnnlab.packed import images, kernels
from bnnlab.packed.lstm import Gates
from bnnlab.packed.network import Network
from bnnlab.packed.packing import keys

ODD = np.array(
    [0.0, -0.0, 1e-45, -1e-45, 1e-38, -1e-38, 1.0, -1.0, 1e30, -1e30, np.inf, -np.inf], np.float32
)
LENGTHS = (1, 31, 32, 33, 65)


@pytest.fixture(params=kernels.isas() if kernels.available() else ["scalar"])
def isa(request):
    """Every instruction set of this processor."""
    return request.param


def by_torch(x):
    """+1 and -1 as every scheme of signs makes them in the network."""
    return schemes.get("bnn").activation(torch.from_numpy(x)).numpy()


def odd(*shape, seed=0):
    return np.random.default_rng(seed).choice(ODD, shape)


def unpacked(bits, k):
    places = np.arange(k)
    return np.where(bits[..., places // 32] >> (places % 32).astype(np.uint32) & 1, 1.0, -1.0)


def test_torch_takes_zeros_for_positive():
    expected = np.where(ODD >= 0, 1.0, -1.0)
    assert np.array_equal(by_torch(ODD), expected)
    assert np.array_equal(schemes.get("bnn").quantize(torch.from_numpy(ODD)).signs, expected)


@pytest.mark.parametrize("k", LENGTHS)
def test_rows_are_packed_as_torch_has_them(isa, k):
    x = odd(4, k)
    assert np.array_equal(unpacked(kernels.pack_signs(x, isa=isa), k), by_torch(x))


@pytest.mark.parametrize("channels", LENGTHS)
def test_channels_are_packed_as_torch_has_them(isa, channels):
    x = odd(2, channels, 3, 5)
    bits = images.pack_channels(x, isa=isa)
    assert np.array_equal(unpacked(bits, channels), by_torch(x).transpose(0, 2, 3, 1))


@pytest.mark.parametrize("n", LENGTHS)
def test_thresholds_on_floats_are_signs_as_torch_has_them(isa, n):
    """A threshold at either zero is the key of -0.0: both reach it."""
    x = odd(4, n)
    at = np.full((1, n), keys(np.array([-0.0], np.float32))[0], np.int32)
    bits = kernels.threshold(x, at, np.zeros(kernels.words(n), np.uint32), isa=isa)
    assert np.array_equal(unpacked(bits[0], n), by_torch(x))
    flip = np.full(kernels.words(n), 2**32 - 1, np.uint32)
    if n % 32:
        flip[-1] = 2 ** (n % 32) - 1
    bits = kernels.threshold(x, at, flip, isa=isa)
    assert np.array_equal(unpacked(bits[0], n), -by_torch(x))


@pytest.mark.parametrize("k", LENGTHS)
def test_nan_is_refused_wherever_it_stands(isa, k):
    panels = kernels.pack_panels(kernels.pack_signs(odd(16, k)), k)
    at, flip = np.zeros((1, k), np.int32), np.zeros(kernels.words(k), np.uint32)
    for place in {0, k // 2, k - 1}:
        for nan in (np.nan, -np.nan):
            x = np.ones((3, k), np.float32)
            x[1, place] = nan
            for call in (
                lambda x=x: kernels.pack_signs(x, isa=isa),
                lambda x=x: images.pack_channels(x.reshape(3, k, 1, 1), isa=isa),
                lambda x=x: kernels.threshold(x, at, flip, isa=isa),
                lambda x=x: kernels.sign_matmul(x, panels, 16, isa=isa),
            ):
                with pytest.raises(ValueError, match="NaN"):
                    call()


@pytest.mark.parametrize("kind", ["mlp", "lenet"])
@pytest.mark.parametrize("scheme", ["bnn", "xnor_net", "dorefa", "binary_connect"])
def test_networks_take_zeros_of_either_sign_for_the_same(
    any_network, isa, monkeypatch, kind, scheme
):
    monkeypatch.setattr(kernels, "isa", lambda: isa)
    model, x = any_network(kind, scheme, samples=6, first_and_last="binarized")
    x = x * (torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.5)
    packed = bnnlab.pack(model)
    with torch.inference_mode():
        expected = model(x).numpy()
    negative = torch.where(x == 0, torch.tensor(-0.0), x)
    scores = packed(x.numpy())
    assert np.array_equal(scores, packed(negative.numpy()))
    assert np.abs(scores - expected).max() <= 1e-5 * np.abs(expected).max()
    with pytest.raises(ValueError, match="not finite"):
        packed((x * np.nan).numpy())


@pytest.mark.parametrize("scheme", ["bnn", "lab2", "binary_connect"])
def test_a_nan_in_the_state_of_an_lstm_is_refused(any_network, isa, monkeypatch, scheme):
    """Infinities that meet in a gate make one; signs were once multiplied by it as by a number."""
    monkeypatch.setattr(kernels, "isa", lambda: isa)
    model, x = any_network("lstm", scheme, samples=3)
    packed = bnnlab.pack(model)
    lstm = packed.layers[0]
    huge = np.full_like(lstm.gates.shift, 3e38)
    lstm.gates = Gates(huge, huge, np.full_like(huge, 3e38))
    alone = Network(packed.program.until(1).steps)
    with pytest.raises(ValueError, match="NaN"):
        packed._run(alone, x.numpy(), (lstm.outputs,), 1)
