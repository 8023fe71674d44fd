"""DoReFa-Net: weights and activations of a few bits (2016)."""

from functools import cache

import param

from bnnlab.schemes.base import Quantized, Scheme
from bnnlab.schemes.estimators import TanhQuantizer, UnitQuantizer, identity, sign

# One object for each number of bits, made once: they are asked for in every pass.
_weights, _activations = cache(TanhQuantizer), cache(UnitQuantizer)


class DoReFa(Scheme):
    r"""DoReFa-Net with k-bit weights and k-bit activations.

    With $\mathrm{quantize}_k(r) = \mathrm{round}((2^k - 1)\,r)/(2^k - 1)$:

    * weights, k = 1: $\hat w = \mathrm{E}(|w|)\,\mathrm{sign}(w)$, the mean over the whole layer
      (section 2.3), gradient unchanged;
    * weights, k > 1: $\hat w = 2\,\mathrm{quantize}_k\left(\frac{\tanh w}{2\max|\tanh w|} +
      \frac12\right) - 1$ (section 2.3), gradient through the tanh and the maximum, with the
      quantizer taken for the identity;
    * activations: $\hat x = \mathrm{quantize}_k(\mathrm{clip}(x, 0, 1))$ (section 2.4), gradient
      $1_{0 \leq x \leq 1}$. So 1-bit activations are 0 and 1, not -1 and +1.

    Latent weights are not clipped. First and last layers stay real.

    Faithfulness: rounding is half to even, as in the authors' code; the gradient flows through the
    maximum as it does there. Gradients are not quantized here. 32-bit activations are ReLU, as
    there.
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
            return Quantized(self.weight_estimator.forward(w))
        signs = sign(w)
        scale = w.abs().mean(tuple(range(w.ndim)), keepdim=True)
        return Quantized(signs * scale, signs, scale)
