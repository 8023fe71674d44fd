"""The convolutional layer and the networks made of it."""

import pytest
import torch
import torch.nn.functional as F
from support import generator

from bnnlab import schemes
from bnnlab.nn import VGG, BinarizedConv2d, LeNet, binarized_layers, networks


def layer_of(name, **options):
    layer = BinarizedConv2d(
        3, 4, (3, 2), True, schemes.get(name), padding=(1, 0), stride=(2, 1), **options
    )
    layer.initialize(generator())
    torch.nn.init.uniform_(layer.bias, generator=generator(1))
    return layer


@pytest.mark.parametrize("name", ["full_precision", "binary_connect", "bwn", "lab", "dorefa"])
def test_it_is_a_convolution_with_the_effective_weight(name):
    layer = layer_of(name)
    x = torch.randn(2, 3, 7, 6, generator=generator(2))
    weight = layer.scheme.quantized(layer).values
    expected = F.conv2d(x, weight, layer.bias, stride=(2, 1), padding=(1, 0))
    assert torch.allclose(layer(x), expected, atol=1e-5)
    assert torch.allclose(layer.eval()(x), expected, atol=1e-5)


def test_sums_over_binary_inputs_are_integers_in_evaluation():
    layer = layer_of("bnn", fed="activation").eval()
    x = torch.randn(2, 3, 7, 6, generator=generator(2)).sign()
    sums = layer(x) - layer.bias.reshape(1, -1, 1, 1)
    assert torch.allclose(sums, sums.round(), atol=1e-5)


def test_fans_and_sizes():
    layer = layer_of("bwn")
    assert (layer.fan_in, layer.fan_out) == (3 * 6, 4 * 6)
    assert (layer.in_features, layer.out_features) == (18, 4)
    assert (layer.in_channels, layer.kernel_size) == (3, (3, 2))
    bound = (6 / (18 + 24)) ** 0.5
    assert 0.8 * bound < layer.weight.abs().max() <= bound


def test_a_filter_has_its_scale():
    scale = schemes.get("bwn").quantized(layer_of("bwn")).scale
    assert scale.shape == (4, 1, 1, 1)


@pytest.mark.parametrize(
    ("kind", "shape", "names"),
    [
        (LeNet, (1, 8, 8), ["conv1", "conv2", "dense1", "output"]),
        (VGG, (3, 32, 32), [*(f"conv{i}" for i in range(1, 7)), "dense1", "dense2", "output"]),
    ],
)
@pytest.mark.parametrize("batch_norm", ["on", "off", "shift"])
@pytest.mark.parametrize("pool", ["before_norm", "after_activation"])
def test_networks(kind, shape, names, batch_norm, pool):
    model = kind(shape, 10, batch_norm=batch_norm, pool=pool, scheme=schemes.get("bnn"))
    x = torch.randn(3, *shape, generator=generator(1))
    scores = model(x.flatten(1))
    assert scores.shape == (3, 10)
    scores.square().mean().backward()
    layers = binarized_layers(model)
    assert list(layers) == names
    assert all(layer.weight.grad.abs().sum() > 0 for layer in layers.values())
    assert torch.equal(model.eval()(x), model(x.flatten(1)))
    sizes = {n: tuple(layer.weight.shape) for n, layer in layers.items()}
    assert sizes == networks.sizes({"name": kind.key}, shape, 10)


def test_the_papers_network_for_cifar10_has_the_papers_number_of_weights():
    sizes = networks.sizes({"name": "vgg", "width_factor": 1.0}, (3, 32, 32), 10)
    assert sum(torch.Size(shape).numel() for shape in sizes.values()) == 14_022_016


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("lenet", 64, "takes images"),
        ("lenet", (1, 3, 3), "at least"),
        ("vgg", (3, 7, 32), "8 x 8 pixels at least"),
    ],
)
def test_samples_that_do_not_fit_are_refused(name, shape, message):
    with pytest.raises(ValueError, match=message):
        networks.build({"name": name}, shape, 10, schemes.get("bnn"))


def test_where_pooling_stands():
    """Before the norm the largest sum decides the sign; after, a single +1 does."""
    before = LeNet((1, 8, 8), 10, scheme=schemes.get("bnn"), generator=generator())
    after = LeNet(
        (1, 8, 8), 10, pool="after_activation", scheme=schemes.get("bnn"), generator=generator()
    )
    x = torch.randn(50, 64, generator=generator(1))
    shares = []
    for model in (before, after):
        model(x)
        hidden = model.conv1(x.reshape(50, 1, 8, 8))
        shares.append((hidden > 0).float().mean().item())
    assert 0.4 < shares[0] < 0.6 and shares[1] > 0.75
