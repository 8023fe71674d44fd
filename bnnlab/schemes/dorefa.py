"""DoReFa-Net: weights and activations of a few bits (2016)."""

from functools import cache

import param
import torch
from torch import Tensor

from bnnlab.schemes.base import Quantized, Scheme
from bnnlab.schemes.estimators import (
    TanhQuantizer,
    UnitQuantizer,
    identity,
    odd_codes,
    quantize_unit,
    sign,
    uniform,
)

# One object for each number of bits, made once: they are asked for in every pass.
_weights, _activations = cache(TanhQuantizer), cache(UnitQuantizer)


def quantize_gradient(gradient: Tensor, noise: Tensor, bits: int) -> Tensor:
    r"""k-bit gradients: 2 m (quantize_k(g / (2 m) + 1/2 + N) - 1/2), m the largest |g| of a sample.

    DoReFa-Net, arXiv:1606.06160, section 2.5; what is quantized is clipped to [0, 1] before, as in
    the authors' code. A sample whose gradient is zero keeps it; a NaN stays NaN.

    Args:
        gradient: (samples, ...); the maximum goes over all dimensions but the first.
        noise: sigma, uniform in [-1/2, 1/2), of the same shape; N = sigma / (2^k - 1).
        bits: k.
    """
    others = tuple(range(1, gradient.ndim))
    largest = gradient.abs().amax(others, keepdim=True) if others else gradient.abs()
    doubled = 2 * largest.clamp_min(torch.finfo(gradient.dtype).tiny)
    unit = (gradient / doubled + 0.5).add_(noise, alpha=1 / (2**bits - 1)).clamp_(0, 1)
    return (quantize_unit(unit, bits) - 0.5) * (2 * largest)


class DoReFa(Scheme):
    r"""DoReFa-Net with k-bit weights, k-bit activations and k-bit gradients.

    With $\mathrm{quantize}_k(r) = \mathrm{round}((2^k - 1)\,r)/(2^k - 1)$:

    * weights, k = 1: $\hat w = \mathrm{E}(|w|)\,\mathrm{sign}(w)$, the mean over the whole layer
      (section 2.3), gradient unchanged;
    * weights, k > 1: $\hat w = 2\,\mathrm{quantize}_k\left(\frac{\tanh w}{2\max|\tanh w|} +
      \frac12\right) - 1$ (section 2.3), gradient through the tanh and the maximum, with the
      quantizer taken for the identity;
    * activations: $\hat x = \mathrm{quantize}_k(\mathrm{clip}(x, 0, 1))$ (section 2.4), gradient
      $1_{0 \leq x \leq 1}$. So 1-bit activations are 0 and 1, not -1 and +1;
    * gradients with respect to a layer's output: $f_\gamma^k(g) = 2m\left(\mathrm{quantize}_k
      \left(\frac{g}{2m} + \frac12 + N(k)\right) - \frac12\right)$, m the largest |g| of the
      sample, $N(k) = \sigma/(2^k - 1)$ with $\sigma$ uniform in [-1/2, 1/2] (section 2.5):
      stochastic rounding, so that $\mathrm{E}[f_\gamma^k(g)] = g$. 32 bits leave them as they are.

    Latent weights are not clipped. First and last layers stay real, and so do their gradients.

    Faithfulness: rounding is half to even, as in the authors' code; the gradient flows through the
    maximum as it does there, and what the quantizer of gradients is given is clipped to [0, 1], as
    there. 32-bit activations are ReLU, as there. The gradient is quantized where it enters the
    convolution's or dense layer's backward pass, after batch norm's.
    """

    key = "dorefa"
    title = "DoReFa-Net"
    authors = "Zhou, Wu, Ni, Zhou, Wen, Zou"
    year = 2016
    order = 3
    reference = "arXiv:1606.06160"
    equations = (
        r"\hat{w} = \mathrm{E}(|w|)\,\mathrm{sign}(w)",
        r"\hat{x} = \mathrm{quantize}_k(\mathrm{clip}(x, 0, 1))",
        r"\mathrm{quantize}_k(r) = \frac{1}{2^k - 1}\,\mathrm{round}\left((2^k - 1)\,r\right)",
    )
    color = "#CC79A7"
    dash = "dashdot"
    marker = "star"
    binarizes_ends = False

    weight_bits = param.Integer(
        default=1, bounds=(1, 8), constant=True, doc="Bits of a weight, 1 to 8."
    )
    activation_bits = param.Selector(
        default=2,
        objects=[1, 2, 3, 4, 5, 6, 7, 8, 32],
        constant=True,
        doc="Bits of an activation, 1 to 8, or 32 for ReLU.",
    )
    gradient_bits = param.Selector(
        default=32,
        objects=[1, 2, 3, 4, 5, 6, 7, 8, 32],
        constant=True,
        doc="Bits of a gradient in the backward pass, 1 to 8, or 32 for none less.",
    )
    live = ("weight_bits", "activation_bits", "gradient_bits")

    @property
    def weight_estimator(self):
        """Sign with the identity for 1-bit weights, the tanh quantizer for more bits."""
        return identity if self.weight_bits == 1 else _weights(self.weight_bits)

    @property
    def activation_estimator(self):
        """The quantizer of [0, 1]; None for real activations."""
        return None if self.activation_bits == 32 else _activations(self.activation_bits)

    @property
    def activation_step(self):
        """The distance between neighbouring activation values."""
        return None if self.activation_bits == 32 else 1 / (2**self.activation_bits - 1)

    @property
    def activation_codes(self):
        """The integers the activations are multiples of."""
        return None if self.activation_bits == 32 else tuple(range(2**self.activation_bits))

    def quantize(self, w, second_moment=None, generator=None):
        """mean|w| sign(w) for 1-bit weights, the tanh quantizer for more bits."""
        if self.weight_bits > 1:
            codes = odd_codes(_weights(self.weight_bits).unit(w), self.weight_bits)
            scale = w.new_full((1,) * w.ndim, 1 / (2**self.weight_bits - 1))
            return Quantized(codes * scale, scale=scale, codes=codes)
        signs = sign(w)
        scale = w.abs().mean(tuple(range(w.ndim)), keepdim=True)
        return Quantized(signs * scale, signs, scale)

    def quantize_gradient(self, gradient, generator):
        """The k-bit gradient, rounded stochastically."""
        noise = uniform(gradient, generator) - 0.5
        return quantize_gradient(gradient, noise, self.gradient_bits)
