"""Loss-aware weights of more than one bit: LAQ and LAT, by the authors of LAB (ICLR 2018)."""

from functools import cache
from typing import Any, NamedTuple

import param
import torch
from torch import Tensor

from bnnlab.schemes.base import Quantized
from bnnlab.schemes.curvature import Curved
from bnnlab.schemes.estimators import SignIdentity, identity, sign
from bnnlab.schemes.twn import TernaryIdentity, ternary

ITERATIONS, TOLERANCE = 10, 1e-6


class Grid(NamedTuple):
    """The integers that sizes of weights are multiples of.

    {0, 1, ..., n} where they are linear, else {0, 1, 2, 4, ..., 2^(n-1)}.
    """

    n: int
    linear: bool

    @property
    def largest(self) -> int:
        """The largest of them."""
        return self.n if self.linear else 2 ** (self.n - 1)

    def nearest(self, size: Tensor) -> Tensor:
        """The code nearest to each number above or at 0; ties go to the smaller one."""
        if self.linear:
            return (size - 0.5).ceil_().clamp_(0, self.n)
        codes = size.new_tensor([0, *(2**i for i in range(self.n))])
        return codes[torch.bucketize(size, (codes[1:] + codes[:-1]) / 2)]


def grid(bits: int, spacing: str) -> Grid:
    """The grid of a number of bits, one of them for the sign."""
    return Grid(2 ** (bits - 1) - 1, spacing == "linear")


class Levels(SignIdentity):
    """The nearest level forward, 1 backward: every gradient passes."""

    name = "levels_identity"

    def __init__(self, bits: int, spacing: str):
        self.grid = grid(bits, spacing)
        self.equation = (
            r"\mathrm{nearest}_Q(x),\qquad \frac{\partial\,\mathrm{nearest}_Q(x)}{\partial x}"
            r" \approx 1"
        )

    def forward(self, x):
        """The nearest of the levels between -1 and 1."""
        largest = self.grid.largest
        return sign(x) * self.grid.nearest(x.abs() * largest) / largest


_levels = cache(Levels)


class _Alternating(Curved):
    """Weights and scaling factor found in turns, from where the step before left the factor."""

    clip = 1.0
    remembers: Any = True  # whether the turns begin where the step before ended

    def attach(self, layer):
        """Keep the scaling factor of the step before; 0 where there was none."""
        super().attach(layer)
        if self.remembers:
            layer.register_buffer("start", layer.weight.new_zeros(()).detach())

    def solve(self, w: Tensor, second_moment: Tensor | None, start: Tensor | None) -> Quantized:
        """The weights; `start` is the scaling factor to begin with."""
        raise NotImplementedError

    def quantize(self, w, second_moment=None, generator=None):
        """The weights, found from a fresh start."""
        return self.solve(w, second_moment, None)

    def quantized(self, layer):
        """The weights, found from where the step before left the scaling factor."""
        start = layer.start if self.remembers else None
        return self.solve(layer.weight.detach(), layer.second_moment, start)

    def weight(self, layer):
        """The effective weight, which every gradient passes."""
        return identity.through(layer.weight, self.quantized(layer).values)

    def after_step(self, layer, optimizer):
        """Clip, take over the curvature, and remember the scaling factor."""
        super().after_step(layer, optimizer)
        if self.remembers:
            scale: Any = self.quantized(layer).scale
            layer.start.copy_(scale.reshape(()))

    def weighted(self, w: Tensor, second_moment: Tensor | None) -> Tensor:
        """The curvature, constant where there is none."""
        return torch.ones_like(w) if second_moment is None else self.curvature(second_moment)


def alternate(
    size: Tensor, start: Tensor | None, first: Tensor, codes_of: Any, scale_of: Any
) -> tuple[Tensor, Tensor]:
    """Find codes and scaling factor in turns, until the factor stays within 1e-6 or 10 times.

    Args:
        size: |w|.
        start: a scaling factor to begin with, 0 or NaN or None if there is none.
        first: the one to begin with then; it must not make all codes 0.
        codes_of: from |w| divided by the factor to the codes.
        scale_of: from the codes to the factor.
    """
    scale = start if start is not None and bool(start > 0) else first
    codes = codes_of(size / scale)
    if not bool(codes.any()):  # the weights have shrunk away from the old factor
        scale = first
        codes = codes_of(size / scale)
        if not bool(codes.any()):  # all weights are 0
            return codes, scale
    for _ in range(ITERATIONS):
        before, scale = scale, scale_of(codes)
        if bool((scale - before).abs() < TOLERANCE):
            return codes, scale
        codes = codes_of(size / scale)
    return codes, scale_of(codes)


class LAQ(_Alternating):
    r"""Loss-aware quantization of the weights to m bits.

    $\hat w = \alpha b$ with b from Q, which for $n = 2^{m-1} - 1$ is

    * `spacing` "linear": $\{0, \pm\frac1n, \pm\frac2n, ..., \pm 1\}$,
    * "log": $\{0, \pm 2^{-(n-1)}, ..., \pm\frac12, \pm 1\}$,

    found in turns so that $\frac12\sum_i d_i(\alpha b_i - w_i)^2$ becomes small:
    $b = \Pi_Q(w / \alpha)$, the nearest level (the cut between two is their arithmetic middle), and
    then `alpha_rule`

    * "code": $\alpha = \|b \odot d \odot w\|_1 / \|b \odot d\|_1$, the paper's and the code's,
    * "least_squares": $\alpha = \sum_i d_i b_i w_i / \sum_i d_i b_i^2$, which minimizes that sum.

    For b in {-1, 0, 1} they are the same. The turns begin with the alpha of the step before (in the
    first, with max|w|) and end after ten, or when alpha over the largest code stays within 1e-6.
    The curvature d is LAB's, from Adam's second moment or elsewhere
    (`bnnlab.schemes.curvature.Curved`). Backward: the gradient reaches w unchanged; latent weights
    are clipped to [-1, 1]. One alpha a layer. All layers are quantized. Activations are real
    (ReLU).

    Faithfulness: the authors' code has 3 bits; any number is offered, with logarithmic levels up
    to 4 (with more, the smallest of them is nothing but another 0). Where it begins in the first
    step is ours. Ties between levels go to the smaller one.
    """

    key = "laq"
    title = "LAQ"
    authors = "Hou, Kwok"
    year = 2018
    reference = "arXiv:1802.08635"
    equations = (
        r"\hat{w} = \alpha\,\Pi_Q\left(\frac{w}{\alpha}\right)",
        r"\alpha = \frac{\|b \odot d \odot w\|_1}{\|b \odot d\|_1},\quad d = \sqrt{v} + \epsilon",
    )
    color = "#f0005a"
    dash = "dotted"
    marker = "hex"

    bits = param.Integer(default=3, bounds=(2, 8), constant=True, doc="Bits of a weight, 2 to 8.")
    spacing = param.Selector(
        default="linear",
        objects=["linear", "log"],
        constant=True,
        doc="Whether the levels are equally far apart, or powers of two (at most 4 bits).",
    )
    alpha_rule = param.Selector(
        default="code",
        objects=["code", "least_squares"],
        constant=True,
        doc="How the scaling factor follows from the levels: as in the paper and the authors' "
        "code, or by weighted least squares.",
    )

    def __init__(self, **options):
        super().__init__(**options)
        if self.spacing == "log" and self.bits > 4:
            raise ValueError(
                f"scheme 'laq': logarithmic levels take at most 4 bits, not {self.bits}"
            )

    @property
    def weight_bits(self):
        """Bits of a weight."""
        return self.bits

    @property
    def weight_estimator(self):
        """The levels for alpha = 1."""
        return _levels(self.bits, self.spacing)

    def solve(self, w, second_moment, start):
        """The nearest levels, times alpha; the scale is alpha over the largest code."""
        d, size = self.weighted(w, second_moment), w.abs()
        levels = grid(self.bits, self.spacing)

        largest = levels.largest

        def scale_of(codes):
            weights = d * codes
            if self.alpha_rule == "code":
                return (weights * size).sum() / weights.sum() / largest
            return (weights * size).sum() / (weights * codes).sum()

        first = (size.max() / largest).clamp_min(torch.finfo(w.dtype).tiny)
        codes, scale = alternate(size, start, first, levels.nearest, scale_of)
        codes, scale = torch.where(w < 0, -codes, codes), scale.reshape((1,) * w.ndim)
        return Quantized(codes * scale, scale=scale, codes=codes)


class LAT(_Alternating):
    r"""Loss-aware ternarization of the weights.

    $\hat w = \alpha b$, b in {-1, 0, 1}, such that $\frac12\sum_i d_i(\alpha b_i - w_i)^2$ is
    least. For a given alpha, b is $\mathrm{sign}(w)$ where $|w| > \Delta = \alpha/2$; for a given
    b, $\alpha = \|b \odot d \odot w\|_1 / \|b \odot d\|_1$. `solver`:

    * "exact": the support is the k largest |w|; with their sums
      $c_k = \frac12 \sum_{i \leq k} d_i |w_i| / \sum_{i \leq k} d_i$, the k with the largest
      $c_k^2 \sum_{i \leq k} d_i$ is the best of all, $\Delta = c_k$, $\alpha = 2 c_k$. It sorts the
      layer's weights in every step.
    * "approximate": b and alpha in turns, at most ten, beginning with the alpha of
      the step before; in the first step with $\Delta = 0.7\,\mathrm{mean}|w|$.

    The curvature d is LAB's, from Adam's second moment or elsewhere
    (`bnnlab.schemes.curvature.Curved`). Backward: the gradient reaches w unchanged; latent weights
    are clipped to [-1, 1]. One alpha a layer. All layers are ternary. Activations are real (ReLU).

    Faithfulness: the authors look for k only where $|w_{(k)}| > c_k > |w_{(k+1)}|$ and fall back to
    another threshold where there is none; the best k of all fulfils that condition by itself.
    Their variants with a scaling factor for each sign (LAT2) are not offered. The approximate turns
    begin with the old alpha, theirs with the old weights.
    """

    key = "lat"
    title = "LAT"
    authors = "Hou, Kwok"
    year = 2018
    order = 1
    reference = "arXiv:1802.08635"
    equations = (
        r"\hat{w} = \alpha\,\mathrm{sign}(w)\,1_{|w| > \alpha/2}",
        r"\alpha = \frac{\|b \odot d \odot w\|_1}{\|b \odot d\|_1},\quad d = \sqrt{v} + \epsilon",
    )
    color = "#78961e"
    dash = "dotted"
    marker = "star"
    weight_bits = 2
    weight_estimator = TernaryIdentity(0.5)

    solver = param.Selector(
        default="exact",
        objects=["exact", "approximate"],
        constant=True,
        doc="The best threshold of all, for which the weights are sorted, or threshold and scaling "
        "factor in turns.",
    )

    @property
    def remembers(self):
        """The best threshold of all does not depend on where one begins."""
        return self.solver == "approximate"

    def solve(self, w, second_moment, start):
        """sign(w) where |w| is above half of alpha, else 0, times alpha."""
        d, size = self.weighted(w, second_moment), w.abs()
        if self.solver == "exact":
            scale = _best_scale(size.flatten(), d.flatten())
        else:

            def scale_of(codes):
                weights = d * codes
                return (weights * size).sum() / weights.sum()

            first = (1.4 * size.mean()).clamp_min(torch.finfo(w.dtype).tiny)
            _, scale = alternate(size, start, first, lambda x: (x > 0.5).to(w.dtype), scale_of)
        scale = scale.reshape((1,) * w.ndim)
        return ternary(w, scale / 2, scale)


def _best_scale(size: Tensor, d: Tensor) -> Tensor:
    """The scaling factor of the best ternary weights: of the best of all numbers that are not 0."""
    largest, order = size.sort(descending=True)
    d = d[order].double()
    mass = d.cumsum(0)
    product = (d * largest).cumsum(0)
    best = (product.square() / mass).argmax()
    return (product[best] / mass[best]).to(size.dtype)
