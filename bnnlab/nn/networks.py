"""The small networks that comparisons train."""

from itertools import pairwise
from typing import Any

import param
import torch
from torch import Tensor, nn

from bnnlab import registry
from bnnlab.nn.linear import Activation, BinarizedLinear
from bnnlab.schemes.base import Scheme
from bnnlab.schemes.full_precision import FullPrecision


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


class Block(nn.Module):
    """Linear layer, batch norm (or nothing), activation (or nothing)."""

    def __init__(self, linear: BinarizedLinear, norm: nn.Module, activation: nn.Module):
        super().__init__()
        self.linear, self.norm, self.activation = linear, norm, activation

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs) -> (batch, outputs)."""
        return self.activation(self.norm(self.linear(x)))


class MLPOptions(param.Parameterized):
    """What can be chosen about a multilayer perceptron."""

    width = param.Integer(
        default=128, bounds=(1, 4096), constant=True, doc="Neurons in each hidden layer."
    )
    depth = param.Integer(default=2, bounds=(1, 8), constant=True, doc="Number of hidden layers.")
    batch_norm = param.Boolean(
        default=True,
        constant=True,
        doc="Batch normalization after every linear layer, the output layer included. It hides the "
        "scaling factor of a binarized layer: without it the schemes differ most.",
    )
    first_and_last = param.Selector(
        default="paper",
        objects=["paper", "binarized", "float"],
        constant=True,
        doc="Whether the first and the last layer are binarized: as the scheme's paper has it, "
        "always, or never.",
    )


class MLP(nn.Module):
    """A multilayer perceptron whose linear layers carry a scheme.

    Children: `hidden1` ... `hiddenN` and `output`, each a `Block` of `.linear`, `.norm` (batch norm
    with eps 1e-4 and momentum 0.1, or an identity) and `.activation` (an identity after the
    output). Layers have a bias only without batch norm. A layer that is not binarized carries
    `FullPrecision()`, and an activation belongs to the layer it feeds: what feeds a float layer is
    ReLU. The network's input stays real.

    Args:
        inputs: features of a sample.
        outputs: scores to give.
        width: neurons in a hidden layer.
        depth: hidden layers.
        batch_norm: whether batch norm follows every linear layer.
        first_and_last: "paper" (the scheme's `binarizes_ends`), "binarized" or "float".
        scheme: the scheme; full precision by default.
        generator: draws the Glorot-uniform latent weights, the same for every scheme, and after
            that the signs of stochastic schemes; a new one with seed 0 by default. The global
            random state is never touched.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 128,
        depth: int = 2,
        batch_norm: bool = True,
        first_and_last: str = "paper",
        scheme: Scheme | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if scheme is None:
            scheme = FullPrecision()
        if generator is None:
            generator = torch.Generator().manual_seed(0)
        ends = ends_binarized(scheme, first_and_last)
        sizes = [inputs, *[width] * depth, outputs]
        names = [*(f"hidden{i + 1}" for i in range(depth)), "output"]
        schemes = [scheme if ends or 0 < i < depth else FullPrecision() for i in range(depth + 1)]
        for i, name in enumerate(names):
            linear = BinarizedLinear(
                sizes[i],
                sizes[i + 1],
                not batch_norm,
                schemes[i],
                input_step=schemes[i].activation_step if i > 0 else None,
                generator=generator,
            )
            linear.initialize(generator)
            norm = nn.BatchNorm1d(sizes[i + 1], 1e-4, 0.1) if batch_norm else nn.Identity()
            activation = Activation(schemes[i + 1]) if i < depth else nn.Identity()
            self.add_module(name, Block(linear, norm, activation))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs) -> scores (batch, outputs)."""
        for block in self.children():
            x = block(x)
        return x

    def feeding(self) -> dict[str, Activation]:
        """By layer name, the activation whose output the layer takes (none for the first)."""
        blocks = list(self.named_children())
        feeding = {}
        for (_, before), (name, _) in pairwise(blocks):
            assert isinstance(before, Block) and isinstance(before.activation, Activation)
            feeding[name] = before.activation
        return feeding


# Name -> (class, its options): a new network is a row here.
NETWORKS = {"mlp": (MLP, MLPOptions)}


def names() -> list[str]:
    """The names of the networks."""
    return list(NETWORKS)


def _find(name: str) -> tuple[type[nn.Module], type[param.Parameterized]]:
    if not isinstance(name, str) or name not in NETWORKS:
        raise ValueError(f"no network is called {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name]


def parameters_of(name: str) -> type[param.Parameterized]:
    """The class whose parameters are the network's options, with bounds and help.

    Raises:
        ValueError: there is no such network.
    """
    return _find(name)[1]


def complete(spec: dict[str, Any]) -> dict[str, Any]:
    """Check `{"name": "mlp", "width": 64}` and fill in the defaults.

    Raises:
        ValueError: the network or an option is unknown, or a value is not allowed.
    """
    name = spec.get("name", "mlp")
    kind = parameters_of(name)
    chosen = registry.checked(
        kind, f"network {name!r}", {key: value for key, value in spec.items() if key != "name"}
    )
    return {"name": name, **registry.options(chosen)}


def build(
    spec: dict[str, Any],
    inputs: int,
    outputs: int,
    scheme: Scheme,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """The network of a spec, with fresh weights.

    Raises:
        ValueError: as `complete`.
    """
    options = complete(spec)
    kind, _ = _find(options.pop("name"))
    return kind(inputs, outputs, scheme=scheme, generator=generator, **options)


def after_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """What must follow every `optimizer.step()`: each layer's scheme clips and keeps its state."""
    for layer in binarized_layers(model).values():
        layer.scheme.after_step(layer, optimizer)


def binarized_layers(model: nn.Module) -> dict[str, BinarizedLinear]:
    """Every layer that carries a scheme, by name ("hidden1", "output"), in order.

    Layers left in full precision are there too: they carry `FullPrecision()`.
    """
    return {
        name.removesuffix(".linear") or "linear": module
        for name, module in model.named_modules()
        if isinstance(module, BinarizedLinear)
    }
