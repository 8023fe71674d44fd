"""What a package offers (schemes, tasks, views), and their options, checked at the door."""

import pkgutil
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

import param

Kind = TypeVar("Kind")
Options = TypeVar("Options", bound=param.Parameterized)


def discover(package: ModuleType, base: type[Kind]) -> list[type[Kind]]:
    """Find every subclass of `base` that a module of `package` defines with a `key` of its own.

    Raises:
        RuntimeError: two of them have the same key.
    """
    found = []
    for information in pkgutil.iter_modules(package.__path__):
        module = import_module(f"{package.__name__}.{information.name}")
        found += [
            kind
            for kind in vars(module).values()
            if isinstance(kind, type)
            and issubclass(kind, base)
            and kind.__module__ == module.__name__
            and "key" in vars(kind)
        ]
    keys = sorted(vars(kind)["key"] for kind in found)
    if len(set(keys)) < len(keys):
        raise RuntimeError(f"two of {package.__name__} share a name: {', '.join(keys)}")
    return found


def option_names(kind: type[param.Parameterized] | param.Parameterized) -> list[str]:
    """Name the options of a class or an object, its own before those it inherits."""
    owner = kind if isinstance(kind, type) else type(kind)
    found = (name for base in owner.__mro__ for name in vars(base) if name in kind.param)
    return [name for name in dict.fromkeys(found) if name != "name"]


def options(chosen: param.Parameterized) -> dict[str, Any]:
    """Return the options of an object by name: plain values that can be written as JSON."""
    return {name: getattr(chosen, name) for name in option_names(chosen)}


def checked(kind: type[Options], label: str, given: dict[str, Any]) -> Options:
    """Build `kind` from options.

    Raises:
        ValueError: an option is unknown (the message lists the known ones) or its value is not
            allowed (the message gives the value and what is allowed).
    """
    known = option_names(kind)
    unknown = [name for name in given if name not in known]
    if unknown:
        allowed = f"it takes {', '.join(known)}" if known else "it takes none"
        raise ValueError(f"{label} has no option {', '.join(map(repr, unknown))}; {allowed}")
    for name, value in given.items():
        # True is 1 to Python; as a number it is a mistake.
        if isinstance(value, bool) and not isinstance(kind.param[name], param.Boolean):
            raise ValueError(f"{label}: {name} does not accept {value!r}")
        try:
            kind(**{name: value})
        except ValueError as refusal:
            raise ValueError(f"{label}: {name} is {value!r}. {refusal}") from None
    return kind(**given)
