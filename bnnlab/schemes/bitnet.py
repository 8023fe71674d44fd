"""BitNet: one-bit and ternary weights with eight-bit activations (2023, 2024)."""

import torch

from bnnlab.schemes.base import Quantized, Scheme
from bnnlab.schemes.estimators import Estimator, identity, sign
from bnnlab.schemes.twn import TernaryIdentity, ternary

_SMALLEST = 1e-5  # of a sample's largest activation


class AbsMax(Estimator):
    """ReLU, then 8 bits over the range of each sample; backward, ReLU's own derivative."""

    name = "absmax"
    title = "absmax"
    equation = (
        r"\frac{\gamma}{127}\,\mathrm{round}\left(\frac{127}{\gamma}\,\max(x, 0)\right),\quad"
        r" \gamma = \max_i |x_i|,\qquad \frac{\partial}{\partial x} \approx 1_{x > 0}"
    )

    def forward(self, x):
        """max(x, 0) rounded to 127 steps up to the largest of the sample, the first dimension."""
        x = x.relu()
        over = tuple(range(1 if x.ndim > 1 else 0, x.ndim))
        largest: torch.Tensor = x.amax(over, keepdim=True).clamp_min(_SMALLEST)
        return (x * (127 / largest)).round() * (largest / 127)

    def pseudo_gradient(self, x):
        """1 where x > 0, else 0."""
        return (x > 0).to(x.dtype)


class BitNet(Scheme):
    r"""BitNet: signs of centred weights, 8-bit activations.

    Weights: $\hat w = \beta\,\mathrm{sign}(w - \mathrm{mean}\,w)$ with $\beta = \mathrm{mean}|w|$,
    both means over the layer. So the signs are those of the centred weights.
    Activations: 8 bits over the largest absolute value of each sample,
    $\hat x = \frac{\gamma}{127}\,\mathrm{round}\left(\frac{127}{\gamma} x\right)$,
    $\gamma = \max|x|$. Gradients pass both roundings unchanged. Latent weights are not clipped.
    First and last layers stay real, as the embedding and the output projection do there.

    The step between activations is each sample's own, so they count as real numbers when networks
    are packed.

    Faithfulness: written for Transformers, where layer norm stands before the rounding and GELU
    elsewhere; in the networks here it is their batch norm and ReLU. Activations are scaled by 127
    as in the later paper's public code; this one prints 128 with a clip just inside. A sample has
    the role of a token.
    """

    key = "bitnet"
    title = "BitNet"
    authors = "Wang, Ma, Dong, Huang, Wang, Ma, Yang, Wang, Wu, Wei"
    year = 2023
    reference = "arXiv:2310.11453"
    equations = (
        r"\hat{w} = \mathrm{mean}|w|\;\mathrm{sign}(w - \mathrm{mean}\,w)",
        r"\hat{x} = \frac{\gamma}{127}\,\mathrm{round}\left(\frac{127}{\gamma}\,x\right),\quad"
        r" \gamma = \max|x|",
    )
    color = "#b400c8"
    dash = "dashdot"
    marker = "inverted_triangle"
    weight_bits = 1
    binarizes_ends = False
    weight_estimator = identity
    activation_bits = 8
    activation_estimator = AbsMax()

    def quantize(self, w, second_moment=None, generator=None):
        """Signs of the centred weights, times mean|w|."""
        signs = sign(w - w.mean())
        scale = w.abs().mean().reshape((1,) * w.ndim)
        return Quantized(signs * scale, signs, scale)


class BitNet158(BitNet):
    r"""BitNet b1.58: ternary weights, 8-bit activations.

    Weights: $\hat w = \gamma\,\mathrm{clip}(\mathrm{round}(w / \gamma), -1, 1)$ with
    $\gamma = \mathrm{mean}|w|$ over the layer: 0 where $|w| \leq \gamma/2$.
    Everything else as in BitNet; weights are not centred.

    Faithfulness: as BitNet. A half is rounded to even, so to 0.
    """

    key = "bitnet_158"
    title = "BitNet b1.58"
    authors = "Ma, Wang, Ma, Wang, Wang, Huang, Dong, Wang, Xue, Wei"
    year = 2024
    reference = "arXiv:2402.17764"
    equations = (
        r"\hat{w} = \gamma\,\mathrm{clip}\left("
        r"\mathrm{round}\left(\frac{w}{\gamma}\right), -1, 1\right),\quad"
        r" \gamma = \mathrm{mean}|w|",
        BitNet.equations[1].replace(r"\gamma", r"\eta"),
    )
    color = "#00c800"
    dash = "dotted"
    marker = "cross"
    weight_bits = 2
    weight_estimator = TernaryIdentity(0.5)

    def quantize(self, w, second_moment=None, generator=None):
        """sign(w) where |w| is above half of mean|w|, else 0, times mean|w|."""
        scale = w.abs().mean().reshape((1,) * w.ndim)
        return ternary(w, scale / 2, scale)
