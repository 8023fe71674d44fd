"""The layer that carries a scheme: what linear and convolutional layers share."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bnnlab.schemes.base import Scheme


class BinarizedLayer(nn.Module):
    """A layer whose weights are made from latent weights by a scheme.

    Attributes:
        weight: the latent weights, (outputs, inputs) or (outputs, inputs, height, width).
        bias: (outputs,) or None.
        scheme: the scheme; `FullPrecision()` for a layer that is not binarized.
        generator: where a stochastic scheme draws from.
        fed: what its inputs are: "activation" (the scheme's), "input" (the network's, of which the
            scheme may make something) or None (real numbers).
        member: which of a scheme's sampled networks is evaluated, None for its ordinary test.
        second_moment: Adam's second moment of the weights' gradient where the scheme keeps it.
        seen: a function that is told the effective weight of a training pass (`watch` puts it).
    """

    second_moment: Tensor | None
    seen: Callable[[Tensor], None] | None

    def __init__(
        self,
        shape: tuple[int, ...],
        bias: bool,
        scheme: Scheme,
        *,
        fed: str | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.scheme, self.fed, self.generator = scheme, fed, generator
        self.weight = nn.Parameter(torch.zeros(shape))
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
        self.register_buffer("second_moment", None)
        self.member: int | None = None
        self.seen = None
        scheme.attach(self)

    @property
    def binarized(self) -> bool:
        """Whether the weights are of fewer than 32 bits."""
        return self.scheme.weight_bits < 32

    @property
    def input_step(self) -> float | None:
        """What the inputs are integer multiples of (1 for -1 and +1), None where they are real."""
        if self.fed == "activation":
            return self.scheme.activation_step
        return self.scheme.input_step if self.fed == "input" else None

    @property
    def input_bits(self) -> int:
        """Bits of an input; 32 where inputs are real."""
        if self.input_step is None:
            return 32
        codes = (
            self.scheme.activation_codes if self.fed == "activation" else self.scheme.input_codes
        )
        return (len(codes) - 1).bit_length()

    @property
    def out_features(self) -> int:
        """Neurons or channels out."""
        return self.weight.shape[0]

    @property
    def in_features(self) -> int:
        """Weights of one neuron or channel."""
        return self.weight[0].numel()

    @property
    def fan_in(self) -> int:
        """Inputs that one output depends on."""
        return self.in_features

    @property
    def fan_out(self) -> int:
        """Outputs that one input acts on."""
        return self.weight.numel() // self.weight.shape[1]

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Glorot-uniform latent weights, U(-a, a) with a = sqrt(6 / (fan in + fan out)), bias 0."""
        bound = (6 / (self.fan_in + self.fan_out)) ** 0.5
        self.weight.uniform_(-bound, bound, generator=generator)
        if self.bias is not None:
            self.bias.zero_()

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The layer's own operation, with given weights."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """What the layer gives; see `prepared`."""
        return self.prepared()(x)

    def prepared(self) -> Callable[[Tensor], Tensor]:
        """The layer as a function whose weights are made once, however often it is called.

        In evaluation, quantized weights are multiplied as integers (by integers, where inputs are
        quantized) and scaled afterwards, so that the sums are exact in float32 (below 2^24) and
        packed bits can equal them. No gradient reaches the weights then.
        """
        return self._training() if self.training else self._evaluation()

    def _training(self) -> Callable[[Tensor], Tensor]:
        scheme = self.scheme
        weight, bias = scheme.weight(self), scheme.bias(self)
        if self.seen is not None:
            self.seen(weight)

        def function(x: Tensor) -> Tensor:
            x, factor = scheme.factored(self, scheme.input(x) if self.fed == "input" else x)
            if factor is not None:
                y = self.biased(self.product(x, weight) * factor, bias)
            elif scheme.quantizes_inputs and x.is_floating_point():
                # The second product adds nothing; it only brings its gradient to the weights.
                through = self.product(scheme.quantize_input(x.detach(), self.generator), weight)
                y = self.product(x, weight.detach(), bias) + (through - through.detach())
            else:
                y = self.product(x, weight, bias)
            if scheme.gradient_bits < 32 and y.requires_grad:
                y.register_hook(lambda g: scheme.quantize_gradient(g, self.generator))
            return y

        return function

    def _evaluation(self) -> Callable[[Tensor], Tensor]:
        scheme, step = self.scheme, self.input_step
        quantized = scheme.quantized(self)
        integers, scale = quantized.integers, quantized.scale

        def function(x: Tensor) -> Tensor:
            x, factor = scheme.factored(self, scheme.input(x) if self.fed == "input" else x)
            if integers is None or scale is None:
                return self.product(x, quantized.values, scheme.bias(self))
            x = x if step is None else torch.round(x / step)
            sums = self.product(x, integers)
            return self.scaled(sums if factor is None else sums * factor, scale)

        return function

    def scaled(self, sums: Tensor, scale: Tensor) -> Tensor:
        """From sums over integers to outputs: sums * (scale * input_step) + bias.

        Args:
            sums: (batch, outputs, ...).
            scale: the scheme's scaling factor, one number or one for each output.
        """
        shape = (1, -1, *[1] * (sums.ndim - 2))
        factor = scale if self.input_step is None else scale * self.input_step
        return self.biased(sums * factor.reshape(shape), self.scheme.bias(self))

    def biased(self, y: Tensor, bias: Tensor | None) -> Tensor:
        """Y, (batch, outputs, ...), plus the bias if there is one."""
        return y if bias is None else y + bias.reshape(1, -1, *[1] * (y.ndim - 2))

    def extra_repr(self) -> str:
        """What `print(model)` says of the layer."""
        return f"{tuple(self.weight.shape)}, bias={self.bias is not None}, {self.scheme}"
