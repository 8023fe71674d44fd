"""The convolutional layer that carries a scheme."""

import torch
import torch.nn.functional as F
from torch import Tensor

from bnnlab.nn.layer import BinarizedLayer
from bnnlab.schemes.base import Scheme


class BinarizedConv2d(BinarizedLayer):
    """A convolution: (batch, in_channels, height, width) -> (batch, out_channels, ...).

    Padding is with zeros, as in the papers' code: at the border a sum has fewer terms, though zero
    is no value that a binary activation takes.

    Attributes:
        stride, padding: vertical and horizontal.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int],
        bias: bool,
        scheme: Scheme,
        *,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int] = (0, 0),
        fed: str | None = None,
        generator: torch.Generator | None = None,
    ):
        shape = (out_channels, in_channels, *kernel_size)
        super().__init__(shape, bias, scheme, fed=fed, generator=generator)
        self.stride, self.padding = stride, padding

    @property
    def in_channels(self) -> int:
        """Channels in."""
        return self.weight.shape[1]

    @property
    def kernel_size(self) -> tuple[int, int]:
        """Height and width of the window."""
        return self.weight.shape[2], self.weight.shape[3]

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The sums over the windows."""
        return F.conv2d(x, weight, bias, self.stride, self.padding)

    def extra_repr(self) -> str:
        """What `print(model)` says of the layer."""
        return f"{super().extra_repr()}, stride={self.stride}, padding={self.padding}"
