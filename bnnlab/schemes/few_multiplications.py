"""Neural networks with few multiplications: random bits forward, shifts backward (ICLR 2016)."""

import math

import param
import torch
from torch import Tensor

from bnnlab.schemes.base import Quantized, Scheme
from bnnlab.schemes.estimators import (
    Estimator,
    generator_of,
    identity,
    sign,
    stochastic_sign,
    uniform,
)

SHIFTS = (-4, 3)  # the authors' limits for the exponents below x, of convolutions' inputs


def round_to_power(x: Tensor, draws: Tensor, exponents: tuple[int, int] | None = None) -> Tensor:
    r"""One of the two powers of two next to x, drawn so that the mean is x.

    With $e = \lfloor\log_2|x|\rfloor$ and $p = |x|/2^e - 1$: $\mathrm{sign}(x)\,2^{e+1}$ where the
    draw is below p, else $\mathrm{sign}(x)\,2^e$ (Lin et al. 2016, arXiv:1510.03009, section 3).
    0 stays 0, NaN stays NaN, and nothing grows beyond the largest power of the type.

    Args:
        x: any shape.
        draws: uniform in [0, 1), of the same shape.
        exponents: the least and the largest e there is; a smaller number that is not 0 becomes the
            smallest power, a larger one the largest, which is one more than that e.
    """
    mantissa, exponent = torch.frexp(x)  # 1/2 <= |mantissa| < 1
    exponent = exponent - 1
    share = 2 * mantissa.abs() - 1
    if exponents is not None:
        low, high = exponents
        share = share.masked_fill(exponent < low, 0.0).masked_fill(exponent > high, 1.0)
        exponent = exponent.clamp(low, high)
    exponent = exponent + (draws < share).to(exponent.dtype)
    largest = math.frexp(torch.finfo(x.dtype).max)[1] - 1
    power = torch.ldexp(mantissa.sign(), exponent.clamp(max=largest))
    return torch.where(torch.isfinite(x), power, x)


def wall(w: Tensor) -> float:
    """W0: half of Glorot's bound sqrt(6 / (fan in + fan out)), from the shape of the weights."""
    window = w[0, 0].numel() if w.ndim > 1 else 1
    outputs, inputs = (len(w), w.shape[1]) if w.ndim > 1 else (1, len(w))
    return (6 / ((inputs + outputs) * window)) ** 0.5 / 2


class FewMultiplications(Scheme):
    """Weights drawn within walls of their layer's own, and quantized back-propagation."""

    authors = "Lin, Courbariaux, Memisevic, Bengio"
    year = 2015
    reference = "arXiv:1510.03009"

    quantized_backprop = param.Boolean(
        default=True,
        constant=True,
        doc="Make weight gradients from inputs rounded stochastically to powers of two, so that "
        "their products are shifts.",
    )
    shift_range = param.Selector(
        default="convolutions",
        objects=["unlimited", "convolutions", "limited"],
        constant=True,
        doc="Whose shifts are limited to 3 bits, the exponents -4 to 3 before rounding: of no "
        "layer, of convolutions as in the authors' code, or of all layers.",
    )

    @property
    def quantizes_inputs(self):
        """Whether weight gradients are made from `quantize_input`."""
        return self.quantized_backprop

    def drawn(self, share: Tensor, generator: torch.Generator) -> Quantized:
        """Weights of wall 1 whose mean is `share`, in [-1, 1]."""
        raise NotImplementedError

    def quantize(self, w, second_moment=None, generator=None):
        """Random weights within the walls; without a generator the real ones, clipped to them."""
        bound = wall(w)
        if generator is None:
            return Quantized(w.clamp(-bound, bound))
        drawn = self.drawn((w / bound).clamp_(-1, 1), generator)
        scale = w.new_full((1,) * w.ndim, bound)
        return drawn._replace(values=drawn.values * scale, scale=scale)

    def weight(self, layer):
        """Random weights of the layer's own generator.

        Raises:
            ValueError: the layer has no generator.
        """
        generator_of(layer, self.key)
        return super().weight(layer)

    def quantize_input(self, x, generator):
        """The powers of two that weight gradients are made of."""
        limited = {"unlimited": False, "convolutions": x.ndim > 2, "limited": True}
        return round_to_power(
            x, uniform(x, generator), SHIFTS if limited[self.shift_range] else None
        )

    def after_step(self, layer, optimizer):
        """Clip the latent weights to the layer's own walls."""
        bound = wall(layer.weight)
        layer.weight.detach().clamp_(-bound, bound)


class FewMultiplicationsBinary(FewMultiplications):
    r"""Few multiplications, with stochastic binary weights.

    Forward, in training: $\hat w = +W_0$ with probability $\mathrm{clip}((w/W_0 + 1)/2, 0, 1)$,
    else $-W_0$, with $W_0$ half of the layer's Glorot bound $\sqrt{6/(n_{in} + n_{out})}$, so that
    $\mathrm{E}[\hat w] = w$. Backward: the gradient reaches w unchanged; w is clipped to
    $\pm W_0$ after the step.

    *Quantized back-propagation*: the weight's gradient is $\delta\,q(x)^\top$, where q rounds the
    layer's input x to one of the two powers of two next to it, at random, so that
    $\mathrm{E}[q(x)] = x$: the products become shifts. Error signals are not rounded.

    The test is with the real weights, as in the paper, so the trained network packs no smaller.

    Faithfulness: initial weights are those of all lanes, uniform within $\pm 2W_0$ as the authors'
    are; the passes see them clipped to the walls from the beginning, the latent ones are clipped
    after the first step. `clip` is None, for the walls differ from layer to layer. The authors'
    code limits the exponents of convolutions' inputs to -4 ... 3 before rounding; there, as here,
    a smaller input becomes $2^{-4}$ and a larger one $2^4$, so q is unbiased between them alone.
    Their code makes $-2^{-4}$ of 0, which is every silent ReLU; here q(0) = 0. It also leaves batch
    norm's part out of the dense layers' weight gradients, which the authors say is wrong; here it
    is there. They train with plain gradient descent, and estimate batch norm's statistics anew
    before a test; here the comparison's optimizer and running statistics are used.
    """

    key = "few_multiplications_binary"
    title = "Few multiplications (binary)"
    order = 3
    equations = (
        r"P(\hat{w} = W_0) = \mathrm{clip}\left(\frac{w / W_0 + 1}{2}, 0, 1\right)",
        r"W_0 = \frac{1}{2}\sqrt{\frac{6}{n_{in} + n_{out}}}",
        r"\Delta W \propto \delta\,q(x)^T,\quad |q(x)| = 2^{e + b},\quad"
        r" P(b = 1) = \frac{|x|}{2^e} - 1",
    )
    color = "#3c693c"
    dash = "dashdot"
    marker = "diamond"
    weight_bits = 1
    weight_estimator = identity

    def drawn(self, share, generator):
        """+1 with probability (share + 1) / 2, else -1."""
        signs = stochastic_sign(share, generator)
        return Quantized(signs, signs)


class NearestTernary(Estimator):
    """The most probable of -1, 0 and +1 forward, 1 backward; one half becomes 0."""

    name = "identity"
    title = "identity"
    equation = r"\mathrm{sign}(w)\,1_{|w| > 1/2},\qquad \frac{\partial}{\partial w} \approx 1"

    def forward(self, x: Tensor) -> Tensor:
        """round(clip(x, -1, 1))."""
        return x.clamp(-1, 1).round_()

    def pseudo_gradient(self, x: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(x)

    def chain(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient as it is."""
        return gradient


class FewMultiplicationsTernary(FewMultiplications):
    r"""Few multiplications, with stochastic ternary weights.

    Forward, in training: $\hat w = \mathrm{sign}(w)\,W_0$ with probability
    $\min(|w|/W_0, 1)$, else 0, so that $\mathrm{E}[\hat w] = w$. Everything else is as in the
    binary variant, quantized back-propagation included.

    Faithfulness: as the binary variant. The authors' code has a deterministic ternary rule too,
    with thresholds of 1/2 that are not scaled by $W_0$; no published run used it, and it is left
    out. The curve of the estimator is that of the most probable value.
    """

    key = "few_multiplications_ternary"
    title = "Few multiplications (ternary)"
    order = 4
    equations = (
        r"P(\hat{w} = \mathrm{sign}(w)\,W_0) = \min\left(\frac{|w|}{W_0}, 1\right)",
        *FewMultiplicationsBinary.equations[1:],
    )
    color = "#87c3a5"
    dash = "dotted"
    marker = "triangle"
    weight_bits = 2
    weight_estimator = NearestTernary()

    def drawn(self, share, generator):
        """The sign with probability |share|, else 0."""
        signs, mask = sign(share), uniform(share, generator) < share.abs()
        return Quantized(signs * mask, signs, mask=mask)
