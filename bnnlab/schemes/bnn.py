"""BinaryNet: binary weights and binary activations (2016)."""

from bnnlab.schemes.binary_connect import BinaryConnect
from bnnlab.schemes.estimators import hard_tanh


class BNN(BinaryConnect):
    r"""BNN (BinaryNet) with deterministic signs.

    Weights as in BinaryConnect: $\hat w = \mathrm{sign}(w)$, gradient unchanged, latent weights
    clipped to [-1, 1] after the step. Activations $\hat x = \mathrm{sign}(x)$ forward and
    $g\,1_{|x| \leq 1}$ backward (eq. 4). Weights of all layers are binarized; the input of the
    first layer stays real (8-bit pixels in the paper).

    Faithfulness: the authors scale each layer's step size by its Glorot coefficient
    (`learning_rate_scale="glorot"` does), train with dropout, and decay the step size over hundreds
    of epochs; that is left to the comparison. Shift-based batch norm and shift-based AdaMax are
    separate choices of the paper; here batch norm and Adam are the ordinary ones, as in the
    authors' Theano code. Stochastic activations are a scheme of their own.
    """

    key = "bnn"
    title = "BNN"
    authors = "Courbariaux, Hubara, Soudry, El-Yaniv, Bengio"
    year = 2016
    order = 1
    reference = "arXiv:1602.02830"
    equations = (
        r"\hat{w} = \mathrm{sign}(w),\quad \hat{x} = \mathrm{sign}(x)",
        r"\frac{\partial \ell}{\partial x} ="
        r" \frac{\partial \ell}{\partial \hat{x}}\,1_{|x| \leq 1}",
    )
    color = "#D55E00"
    dash = "solid"
    marker = "diamond"
    activation_bits = 1
    activation_estimator = hard_tanh
    activation_step = 1.0
    activation_codes = (-1, 1)
