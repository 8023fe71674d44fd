"""Quantized neural networks: BNN with more bits, linear or logarithmic (2016)."""

from functools import cache
from typing import Any

import param
import torch
from torch import Tensor

from bnnlab.powers import ap2
from bnnlab.schemes.base import Quantized
from bnnlab.schemes.binary_connect import SignWeights, signed
from bnnlab.schemes.estimators import Estimator, hard_tanh, pass_between, sign, uniform

_LOG_BITS = 5  # the most whose smallest power, 2^-15, keeps sums of codes within float32's range


class _Quantizer(Estimator):
    """A k-bit quantizer of [-1, 1] forward, 1 where |x| <= 1 backward.

    Attributes:
        step: what its values are integer multiples of.
        codes: these integers, 2^k of them.
    """

    step: float
    codes: tuple[int, ...]

    def __init__(self, bits: int):
        self.bits = bits

    def code(self, x: Tensor) -> Tensor:
        """The integer that x becomes, as a float."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """The quantized value."""
        return self.code(x) * self.step

    def pseudo_gradient(self, x: Tensor) -> Tensor:
        """1 where |x| <= 1, else 0."""
        return hard_tanh.pseudo_gradient(x)

    def chain(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient where |x| <= 1, else 0."""
        return pass_between(gradient, x, -1.0, 1.0)


class LinearQuantizer(_Quantizer):
    r"""LinearQuant: clip(round(x / s) s, -1, 1 - s) with s = 2^(1 - k), for k > 1 bits."""

    name = "linear"
    title = "linear"

    def __init__(self, bits: int):
        super().__init__(bits)
        self.step = 2.0 ** (1 - bits)
        self.codes = tuple(range(-(2 ** (bits - 1)), 2 ** (bits - 1)))
        self.equation = (
            r"\mathrm{clip}\left(\mathrm{round}(x / s)\,s, -1, 1 - s\right),\quad"
            rf" s = 2^{{{1 - bits}}},\qquad"
            r" \frac{\partial}{\partial x} \approx 1_{|x| \leq 1}"
        )

    def code(self, x: Tensor) -> Tensor:
        """The nearest of -2^(k - 1) ... 2^(k - 1) - 1, ties to the even one."""
        return (x / self.step).round_().clamp_(self.codes[0], self.codes[-1])


class LogQuantizer(_Quantizer):
    r"""LogQuant: sign(x) clip(AP2(|x|), 2^-m, 1) with m = 2^(k - 1) - 1: sign and k - 1 bits."""

    name = "log"
    title = "logarithmic"

    def __init__(self, bits: int):
        super().__init__(bits)
        shifts = 2 ** (bits - 1) - 1
        self.step = 2.0**-shifts
        powers = [2**j for j in range(shifts + 1)]
        self.codes = (*(-p for p in reversed(powers)), *powers)
        self.equation = (
            r"\mathrm{sign}(x)\,\mathrm{clip}\left(\mathrm{AP2}(|x|),"
            rf" 2^{{{-shifts}}}, 1\right),\qquad"
            r" \frac{\partial}{\partial x} \approx 1_{|x| \leq 1}"
        )

    def code(self, x: Tensor) -> Tensor:
        """The power of two as a multiple of the smallest one."""
        return ap2(x.abs()).clamp_(self.step, 1.0).div_(self.step).mul_(sign(x))


_QUANTIZERS: dict[str, Any] = {"linear": cache(LinearQuantizer), "log": cache(LogQuantizer)}


def quantize_gradient(
    gradient: Tensor, bits: int, rounding: str, generator: torch.Generator | None
) -> Tensor:
    r"""k-bit gradients of a sample whose largest entry is m.

    "stochastic": one of the two multiples of $m / (2^{k-1} - 1)$ next to it, so that the mean is
    right; "log": 0, or one of the $2^{k-1} - 1$ largest powers of two up to AP2(m), the nearest on
    a logarithmic scale.

    Args:
        gradient: (samples, ...); m is taken over all dimensions but the first.
        bits: k, at least 2.
        rounding: "stochastic" or "log".
        generator: where stochastic rounding draws from.
    """
    others = tuple(range(1, gradient.ndim))
    largest = gradient.abs().amax(others, keepdim=True) if others else gradient.abs()
    top = 2 ** (bits - 1) - 1
    if rounding == "log":
        powers = ap2(gradient)
        smallest = ap2(largest) * 2.0 ** (1 - top)
        return torch.where(powers.abs() < smallest, 0.0 * powers, powers)
    step = (largest / top).clamp_min(torch.finfo(gradient.dtype).tiny)
    codes = (gradient / step).add_(uniform(gradient, generator)).floor_().clamp_(-top, top)
    return codes * step


class QNN(SignWeights):
    r"""QNN: weights, activations and gradients of k bits.

    Weights and activations, each with bits of its own, both in [-1, 1]; `spacing`:

    * "linear": $\mathrm{LinearQuant}(x) = \mathrm{clip}(\mathrm{round}(x/s)\,s, -1, 1 - s)$ with
      the step $s = 2^{1-k}$;
    * "log": $\mathrm{LogQuant}(x) = \mathrm{clip}(\mathrm{AP2}(x), -1, 1)$ with AP2 the nearest
      power of two on a logarithmic scale and $2^{k-1}$ sizes, the smallest $2^{1-2^{k-1}}$: every
      product is a shift. There is no zero. At most 5 bits, the exponents 0 to -15.

    With one bit either is the sign, and the scheme is BNN. Backward, the gradient passes where
    $|x| \leq 1$; latent weights are clipped to [-1, 1] after the step. All layers are quantized;
    the network's input stays real.

    `gradient_bits` below 32 quantizes the gradient with respect to a layer's output before its
    backward pass, within the range of each sample: with stochastic rounding to equal steps, or to
    powers of two (`gradient_rounding`).

    Faithfulness: the paper writes `bitwidth` for the step and leaves minimum and maximum open; that
    they are -1 and 1, with 2^k values as of two's complement, so that the largest linear value is
    one step below 1, is ours, and so is the smallest power of two. Ties are rounded to even. The
    paper reports 6-bit gradients and gives no formula for their range; the range of a sample, as
    in DoReFa-Net, is ours. Weights start small here, as in all lanes: with 2 linear bits all of
    them are rounded to zero, and a network of zeros never learns; begin with more bits, or with
    powers of two.
    """

    key = "qnn"
    title = "QNN"
    authors = "Hubara, Courbariaux, Soudry, El-Yaniv, Bengio"
    year = 2016
    order = 5
    reference = "arXiv:1609.07061"
    equations = (
        r"\mathrm{LinearQuant}(x) ="
        r" \mathrm{clip}\left(\mathrm{round}(x / s)\,s, -1, 1 - s\right),\quad s = 2^{1 - k}",
        r"\mathrm{LogQuant}(x) = \mathrm{clip}(\mathrm{AP2}(x), -1, 1)",
    )
    color = "#5a4bc3"
    dash = "solid"
    marker = "plus"

    spacing = param.Selector(
        default="linear",
        objects=["linear", "log"],
        constant=True,
        doc="Values at equal distances, or powers of two (at most 5 bits).",
    )
    weight_bits = param.Integer(
        default=4, bounds=(1, 8), constant=True, doc="Bits of a weight, 1 to 8."
    )
    activation_bits = param.Integer(
        default=4, bounds=(1, 8), constant=True, doc="Bits of an activation, 1 to 8."
    )
    gradient_bits = param.Selector(
        default=32,
        objects=[2, 3, 4, 5, 6, 7, 8, 32],
        constant=True,
        doc="Bits of a gradient in the backward pass, 2 to 8, or 32 for none less.",
    )
    gradient_rounding = param.Selector(
        default="stochastic",
        objects=["stochastic", "log"],
        constant=True,
        doc="How gradients are quantized: stochastically to equal steps, or to powers of two.",
    )
    live = ("weight_bits", "activation_bits", "gradient_bits")

    def __init__(self, **options: Any):
        super().__init__(**options)
        most = max(self.weight_bits, self.activation_bits)
        if self.spacing == "log" and most > _LOG_BITS:
            raise ValueError(
                f"spacing='log' takes at most {_LOG_BITS} bits, not {most}: more would only add "
                "powers of two below 2^-15"
            )

    def _quantizer(self, bits: int) -> Any:
        return hard_tanh if bits == 1 else _QUANTIZERS[self.spacing](bits)

    @property
    def weight_estimator(self):
        """The quantizer of the weights; for one bit, the sign."""
        return self._quantizer(self.weight_bits)

    @property
    def activation_estimator(self):
        """The quantizer of the activations; for one bit, the sign."""
        return self._quantizer(self.activation_bits)

    @property
    def activation_step(self):
        """What activations are multiples of: the step, or the smallest power of two."""
        return 1.0 if self.activation_bits == 1 else self.activation_estimator.step

    @property
    def activation_codes(self):
        """The integers the activations are multiples of."""
        return (-1, 1) if self.activation_bits == 1 else self.activation_estimator.codes

    def quantize(self, w, second_moment=None, generator=None):
        """The nearest values, as integers times the step; signs for one bit."""
        if self.weight_bits == 1:
            return signed(sign(w))
        quantizer = self.weight_estimator
        codes = quantizer.code(w)
        scale = w.new_full((1,) * w.ndim, quantizer.step)
        return Quantized(codes * scale, scale=scale, codes=codes)

    def quantize_gradient(self, gradient, generator):
        """The k-bit gradient."""
        return quantize_gradient(gradient, self.gradient_bits, self.gradient_rounding, generator)
