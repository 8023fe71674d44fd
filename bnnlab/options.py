"""Options of schemes, tasks and networks: param classes, checked at the door."""

from typing import Any, TypeVar

import param

Options = TypeVar("Options", bound=param.Parameterized)


def options_of(owner: param.Parameterized | type[param.Parameterized]) -> list[str]:
    """Name the options of a class or an object, without param's own."""
    return [name for name in owner.param if name != "name"]


def checked(kind: type[Options], label: str, options: dict[str, Any]) -> Options:
    """Build `kind` from options.

    Raises ValueError when an option is unknown (the message lists the known ones) or its value is
    not allowed (the message gives the value and what is allowed).
    """
    known = options_of(kind)
    unknown = [name for name in options if name not in known]
    if unknown:
        allowed = f"it takes {', '.join(known)}" if known else "it takes none"
        raise ValueError(f"{label} has no option {', '.join(map(repr, unknown))}; {allowed}")
    for name, value in options.items():
        # True is 1 to Python; as a number it is a mistake.
        if isinstance(value, bool) and not isinstance(kind.param[name], param.Boolean):
            raise ValueError(f"{label}: {name} does not accept {value!r}")
        try:
            kind(**{name: value})
        except ValueError as refusal:
            raise ValueError(f"{label}: {name} is {value!r}. {refusal}") from None
    return kind(**options)
