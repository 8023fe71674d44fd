"""Powers of two: what multiplications become when they are to be shifts."""

import math

import torch
from torch import Tensor

_ROOT_HALF = 0.5**0.5


def ap2(x: Tensor) -> Tensor:
    r"""The power of two nearest to x on a logarithmic scale, with x's sign; 0 stays 0.

    $\mathrm{AP2}(x) = \mathrm{sgn}(x)\,2^{\mathrm{round}(\log_2|x|)}$ (Courbariaux et al. 2016,
    arXiv:1602.02830, section 1.5). Exact: no logarithm is taken. Numbers nearer to the first
    power too large for the type become the largest it has; NaN and infinities stay as they are.
    """
    mantissa, exponent = torch.frexp(x)  # 1/2 <= |mantissa| < 1
    exponent = exponent - (mantissa.abs() < _ROOT_HALF).to(exponent.dtype)
    largest = math.frexp(torch.finfo(x.dtype).max)[1] - 1
    power = torch.ldexp(mantissa.sign(), exponent.clamp(max=largest))
    return torch.where(torch.isfinite(x) & (x != 0), power, x)
