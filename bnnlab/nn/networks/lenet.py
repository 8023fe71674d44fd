"""A convolutional network of LeNet's size."""

from typing import Any

import param

from bnnlab.nn.networks.base import NetworkOptions
from bnnlab.nn.networks.feedforward import Feedforward, Stage, convolutions, dense


def pool_parameter() -> Any:
    """The option that says where pooling stands."""
    return param.Selector(
        default="before_norm",
        objects=["before_norm", "after_activation"],
        constant=True,
        doc="Where max-pooling stands: between convolution and batch norm, so that the order is "
        "norm, activation, convolution, pooling, as the papers have it; or after the activation, "
        "where a maximum over signs loses most of them.",
    )


class LeNetOptions(NetworkOptions):
    """What can be chosen about the small convolutional network."""

    channels = param.Integer(
        default=16,
        bounds=(1, 256),
        constant=True,
        doc="Channels of the first convolution; the second has twice as many.",
    )
    width = param.Integer(
        default=128, bounds=(1, 4096), constant=True, doc="Neurons of the hidden dense layer."
    )
    pool = pool_parameter()


class LeNet(Feedforward):
    """Two 5 x 5 convolutions, each followed by 2 x 2 max-pooling, and two dense layers.

    The shape of LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998): layers `conv1`, `conv2`, `dense1`,
    `output`.
    """

    key = "lenet"
    title = "LeNet"
    takes = ("image",)
    Options = LeNetOptions
    order = 1

    def __init__(
        self,
        shape: tuple[int, ...],
        outputs: int,
        channels: int = 16,
        width: int = 128,
        **options: Any,
    ):
        super().__init__(shape, outputs, channels=channels, width=width, **options)

    @classmethod
    def plan(cls, shape: tuple[int, ...], outputs: int, **options: Any) -> list[Stage]:
        """`channels` and twice as many channels, then `width` neurons, then the output."""
        count = options["channels"]
        stages, left = convolutions(shape, [count, 2 * count], window=5, pool_every=1)
        return stages + dense(left, [options["width"]], outputs)
