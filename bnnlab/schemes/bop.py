"""Bop: binary weights without latent ones (NeurIPS 2019)."""

import param

from bnnlab.optim.bop import Bop as Optimizer
from bnnlab.schemes.base import Quantized, Scheme
from bnnlab.schemes.estimators import hard_tanh, identity, sign


class Bop(Scheme):
    r"""Bop: weights that are signs, and an optimizer that flips them.

    There are no latent weights. The optimizer (`bnnlab.optim.bop.Bop`) keeps an average of the
    gradient with respect to the binary weights,
    $m \leftarrow (1 - \gamma)\,m + \gamma\,\partial\ell/\partial w$, and flips a weight where
    $|m| > \tau$ and m has its sign (algorithm 1). $\gamma$ says how fast old gradients are
    forgotten, $\tau$ how strong the evidence must be. All other parameters are Adam's, and the
    comparison's step size is theirs alone.

    The weights begin as the signs of the latent weights that all lanes share. Activations are
    $\mathrm{sign}(x)$ with hard tanh's derivative backward; all layers are binarized.

    Faithfulness: the paper's networks keep the first layer's inputs and the last layer's weights as
    BinaryNet does. Its $\gamma = 10^{-4}$ and $\tau = 10^{-8}$ (and the decay of $\gamma$) are
    those of hundreds of epochs; the defaults here are for hundreds of steps.
    """

    key = "bop"
    title = "Bop"
    authors = "Helwegen, Widdicombe, Geiger, Liu, Cheng, Nusselder"
    year = 2019
    order = 1
    reference = "arXiv:1906.02107"
    equations = (
        r"m \leftarrow (1 - \gamma)\,m + \gamma\,\frac{\partial \ell}{\partial w}",
        r"w \leftarrow -w \quad \mathrm{where}\; |m| > \tau,\; \mathrm{sign}(m) = w",
    )
    color = "#f03cc8"
    dash = "dashed"
    marker = "x"
    weight_bits = 1
    weight_estimator = identity
    activation_bits = 1
    activation_estimator = hard_tanh
    activation_step = 1.0
    activation_codes = (-1, 1)

    gamma = param.Number(
        default=1e-2,
        bounds=(0, 1),
        inclusive_bounds=(False, True),
        constant=True,
        doc="How much of the averaged gradient each new one replaces.",
    )
    tau = param.Number(
        default=1e-6,
        bounds=(0, None),
        constant=True,
        doc="How large the averaged gradient of a weight must be to flip it.",
    )

    def quantize(self, w, second_moment=None, generator=None):
        """The signs, with the scale 1."""
        signs = sign(w)
        return Quantized(signs, signs, w.new_ones((1,) * w.ndim))

    def optimizer(self, groups, lr, name="adam"):
        """Bop for binarized weights, Adam for everything else, whatever is asked for."""
        return Optimizer(groups, lr, self.gamma, self.tau)
