"""The activation function that carries a scheme."""

import torch
from torch import Tensor, nn

from bnnlab.schemes.base import Scheme


class Activation(nn.Module):
    """The activation function of a scheme: sign, a k-bit quantizer or ReLU.

    Args:
        scheme: the scheme of the layer that it feeds.
        channels: size of dimension 1 of what it is given, for schemes with parameters a channel.
        generator: where a stochastic scheme draws from.
    """

    def __init__(self, scheme: Scheme, channels: int, generator: torch.Generator | None = None):
        super().__init__()
        self.scheme, self.generator = scheme, generator
        scheme.attach_activation(self, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise; differentiable through the scheme's estimator."""
        return self.scheme.activation(x, self)

    def extra_repr(self) -> str:
        """What `print(model)` says of the activation."""
        return str(self.scheme)
