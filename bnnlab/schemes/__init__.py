"""The binarization schemes, one file a paper.

Every module of this package is looked at; each `Scheme` subclass in it that has a `key` of its own
is offered under that name. A new scheme is one new file here, nothing else.
"""

import pkgutil
from importlib import import_module
from typing import Any

from bnnlab.schemes.base import Quantized, Scheme, checked
from bnnlab.schemes.estimators import Estimator, sign

__all__ = ["Estimator", "Quantized", "Scheme", "get", "kinds", "names", "sign"]

_REQUIRED = ("title", "authors", "year", "reference", "color")


def kinds() -> dict[str, type[Scheme]]:
    """Every scheme's class by name: full precision first, then by year."""
    found = []
    for information in pkgutil.iter_modules(__path__):
        module = import_module(f"{__name__}.{information.name}")
        found += [
            kind
            for kind in vars(module).values()
            if isinstance(kind, type)
            and issubclass(kind, Scheme)
            and kind.__module__ == module.__name__
            and "key" in vars(kind)
        ]
    for kind in found:
        missing = [name for name in _REQUIRED if not hasattr(kind, name)]
        if missing:
            raise RuntimeError(f"scheme {kind.key!r} ({kind.__module__}) lacks {missing}")
    found.sort(key=lambda kind: (kind.key != "full_precision", kind.year, kind.order, kind.key))
    by_name = {kind.key: kind for kind in found}
    if len(by_name) < len(found):
        raise RuntimeError(f"two schemes share a name: {sorted(kind.key for kind in found)}")
    return by_name


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
    scheme = checked(known[name], f"scheme {name!r}", options)
    assert isinstance(scheme, Scheme)
    return scheme
