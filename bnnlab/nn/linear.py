"""The linear layer that carries a scheme, and the activation that does."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnnlab.schemes.base import Scheme


class BinarizedLinear(nn.Module):
    """A linear layer y = W x + b whose W is made from latent weights by a scheme.

    Attributes:
        weight: the latent weights, (out_features, in_features).
        bias: (out_features,) or None.
        scheme: the scheme; `FullPrecision()` for a layer that is not binarized.
        generator: where a stochastic scheme draws from.
        input_step: what the layer's inputs are integer multiples of (1 for -1 and +1), None where
            they are real.
        second_moment: Adam's second moment of the weights' gradient where the scheme keeps it.
    """

    second_moment: Tensor | None
    seen: Callable[[Tensor], None] | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool,
        scheme: Scheme,
        *,
        input_step: float | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.scheme, self.input_step, self.generator = scheme, input_step, generator
        self.weight = nn.Parameter(torch.zeros(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        self.register_buffer("second_moment", None)
        self.seen = None  # `watch` puts a function here that is told the effective weight
        scheme.attach(self)

    @property
    def binarized(self) -> bool:
        """Whether the weights are of fewer than 32 bits."""
        return self.scheme.weight_bits < 32

    @property
    def input_bits(self) -> int:
        """Bits of an input; 32 where inputs are real."""
        return 32 if self.input_step is None else self.scheme.activation_bits

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Glorot-uniform latent weights, U(-a, a) with a = sqrt(6 / (inputs + outputs)), bias 0."""
        bound = (6 / (self.in_features + self.out_features)) ** 0.5
        self.weight.uniform_(-bound, bound, generator=generator)
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_features) -> (batch, out_features).

        In evaluation, 1-bit weights are multiplied as signs and integers and scaled afterwards, so
        that the sums are exact integers in float32 (below 2^24) and packed bits can equal them. No
        gradient reaches the weights then.
        """
        if self.training:
            weight = self.scheme.weight(self)
            if self.seen is not None:
                self.seen(weight)
            return F.linear(x, weight, self.bias)
        quantized = self.scheme.quantized(self)
        if quantized.signs is None or quantized.scale is None:
            return F.linear(x, quantized.values, self.bias)
        if self.input_step is not None:
            x = torch.round(x / self.input_step)
        return self.scaled(F.linear(x, quantized.signs), quantized.scale)

    def scaled(self, sums: Tensor, scale: Tensor) -> Tensor:
        """From sums over signs (and integer inputs) to outputs: sums * (scale * input_step) + bias.

        Args:
            sums: (batch, out_features).
            scale: the scheme's scaling factor, (out_features, 1) or (1, 1).
        """
        y = sums * (scale if self.input_step is None else scale * self.input_step).T
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """What `print(model)` says of the layer."""
        return (
            f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, {self.scheme}"
        )


class Activation(nn.Module):
    """The activation function of a scheme: sign, a k-bit quantizer or ReLU."""

    def __init__(self, scheme: Scheme):
        super().__init__()
        self.scheme = scheme

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise; differentiable through the scheme's estimator."""
        return self.scheme.activation(x)

    def extra_repr(self) -> str:
        """What `print(model)` says of the activation."""
        return str(self.scheme)
