"""The character-level LSTM of the LAB paper."""

import param
import torch
from torch import Tensor

from bnnlab.nn.activation import Activation
from bnnlab.nn.linear import BinarizedLinear
from bnnlab.nn.lstm import BinarizedLSTM
from bnnlab.nn.networks.base import Network, NetworkOptions, ends_binarized
from bnnlab.nn.norm import KINDS, norm
from bnnlab.schemes.base import Scheme
from bnnlab.schemes.full_precision import FullPrecision


class LSTMOptions(NetworkOptions):
    """What can be chosen about the LSTM."""

    hidden = param.Integer(default=128, bounds=(1, 1024), constant=True, doc="Memory cells.")
    gradient_clip = param.Number(
        default=5.0,
        bounds=(0, None),
        inclusive_bounds=(False, True),
        constant=True,
        doc="What the gradient of the gates is clipped to at each time step, entry by entry.",
    )
    batch_norm = param.Selector(
        default="off",
        objects=list(KINDS),
        constant=True,
        doc="Batch normalization of both matrix products; the papers have none. With it the "
        "scaling factor no longer matters, and nothing explodes.",
    )
    first_and_last = param.Selector(
        default="paper",
        objects=["paper", "binarized", "float"],
        constant=True,
        doc="Input and recurrent matrix binarized and the output layer real, as in the LAB paper; "
        "all three binarized; or the recurrent matrix alone.",
    )


class LSTM(Network):
    """One-hot symbols, one layer of LSTM cells, a score for each next symbol.

    Hou, Yao, Kwok 2017 (arXiv:1611.01600), section 4.2: layers `lstm.input`, `lstm.recurrent` and
    `output`. In full precision with first_and_last="paper" the output layer stays real whatever
    the scheme's own paper does with feed-forward networks.

    Args:
        shape: symbols of the vocabulary.
        outputs: scores to give, one for each symbol.
        hidden: memory cells.
        gradient_clip: largest entry of the gates' gradient.
        batch_norm, first_and_last, scheme, generator: as every network takes them.
    """

    key = "lstm"
    title = "LSTM"
    takes = ("text",)
    Options = LSTMOptions
    order = 3

    def __init__(
        self,
        shape: int,
        outputs: int,
        hidden: int = 128,
        gradient_clip: float = 5.0,
        batch_norm: str = "off",
        first_and_last: str = "paper",
        scheme: Scheme | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        scheme = FullPrecision() if scheme is None else scheme
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        ends_binarized(scheme, first_and_last)  # refuses other words
        self.lstm = BinarizedLSTM(
            shape,
            hidden,
            scheme,
            input_scheme=FullPrecision() if first_and_last == "float" else scheme,
            batch_norm=batch_norm,
            gradient_clip=gradient_clip,
            generator=generator,
        )
        self.output = BinarizedLinear(
            hidden,
            outputs,
            batch_norm == "off",
            scheme if first_and_last == "binarized" else FullPrecision(),
            generator=generator,
        )
        self.output_norm = norm(batch_norm, outputs, flat=True, last=True)
        self.lstm.initialize(generator)
        self.output.initialize(generator)

    @classmethod
    def sizes(cls, shape, outputs, *, hidden, **options):
        """The shapes of its weights by layer."""
        return {
            "lstm.input": (4 * hidden, shape),
            "lstm.recurrent": (4 * hidden, hidden),
            "output": (outputs, hidden),
        }

    def forward(self, x: Tensor) -> Tensor:
        """int64 (batch, time) -> scores of the next symbols (batch, time, outputs)."""
        h, _ = self.lstm(x)
        scores = self.output_norm(self.output(h.flatten(0, 1)))
        return scores.unflatten(0, h.shape[:2])

    def feeding(self) -> dict[str, Activation]:
        """None: h is real, whatever the activation of the cells."""
        return {}
