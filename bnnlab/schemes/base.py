"""What a binarization scheme is."""

from typing import Any, NamedTuple

import param
import torch
import torch.nn.functional as F
from torch import Tensor

from bnnlab import optim, registry
from bnnlab.schemes.estimators import Estimator


class Quantized(NamedTuple):
    """Quantized weights: small integers times a scale, or real weights as they are.

    Attributes:
        values: what the forward pass multiplies by, the shape of the weights.
        signs: +1 or -1, of 1-bit and ternary weights.
        scale: not negative, one for the layer or one for each channel, shaped to broadcast over the
            weights; `values == integers * scale`. None for real weights.
        mask: of ternary weights, True where the weight is not zero.
        codes: of weights of more levels, the integers they are multiples of, as floats.
        cut: of ternary weights, the size below which a latent weight became zero, shaped as scale.
    """

    values: Tensor
    signs: Tensor | None = None
    scale: Tensor | None = None
    mask: Tensor | None = None
    codes: Tensor | None = None
    cut: Tensor | None = None

    @property
    def integers(self) -> Tensor | None:
        """The integers that the values are multiples of, as floats; None for real weights."""
        if self.codes is not None or self.signs is None:
            return self.codes
        return self.signs if self.mask is None else self.signs * self.mask


def scale_dimensions(w: Tensor, granularity: str) -> tuple[int, ...]:
    """The dimensions one scaling factor is taken over.

    "layer": all of them; "channel": all but the first (a vector counts as one channel).
    """
    return tuple(range(1 if granularity == "channel" and w.ndim > 1 else 0, w.ndim))


def granularity_parameter(default: str) -> Any:
    """The hyper-parameter that says how many weights share one scaling factor."""
    return param.Selector(
        default=default,
        objects=["layer", "channel"],
        constant=True,
        doc="What shares one scaling factor: the whole layer, or each output channel (row).",
    )


def learning_rate_parameter(default: str) -> Any:
    """The hyper-parameter that says whether a layer's step size is scaled by its size."""
    return param.Selector(
        default=default,
        objects=["none", "glorot", "glorot_squared"],
        constant=True,
        doc="Scale the step size of the binarized weights of each layer by 1 / sqrt(1.5 / "
        "(inputs + outputs)), as the authors' code does; by its square, the paper's rule for plain "
        "gradient descent; or not at all.",
    )


def glorot_factor(layer: Any) -> float:
    """1 / sqrt(1.5 / (fan in + fan out)): the step size factor of BinaryConnect's code."""
    return ((layer.fan_in + layer.fan_out) / 1.5) ** 0.5


class Scheme(param.Parameterized):
    """One published way of binarizing a network.

    A scheme says how latent weights become the weights of the forward pass, what stands in for the
    derivative, what the activations are, and what happens to the latent weights after an optimizer
    step. Its hyper-parameters are constant `param` parameters; it holds no state: whatever evolves
    lives in buffers of the layer. Subclasses set the class attributes and override what they need.
    """

    key: str
    title: str
    authors: str
    year: int
    reference: str
    equations: tuple[str, ...] = ()
    order = 0  # among the schemes of one year

    color: str
    dash = "solid"
    marker = "circle"

    weight_bits: Any = 32
    activation_bits: Any = 32
    gradient_bits: Any = 32
    binarizes_ends = True
    clip: float | None = None
    weight_estimator: Any = None
    activation_estimator: Any = None
    activation_step: Any = None
    activation_codes: Any = None
    input_step: Any = None
    input_codes: Any = None
    quantizes_inputs = False  # whether weight gradients are made from `quantize_input`
    anneals = False  # whether what it computes depends on the training's progress
    members: Any = 1  # sampled networks that are averaged at evaluation
    live: tuple[str, ...] = ()  # options that may change while training runs

    def options(self) -> dict[str, Any]:
        """Its hyper-parameters, by name: plain values that can be written as JSON."""
        return registry.options(self)

    def attach(self, layer: Any) -> None:
        """Give a new layer the buffers this scheme keeps there (none)."""

    def attach_activation(self, module: Any, channels: int) -> None:
        """Give a new activation module its parameters and buffers (none)."""

    def quantize(
        self,
        w: Tensor,
        second_moment: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Quantized:
        """The weights of the forward pass, as a pure function of the latent ones.

        Args:
            w: latent weights, (outputs, inputs) or (outputs, inputs, height, width), or a vector as
                one channel.
            second_moment: Adam's second moment of their gradient, the same shape; only loss-aware
                schemes look at it.
            generator: where a stochastic scheme draws from; without it, it gives its test-time
                weights.
        """
        raise NotImplementedError

    def quantized(self, layer: Any) -> Quantized:
        """What the layer is at test time: no random draw, whatever mode the layer is in."""
        return self.quantize(layer.weight.detach(), layer.second_moment)

    def weight(self, layer: Any) -> Tensor:
        """The effective weight of the training pass, differentiable through the estimator."""
        w = layer.weight
        quantized = self.quantize(w.detach(), layer.second_moment, layer.generator)
        return self.weight_estimator.through(w, quantized.values)

    def bias(self, layer: Any) -> Tensor | None:
        """The effective bias, differentiable; real in most schemes."""
        return layer.bias

    def input(self, x: Tensor) -> Tensor:
        """What is made of the network's input before its first layer (nothing)."""
        return x

    def activation(self, x: Tensor, module: Any = None) -> Tensor:
        """The activation function, differentiable; ReLU where activations are real.

        Args:
            x: (samples, channels, ...).
            module: the `Activation` that asks, with its parameters, its `generator` and whether it
                is `training`; without it, the activation of the test.
        """
        return F.relu(x) if self.activation_estimator is None else self.activation_estimator(x)

    def factored(self, layer: Any, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """A layer's input as what its weights multiply, and a factor of the sums (x, None).

        For schemes that scale quantized inputs position by position.

        Args:
            layer: the layer that asks.
            x: what it was given, (samples, inputs, ...).

        Returns:
            What takes the place of x, and what the sums are multiplied by before the bias is
            added, shaped to broadcast over (samples, outputs, ...); None for nothing.
        """
        return x, None

    def quantize_gradient(self, gradient: Tensor, generator: torch.Generator | None) -> Tensor:
        """The gradient with respect to a layer's output, as the layer's backward pass takes it.

        Asked where `gradient_bits` is below 32.

        Args:
            gradient: (samples, outputs, ...).
            generator: where stochastic rounding draws from.
        """
        raise NotImplementedError

    def quantize_input(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """A layer's input, as its weight gradient takes it; asked where `quantizes_inputs`."""
        raise NotImplementedError

    def learning_rate_factor(self, layer: Any) -> float:
        """What the step size of the layer's latent weights is multiplied by."""
        return 1.0

    def optimizer(self, groups: Any, lr: float, name: str = "adam") -> torch.optim.Optimizer:
        """The optimizer of a network under this scheme: the one named, unless it brings its own.

        Args:
            groups: as torch optimizers take them: tensors, or groups with their own "lr" and a
                "binarized" that says whether they are latent weights.
            lr: step size of the groups that name none.
            name: an optimizer of `bnnlab.optim`.
        """
        return optim.get(name)(groups, lr)

    def before_step(self, network: Any, loss: Any, x: Tensor, y: Tensor) -> None:
        """Called before the forward pass of every update, in training mode (does nothing).

        For schemes that need more of the loss than its gradient: `loss(network(x), y)`. They draw
        from the layers' generators alone and leave gradients and batch norm as they were.
        """

    def after_step(self, layer: Any, optimizer: torch.optim.Optimizer) -> None:
        """Called for every layer after every optimizer step: clips the latent weights."""
        if self.clip is not None:
            layer.weight.detach().clamp_(-self.clip, self.clip)

    def anneal(self, module: Any, progress: float) -> None:
        """Called before every update for every layer and activation of the scheme (does nothing).

        Args:
            module: the layer or activation; what evolves is kept in its buffers.
            progress: from 0 at the beginning to 1 at the planned end.
        """

    def events(self) -> list[dict[str, Any]]:
        """What happens during training: {"at": progress, "label": words}, for the timeline."""
        return []

    def description(self) -> dict[str, Any]:
        """Everything a reader of a run needs to name, draw and explain the scheme, as plain data.

        Estimator curves are sampled from the functions training uses, at 121 points of [-2, 2].
        """
        return {
            "key": self.key,
            "title": self.title,
            "authors": self.authors,
            "year": self.year,
            "reference": self.reference,
            "equations": list(self.equations),
            "color": self.color,
            "dash": self.dash,
            "marker": self.marker,
            "weight_bits": self.weight_bits,
            "activation_bits": self.activation_bits,
            "gradient_bits": self.gradient_bits,
            "events": self.events(),
            "clip": self.clip,
            "options": self.options(),
            "estimators": {
                "weights": _curve(self.weight_estimator),
                "activations": _curve(self.activation_estimator),
            },
        }

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options().items())
        return f"{self.key}({options})"

    __repr__ = __str__


def _curve(estimator: Estimator | None) -> dict[str, Any] | None:
    if estimator is None:
        return None
    x = torch.arange(-60, 61) / 30
    return {
        "name": estimator.name,
        "title": estimator.title,
        "equation": estimator.equation,
        "x": x.tolist(),
        "forward": estimator.forward(x).tolist(),
        "pseudo_gradient": estimator.pseudo_gradient(x).tolist(),
    }
