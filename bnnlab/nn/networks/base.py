"""What a network is, and what may be done with any module that holds binarized layers."""

from typing import Any

import param
import torch
from torch import Tensor, nn

from bnnlab.nn.activation import Activation
from bnnlab.nn.layer import BinarizedLayer
from bnnlab.nn.norm import KINDS
from bnnlab.schemes.base import Scheme


class NetworkOptions(param.Parameterized):
    """What can be chosen about every network."""

    batch_norm = param.Selector(
        default="on",
        objects=list(KINDS),
        constant=True,
        doc="Batch normalization after every layer, the output layer included; or none; or shift-"
        "based, where every product is a shift (but for the last). It hides the scaling factor of "
        "a binarized layer: without it the schemes differ most.",
    )
    first_and_last = param.Selector(
        default="paper",
        objects=["paper", "binarized", "float"],
        constant=True,
        doc="Whether the first and the last layer are binarized: as the scheme's paper has it, "
        "always, or never.",
    )


class Network(nn.Module):
    """A network whose layers carry a scheme.

    Its constructor takes `shape` (features of a sample, (channels, height, width) of an image, or
    symbols of a text), `outputs`, the options by name, `scheme` (full precision by default) and
    `generator`, which draws the latent weights, the same for every scheme, and after that what
    stochastic schemes draw; a new one with seed 0 by default. The global random state is never
    touched.

    Attributes:
        key, title: its name, and what to call it.
        takes: the kinds of samples: "vector", "image", "text".
        Options: the class whose parameters are its options.
        order: where it stands in lists.
    """

    key: str
    title: str
    takes: tuple[str, ...]
    Options: type[NetworkOptions]
    order = 0

    @classmethod
    def sizes(
        cls, shape: int | tuple[int, ...], outputs: int, **options: Any
    ) -> dict[str, tuple[int, ...]]:
        """The shapes of its weights by layer.

        Raises:
            ValueError: samples of that shape do not fit.
        """
        raise NotImplementedError

    def feeding(self) -> dict[str, Activation]:
        """By layer name, the activation whose output the layer takes (none for the first)."""
        raise NotImplementedError


def ends_binarized(scheme: Scheme, first_and_last: str) -> bool:
    """Whether first and last layers are binarized, given "paper", "binarized" or "float".

    Raises:
        ValueError: it is none of these.
    """
    policies = {"paper": scheme.binarizes_ends, "binarized": True, "float": False}
    if first_and_last not in policies:
        raise ValueError(
            f"first_and_last is {first_and_last!r}; it can be {', '.join(map(repr, policies))}"
        )
    return policies[first_and_last]


def binarized_layers(model: nn.Module) -> dict[str, BinarizedLayer]:
    """Every layer that carries a scheme, by name ("hidden1", "output"), in order.

    Layers left in full precision are there too: they carry `FullPrecision()`.
    """
    return {
        name.removesuffix(".layer") or "layer": module
        for name, module in model.named_modules()
        if isinstance(module, BinarizedLayer)
    }


def carriers(model: nn.Module) -> list[BinarizedLayer | Activation]:
    """Every layer and every activation that carries a scheme."""
    return [
        module for module in model.modules() if isinstance(module, (BinarizedLayer, Activation))
    ]


@torch.no_grad()
def scores(model: nn.Module, x: Tensor) -> Tensor:
    """What a network in evaluation mode says of a batch, averaged over a scheme's `members`."""
    layers = binarized_layers(model).values()
    members = max((layer.scheme.members for layer in layers), default=1)
    if members == 1:
        return model(x)
    total = torch.zeros(())
    try:
        for member in range(members):
            for layer in layers:
                layer.member = member
            total = total + model(x)
    finally:
        for layer in layers:
            layer.member = None
    return total / members


def anneal(model: nn.Module, progress: float) -> None:
    """What must precede every training step of a scheme that `anneals`.

    Args:
        model: any module that holds binarized layers.
        progress: from 0 at the beginning of training to 1 at its end.
    """
    for module in carriers(model):
        module.scheme.anneal(module, progress)


def after_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """What must follow every `optimizer.step()`: each layer's scheme clips and keeps its state."""
    for layer in binarized_layers(model).values():
        layer.scheme.after_step(layer, optimizer)
