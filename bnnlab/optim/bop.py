"""Bop: the optimizer that flips binary weights instead of moving real ones (2019)."""

from collections.abc import Callable
from typing import Any

import torch


class Bop(torch.optim.Adam):
    r"""Bop for binary weights, Adam for everything else (Helwegen et al. 2019, arXiv:1906.02107).

    Groups with a true "binarized" hold weights that are read as their signs (a first step makes
    them -1 and +1). With g the gradient with respect to the binary weights (algorithm 1):

    $m \leftarrow (1 - \gamma)\,m + \gamma g$; w is flipped where $|m| > \tau$ and m has its sign.

    A flip against the gradient lowers the loss, so there is no step size and no latent weight. All
    other groups are Adam's, with the group's "lr".

    Args:
        params: as torch optimizers take them.
        lr: Adam's step size, of groups that name none.
        gamma: the adaptivity rate: how much of m each gradient replaces.
        tau: how large m must be.
    """

    def __init__(self, params: Any, lr: float = 1e-3, gamma: float = 1e-3, tau: float = 1e-6):
        super().__init__(params, lr=lr, fused=True)
        self.gamma, self.tau = gamma, tau

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one update."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        for group in groups:
            if group.get("binarized"):
                for p in group["params"]:
                    if p.grad is not None:
                        self._flip(p)
        try:
            self.param_groups = [group for group in groups if not group.get("binarized")]
            super().step()
        finally:
            self.param_groups = groups
        return loss

    def _flip(self, p: torch.Tensor) -> None:
        assert p.grad is not None
        state = self.state[p]
        if not state:
            # Adam looks for a count of steps wherever there is state.
            state["step"], state["exp_avg"] = torch.zeros(()), torch.zeros_like(p)
        state["step"] += 1
        m = state["exp_avg"].lerp_(p.grad, self.gamma)
        positive = p >= 0
        flips = torch.where(positive, m, -m) > self.tau
        signs = torch.where(positive ^ flips, 1.0, -1.0)
        p.copy_(torch.where(p.isnan(), p, signs))
