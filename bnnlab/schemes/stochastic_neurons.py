"""Stochastic binary neurons and the straight-through estimator (2012, 2013)."""

import param
import torch
from torch import Tensor

from bnnlab.schemes.base import Quantized, Scheme
from bnnlab.schemes.estimators import Estimator, generator_of, sign, uniform


class Threshold(Estimator):
    """1 where x >= 0, else 0; backward the gradient as it is."""

    name = "identity"
    title = "identity"
    equation = r"1_{x \geq 0},\qquad \frac{\partial}{\partial x} \approx 1"

    def forward(self, x: Tensor) -> Tensor:
        """1 where x >= 0, else 0; a NaN stays NaN."""
        return (sign(x) + 1) / 2

    def pseudo_gradient(self, x: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(x)

    def chain(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient as it is."""
        return gradient


class SigmoidThreshold(Threshold):
    """1 where x >= 0, else 0; backward the derivative of the logistic sigmoid."""

    name = "sigmoid"
    title = "sigmoid"
    equation = (
        r"1_{x \geq 0},\qquad"
        r" \frac{\partial}{\partial x} \approx \sigma(x)\,(1 - \sigma(x))"
    )

    def pseudo_gradient(self, x: Tensor) -> Tensor:
        """sigm(x) (1 - sigm(x))."""
        return x.sigmoid() * (-x).sigmoid()

    def chain(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient times sigm(x) (1 - sigm(x))."""
        return gradient * self.pseudo_gradient(x)


_ESTIMATORS = {"identity": Threshold(), "sigmoid": SigmoidThreshold()}


class StochasticNeurons(Scheme):
    r"""Binary neurons, real weights: where the straight-through estimator comes from.

    Forward, in training: $h = 1$ with probability $\sigma(x) = 1/(1 + e^{-x})$, else 0
    (`stochastic`), or $h = 1_{x \geq 0}$, a hard threshold. At test time always the threshold: the
    more probable of the two values.

    Backward, `slope`: the gradient with respect to h is that with respect to x ("identity": the
    estimator of Hinton's lectures, 15b), or is multiplied by the sigmoid's derivative,
    $\sigma(x)\,(1 - \sigma(x))$ ("sigmoid"; Bengio, Leonard, Courville 2013, section 4, who found
    the simpler one the better).

    Weights are real, so there is nothing to clip and no end to leave out.

    Faithfulness: Bengio et al. also study three other estimators (an unbiased one with a baseline,
    the decomposition in a stochastic and a smooth part, noisy rectifiers) and use binary neurons as
    gates of a conditional computation; none of that is offered. Batch norm is younger than the
    paper and is the comparison's. The threshold of the test is that of the binary schemes that came
    after.
    """

    key = "stochastic_neurons"
    title = "Stochastic neurons"
    authors = "Hinton; Bengio, Léonard, Courville"
    year = 2013
    reference = "arXiv:1308.3432"
    equations = (
        r"P(h = 1) = \sigma(x) = \frac{1}{1 + e^{-x}}",
        r"\frac{\partial \ell}{\partial x} \approx \frac{\partial \ell}{\partial h}",
    )
    color = "#9600f0"
    dash = "dashed"
    marker = "circle"
    activation_bits = 1
    activation_step = 1.0
    activation_codes = (0, 1)

    stochastic = param.Boolean(
        default=True,
        constant=True,
        doc="Draw each neuron in training, 1 with the probability that the sigmoid gives; or put "
        "a hard threshold there. The test has the threshold in both cases.",
    )
    slope = param.Selector(
        default="identity",
        objects=list(_ESTIMATORS),
        constant=True,
        doc="What stands in for the neuron's derivative: 1, or the derivative of the sigmoid.",
    )

    @property
    def activation_estimator(self):
        """The threshold with the chosen `slope`."""
        return _ESTIMATORS[self.slope]

    def quantize(self, w, second_moment=None, generator=None):
        """The weights as they are."""
        return Quantized(w)

    def weight(self, layer):
        """The weights as they are."""
        return layer.weight

    def activation(self, x, module=None):
        """0 or 1: drawn in training, the threshold at test time.

        Raises:
            ValueError: there is nothing to draw from.
        """
        if not self.stochastic or module is None or not module.training:
            return self.activation_estimator(x)
        p = x.detach().sigmoid()
        # u in [0, 1) is below p with probability p; a NaN stays NaN.
        fires = 1 - (sign(uniform(p, generator_of(module, self.key)) - p) + 1) / 2
        return self.activation_estimator.through(x, fires)
