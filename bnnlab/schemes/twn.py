"""Ternary Weight Networks: -1, 0 and +1 with a scaling factor (2016)."""

import torch

from bnnlab.schemes.base import Quantized, Scheme, granularity_parameter, scale_dimensions
from bnnlab.schemes.estimators import SignIdentity, sign


class TernaryIdentity(SignIdentity):
    """Sign forward, but 0 where |x| is not above a cut; 1 backward: every gradient passes."""

    name = "ternary_identity"

    def __init__(self, cut: float):
        self.cut = cut
        self.equation = (
            rf"\mathrm{{sign}}(x)\,1_{{|x| > {cut:g}}},\qquad"
            r" \frac{\partial}{\partial x} \approx 1"
        )

    def forward(self, x):
        """sign(x) where |x| > cut, else 0."""
        return sign(x) * (x.abs() > self.cut)


def ternary(w: torch.Tensor, cut: torch.Tensor, scale: torch.Tensor) -> Quantized:
    """Ternary weights: sign(w) scale where |w| > cut, else 0; both broadcast over w."""
    signs, mask = sign(w), w.abs() > cut
    return Quantized(signs * mask * scale, signs, scale, mask, cut=cut)


def twn(w: torch.Tensor, dimensions: tuple[int, ...]) -> Quantized:
    """The ternary weights of Ternary Weight Networks, one scale over the given dimensions."""
    size = w.abs()
    cut = 0.7 * size.mean(dimensions, keepdim=True)
    above = size > cut
    count = above.sum(dimensions, keepdim=True).clamp_min(1)
    return ternary(w, cut, (size * above).sum(dimensions, keepdim=True) / count)


class TernaryWeights(Scheme):
    r"""Ternary Weight Networks (TWN): the threshold is a share of the mean size.

    Forward: $\hat w = \alpha\,\mathrm{sign}(w)\,1_{|w| > \Delta}$ with
    $\Delta = 0.7\,\mathrm{mean}|w|$ and $\alpha$ the mean of $|w|$ over the weights above
    $\Delta$, which minimizes $\|w - \alpha t\|^2$ for the threshold. 0.7 is the best one's
    share for weights between those of a uniform (2/3) and of a normal distribution (0.75). One
    alpha a layer.

    Backward: the gradient with respect to $\hat w$ reaches w unchanged, as in BinaryConnect; latent
    weights are not clipped. Activations are real (ReLU).

    Faithfulness: all layers are ternary, for the paper names no exception. It trains with gradient
    descent, momentum and weight decay; here the optimizer is that of the comparison.
    """

    key = "twn"
    title = "TWN"
    authors = "Li, Zhang, Liu"
    year = 2016
    order = 10
    reference = "arXiv:1605.04711"
    equations = (
        r"\hat{w} = \alpha\,\mathrm{sign}(w)\,1_{|w| > \Delta},\quad"
        r" \Delta = 0.7\,\mathrm{mean}|w|",
        r"\alpha = \mathrm{mean}\left(|w|\; : \;|w| > \Delta\right)",
    )
    color = "#003c5a"
    dash = "dashdot"
    marker = "hex"
    weight_bits = 2
    weight_estimator = TernaryIdentity(0.7)

    granularity = granularity_parameter("layer")

    def quantize(self, w, second_moment=None, generator=None):
        """sign(w) above 0.7 mean|w|, else 0, times the mean of |w| above."""
        return twn(w, scale_dimensions(w, self.granularity))
