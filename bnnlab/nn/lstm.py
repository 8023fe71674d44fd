"""The LSTM whose matrices carry a scheme."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bnnlab.nn.activation import Activation
from bnnlab.nn.linear import BinarizedLinear
from bnnlab.nn.norm import norm
from bnnlab.schemes.base import Scheme

State = tuple[Tensor, Tensor]


class BinarizedLSTM(nn.Module):
    r"""A long short-term memory whose input and recurrent matrices are made by a scheme.

    $(i, f, g, o) = W_x x_t + W_h h_{t-1} + b$,
    $c_t = \sigma(f) \odot c_{t-1} + \sigma(i) \odot \tanh(g)$,
    $h_t = \sigma(o) \odot a(c_t)$, with a the hyperbolic tangent, or the scheme's activation where
    it quantizes activations (LAB's authors do so for LAB2). No peepholes. The effective matrices
    are made once for a pass and shared by all time steps (Hou, Yao, Kwok 2017, section 3.3); each
    has one scaling factor for its four gates, where the authors' code has one for each gate.
    Biases stay real.

    Attributes:
        input: W_x, a `BinarizedLinear` of (4 hidden, inputs), the gates in the order i, f, g, o.
        recurrent: W_h, (4 hidden, hidden).
        bias: (4 hidden,).
        input_norm, recurrent_norm: batch norm of each product, or identities; the statistics of
            the recurrent one are those of one time step.
        activation: the scheme's `Activation`, or None for the hyperbolic tangent.
        gradient_clip: what the entries of the gates' gradient are clipped to, at each time step.
        batch_first: whether a batch's first dimension is the sample, not the time.
        seen: a function that is told h_1 ... h_T of a training pass (`watch` puts it).
    """

    seen: Callable[[list[Tensor]], None] | None

    def __init__(
        self,
        inputs: int,
        hidden: int,
        scheme: Scheme,
        *,
        input_scheme: Scheme | None = None,
        batch_norm: str = "off",
        gradient_clip: float = torch.inf,
        batch_first: bool = True,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.hidden, self.gradient_clip, self.batch_first = hidden, gradient_clip, batch_first
        input_scheme = scheme if input_scheme is None else input_scheme
        self.input = BinarizedLinear(inputs, 4 * hidden, False, input_scheme, generator=generator)
        self.recurrent = BinarizedLinear(hidden, 4 * hidden, False, scheme, generator=generator)
        self.bias = nn.Parameter(torch.zeros(4 * hidden))
        self.input_norm = norm(batch_norm, 4 * hidden, flat=True)
        self.recurrent_norm = norm(batch_norm, 4 * hidden, flat=True)
        quantizes = scheme.activation_estimator is not None
        self.activation = Activation(scheme, hidden, generator) if quantizes else None
        self.seen = None

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """U(-0.08, 0.08), and 1 for the bias of the forget gates (Karpathy et al. 2015)."""
        for layer in (self.input, self.recurrent):
            layer.weight.uniform_(-0.08, 0.08, generator=generator)
        self.bias.zero_()
        self.bias[self.hidden : 2 * self.hidden] = 1.0

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run over sequences.

        Args:
            x: (batch, time, inputs), or int64 (batch, time) that stands for one-hot vectors; time
                first if not `batch_first`.
            state: h and c, (1, batch, hidden); zeros by default.

        Returns:
            h of all time steps, (batch, time, hidden) or time first, and the last state.
        """
        x = x.transpose(0, 1) if self.batch_first else x
        length, count = x.shape[:2]
        given = self.input_norm(self.input(x.flatten(0, 1))) + self.bias
        if state is None:
            h = c = given.new_zeros(count, self.hidden)
        else:
            h, c = state[0][0], state[1][0]
        recur, states = self.recurrent.prepared(), []
        for given_now in given.unflatten(0, (length, count)):
            gates = given_now + self.recurrent_norm(recur(h))
            if gates.requires_grad and self.gradient_clip < torch.inf:
                gates.register_hook(self._clipped)
            i, f, g, o = gates.chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * (c.tanh() if self.activation is None else self.activation(c))
            states.append(h)
        if self.seen is not None and self.training:
            self.seen(states)
        out = torch.stack(states, 1 if self.batch_first else 0)
        return out, (h[None], c[None])

    def _clipped(self, gradient: Tensor) -> Tensor:
        return gradient.clamp(-self.gradient_clip, self.gradient_clip)

    def extra_repr(self) -> str:
        """What `print(model)` says of the layer."""
        return f"hidden={self.hidden}"


def lstms(model: nn.Module) -> list[BinarizedLSTM]:
    """Every LSTM of a model whose matrices carry a scheme."""
    return [module for module in model.modules() if isinstance(module, BinarizedLSTM)]
