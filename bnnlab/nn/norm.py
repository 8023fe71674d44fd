"""Batch normalization: PyTorch's, or with shifts in the place of multiplications."""

from typing import Any

import torch
from torch import Tensor, nn

from bnnlab.powers import ap2

EPSILON, MOMENTUM = 1e-4, 0.1


class _ShiftNorm(torch.autograd.Function):
    """Normalize over all dimensions but 1 with shifts; see `ShiftBatchNorm`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> Any:
        over = [0, *range(2, x.ndim)]
        mean = x.mean(over)
        centred = x - _wide(mean, x)
        inverse = ((centred * ap2(centred)).mean(over) + epsilon).rsqrt()
        normal = centred * _wide(ap2(inverse), x)
        ctx.save_for_backward(centred, inverse, normal, gamma)
        y = normal * _wide(ap2(gamma), x) + _wide(beta, x)
        ctx.mark_non_differentiable(mean, inverse)
        return y, mean, inverse

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        g = gradients[0]
        centred, inverse, normal, gamma = ctx.saved_tensors
        over = [0, *range(2, g.ndim)]
        shifted = ap2(centred)
        along = _wide((g * shifted).mean(over) * ap2(inverse) ** 2, g)
        inner = g - _wide(g.mean(over), g) - shifted * along
        dx = inner * _wide(ap2(inverse) * ap2(gamma), g)
        return dx, (g * ap2(normal)).sum(over), g.sum(over), None


def _wide(v: Tensor, x: Tensor) -> Tensor:
    """A number for each channel, shaped to broadcast over x."""
    return v.reshape(1, -1, *[1] * (x.ndim - 2))


class ShiftBatchNorm(nn.Module):
    r"""Shift-based batch normalization (Courbariaux et al. 2016, arXiv:1602.02830, algorithm 3).

    With AP2 the nearest power of two and $C = x - \mathrm{E}[x]$ a channel at a time:
    $\sigma^2 = \mathrm{E}[C \cdot \mathrm{AP2}(C)]$,
    $\hat x = C \cdot \mathrm{AP2}(1/\sqrt{\sigma^2 + \epsilon})$,
    $y = \mathrm{AP2}(\gamma)\,\hat x + \beta$: every product is a shift.

    Backward, as in the authors' code: batch norm's own rule with AP2(C) in the place of C, the
    powers of two in the place of the factors, and AP2($\hat x$) in the gradient of gamma. Running
    statistics are the mean and the inverse deviation before rounding; their momentum is 1/8, a
    shift.

    Args:
        channels: size of dimension 1.
    """

    running_mean: Tensor
    running_inverse: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_inverse", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, ...) -> the same shape.

        Raises:
            ValueError: in training, there is one value a channel alone.
        """
        if not self.training:
            factor = ap2(self.running_inverse) * ap2(self.weight)
            return (x - _wide(self.running_mean, x)) * _wide(factor, x) + _wide(self.bias, x)
        if x.numel() == x.shape[1]:
            raise ValueError(
                f"batch norm needs more than one value a channel to train on, not {tuple(x.shape)}"
            )
        y, mean, inverse = _ShiftNorm.apply(x, self.weight, self.bias, EPSILON)  # pyright: ignore
        with torch.no_grad():
            self.running_mean.lerp_(mean, 0.125)
            self.running_inverse.lerp_(inverse, 0.125)
        return y


KINDS = ("on", "off", "shift")


def norm(kind: str, channels: int, *, flat: bool, last: bool = False) -> nn.Module:
    """Batch norm of one layer's outputs.

    Args:
        kind: "on", "off" (an identity) or "shift".
        channels: size of dimension 1.
        flat: whether there are no dimensions after that.
        last: whether the loss follows: that one is never shift-based, as in the authors' code.
    """
    if kind == "off":
        return nn.Identity()
    if kind == "shift" and not last:
        return ShiftBatchNorm(channels)
    return (nn.BatchNorm1d if flat else nn.BatchNorm2d)(channels, EPSILON, MOMENTUM)
