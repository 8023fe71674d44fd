"""Networks of one layer after another: what the MLP and the convolutional ones share."""

import math
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bnnlab.nn.activation import Activation
from bnnlab.nn.conv import BinarizedConv2d
from bnnlab.nn.layer import BinarizedLayer
from bnnlab.nn.linear import BinarizedLinear
from bnnlab.nn.networks.base import Network, ends_binarized
from bnnlab.nn.norm import norm
from bnnlab.schemes.base import Scheme
from bnnlab.schemes.full_precision import FullPrecision


class Stage(NamedTuple):
    """One layer of the plan: its name, the shape of its weights, whether 2 x 2 pooling follows.

    Convolutions (weights of four dimensions) are padded so that they keep the size of the image.
    """

    name: str
    weights: tuple[int, ...]
    pools: bool = False


class Block(nn.Module):
    """Layer, pooling, batch norm, activation; each of the last three may be an identity.

    With `pool_last` the pooling comes after the activation, the order XNOR-Net's paper argues
    against: a maximum over signs is +1 almost everywhere.
    """

    def __init__(
        self,
        layer: BinarizedLayer,
        norm: nn.Module,
        activation: nn.Module,
        pool: nn.Module | None = None,
        pool_last: bool = False,
    ):
        super().__init__()
        self.layer, self.norm, self.activation = layer, norm, activation
        self.pool = nn.Identity() if pool is None else pool
        self.pool_last = pool_last

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, ...) -> (batch, outputs, ...)."""
        y = self.layer(x)
        if self.pool_last:
            return self.pool(self.activation(self.norm(y)))
        return self.activation(self.norm(self.pool(y)))


class Feedforward(Network):
    """A network of one layer after another, made from a plan.

    Children: a `Block` for each stage of the plan, under its name. Layers have a bias only without
    batch norm. A layer that is not binarized carries `FullPrecision()`, and an activation belongs
    to the layer it feeds: what feeds a float layer is ReLU.
    """

    @classmethod
    def plan(cls, shape: tuple[int, ...], outputs: int, **options: Any) -> list[Stage]:
        """The stages for samples of a shape, given the options that are the network's own."""
        raise NotImplementedError

    @classmethod
    def sizes(cls, shape, outputs, *, batch_norm=None, first_and_last=None, **options):
        """The shapes of its weights by layer."""
        return {stage.name: stage.weights for stage in cls.plan(_tuple(shape), outputs, **options)}

    def __init__(
        self,
        shape: int | tuple[int, ...],
        outputs: int,
        *,
        batch_norm: str = "on",
        first_and_last: str = "paper",
        pool: str = "before_norm",
        scheme: Scheme | None = None,
        generator: torch.Generator | None = None,
        **options: Any,
    ):
        super().__init__()
        scheme = FullPrecision() if scheme is None else scheme
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        ends = ends_binarized(scheme, first_and_last)
        self.shape = _tuple(shape)
        plan = self.plan(self.shape, outputs, **options)
        last = len(plan) - 1
        schemes = [scheme if ends or 0 < i < last else FullPrecision() for i in range(last + 1)]
        for i, stage in enumerate(plan):
            fed = "activation" if i > 0 else "input"
            layer = _layer(stage, batch_norm == "off", schemes[i], fed, generator)
            layer.initialize(generator)
            channels, flat = stage.weights[0], len(stage.weights) == 2
            block = Block(
                layer,
                norm(batch_norm, channels, flat=flat, last=i == last),
                Activation(schemes[i + 1], channels, generator) if i < last else nn.Identity(),
                nn.MaxPool2d(2) if stage.pools else None,
                pool_last=pool == "after_activation",
            )
            self.add_module(stage.name, block)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, features), or images as they are -> scores (batch, outputs)."""
        blocks = list(self.children())
        if isinstance(blocks[0].layer, BinarizedConv2d):
            x = x.reshape(len(x), *self.shape)
        for block in blocks:
            if x.ndim > 2 and isinstance(block.layer, BinarizedLinear):
                x = x.flatten(1)
            x = block(x)
        return x

    def feeding(self) -> dict[str, Activation]:
        """By layer name, the activation whose output the layer takes (none for the first)."""
        feeding = {}
        for (_, before), (name, _) in pairwise(self.named_children()):
            assert isinstance(before, Block) and isinstance(before.activation, Activation)
            feeding[name] = before.activation
        return feeding


def _tuple(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def _layer(
    stage: Stage, bias: bool, scheme: Scheme, fed: str, generator: torch.Generator
) -> BinarizedLayer:
    outputs, inputs, *window = stage.weights
    if not window:
        return BinarizedLinear(inputs, outputs, bias, scheme, fed=fed, generator=generator)
    height, width = window
    return BinarizedConv2d(
        inputs,
        outputs,
        (height, width),
        bias,
        scheme,
        padding=(height // 2, width // 2),
        fed=fed,
        generator=generator,
    )


def dense(
    shape: tuple[int, ...], widths: list[int], outputs: int, name: str = "dense"
) -> list[Stage]:
    """Fully connected stages `name1` ... and `output`, after samples or images of a shape."""
    sizes = [math.prod(shape), *widths, outputs]
    names = [*(f"{name}{i + 1}" for i in range(len(widths))), "output"]
    return [
        Stage(name, (after, before))
        for name, (before, after) in zip(names, pairwise(sizes), strict=True)
    ]


def convolutions(
    shape: tuple[int, ...], channels: list[int], window: int, pool_every: int
) -> tuple[list[Stage], tuple[int, int, int]]:
    """Convolutional stages `conv1` ... with pooling after every so many, and what they give.

    Raises:
        ValueError: samples of that shape are no images, or too small to be pooled so often.
    """
    if len(shape) != 3:
        raise ValueError(
            f"a convolutional network takes images (channels, height, width), not samples of "
            f"shape {shape}; take the network mlp"
        )
    before, height, width = shape
    stages = []
    for i, count in enumerate(channels):
        pools = (i + 1) % pool_every == 0
        stages.append(Stage(f"conv{i + 1}", (count, before, window, window), pools))
        before = count
        if pools:
            height, width = height // 2, width // 2
    if not height or not width:
        pooled = len(channels) // pool_every
        raise ValueError(
            f"images of {shape[1]} x {shape[2]} are too small to be halved {pooled} times; they "
            f"must have {2**pooled} x {2**pooled} pixels at least"
        )
    return stages, (before, height, width)
