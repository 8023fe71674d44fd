"""Bi-Real Net: a closer derivative for the sign of the activations (ECCV 2018)."""

from bnnlab.schemes.base import Quantized, Scheme, granularity_parameter, scale_dimensions
from bnnlab.schemes.estimators import Estimator, hard_tanh, sign


class ApproxSign(Estimator):
    """Sign forward, the derivative of a piecewise quadratic function backward.

    That function is -1, 2x + x^2, 2x - x^2, 1 on the intervals that -1, 0, 1 divide the axis into:
    half as far from the sign as hard tanh is (arXiv:1808.00278).
    """

    name = "approx_sign"
    title = "ApproxSign"
    equation = (
        r"\mathrm{sign}(x),\qquad"
        r" \frac{\partial\,\mathrm{sign}(x)}{\partial x} \approx \max(0, 2 - 2|x|)"
    )

    def forward(self, x):
        """sign(x)."""
        return sign(x)

    def pseudo_gradient(self, x):
        """2 - 2|x| where |x| < 1, else 0."""
        return (2 - 2 * x.abs()).clamp_min(0)


approx_sign = ApproxSign()


class BiReal(Scheme):
    r"""Bi-Real Net's weights and activations.

    Activations: $\hat x = \mathrm{sign}(x)$ forward and $g \max(0, 2 - 2|x|)$ backward
    ("ApproxSign"). Weights: $\hat w = \mathrm{mean}|w|\,\mathrm{sign}(w)$, the mean over
    an output channel and a constant in the backward pass, in which the gradient passes where
    $|w| \leq 1$. Latent weights are not clipped. First and last layers stay real.

    Faithfulness: the backward pass of the weights is that of the authors' code, where the
    "magnitude-aware" scaling acts on the forward pass alone. The paper's other half, a shortcut
    around every convolution, is a network and not a scheme: networks here have none. Nor is
    anything trained in the paper's two stages (first with real weights and activations clipped
    instead of binarized), and the sign of 0 is +1 where the code has 0.
    """

    key = "bi_real"
    title = "Bi-Real Net"
    authors = "Liu, Wu, Luo, Yang, Liu, Cheng"
    year = 2018
    order = 2
    reference = "arXiv:1808.00278"
    equations = (
        r"\hat{w} = \mathrm{mean}|w|\;\mathrm{sign}(w),\quad \hat{x} = \mathrm{sign}(x)",
        r"\frac{\partial \ell}{\partial x} ="
        r" \frac{\partial \ell}{\partial \hat{x}}\,\max(0, 2 - 2|x|)",
    )
    color = "#f07878"
    dash = "solid"
    marker = "square"
    weight_bits = 1
    binarizes_ends = False
    weight_estimator = hard_tanh
    activation_bits = 1
    activation_estimator = approx_sign
    activation_step = 1.0
    activation_codes = (-1, 1)

    granularity = granularity_parameter("channel")

    def quantize(self, w, second_moment=None, generator=None):
        """mean|w| sign(w), the mean over a channel or the layer."""
        signs, scale = sign(w), w.abs().mean(scale_dimensions(w, self.granularity), keepdim=True)
        return Quantized(signs * scale, signs, scale)
