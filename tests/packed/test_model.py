"""Packed networks against the networks they came from."""

import numpy as np
import pytest
import torch

import bnnlab
from bnnlab import nn, schemes
from bnnlab.packed import NotPackable

SAMPLES = 400
# Every scheme, and the variants that change what has to be packed.
VARIANTS = [(name, {}) for name in schemes.names() if name != "binary_connect_stochastic"] + [
    ("bwn", {"granularity": "layer"}),
    ("lab", {"granularity": "channel"}),
    ("lab2", {"granularity": "channel"}),
    ("dorefa", {"activation_bits": 1}),
    ("dorefa", {"activation_bits": 3}),
    ("dorefa", {"activation_bits": 8}),
    ("dorefa", {"activation_bits": 32}),
]


@torch.no_grad()
def outputs_of(model, x):
    """The network's own output of each block."""
    seen = {}
    for name, block in model.named_children():
        x = seen[name] = block(x)
    return seen


def exact_layers(model):
    """The names of the layers whose packed outputs must equal PyTorch's bit for bit: those that end
    in bits, and get there through sums that are exact or are F.linear's own."""
    names, exact = [], True  # the inputs are on a dyadic grid, so the first sums are exact
    for name, block in model.named_children():
        binary = block.layer.scheme.weight_bits == 1
        ends_in_bits = getattr(getattr(block.activation, "scheme", None), "activation_step", None)
        exact = (exact or block.layer.input_step is not None) and (binary or name == "hidden1")
        if exact and ends_in_bits:
            names.append(name)
        exact = bool(ends_in_bits)
    return names


@pytest.mark.parametrize("batch_norm", ["on", "off", "shift"])
@pytest.mark.parametrize("first_and_last", ["paper", "binarized", "float"])
@pytest.mark.parametrize("scheme, options", VARIANTS)
def test_every_scheme_and_policy(network, grid, scheme, options, first_and_last, batch_norm):
    model = network(
        scheme,
        options=options,
        width=100,
        depth=3,
        batch_norm=batch_norm,
        first_and_last=first_and_last,
    )
    x = grid(SAMPLES, 64, seed=1)
    packed = bnnlab.pack(model)
    expected, got = outputs_of(model, x), packed.hidden(x)
    assert list(got) == list(expected)
    for name in exact_layers(model):
        assert np.array_equal(got[name], expected[name].numpy()), name
    for name, values in expected.items():
        scale = float(values.abs().max())
        np.testing.assert_allclose(got[name], values, rtol=0, atol=1e-5 * scale, err_msg=name)
    scores = packed(x)
    assert isinstance(scores, torch.Tensor)
    assert np.array_equal(scores, got["output"])
    assert torch.equal(scores.argmax(1), expected["output"].argmax(1))


def test_exact_layers_are_the_hidden_ones(network):
    assert exact_layers(network("bnn", depth=3)) == ["hidden1", "hidden2", "hidden3"]
    assert exact_layers(network("lab2", depth=2)) == ["hidden1", "hidden2"]
    assert exact_layers(network("dorefa", depth=3)) == ["hidden1", "hidden2"]
    assert exact_layers(network("binary_connect")) == []


@pytest.mark.parametrize(
    "inputs, width", [(1, 1), (2, 31), (31, 32), (33, 63), (65, 65), (784, 40)]
)
def test_odd_shapes(network, grid, inputs, width):
    for scheme in ("bnn", "dorefa"):
        model = network(scheme, inputs=inputs, outputs=3, width=width, depth=2)
        x = grid(50, inputs)
        packed = bnnlab.pack(model)
        expected = outputs_of(model, x)
        for name in exact_layers(model):
            assert np.array_equal(packed.hidden(x)[name], expected[name].numpy()), name
        for samples in (0, 1, 7):
            assert packed(x[:samples]).shape == (samples, 3)
            if scheme == "bnn":  # without a layer that is F.linear's, which rounds by batch size
                assert torch.equal(packed(x[:samples]), packed(x)[:samples])


def test_a_trained_network_on_the_whole_test_set():
    from bnnlab import tasks

    split = tasks.get("digits").load()
    x, y = torch.from_numpy(split.train_x), torch.from_numpy(split.train_y)
    for name in ("bnn", "lab2", "xnor_net", "dorefa"):
        scheme = schemes.get(name)
        model = nn.MLP(64, 10, width=64, depth=3, first_and_last="binarized", scheme=scheme)
        optimizer = scheme.optimizer(model.parameters(), 5e-3)
        generator = torch.Generator().manual_seed(0)
        for _ in range(150):
            batch = torch.randint(len(x), (100,), generator=generator)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            nn.after_step(model, optimizer)
        model.eval()
        test_x = torch.from_numpy(split.test_x)
        packed, expected = bnnlab.pack(model), outputs_of(model, test_x)
        got = packed.hidden(test_x)
        for layer in ("hidden1", "hidden2", "hidden3"):
            assert np.array_equal(got[layer], expected[layer].numpy()), (name, layer)
        predicted = expected["output"].argmax(1)
        assert torch.equal(packed(test_x).argmax(1), predicted)
        assert (predicted.numpy() == split.test_y).mean() > 0.8, name


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

    refused(network("binary_connect_stochastic"), "hidden1: .* evaluated with its real weights")
    refused(
        network("xnor_net", options={"input_scale": True}),
        r"hidden1: xnor_net scales .*input_scale",
    )
    refused(network("dorefa", options={"weight_bits": 2}), "hidden2: .* weights of 2 bits")
    refused(torch.nn.Linear(3, 3), "only bnnlab.nn.MLP can be packed so far, not Linear")
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


def test_the_file_holds_the_weights_that_summary_counts(network):
    """The same words of weights; folding leaves at most as many numbers beside them."""
    for scheme, options in VARIANTS:
        model = network(scheme, options=options, width=70, depth=2)
        packed, counted = bnnlab.pack(model), nn.summary(model)
        for layer, row in zip(packed.layers, counted.rows, strict=True):
            arrays = layer.arrays()
            weights = arrays["signs"] if "signs" in arrays else arrays["weights"]
            assert weights.nbytes == row.bytes - 4 * row.other_32bit, (scheme, layer.name)
        if options.get("activation_bits", 1) <= 2:
            assert packed.payload <= counted.total.bytes, scheme
