"""bnnlab: binarized neural networks, trained live and side by side under every published scheme.

Importing this module is fast: torch, panel and holoviews are loaded when a name that needs them
is first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# The public names and where each one lives.
_HOMES = {
    "Comparison": "bnnlab.training.comparison",
    "Conductor": "bnnlab.training.conductor",
    "Log": "bnnlab.training.store",
    "open": "bnnlab.training.store",
    "export": "bnnlab.figures.export",
    "binarize": "bnnlab.nn.binarize",
    "summary": "bnnlab.nn.summary",
    "pack": "bnnlab.packed",
    "load_packed": "bnnlab.packed",
}
_MODULES = ("figures", "nn", "packed", "schemes", "tasks", "training", "ui")

__all__ = [*_HOMES, *_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = import_module(f"bnnlab.{name}")
    else:
        raise AttributeError(f"module 'bnnlab' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
