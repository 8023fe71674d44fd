"""The binarization schemes, one file a paper.

Every module of this package is looked at; each `Scheme` subclass in it that has a `key` of its own
is offered under that name. A new scheme is one new file, nothing else: here, or in one of the
folders that the environment variable BNNLAB_SCHEMES names (separated as in PATH), which trainers
inherit.
"""

import os
import sys
from typing import Any

from bnnlab import registry
from bnnlab.schemes.base import Quantized, Scheme
from bnnlab.schemes.estimators import Estimator, sign

__all__ = ["Estimator", "Quantized", "Scheme", "get", "kinds", "names", "sign"]

__path__ = [*__path__, *filter(None, os.environ.get("BNNLAB_SCHEMES", "").split(os.pathsep))]

_REQUIRED = ("title", "authors", "year", "reference", "color")


def kinds() -> dict[str, type[Scheme]]:
    """Every scheme's class by name: full precision first, then by year."""
    found = registry.discover(sys.modules[__name__], Scheme)
    for kind in found:
        missing = [name for name in _REQUIRED if not hasattr(kind, name)]
        if missing:
            raise RuntimeError(f"scheme {kind.key!r} ({kind.__module__}) lacks {missing}")
    found.sort(key=lambda kind: (kind.key != "full_precision", kind.year, kind.order, kind.key))
    return {kind.key: kind for kind in found}


def names() -> list[str]:
    """The names of the schemes, in the order to show them in."""
    return list(kinds())


def get(name: str, **options: Any) -> Scheme:
    """A scheme by name, with its hyper-parameters.

    Raises:
        ValueError: there is no such scheme or option (the message lists what there is), or a value
            is not allowed.
    """
    known = kinds()
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"no scheme is called {name!r}; there are {', '.join(known)}")
    return registry.checked(known[name], f"scheme {name!r}", options)
