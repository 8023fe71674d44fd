"""Binary-Weight-Networks and XNOR-Net: signs with a scaling factor (ECCV 2016)."""

from functools import cache
from typing import Any

import param
from torch import Tensor

from bnnlab.schemes.base import Quantized, Scheme, granularity_parameter, scale_dimensions
from bnnlab.schemes.estimators import (
    Estimator,
    hard_tanh,
    identity,
    odd_codes,
    sign,
    straight_through,
)


def k_bit_codes(x: Tensor, bits: int) -> Tensor:
    """(2^k - 1) q_k(x): odd integers with the sign of x, |x| > 1 taken for 1."""
    size = x.abs().clamp(max=1)
    return sign(x) if bits == 1 else odd_codes((size + 1) / 2, bits) * sign(x)


class KBit(Estimator):
    r"""q_k(x) forward; backward what another estimator does.

    $q_k(x) = 2\left(\frac{\mathrm{round}((2^k - 1)(x + 1)/2)}{2^k - 1} - \frac12\right)$ for x in
    [-1, 1], the paper's extension of the sign to k bits.
    """

    def __init__(self, bits: int, backward: Estimator):
        self.bits, self.backward = bits, backward
        self.name, self.title = backward.name, backward.title
        passes = "1_{|x| \\leq 1}" if backward is hard_tanh else "1"
        self.equation = (
            rf"q_{bits}(x) = \frac{{2}}{{{2**bits - 1}}}\,"
            rf"\mathrm{{round}}\left({2**bits - 1}\,\frac{{x + 1}}{{2}}\right) - 1,\qquad"
            rf" \frac{{\partial q_{bits}(x)}}{{\partial x}} \approx {passes}"
        )

    def forward(self, x: Tensor) -> Tensor:
        """q_k(x)."""
        return k_bit_codes(x, self.bits) * (1 / (2**self.bits - 1))

    def pseudo_gradient(self, x: Tensor) -> Tensor:
        """That of the other estimator."""
        return self.backward.pseudo_gradient(x)

    def chain(self, gradient: Tensor, x: Tensor) -> Tensor:
        """That of the other estimator."""
        return self.backward.chain(gradient, x)


_k_bit = cache(KBit)


def _estimator(bits: int, backward: Estimator) -> Any:
    return backward if bits == 1 else _k_bit(bits, backward)


class BinaryWeightNetwork(Scheme):
    r"""Binary-Weight-Network (BWN): binary weights with the best scaling factor.

    Forward: $\hat w = \alpha\,\mathrm{sign}(w)$ with $\alpha = \|w\|_1 / n$ (eq. 6), which
    minimizes $\|w - \alpha b\|^2$ over $\alpha > 0$ and b in {-1, +1}. One alpha for each output
    channel (filter), or one for the layer.

    Backward, `grad_rule`, with g the gradient with respect to $\hat w$:

    * "ste": g, unchanged (the default; algorithm 1 updates with the gradient of the binary
      weights);
    * "paper": $g_i\,(1/n + \alpha\,1_{|w_i| \leq 1})$ (section 3.1, with the misprinted derivative
      of sign read as $1_{|r| \leq 1}$);
    * "exact": $\frac{\mathrm{sign}(w_i)}{n}\sum_j g_j\,\mathrm{sign}(w_j)
      + g_i\,\alpha\,1_{|w_i| \leq 1}$, the derivative of $\alpha\,\mathrm{sign}(w)$ with hard
      tanh's in the place of sign's: the paper's rule forgets that alpha depends on all weights.

    After the step the latent weights are clipped to [-1, 1]. First and last layers stay real.

    With `bits` k > 1 the sign becomes
    $q_k(w) = 2\left(\mathrm{round}((2^k - 1)(w + 1)/2)/(2^k - 1) - 1/2\right)$ (section 3.2), and
    alpha what minimizes $\|w - \alpha q_k(w)\|^2$: $w^\top q / q^\top q$. In the gradient rules q
    then stands for sign(w), and $q^\top q$ for n in the exact one.

    Faithfulness: the paper does not mention clipping; the authors' code clips, and with `centre`
    subtracts the mean over the input channels before (at each place of the window by itself), as
    here after each step (they do it at the beginning of the next one). The paper gives no alpha for
    k bits; ours is its own criterion. Their code multiplies the gradients by constants, which Adam
    cancels; they are left out. The LAB paper's "BWN" is granularity="layer" with every layer
    binarized.
    """

    key = "bwn"
    title = "BWN"
    authors = "Rastegari, Ordonez, Redmon, Farhadi"
    year = 2016
    order = 0
    reference = "arXiv:1603.05279"
    equations = (r"\hat{w} = \alpha\,\mathrm{sign}(w)", r"\alpha = \frac{1}{n}\|w\|_1")
    color = "#56B4E9"
    dash = "dashdot"
    marker = "triangle"
    binarizes_ends = False
    clip = 1.0

    granularity = granularity_parameter("channel")
    grad_rule = param.Selector(
        default="ste",
        objects=["ste", "paper", "exact"],
        constant=True,
        doc="How the gradient reaches the latent weights: unchanged, by the formula printed in the "
        "paper, or by the exact derivative of alpha sign(w).",
    )
    centre = param.Boolean(
        default=False,
        constant=True,
        doc="Subtract the mean over the input channels from each channel's latent weights after a "
        "step, as the authors' code does.",
    )
    bits = param.Integer(
        default=1,
        bounds=(1, 8),
        constant=True,
        doc="Bits of what is binarized: 1 for signs, up to 8 for the paper's k-bit quantizer.",
    )

    @property
    def weight_bits(self):
        """Bits of a weight."""
        return self.bits

    @property
    def weight_estimator(self):
        """What stands in for the derivative of the sign."""
        return _estimator(self.bits, identity if self.grad_rule == "ste" else hard_tanh)

    def quantize(self, w, second_moment=None, generator=None):
        """The signs or q_k(w) times alpha, with one alpha for a channel or the layer."""
        dimensions = scale_dimensions(w, self.granularity)
        if self.bits == 1:
            scale = w.abs().mean(dimensions, keepdim=True)
            signs = sign(w)
            return Quantized(signs * scale, signs, scale)
        codes = k_bit_codes(w, self.bits)
        scale = (w * codes).sum(dimensions, keepdim=True)
        scale /= codes.square().sum(dimensions, keepdim=True)
        return Quantized(codes * scale, scale=scale, codes=codes)

    def weight(self, layer):
        """The effective weight, differentiable by the chosen `grad_rule`."""
        if self.grad_rule == "ste":
            return super().weight(layer)
        w = layer.weight
        quantized = self.quantize(w.detach())
        codes, scale = quantized.integers, quantized.scale
        assert codes is not None and scale is not None
        alpha = scale * (2**self.bits - 1)
        dimensions = scale_dimensions(w, self.granularity)

        def paper(gradient, w):
            return gradient * scale.numel() / w.numel() + hard_tanh.chain(gradient, w) * alpha

        def exact(gradient, w):
            along = (gradient * codes).sum(dimensions, keepdim=True)
            along /= codes.square().sum(dimensions, keepdim=True)
            return along * codes + hard_tanh.chain(gradient, w) * alpha

        return straight_through(w, quantized.values, paper if self.grad_rule == "paper" else exact)

    def after_step(self, layer, optimizer):
        """Centre over the input channels if asked to, then clip."""
        if self.centre:
            w = layer.weight.detach()
            w -= w.mean(1, keepdim=True)
        super().after_step(layer, optimizer)


class XnorNet(BinaryWeightNetwork):
    r"""XNOR-Net: scaled binary weights and binary activations.

    Weights as in BWN. Activations $\hat x = \mathrm{sign}(x)$ with hard tanh's derivative
    $1_{|x| \leq 1}$ backward, or $q_k(x)$ with k `bits`. With `input_scale` the sums of a layer are
    multiplied by K as well as by alpha (section 3.2), so that they are close to the real ones:
    $x * w \approx (\mathrm{sign}(x) * \mathrm{sign}(w)) \odot K\,\alpha$. K is the mean of |x| over
    what a window covers: $A = \sum_c |x_c| / n_c$, $K = A * k$ with the box filter k, padded as the
    convolution is; over all inputs of a sample in a dense layer. Batch norm stands before the
    activation and pooling after the convolution, the paper's order B-A-C-P, unless the network says
    otherwise. First and last layers stay real.

    Faithfulness: `input_scale` is off by default because the authors' released code leaves K out
    (and they report that it changes the accuracy by less than 1 %). Where it is on, K is treated as
    a constant in the backward pass (the paper gives no rule). The activation hands on
    $A\,\mathrm{sign}(x)$ and the layer takes it apart again; where pooling stands between them, K
    is made of what pooling leaves. The binary gradients of the paper's section 3.2 are not offered.
    """

    key = "xnor_net"
    title = "XNOR-Net"
    order = 2
    equations = (
        r"\hat{w} = \alpha\,\mathrm{sign}(w),\quad \alpha = \frac{1}{n}\|w\|_1",
        r"\hat{x} = \mathrm{sign}(x)",
    )
    color = "#009E73"
    dash = "dotted"
    marker = "inverted_triangle"

    input_scale = param.Boolean(
        default=False,
        constant=True,
        doc="Multiply the sums by K, the mean absolute input of each window, as in the paper (for "
        "1 bit); the authors' code leaves it out.",
    )

    def __init__(self, **options: Any):
        super().__init__(**options)
        if self.input_scale and self.bits > 1:
            raise ValueError(
                f"input_scale=True takes bits=1, not {self.bits}: the paper scales signs"
            )

    @property
    def activation_bits(self):
        """Bits of an activation."""
        return self.bits

    @property
    def activation_estimator(self):
        """The sign, or the k-bit quantizer, with hard tanh's derivative."""
        return _estimator(self.bits, hard_tanh)

    @property
    def activation_step(self):
        """1 / (2^k - 1); None where each sample's activations are scaled with an A of its own."""
        return None if self.input_scale else 1 / (2**self.bits - 1)

    @property
    def activation_codes(self):
        """The odd integers the activations are multiples of, where they are."""
        top = 2**self.bits - 1
        return None if self.input_scale else tuple(range(-top, top + 1, 2))

    def activation(self, x, module=None):
        """sign(x) or q_k(x); with `input_scale` times A, the mean|x| over the channels."""
        if not self.input_scale:
            return self.activation_estimator(x)
        values = sign(x.detach()) * x.detach().abs().mean(1, keepdim=True)
        return hard_tanh.through(x, values)

    def factored(self, layer, x):
        """With `input_scale` the signs and K, the mean of A over the layer's windows."""
        if not self.input_scale or layer.fed != "activation":
            return x, None
        size = x.detach().abs().mean(1, keepdim=True)
        window = layer.weight.shape[2:]
        box = size.new_full((1, 1, *window), 1 / window.numel())
        return identity(x), layer.product(size, box)
