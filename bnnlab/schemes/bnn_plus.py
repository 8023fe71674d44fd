"""BNN+: the derivative of a swish for that of the sign, and a pull towards two values (2018)."""

from functools import cache

import param

from bnnlab.schemes.base import Quantized, Scheme
from bnnlab.schemes.estimators import Estimator, sign, straight_through


class SwishSign(Estimator):
    r"""Sign forward, the derivative of the sign swish backward.

    $\mathrm{SS}_\beta(x) = 2 \sigma(\beta x) [1 + \beta x (1 - \sigma(\beta x))] - 1$
    (arXiv:1812.11800); its derivative is
    $\beta [2 - \beta x \tanh(\beta x / 2)] / (1 + \cosh(\beta x))$, below zero far from the origin.
    """

    name = "swish_sign"
    title = "SwishSign"

    def __init__(self, beta: float):
        self.beta = beta
        self.equation = (
            r"\mathrm{sign}(x),\qquad \frac{\partial\,\mathrm{sign}(x)}{\partial x} \approx"
            r" \frac{\beta\,(2 - \beta x \tanh\frac{\beta x}{2})}{1 + \cosh \beta x},"
            rf"\quad \beta = {beta:g}"
        )

    def forward(self, x):
        """sign(x)."""
        return sign(x)

    def pseudo_gradient(self, x):
        """Its value is beta (2 - beta x tanh(beta x / 2)) / (1 + cosh(beta x))."""
        y = (self.beta * x).clamp(-60, 60)  # where it is 0 to the last bit, and finite
        bent = (y / 2).tanh()
        return self.beta * (2 - y * bent) * (1 - bent * bent) / 2  # 1 + cosh y = 2 / (1 - tanh^2)


_swish = cache(SwishSign)


class BNNPlus(Scheme):
    r"""BNN+: binary weights and activations with SwishSign.

    Forward: $\hat w = \mathrm{sign}(w)$, $\hat x = \mathrm{sign}(x)$. Backward, of both: the
    derivative of the sign swish, $\beta [2 - \beta x \tanh(\beta x/2)] / (1 + \cosh \beta x)$, with
    $\beta = 5$. `regularizer` adds $\lambda \sum_i R(w_i)$ over the weights of each layer to the
    loss, that is its derivative to the gradient of the latent weights (the recorded loss does not
    contain it):

    * "r1": $R = |\alpha - |w||$,
    * "r2": $R = (\alpha - |w|)^2$,

    with $\alpha$ the mean or the median of |w| over the layer, a constant in the derivative. Latent
    weights are clipped to [-1, 1]. First and last layers stay real.

    Faithfulness: the regularizer is off by default: what $\lambda$ the paper's results have could
    not be checked, nor could the first and last layer, the clipping, and whether $\alpha$ is learnt
    there; those here are XNOR-Net's and BNN's, on which the paper builds.
    """

    key = "bnn_plus"
    title = "BNN+"
    authors = "Darabi, Belbahri, Courbariaux, Partovi Nia"
    year = 2018
    order = 3
    reference = "arXiv:1812.11800"
    equations = (
        r"\hat{w} = \mathrm{sign}(w),\quad \hat{x} = \mathrm{sign}(x)",
        r"\mathrm{SS}_\beta(x) ="
        r" 2\,\sigma(\beta x)\left[1 + \beta x\,(1 - \sigma(\beta x))\right] - 1",
    )
    color = "#5a005a"
    dash = "dashed"
    marker = "star"
    weight_bits = 1
    binarizes_ends = False
    clip = 1.0
    activation_bits = 1
    activation_step = 1.0
    activation_codes = (-1, 1)

    beta = param.Number(
        default=5.0,
        bounds=(0.1, 100.0),
        constant=True,
        doc="How steep the sign swish is; the larger, the closer to the sign.",
    )
    regularizer = param.Selector(
        default="none",
        objects=["none", "r1", "r2"],
        constant=True,
        doc="What pulls the latent weights towards two values: nothing, the distance to them, or "
        "its square.",
    )
    strength = param.Number(
        default=1e-5, bounds=(0, None), constant=True, doc="Lambda, the regularizer's weight."
    )
    centre = param.Selector(
        default="mean",
        objects=["mean", "median"],
        constant=True,
        doc="Where the regularizer has its least: the mean or the median of the weights' sizes.",
    )

    @property
    def weight_estimator(self):
        """SwishSign."""
        return _swish(self.beta)

    @property
    def activation_estimator(self):
        """SwishSign."""
        return _swish(self.beta)

    def quantize(self, w, second_moment=None, generator=None):
        """The signs, with the scale 1."""
        signs = sign(w)
        return Quantized(signs, signs, w.new_ones((1,) * w.ndim))

    def weight(self, layer):
        """The signs; backward, SwishSign and the regularizer's derivative."""
        if self.regularizer == "none":
            return super().weight(layer)

        def chain(gradient, w):
            return self.weight_estimator.chain(gradient, w) + self.strength * self.pull(w)

        return straight_through(layer.weight, sign(layer.weight.detach()), chain)

    def pull(self, w):
        """The derivative of the sum of R over the weights of a layer."""
        size = w.abs()
        beyond = size - (size.mean() if self.centre == "mean" else size.median())
        return (beyond.sign() if self.regularizer == "r1" else 2 * beyond) * sign(w)
