import os

import pytest
import torch

from bnnlab import nn, schemes
from bnnlab.packed import kernels


@pytest.fixture(autouse=True)
def compiled():
    """Skips without the compiled kernels, or fails where BNNLAB_REQUIRE_KERNELS asks for them."""
    if not kernels.available():
        if os.environ.get("BNNLAB_REQUIRE_KERNELS"):
            kernels.require()
        pytest.skip("the compiled kernels are not installed")


@pytest.fixture
def grid():
    """Samples on a dyadic grid, as the digits are: multiples of 1/8 in [-1, 1]."""

    def draw(samples, inputs, seed=0):
        generator = torch.Generator().manual_seed(seed)
        return (torch.randint(0, 17, (samples, inputs), generator=generator) - 8).float() / 8

    return draw


@pytest.fixture
def network(grid):
    """A network with random weights, running statistics, batch norm weights of either sign, and
    some that are zero: its neurons are then constant."""

    def build(scheme="bnn", inputs=64, outputs=10, seed=0, options=None, **shape):
        generator = torch.Generator().manual_seed(seed)
        model = nn.MLP(
            inputs,
            outputs,
            scheme=schemes.get(scheme, **(options or {})),
            generator=torch.Generator().manual_seed(seed),
            **shape,
        )
        x = grid(200, inputs, seed)
        with torch.no_grad():
            for _ in range(20):
                model(x)  # batch norm statistics
            for layer in nn.binarized_layers(model).values():
                if layer.second_moment is not None:
                    layer.second_moment.uniform_(0, 1, generator=generator)
            for name, parameter in model.named_parameters():
                if parameter.ndim == 1:
                    parameter.copy_(torch.randn(parameter.shape, generator=generator))
                    if name.endswith("norm.weight"):
                        parameter[::7] = 0
        return model.eval()

    return build
