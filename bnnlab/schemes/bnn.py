"""BinaryNet: binary weights and binary activations (2016)."""

import param

from bnnlab.schemes.binary_connect import SignWeights, signed
from bnnlab.schemes.estimators import generator_of, hard_tanh, stochastic_sign


class BNN(SignWeights):
    r"""BNN (BinaryNet) with deterministic signs.

    Weights as in BinaryConnect: $\hat w = \mathrm{sign}(w)$, gradient unchanged, latent weights
    clipped to [-1, 1] after the step. Activations $\hat x = \mathrm{sign}(x)$ forward and
    $g\,1_{|x| \leq 1}$ backward (eq. 4). Weights of all layers are binarized; the input of the
    first layer stays real (8-bit pixels in the paper).

    Faithfulness: the authors scale each layer's step size by its Glorot coefficient
    (`learning_rate_scale="glorot"` does), train with dropout, and decay the step size over hundreds
    of epochs; that is left to the comparison. Shift-based batch norm and shift-based AdaMax are
    separate choices of the paper and of the comparison: the network option batch_norm="shift" and
    the optimizers shift_adamax; batch norm and Adam are the ordinary ones by default, as in the
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


class BNNStochastic(BNN):
    r"""BNN with random activations in training.

    Forward, in training: $\hat x = +1$ with probability
    $\sigma(x) = \mathrm{clip}((x + 1)/2, 0, 1)$, else -1 (eqs. 2, 3), drawn from the activation's
    generator; at test time $\mathrm{sign}(x)$. Backward as in BNN. Weights as in BNN too, or drawn
    in the same way with `stochastic_weights` (their signs at test time; take
    `learning_rate_scale="glorot"` then: weights that stay small are drawn almost as coin flips).

    Faithfulness: as BNN. Binary weights and random activations are what the authors' Torch code
    does by default. Its switch for random weights copies p - u without taking the sign, so that
    weights are real numbers in (-1, 1); here they are -1 and +1, as in the paper.
    """

    key = "bnn_stochastic"
    title = "BNN (stochastic)"
    order = 4
    equations = (
        r"P(\hat{x} = +1) = \mathrm{clip}\left(\frac{x + 1}{2}, 0, 1\right)",
        r"\frac{\partial \ell}{\partial x} ="
        r" \frac{\partial \ell}{\partial \hat{x}}\,1_{|x| \leq 1}",
    )
    color = "#69001e"
    dash = "dotted"
    marker = "diamond"

    stochastic_weights = param.Boolean(
        default=False,
        constant=True,
        doc="Draw the signs of the weights too, in training.",
    )

    def quantize(self, w, second_moment=None, generator=None):
        """sign(w), or random signs where there is a generator and weights are `stochastic`."""
        if self.stochastic_weights and generator is not None:
            return signed(stochastic_sign(w, generator))
        return super().quantize(w)

    def weight(self, layer):
        """The signs of the training pass.

        Raises:
            ValueError: they are to be drawn, and the layer has no generator.
        """
        if self.stochastic_weights:
            generator_of(layer, self.key)
        return super().weight(layer)

    def activation(self, x, module=None):
        """Random signs in training, sign(x) at test time.

        Raises:
            ValueError: there is nothing to draw from.
        """
        if module is None or not module.training:
            return super().activation(x)
        signs = stochastic_sign(x.detach(), generator_of(module, self.key))
        return hard_tanh.through(x, signs)
