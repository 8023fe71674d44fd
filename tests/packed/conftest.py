import os

import pytest
import torch

from bnnlab import nn, schemes, tasks
from bnnlab.packed import kernels

SYMBOLS, LENGTH = 37, 9
IMAGE = (2, 10, 9)


@pytest.fixture(autouse=True)
def compiled():
    """Skips without the compiled kernels, or fails where BNNLAB_REQUIRE_KERNELS asks for them."""
    if not kernels.available():
        if os.environ.get("BNNLAB_REQUIRE_KERNELS"):
            kernels.require()
        pytest.skip("the compiled kernels are not installed")


def dyadic(*shape, seed=0):
    """Numbers on a dyadic grid, as the digits are: multiples of 1/8 in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randint(0, 17, shape, generator=generator) - 8).float() / 8


@pytest.fixture(scope="session")
def grid():
    """Samples on a dyadic grid."""

    def draw(samples, inputs, seed=0):
        return dyadic(samples, inputs, seed=seed)

    return draw


@pytest.fixture
def trained_on_digits():
    """Trains a network on the digits, and gives it, as evaluated, with the data."""

    def train(spec, scheme, steps):
        split = tasks.get("digits").load()
        x, y = torch.from_numpy(split.train_x), torch.from_numpy(split.train_y)
        model = nn.networks.build(spec, (1, 8, 8), 10, scheme)
        optimizer = scheme.optimizer(model.parameters(), 5e-3)
        generator = torch.Generator().manual_seed(0)
        for _ in range(steps):
            batch = torch.randint(len(x), (100,), generator=generator)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
            nn.after_step(model, optimizer)
        return model.eval(), split

    return train


def batch_for(model, samples, seed=0):
    """Samples that a network takes."""
    if isinstance(model, nn.LSTM):
        generator = torch.Generator().manual_seed(seed)
        symbols = model.lstm.input.in_features
        return torch.randint(0, symbols, (samples, LENGTH), generator=generator)
    return dyadic(samples, *model.shape, seed=seed).flatten(1)


@torch.no_grad()
def randomized(model, seed=0, progress=None):
    """The network with running statistics, and random numbers where training would leave some:
    batch norm weights of either sign, and some that are zero: those neurons are constant.

    Weights lie on a dyadic grid, as the samples do: a real first layer's sums are then exact, and
    no code that follows it depends on the order in which PyTorch adds."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.copy_((parameter * 1024).round() / 1024)
    if progress is not None:
        nn.anneal(model, progress)
    for _ in range(20):
        model(batch_for(model, 100, seed))
    for layer in nn.binarized_layers(model).values():
        if layer.second_moment is not None:
            layer.second_moment.uniform_(0, 1, generator=generator)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
            if name.endswith("norm.weight"):
                parameter[::7] = 0
            if name == "lstm.recurrent_norm.weight":
                parameter *= 0.05  # with large ones it is chaotic: rounding grows without bound
    return model.eval()


@pytest.fixture(scope="session")
def network():
    """A multilayer perceptron as training might leave it."""

    def build(scheme="bnn", inputs=64, outputs=10, seed=0, options=None, **shape):
        model = nn.MLP(
            inputs,
            outputs,
            scheme=schemes.get(scheme, **(options or {})),
            generator=torch.Generator().manual_seed(seed),
            **shape,
        )
        return randomized(model, seed)

    return build


SMALL = {
    "mlp": (64, {"width": 70, "depth": 2}),
    "lenet": (IMAGE, {"channels": 5, "width": 40}),
    "vgg": ((3, 8, 8), {"width_factor": 0.15}),
    "lstm": (SYMBOLS, {"hidden": 21}),
}


@pytest.fixture(scope="session")
def any_network():
    """A small network of any kind as training might leave it, with a batch for it.

    A scheme that changes during training is at its end, unless `progress` says otherwise.
    """

    def build(kind, scheme, seed=0, samples=40, progress=1.0, **options):
        shape, sizes = SMALL[kind]
        scheme = schemes.get(scheme) if isinstance(scheme, str) else scheme
        model = nn.networks.build(
            {"name": kind, **sizes, **options},
            shape,
            SYMBOLS if kind == "lstm" else 10,
            scheme,
            torch.Generator().manual_seed(seed),
        )
        model = randomized(model, seed, progress)
        return model, batch_for(model, samples, seed + 1)

    return build
