"""Straight-through estimators: what goes forward, and what stands in for its derivative.

A quantizer is flat almost everywhere, so its true derivative is useless for training. An estimator
keeps the quantizer in the forward pass and puts a *pseudo-gradient* in its place in the backward
pass (Bengio, Leonard, Courville 2013, arXiv:1308.3432; Courbariaux et al. 2016, arXiv:1602.02830,
section 1.3).
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

_ONE = torch.ones(())
_AT_ONCE = 2**16  # numbers


def sign(x: Tensor) -> Tensor:
    r"""The sign every scheme uses: +1 where x >= 0 (so also for -0.0), -1 where x < 0.

    A NaN stays NaN: a network that has diverged must not look like a healthy binary one.
    """
    # floor(clip(x, -1, 1/2)) is -1 below zero, 0 from zero on, and NaN for NaN. It is nine times as
    # fast as where(), which is not vectorized, and this is called for every weight in every step.
    if x.requires_grad and torch.is_grad_enabled():
        return 1 + 2 * x.clamp(-1.0, 0.5).floor()
    signs = torch.empty_like(x)
    for part, given in zip(by_cache(signs), by_cache(x), strict=True):
        torch.clamp(given, -1.0, 0.5, out=part).floor_()
        torch.add(_ONE, part, alpha=2, out=part)
    return signs


def by_cache(x: Tensor) -> tuple[Tensor, ...]:
    """Split a tensor along its first dimension into parts that a core's cache holds.

    What is made of a part and used at once then never goes to memory, which on the processor is
    what operations on many weights wait for. On other devices, it stays in one part.
    """
    if x.device.type != "cpu" or x.numel() <= _AT_ONCE:
        return (x,)
    return x.split(max(1, _AT_ONCE * len(x) // x.numel()))


def quantize_unit(x: Tensor, bits: int) -> Tensor:
    r"""Round x in [0, 1] to the nearest of 2^k values: round((2^k - 1) x) / (2^k - 1).

    Ties go to the even neighbour, as in the authors' code (DoReFa-Net, arXiv:1606.06160).
    """
    levels = 2**bits - 1
    return (x * levels).round_().div_(levels)


@cache
def _just_outside(low: float, high: float, dtype: torch.dtype) -> tuple[float, float]:
    """The numbers next to the interval [low, high]."""
    ends = torch.tensor([low, high], dtype=dtype)
    outside = torch.nextafter(ends, torch.tensor([-torch.inf, torch.inf], dtype=dtype))
    return outside[0].item(), outside[1].item()


def pass_between(gradient: Tensor, x: Tensor, low: float, high: float) -> Tensor:
    """The gradient where low <= x <= high, the ends included, and 0 elsewhere."""
    # Hard tanh's own backward leaves the ends out, and costs a sixth of multiplying by a mask.
    below, above = _just_outside(low, high, x.dtype)
    return torch.ops.aten.hardtanh_backward.default(gradient, x, below, above)


class _Through(torch.autograd.Function):
    """Give `values` forward, unchanged to the last bit, and `chain(gradient, x)` backward."""

    @staticmethod
    def forward(ctx, x, values, chain):
        ctx.save_for_backward(x)
        ctx.chain = chain
        return values

    @staticmethod
    def backward(ctx, *gradients):
        (x,) = ctx.saved_tensors
        return ctx.chain(gradients[0], x), None, None


def straight_through(
    x: Tensor, values: Tensor, chain: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Put `values` in the place of x, and `chain(gradient, x)` in the place of its gradient.

    Args:
        x: what the gradient is wanted for, any shape.
        values: the forward values, of the same shape; they appear exactly.
        chain: from the gradient with respect to `values` and x to the gradient with respect to x.
    """
    return _Through.apply(x, values, chain)  # pyright: ignore[reportReturnType]


class Estimator:
    """A forward function with the pseudo-gradient that stands in for its derivative."""

    name: str
    title: str
    equation: str

    def forward(self, x: Tensor) -> Tensor:
        """The forward value, elementwise."""
        raise NotImplementedError

    def pseudo_gradient(self, x: Tensor) -> Tensor:
        """What is used as d forward / dx, elementwise."""
        raise NotImplementedError

    def chain(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient with respect to x, given the one with respect to the forward value."""
        return gradient * self.pseudo_gradient(x)

    def through(self, x: Tensor, values: Tensor) -> Tensor:
        """Straight through with given forward values (a sign already scaled, a random sign)."""
        return straight_through(x, values, self.chain)

    def __call__(self, x: Tensor) -> Tensor:
        """The forward value, differentiable through the pseudo-gradient."""
        return self.through(x, self.forward(x.detach()))

    def __repr__(self) -> str:
        return f"<estimator {self.name}>"


class SignIdentity(Estimator):
    """Sign forward, 1 backward: every gradient passes (BinaryConnect's rule for the weights)."""

    name = "identity"
    title = "identity"
    equation = r"\mathrm{sign}(x),\qquad \frac{\partial\,\mathrm{sign}(x)}{\partial x} \approx 1"

    def forward(self, x: Tensor) -> Tensor:
        """sign(x)."""
        return sign(x)

    def pseudo_gradient(self, x: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(x)

    def chain(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient as it is."""
        return gradient


class SignHardTanh(Estimator):
    """Sign forward, the derivative of hard tanh backward: nothing passes where |x| > 1.

    BinaryNet, arXiv:1602.02830, eq. 4: it cancels the gradient where the neuron is saturated.
    """

    name = "hard_tanh"
    title = "hard tanh"
    equation = (
        r"\mathrm{sign}(x),\qquad"
        r" \frac{\partial\,\mathrm{sign}(x)}{\partial x} \approx 1_{|x| \leq 1}"
    )

    def forward(self, x: Tensor) -> Tensor:
        """sign(x)."""
        return sign(x)

    def pseudo_gradient(self, x: Tensor) -> Tensor:
        """1 where |x| <= 1, else 0."""
        return (x.abs() <= 1).to(x.dtype)

    def chain(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient where |x| <= 1, else 0."""
        return pass_between(gradient, x, -1.0, 1.0)


class UnitQuantizer(Estimator):
    """The k-bit quantizer of [0, 1] forward, the derivative of clip(x, 0, 1) backward.

    DoReFa-Net's activations, arXiv:1606.06160, section 2.4.
    """

    name = "clipped_identity"
    title = "clipped identity"

    def __init__(self, bits: int):
        self.bits = bits
        self.equation = (
            rf"\mathrm{{quantize}}_{bits}(\mathrm{{clip}}(x, 0, 1)),\qquad"
            r" \frac{\partial}{\partial x} \approx 1_{0 \leq x \leq 1}"
        )

    def forward(self, x: Tensor) -> Tensor:
        """quantize_k(clip(x, 0, 1))."""
        return quantize_unit(x.clamp(0, 1), self.bits)

    def pseudo_gradient(self, x: Tensor) -> Tensor:
        """1 where 0 <= x <= 1, else 0."""
        return ((x >= 0) & (x <= 1)).to(x.dtype)

    def chain(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient where 0 <= x <= 1, else 0."""
        return pass_between(gradient, x, 0.0, 1.0)


class TanhQuantizer(Estimator):
    r"""The k-bit quantizer of tanh(x) / max|tanh x| forward, its slope without the steps backward.

    DoReFa-Net's weights for k > 1, arXiv:1606.06160, section 2.3:
    $2\,\mathrm{quantize}_k(\tanh x / (2 \max|\tanh x|) + 1/2) - 1$, the maximum over all of x.
    `pseudo_gradient` is the part that acts on each element alone, $(1 - \tanh^2 x)/\max|\tanh x|$;
    in training the gradient flows through the maximum as well, as in the authors' code.
    """

    name = "tanh"
    title = "tanh"

    def __init__(self, bits: int):
        self.bits = bits
        self.equation = (
            rf"2\,\mathrm{{quantize}}_{bits}"
            r"\left(\frac{\tanh x}{2 \max|\tanh x|} + \frac{1}{2}\right) - 1,\qquad"
            r" \frac{\partial}{\partial x} \approx \frac{1 - \tanh^2 x}{\max|\tanh x|}"
        )

    def unit(self, x: Tensor) -> Tensor:
        """Weights brought to [0, 1]: tanh(x) / (2 max|tanh x|) + 1/2; all 1/2 where x is all 0."""
        bent = x.tanh()
        largest = bent.abs().max().clamp_min(torch.finfo(x.dtype).tiny)
        return bent / (2 * largest) + 0.5

    def forward(self, x: Tensor) -> Tensor:
        """2 quantize_k(tanh(x) / (2 max|tanh x|) + 1/2) - 1."""
        return odd_codes(self.unit(x), self.bits) * (1 / (2**self.bits - 1))

    def pseudo_gradient(self, x: Tensor) -> Tensor:
        """(1 - tanh(x)^2) / max|tanh x|."""
        bent = x.tanh()
        return (1 - bent**2) / bent.abs().max().clamp_min(torch.finfo(x.dtype).tiny)

    def through(self, x: Tensor, values: Tensor) -> Tensor:
        """Straight through the rounding alone: tanh and maximum keep their derivatives."""
        return straight_through(2 * self.unit(x) - 1, values, identity.chain)


identity = SignIdentity()
hard_tanh = SignHardTanh()


def generator_of(carrier: Any, key: str) -> torch.Generator:
    """What a stochastic scheme draws from, in training.

    Args:
        carrier: the layer or activation.
        key: the scheme's name, for the message.

    Raises:
        ValueError: the carrier has no generator.
    """
    if carrier.generator is None:
        raise ValueError(
            f"{key} draws from the generator of {type(carrier).__name__}, which is None; set it "
            "to a torch.Generator"
        )
    return carrier.generator


def uniform(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """A draw from [0, 1) for each element of x."""
    return torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)


def stochastic_sign(x: Tensor, generator: torch.Generator | None) -> Tensor:
    r"""+1 with probability clip((x + 1) / 2, 0, 1), else -1; the mean is clip(x, -1, 1).

    BinaryConnect, arXiv:1511.00363, eqs. 2, 3. A NaN stays NaN.
    """
    # u in [0, 1) is below p with probability p; u < (x + 1) / 2 needs no clip.
    return -sign(2 * uniform(x, generator) - 1 - x)


def odd_codes(r: Tensor, bits: int) -> Tensor:
    r"""The odd integers between -(2^k - 1) and 2^k - 1 that r in [0, 1] is rounded to.

    Divided by 2^k - 1 they are $2\,\mathrm{quantize}_k(r) - 1$, the symmetric grid of DoReFa-Net's
    weights and of XNOR-Net's k bits (arXiv:1603.05279, section 3.2).
    """
    levels = 2**bits - 1
    return (r * levels).round_().mul_(2).sub_(levels)
