"""The linear layer that carries a scheme."""

import torch
import torch.nn.functional as F
from torch import Tensor

from bnnlab.nn.layer import BinarizedLayer
from bnnlab.schemes.base import Scheme


class BinarizedLinear(BinarizedLayer):
    """y = W x + b: (batch, in_features) -> (batch, out_features).

    Inputs of type int64 stand for one-hot vectors: (batch,) indices below `in_features`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool,
        scheme: Scheme,
        *,
        fed: str | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__((out_features, in_features), bias, scheme, fed=fed, generator=generator)

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The sums over the inputs."""
        if x.is_floating_point():
            return F.linear(x, weight, bias)
        y = F.embedding(x, weight.T)
        return y if bias is None else y + bias
