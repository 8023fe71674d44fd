"""Optimizers: PyTorch's, and those that papers bring along, one file each."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from bnnlab.optim.shift_adamax import ShiftAdaMax

__all__ = ["ShiftAdaMax", "get", "names"]

Make = Callable[[Any, float], torch.optim.Optimizer]

_KINDS: dict[str, Make] = {
    "adam": lambda groups, lr: torch.optim.Adam(groups, lr=lr, fused=True),
    "sgd": lambda groups, lr: torch.optim.SGD(groups, lr=lr),
    "shift_adamax": ShiftAdaMax,
    "shift_adamax_code": partial(ShiftAdaMax, variant="code"),
}


def names() -> list[str]:
    """The names of the optimizers; "shift_adamax_code" has the constants of the authors' code."""
    return list(_KINDS)


def get(name: str) -> Make:
    """What makes an optimizer of parameters (or groups of them) and a step size.

    Raises:
        ValueError: there is no such optimizer.
    """
    if name not in _KINDS:
        raise ValueError(f"no optimizer is called {name!r}; there are {', '.join(_KINDS)}")
    return _KINDS[name]
