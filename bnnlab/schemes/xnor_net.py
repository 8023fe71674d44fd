"""Binary-Weight-Networks and XNOR-Net: signs with a scaling factor (ECCV 2016)."""

import param

from bnnlab.schemes.base import Quantized, Scheme, granularity_parameter, scale_dimensions
from bnnlab.schemes.estimators import hard_tanh, identity, sign, straight_through


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

    Faithfulness: the paper does not mention clipping; the authors' code clips, and with `centre`
    subtracts the mean over a channel's inputs before, as here after each step (they do it at the
    beginning of the next one). Their code multiplies the gradients by constants, which Adam
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
    weight_bits = 1
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
        doc="Subtract the mean of each channel's latent weights after a step, as the authors' code "
        "does.",
    )

    @property
    def weight_estimator(self):
        """What stands in for the derivative of the sign."""
        return identity if self.grad_rule == "ste" else hard_tanh

    def quantize(self, w, second_moment=None, generator=None):
        """mean|w| sign(w), the mean over a channel or the layer."""
        scale = w.abs().mean(scale_dimensions(w, self.granularity), keepdim=True)
        signs = sign(w)
        return Quantized(signs * scale, signs, scale)

    def weight(self, layer):
        """The effective weight, differentiable by the chosen `grad_rule`."""
        if self.grad_rule == "ste":
            return super().weight(layer)
        w = layer.weight
        values, signs, scale, *_ = self.quantize(w.detach())
        assert signs is not None and scale is not None
        dimensions = scale_dimensions(w, self.granularity)
        count = w.numel() // scale.numel()

        def paper(gradient, w):
            return gradient / count + hard_tanh.chain(gradient, w) * scale

        def exact(gradient, w):
            through_scale = (gradient * signs).sum(dimensions, keepdim=True) * signs / count
            return through_scale + hard_tanh.chain(gradient, w) * scale

        return straight_through(w, values, paper if self.grad_rule == "paper" else exact)

    def after_step(self, layer, optimizer):
        """Centre the channels if asked to, then clip."""
        if self.centre:
            w = layer.weight.detach()
            w -= w.mean(scale_dimensions(w, "channel"), keepdim=True)
        super().after_step(layer, optimizer)


class XnorNet(BinaryWeightNetwork):
    r"""XNOR-Net: scaled binary weights and binary activations.

    Weights as in BWN. Activations $\hat x = \mathrm{sign}(x)$ with hard tanh's derivative
    $1_{|x| \leq 1}$ backward; with `input_scale`, $\hat x = K\,\mathrm{sign}(x)$ with
    $K = \|x\|_1 / n$ over the inputs of one sample (section 3.2), so that the product of the two is
    close to the real one: $x^\top w \approx (\mathrm{sign}(x)^\top\mathrm{sign}(w))\,K\,\alpha$.
    Batch norm stands before the activation, the paper's order B-A-C. First and last layers stay
    real.

    Faithfulness: `input_scale` is off by default because the authors' released code leaves K out
    (and they report that it changes the accuracy by less than 1 %). Where it is on, K is treated as
    a constant in the backward pass (the paper gives no rule). The binary gradients of the paper's
    section 3.2 are not offered.
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
    activation_bits = 1
    activation_estimator = hard_tanh

    input_scale = param.Boolean(
        default=False,
        constant=True,
        doc="Multiply the binary activations of each sample by K, the mean of their absolute "
        "values, as in the paper; the authors' code leaves it out.",
    )

    @property
    def activation_step(self):
        """1 where activations are -1 and +1, None where each sample scales them with its own K."""
        return None if self.input_scale else 1.0

    @property
    def activation_codes(self):
        """The integers the activations are multiples of, where they are."""
        return None if self.input_scale else (-1, 1)

    def activation(self, x, module=None):
        """sign(x), times the sample's mean|x| with `input_scale`."""
        signs = hard_tanh(x)
        return signs * x.detach().abs().mean(-1, keepdim=True) if self.input_scale else signs
