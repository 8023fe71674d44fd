"""The VGG-like network of BinaryConnect, BNN and LAB."""

from typing import Any

import param

from bnnlab.nn.networks.base import NetworkOptions
from bnnlab.nn.networks.feedforward import Feedforward, Stage, convolutions, dense
from bnnlab.nn.networks.lenet import pool_parameter


class VGGOptions(NetworkOptions):
    """What can be chosen about the VGG-like network."""

    width_factor = param.Number(
        default=0.125,
        bounds=(1 / 64, 1.0),
        constant=True,
        doc="1 is the network of the papers for CIFAR-10, with 128, 256 and 512 "
        "channels and 1024 neurons; 0.5 theirs for SVHN.",
    )
    pool = pool_parameter()


class VGG(Feedforward):
    """(2 x 128C3)-MP2-(2 x 256C3)-MP2-(2 x 512C3)-MP2-(2 x 1024FC)-output, times a width factor.

    BinaryConnect (arXiv:1511.00363), section 3.3; LAB (arXiv:1611.01600), section 4.1: layers
    `conv1` ... `conv6`, `dense1`, `dense2`, `output`.
    """

    key = "vgg"
    title = "VGG"
    takes = ("image",)
    Options = VGGOptions
    order = 2

    def __init__(
        self,
        shape: tuple[int, ...],
        outputs: int,
        width_factor: float = 0.125,
        **options: Any,
    ):
        super().__init__(shape, outputs, width_factor=width_factor, **options)

    @classmethod
    def plan(cls, shape: tuple[int, ...], outputs: int, **options: Any) -> list[Stage]:
        """Six convolutions, pooled after every second, then two dense layers and the output."""
        factor = options["width_factor"]
        channels = [max(1, round(factor * count)) for count in (128, 128, 256, 256, 512, 512)]
        stages, left = convolutions(shape, channels, window=3, pool_every=2)
        return stages + dense(left, [max(1, round(1024 * factor))] * 2, outputs)
