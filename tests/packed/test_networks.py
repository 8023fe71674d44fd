"""Every scheme on every network: packed, saved, loaded, counted; and the same predictions."""

import numpy as np
import param
import pytest
import torch

import bnnlab
from bnnlab import nn, registry, schemes
from bnnlab.nn.networks.feedforward import Feedforward
from bnnlab.packed.products import FloatProduct
from bnnlab.packed.stages import Thresholds

# Variants that change what has to be packed.
VARIANTS = [(name, {}) for name in schemes.names()] + [
    ("bwn", {"granularity": "layer"}),
    ("xnor_net", {"input_scale": True}),
    ("lab2", {"granularity": "channel"}),
    ("dorefa", {"activation_bits": 1}),
    ("dorefa", {"weight_bits": 3, "activation_bits": 8}),
    ("dorefa", {"weight_bits": 8, "activation_bits": 32}),
]

# Batch norm, and which of the first and last layers are binarized.
CHOICES = [
    ("on", "paper"),
    ("on", "float"),
    ("off", "binarized"),
    ("off", "paper"),
    ("shift", "binarized"),
]


@torch.no_grad()
def outputs_of(model, x):
    """What each layer of a network gives, by name."""
    seen = {}

    def keeper(name):
        def keep(module, given, out):
            seen[name] = out

        return keep

    if isinstance(model, Feedforward):
        hooks = [block.register_forward_hook(keeper(n)) for n, block in model.named_children()]
    else:
        hooks = []
    scores = model(x)
    for hook in hooks:
        hook.remove()
    return seen | {"output": scores}


def exact_layers(packed):
    """The names of the layers whose packed outputs must equal PyTorch's bit for bit: those that end
    in bits, and get there through sums that are exact."""
    names, exact = [], True  # inputs and weights are on dyadic grids, so the first sums are exact
    for layer in packed.layers:
        bits = isinstance(layer.after, Thresholds)
        if exact and bits:
            names.append(layer.name)
        exact = exact and bits
    return names


def check(model, x, tmp_path):
    """Everything that must hold of a network's packed form."""
    packed, expected = bnnlab.pack(model), outputs_of(model, x)
    got = packed.hidden(x)
    if isinstance(model, Feedforward):
        for name in exact_layers(packed):
            assert np.array_equal(got[name], expected[name].numpy()), name
    for name, values in expected.items():
        scale = float(values.abs().max())
        np.testing.assert_allclose(got[name], values, rtol=0, atol=1e-5 * scale, err_msg=name)
    scores = packed(x)
    assert isinstance(scores, torch.Tensor)
    assert np.array_equal(scores, got["output"])
    assert torch.equal(scores.argmax(-1), expected["output"].argmax(-1))

    counted = bnnlab.summary(model)
    assert packed.payload == counted.total.bytes
    assert 4 * packed.other_32bit == 4 * counted.total.other_32bit
    for layer in packed.layers:
        rows = [row for row in counted.rows if row.layer.split(".")[0] == layer.name]
        own = sum(array.nbytes for array in layer.arrays().values())
        if layer is packed.layers[0]:
            own += sum(array.nbytes for array in packed.entry.arrays().values())
        assert own == sum(row.bytes for row in rows), layer.name

    path = tmp_path / "packed.safetensors"
    packed.save(path)
    loaded = bnnlab.load_packed(path)
    assert repr(loaded) == repr(packed)
    assert torch.equal(loaded(x), scores)
    before, after = packed.arrays(), loaded.arrays()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    return packed


@pytest.mark.parametrize(("batch_norm", "first_and_last"), CHOICES)
@pytest.mark.parametrize(("scheme", "options"), VARIANTS)
def test_every_scheme_on_the_perceptron(
    any_network, tmp_path, scheme, options, first_and_last, batch_norm
):
    chosen = schemes.get(scheme, **options)
    model, x = any_network(
        "mlp", chosen, samples=200, batch_norm=batch_norm, first_and_last=first_and_last, depth=3
    )
    check(model, x, tmp_path)


@pytest.mark.parametrize(
    ("batch_norm", "pool"),
    [("on", "before_norm"), ("off", "after_activation"), ("shift", "before_norm")],
)
@pytest.mark.parametrize(("scheme", "options"), VARIANTS)
def test_every_scheme_on_a_convolutional_network(
    any_network, tmp_path, scheme, options, pool, batch_norm
):
    model, x = any_network(
        "lenet",
        schemes.get(scheme, **options),
        batch_norm=batch_norm,
        pool=pool,
        first_and_last="paper" if pool == "before_norm" else "binarized",
    )
    check(model, x, tmp_path)


@pytest.mark.parametrize(("scheme", "options"), VARIANTS)
def test_every_scheme_on_the_larger_convolutional_network(any_network, tmp_path, scheme, options):
    model, x = any_network("vgg", schemes.get(scheme, **options), samples=12)
    check(model, x, tmp_path)


@pytest.mark.parametrize(("batch_norm", "first_and_last"), CHOICES)
@pytest.mark.parametrize(("scheme", "options"), VARIANTS)
def test_every_scheme_on_the_lstm(
    any_network, tmp_path, scheme, options, first_and_last, batch_norm
):
    model, x = any_network(
        "lstm",
        schemes.get(scheme, **options),
        batch_norm=batch_norm,
        first_and_last=first_and_last,
    )
    check(model, x, tmp_path)


def every_choice():
    """Each value of each option that has few, beside the defaults: (scheme, option, value)."""
    for name, kind in schemes.kinds().items():
        for option in registry.option_names(kind):
            chosen = kind.param[option]
            if isinstance(chosen, param.Boolean):
                yield name, option, not chosen.default
            elif isinstance(chosen, param.Selector):
                yield from ((name, option, v) for v in chosen.objects if v != chosen.default)


@pytest.mark.parametrize(("name", "option", "value"), list(every_choice()))
def test_every_choice_that_schemes_offer(any_network, tmp_path, name, option, value):
    try:
        scheme = schemes.get(name, **{option: value})
    except ValueError:
        pytest.skip("it does not go with the other defaults")
    model, x = any_network("lenet", scheme, samples=10)
    check(model, x, tmp_path)


@pytest.mark.parametrize("name", [n for n, kind in schemes.kinds().items() if kind.anneals])
@pytest.mark.parametrize("kind", ["mlp", "lenet", "lstm"])
def test_schemes_that_change_are_packed_at_any_time(any_network, tmp_path, kind, name):
    for progress in (0.0, 0.6):
        model, x = any_network(kind, name, progress=progress)
        check(model, x, tmp_path)


def test_exact_layers_are_the_hidden_ones(any_network):
    def exact(kind, scheme, **options):
        return exact_layers(bnnlab.pack(any_network(kind, scheme, **options)[0]))

    assert exact("mlp", "bnn") == ["hidden1", "hidden2"]
    assert exact("mlp", "dorefa", depth=3) == ["hidden1", "hidden2"]
    assert exact("mlp", "binary_connect") == []
    assert exact("lenet", "bnn") == ["conv1", "conv2", "dense1"]
    assert len(exact("vgg", "lab2")) == 8


def test_every_block_order_pools_what_the_network_pools(any_network, tmp_path):
    """A maximum of codes, of signs and of real numbers."""
    for scheme in ("dorefa", "bnn", "lab"):
        model, x = any_network("lenet", scheme, pool="after_activation")
        packed = check(model, x, tmp_path)
        assert packed.layers[0].pool == (2, 2) and packed.layers[0].pool_last


def test_real_weights_follow_quantized_activations(any_network, tmp_path):
    model, x = any_network("lenet", "stochastic_neurons")
    packed = check(model, x, tmp_path)
    assert isinstance(packed.layers[1].product, FloatProduct)
    codes = packed.layers[1].product.codes
    assert codes is not None and codes.codes == (0, 1)


def test_images_may_come_as_images(any_network):
    model, x = any_network("lenet", "bnn")
    packed, images = bnnlab.pack(model), x.reshape(-1, *model.shape)
    assert torch.equal(packed(images), packed(x))
    flat, _ = any_network("mlp", "bnn")
    with pytest.raises(ValueError, match=r"shape \(40, 2, 10, 9\); it must be \(samples, 64\)"):
        bnnlab.pack(flat)(images)


def test_symbols_are_checked(any_network):
    model, x = any_network("lstm", "bnn")
    packed = bnnlab.pack(model)
    assert packed(x[:0]).shape == (0, x.shape[1], model.output.out_features)
    for error, message, bad in [
        (TypeError, "x is float32; it must be a int64", x.float()),
        (ValueError, r"x has shape \(9,\)", x[0]),
        (ValueError, "no symbols from 0 to 36", x + 1000),
        (ValueError, "no symbols from 0 to 36", x - 1000),
    ]:
        with pytest.raises(error, match=message):
            packed(bad)


def test_a_trained_character_network_says_the_same_next_characters():
    from bnnlab import tasks

    task = tasks.get("text", length=20)
    split, symbols = task.load(), task.classes
    for name in ("lab", "lab2", "binary_connect"):
        scheme = schemes.get(name)
        model = nn.LSTM(symbols, symbols, hidden=32, scheme=scheme)
        optimizer = scheme.optimizer(model.parameters(), 5e-3)
        x, y = torch.from_numpy(split.train_x), torch.from_numpy(split.train_y)
        generator = torch.Generator().manual_seed(0)
        for _ in range(30):
            some = torch.randint(len(x), (20,), generator=generator)
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(
                model(x[some]).flatten(0, 1), y[some].flatten()
            )
            loss.backward()
            optimizer.step()
            nn.after_step(model, optimizer)
        model.eval()
        test_x = torch.from_numpy(split.test_x[:300])
        with torch.no_grad():
            expected = model(test_x)
        assert torch.equal(bnnlab.pack(model)(test_x).argmax(-1), expected.argmax(-1)), name


@pytest.mark.parametrize(
    "inputs, width", [(1, 1), (2, 31), (31, 32), (33, 63), (65, 65), (784, 40)]
)
def test_odd_shapes(network, grid, inputs, width):
    for scheme in ("bnn", "dorefa"):
        model = network(scheme, inputs=inputs, outputs=3, width=width, depth=2)
        x = grid(50, inputs)
        packed = bnnlab.pack(model)
        expected = outputs_of(model, x)
        for name in exact_layers(packed):
            assert np.array_equal(packed.hidden(x)[name], expected[name].numpy()), name
        for samples in (0, 1, 7):
            assert packed(x[:samples]).shape == (samples, 3)
            if scheme == "bnn":  # without a layer that is F.linear's, which rounds by batch size
                assert torch.equal(packed(x[:samples]), packed(x)[:samples])


@pytest.mark.parametrize("kind", ["mlp", "lenet"])
@pytest.mark.parametrize("name", ["bnn", "lab2", "xnor_net", "dorefa", "qnn"])
def test_a_trained_network_on_the_whole_test_set(trained_on_digits, kind, name):
    spec = {"name": kind, "width": 64, "first_and_last": "binarized"}
    spec |= {"depth": 3} if kind == "mlp" else {"channels": 8}
    model, split = trained_on_digits(spec, schemes.get(name), 150)
    test_x = torch.from_numpy(split.test_x)
    packed, expected = bnnlab.pack(model), outputs_of(model, test_x)
    got, exact = packed.hidden(test_x), exact_layers(packed)
    assert len(exact) == 3
    for layer in exact:
        assert np.array_equal(got[layer], expected[layer].numpy()), layer
    predicted = expected["output"].argmax(1)
    assert torch.equal(packed(test_x).argmax(1), predicted)
    assert (predicted.numpy() == split.test_y).mean() > 0.8


@pytest.mark.parametrize("name", ["bitwise", "lat", "twn"])
def test_cells_whose_sums_cancel_agree_too(name):
    """Weights and biases that are small integers: many a gate is zero but for the last bit."""
    model = nn.LSTM(37, 37, hidden=64, scheme=schemes.get(name))
    nn.anneal(model, 1.0)
    model.eval()
    x = torch.randint(0, 37, (50, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(x)
    assert torch.equal(bnnlab.pack(model)(x).argmax(-1), expected.argmax(-1))
