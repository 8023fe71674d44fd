"""What several subcommands share: arguments, specs, tables."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import click
import param


def comparison_argument(*, required: bool = True, nargs: int = 1) -> Callable:
    """The COMPARISON argument: an existing `NAME.bnnlab` or `NAME.bnnlab.zip`."""
    name = "COMPARISON" + ("..." if nargs == -1 else "")
    return click.argument(
        "comparison",
        type=click.Path(exists=True, path_type=Path),
        required=required,
        nargs=nargs,
        metavar=name if required else f"[{name}]",
    )


def device_option() -> Callable:
    """The --device option: where to train."""
    return click.option(
        "--device",
        metavar="cpu|cuda|cuda:N",
        default="cpu",
        show_default=True,
        help="Where to train: the processor, the first GPU, or the Nth from 0.",
    )


def parse_spec(text: str) -> dict[str, Any]:
    """Read `dorefa:weight_bits=1,activation_bits=2` as `{"name": "dorefa", ...}`.

    Raises ValueError when an option has no value.
    """
    name, _, rest = text.partition(":")
    spec: dict[str, Any] = {"name": name.strip()}
    for item in filter(None, (item.strip() for item in rest.split(","))):
        key, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"{item!r} in {text!r} has no value; write NAME:OPTION=VALUE,...")
        spec[key.strip()] = parse_value(value.strip())
    return spec


def parse_value(text: str) -> Any:
    """Read a number, true, false, or else a word."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def options_table(kind: type[param.Parameterized]) -> str:
    """List the options of a scheme or a task: name, default, what is allowed, help."""
    from bnnlab.registry import option_names

    rows = [
        [f"  {name}", f"{kind.param[name].default}", _allowed(kind.param[name]),
         " ".join((kind.param[name].doc or "").split())]
        for name in option_names(kind)
    ]  # fmt: skip
    return table(rows) if rows else "  none"


def _allowed(parameter: Any) -> str:
    if isinstance(parameter, param.Selector):
        return " | ".join(map(str, parameter.objects))
    if isinstance(parameter, param.Boolean):
        return "true | false"
    low, high = getattr(parameter, "bounds", None) or (None, None)
    return "" if low is None and high is None else f"{low} to {high}"


def table(rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """Lay out cells in columns; those in `numbers` are set to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place in numbers else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def spread(values: Sequence[float]) -> str:
    """Write the mean of seeds, and their standard deviation when there are several."""
    if not values:
        return "-"
    # A loss may run off to where decimals say nothing.
    form = ".4f" if abs(mean(values)) < 1e4 else ".3g"
    middle = f"{mean(values):{form}}"
    return middle if len(values) < 2 else f"{middle} ± {stdev(values):{form}}"
