"""LAB: loss-aware binarization, scaled by the curvature of the loss (ICLR 2017)."""

import torch
from torch import Tensor

from bnnlab.schemes.base import Quantized, granularity_parameter, scale_dimensions
from bnnlab.schemes.curvature import Curved
from bnnlab.schemes.estimators import by_cache, hard_tanh, identity, sign


class LAB(Curved):
    r"""Loss-aware binarization of the weights.

    It minimizes a second-order model of the loss, with a diagonal curvature d, over
    $\hat w = \alpha b$, b in {-1, +1}. Closed form (proposition 3.1):

    $\alpha = \|d \odot w\|_1 / \|d\|_1$, $b = \mathrm{sign}(w)$,

    which minimizes $\frac12\sum_i d_i(\alpha b_i - w_i)^2$. The curvature is what Adam already
    divides by: $d = \sqrt{v} + \epsilon$, v the second moment of the gradient with respect to
    $\hat w$ *before* the step in progress (algorithm 1). v starts at zero, so d is constant in the
    first step and alpha is BWN's (remark 3.1). A positive factor on d cancels in alpha, so neither
    the step size nor Adam's bias correction matters. `curvature_from` takes d from elsewhere: the
    true Hessian's diagonal, the empirical Fisher matrix, or a constant, which is BWN with one alpha
    a layer to the last bit; see `bnnlab.schemes.curvature.Curved` for what each costs.

    Backward: the gradient with respect to $\hat w$ reaches w unchanged; the update is Adam's, then
    the latent weights are clipped to [-1, 1]. One alpha a layer. All layers are binarized.
    Activations are real (ReLU).

    Faithfulness: the paper mentions clipping only for recurrent networks; the authors' code clips
    all binarized weights, and so do we. The paper multiplies a layer's input by alpha, the code its
    weights; the product is the same. Their code has a second moment of its own beside Adam's, both
    with 0.999; here Adam's is taken, and one of our own where the optimizer keeps none. Initial
    weights are those of all lanes (Glorot uniform; the authors' code takes half that range), and
    the optimizer is torch's Adam, which adds epsilon after bias correction where theirs adds it
    before. The other sources of the curvature are not the authors'.
    """

    key = "lab"
    title = "LAB"
    authors = "Hou, Yao, Kwok"
    year = 2017
    reference = "arXiv:1611.01600"
    equations = (
        r"\hat{w} = \alpha\,\mathrm{sign}(w)",
        r"\alpha = \frac{\|d \odot w\|_1}{\|d\|_1},\quad d = \sqrt{v} + \epsilon",
    )
    color = "#0072B2"
    dash = "solid"
    marker = "hex"
    weight_bits = 1
    clip = 1.0
    weight_estimator = identity

    granularity = granularity_parameter("layer")

    def quantize(self, w, second_moment=None, generator=None):
        """Signs times alpha; without a second moment, d is taken as constant: BWN's alpha."""
        signs, dimensions = sign(w), scale_dimensions(w, self.granularity)
        if second_moment is None:
            scale = w.abs().mean(dimensions, keepdim=True)
        else:
            weighted, d = self._sums(w, second_moment)
            if len(dimensions) == w.dim():  # one for the layer
                weighted, d = weighted.sum(0, keepdim=True), d.sum(0, keepdim=True)
            scale = weighted / d
        return Quantized(signs * scale, signs, scale)

    def _sums(self, w: Tensor, second_moment: Tensor) -> tuple[Tensor, Tensor]:
        """The sums of d |w| and of d over each channel, (channels, 1, ...)."""
        inner = tuple(range(1, w.dim()))
        sums = []
        for part, moment in zip(by_cache(w), by_cache(second_moment), strict=True):
            d = self.curvature(moment)
            weighted = part.abs().mul_(d)  # in place, as much as can be: new memory is slow
            sums.append((weighted.sum(inner, keepdim=True), d.sum(inner, keepdim=True)))
        over_weights, over_curvature = zip(*sums, strict=True)
        return torch.cat(over_weights), torch.cat(over_curvature)


class LAB2(LAB):
    r"""Loss-aware binarization of the weights, with binary activations.

    Weights as in LAB; activations $\hat x = \mathrm{sign}(x)$ with hard tanh's derivative
    $1_{|x| \leq 1}$ backward. The network's input stays real.

    Faithfulness: as LAB.
    """

    key = "lab2"
    title = "LAB2"
    order = 1
    equations = (*LAB.equations, r"\hat{x} = \mathrm{sign}(x)")
    color = "#AA3377"
    dash = "dashed"
    marker = "plus"
    activation_bits = 1
    activation_estimator = hard_tanh
    activation_step = 1.0
    activation_codes = (-1, 1)
