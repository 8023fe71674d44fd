"""Shift-based AdaMax: AdaMax whose multiplications are shifts (2016)."""

from collections.abc import Callable
from typing import Any

import torch

from bnnlab.powers import ap2

# Decay rates of the two moments: powers of two below 1 in the paper, Adam's in the authors' code.
_BETAS = {"paper": (1 - 2**-3, 1 - 2**-10), "code": (0.9, 0.999)}
_EPSILON = 2**-27


class ShiftAdaMax(torch.optim.Optimizer):
    r"""Shift-based AdaMax (Courbariaux et al. 2016, arXiv:1602.02830, algorithm 4).

    $m \leftarrow \beta_1 m + (1 - \beta_1) g$, $v \leftarrow \max(\beta_2 v, |g|)$. With AP2 the
    nearest power of two:

    * "paper": $\theta \leftarrow \theta - \mathrm{AP2}(\eta / (1 - \beta_1^t))\,m\,
      \mathrm{AP2}(1/v)$, $1 - \beta_1 = 2^{-3}$, $1 - \beta_2 = 2^{-10}$;
    * "code": $\beta_1 = 0.9$, $\beta_2 = 0.999$; v is replaced by $\mathrm{AP2}(v) + 2^{-27}$ in
      every step, and the update is $\theta \leftarrow \theta - \mathrm{AP2}(\eta / (1 -
      \beta_1^t))\,m / v$.

    Entries that never had a gradient stay where they are. The step size is taken as it is given and
    rounded to a power of two together with the bias correction, as in the authors' code; the
    paper's default is $2^{-10}$.

    Args:
        params: as torch optimizers take them.
        lr: step size.
        variant: "paper" or "code".
    """

    def __init__(self, params: Any, lr: float = 2**-10, variant: str = "paper"):
        if variant not in _BETAS:
            raise ValueError(f"variant is {variant!r}; it can be 'paper' or 'code'")
        super().__init__(params, {"lr": lr})
        self.variant = variant

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one update."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        beta1, beta2 = _BETAS[self.variant]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = torch.zeros(())
                    state["exp_avg"] = torch.zeros_like(p)
                    state["exp_inf"] = torch.zeros_like(p)
                state["step"] += 1
                m, v = state["exp_avg"], state["exp_inf"]
                m.lerp_(p.grad, 1 - beta1)
                torch.maximum(v.mul_(beta2), p.grad.abs(), out=v)
                size = ap2(group["lr"] / (1 - beta1 ** state["step"]))
                if self.variant == "code":
                    v.copy_(ap2(v).add_(_EPSILON))
                    p.sub_(size * m / v)
                else:
                    # Where v is 0 there was never a gradient, and m is 0 too.
                    inverse = ap2(v.reciprocal()).masked_fill_(v == 0, 0.0)
                    p.sub_(size * m * inverse)
        return loss
