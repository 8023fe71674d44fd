"""The small networks that comparisons train, one file each.

Every module of this package is looked at; each `Network` subclass in it that has a `key` of its own
is offered under that name. A new network is one new file here, nothing else.
"""

import sys
from typing import Any

import param
import torch

from bnnlab import registry
from bnnlab.nn.networks.base import (
    Network,
    after_step,
    anneal,
    binarized_layers,
    carriers,
    ends_binarized,
    scores,
)
from bnnlab.schemes.base import Scheme

__all__ = [
    "Network",
    "after_step",
    "anneal",
    "binarized_layers",
    "build",
    "carriers",
    "complete",
    "ends_binarized",
    "kinds",
    "names",
    "parameters_of",
    "scores",
    "sizes",
    "taking",
]


def kinds() -> dict[str, type[Network]]:
    """Every network's class by name, in the order to show them in."""
    found = registry.discover(sys.modules[__name__], Network)
    return {kind.key: kind for kind in sorted(found, key=lambda kind: (kind.order, kind.key))}


def names() -> list[str]:
    """The names of the networks."""
    return list(kinds())


def taking(kind: str) -> list[str]:
    """The names of the networks that take samples of a kind: "vector", "image" or "text"."""
    return [name for name, network in kinds().items() if kind in network.takes]


def _find(name: object) -> type[Network]:
    known = kinds()
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"no network is called {name!r}; there are {', '.join(known)}")
    return known[name]


def parameters_of(name: str) -> type[param.Parameterized]:
    """The class whose parameters are the network's options, with bounds and help.

    Raises:
        ValueError: there is no such network.
    """
    return _find(name).Options


def complete(spec: dict[str, Any]) -> dict[str, Any]:
    """Check `{"name": "mlp", "width": 64}` and fill in the defaults.

    Raises:
        ValueError: the network or an option is unknown, or a value is not allowed.
    """
    name = spec.get("name", "mlp")
    kind = parameters_of(name)
    chosen = registry.checked(
        kind, f"network {name!r}", {key: value for key, value in spec.items() if key != "name"}
    )
    return {"name": name, **registry.options(chosen)}


def build(
    spec: dict[str, Any],
    shape: int | tuple[int, ...],
    outputs: int,
    scheme: Scheme,
    generator: torch.Generator | None = None,
) -> Network:
    """The network of a spec, with fresh weights.

    Args:
        spec: name and options.
        shape: features of a sample, or (channels, height, width) of an image, or symbols of a text.
        outputs: scores to give.
        scheme: the scheme.
        generator: as the networks take it.

    Raises:
        ValueError: as `complete`; or samples of that shape do not fit the network.
    """
    options = complete(spec)
    kind = _find(options.pop("name"))
    return kind(shape, outputs, scheme=scheme, generator=generator, **options)


def sizes(
    spec: dict[str, Any], shape: int | tuple[int, ...], outputs: int
) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's weights by layer, without building it.

    Raises:
        ValueError: as `build`.
    """
    options = complete(spec)
    return _find(options.pop("name")).sizes(shape, outputs, **options)
