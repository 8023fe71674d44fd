"""Probes: small pure functions that look at a lane after a step and name what they saw.

A probe is a module here with a function `probe(look)` that returns names and what they stand for:
floats become scalars of the step, arrays are kept beside it. Names are `what/layer`. A new probe is
a new file; nothing else changes.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

import numpy as np

from bnnlab.training.probes.look import Look


@cache
def _probes():
    names = sorted(module.name for module in iter_modules(__path__) if module.name != "look")
    return [import_module(f"{__name__}.{name}").probe for name in names]


def observe(look: Look) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Run every probe; return the scalars and the arrays they found."""
    scalars: dict[str, float] = {}
    arrays: dict[str, np.ndarray] = {}
    for probe in _probes():
        for name, value in probe(look).items():
            if isinstance(value, np.ndarray):
                arrays[name] = np.ascontiguousarray(value)
            else:
                scalars[name] = float(value)
    return scalars, arrays
