"""The multilayer perceptron."""

from typing import Any

import param

from bnnlab.nn.networks.base import NetworkOptions
from bnnlab.nn.networks.feedforward import Feedforward, Stage, dense


class MLPOptions(NetworkOptions):
    """What can be chosen about a multilayer perceptron."""

    width = param.Integer(
        default=128, bounds=(1, 4096), constant=True, doc="Neurons in each hidden layer."
    )
    depth = param.Integer(default=2, bounds=(1, 8), constant=True, doc="Number of hidden layers.")


class MLP(Feedforward):
    """A multilayer perceptron: layers `hidden1` ... `hiddenN` and `output`.

    Args:
        shape: features of a sample.
        outputs: scores to give.
        width: neurons in a hidden layer.
        depth: hidden layers.
        options: those of every network: batch_norm, first_and_last, scheme, generator.
    """

    key = "mlp"
    title = "Multilayer perceptron"
    takes = ("vector", "image")
    Options = MLPOptions

    def __init__(
        self,
        shape: int | tuple[int, ...],
        outputs: int,
        width: int = 128,
        depth: int = 2,
        **options: Any,
    ):
        super().__init__(shape, outputs, width=width, depth=depth, **options)

    @classmethod
    def plan(cls, shape: tuple[int, ...], outputs: int, **options: Any) -> list[Stage]:
        """`depth` layers of `width` neurons, then the output."""
        return dense(shape, [options["width"]] * options["depth"], outputs, "hidden")
