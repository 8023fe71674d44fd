"""`bnnlab compare`: train a comparison from the command line."""

from functools import cache
from pathlib import Path
from typing import Any

import click
import param

from bnnlab import limits
from bnnlab.cli.common import device_option, parse_spec
from bnnlab.cli.show import results


class _Compare(click.Command):
    """Takes an option for every setting of a comparison and every option of a network.

    Their names, defaults and help are the parameters' own; loading them takes torch, so they are
    made when this command is used and not when `bnnlab --help` lists it.
    """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        *own, help_option = super().get_params(ctx)
        return [*own, *_setting_options(), *_network_options(), help_option]


@cache
def _setting_options() -> list[click.Option]:
    from bnnlab import Comparison
    from bnnlab.training.comparison import SETTINGS

    return [_option(Comparison.param[name], name) for name in SETTINGS]


@cache
def _network_options() -> list[click.Option]:
    from bnnlab.nn import networks
    from bnnlab.registry import option_names

    found: dict[str, dict[str, Any]] = {}  # by option, the parameter of each network that has it
    for network in networks.names():
        kind = networks.parameters_of(network)
        for name in option_names(kind):
            found.setdefault(name, {})[network] = kind.param[name]
    return [_network_option(name, owners) for name, owners in found.items()]


def _network_option(name: str, owners: dict[str, Any]) -> click.Option:
    """One option for all networks that have it, though they may mean different things."""
    meanings: dict[tuple[str, Any], list[str]] = {}  # and the networks they hold for
    for network, parameter in owners.items():
        meanings.setdefault((parameter.doc, parameter.default), []).append(network)
    if len(meanings) == 1:
        ((about, default),) = meanings
        return _flag(name, _kind(next(iter(owners.values()))), about, str(default))
    about = " ".join(f"{', '.join(of)}: {doc}" for (doc, _), of in meanings.items())
    default = ", ".join(f"{value} for {' and '.join(of)}" for (_, value), of in meanings.items())
    return _flag(name, _kind(next(iter(owners.values()))), about, default)


class _Schedule(click.ParamType):
    name = "epoch:factor,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> list[list[float]]:
        try:
            return [[float(part) for part in entry.split(":")] for entry in value.split(",")]
        except ValueError:
            self.fail(f"{value!r} is not EPOCH:FACTOR,..., as in 15:0.1,25:0.1", param, ctx)


def _kind(parameter: Any) -> Any:
    kinds: dict[type, Any] = {param.Integer: int, param.Number: float}
    if isinstance(parameter, param.Selector):
        return click.Choice(parameter.objects)
    if isinstance(parameter, param.List):
        return _Schedule()
    return kinds[type(parameter)]


def _option(parameter: Any, name: str) -> click.Option:
    return _flag(name, _kind(parameter), parameter.doc or "", str(parameter.default))


def _flag(name: str, kind: Any, about: str, default: str) -> click.Option:
    about = " ".join(about.split()).rstrip(".")
    flag = "--" + name.replace("_", "-")
    return click.Option([flag], type=kind, default=None, help=f"{about}.  [default: {default}]")


@click.command(cls=_Compare)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to keep the comparison in, NAME.bnnlab.",
)
@click.option(
    "--task",
    metavar="TASK[:OPTION=VALUE,...]",
    help="What is learnt; `bnnlab tasks` lists them.  [default: digits]",
)
@click.option(
    "--network",
    metavar="NETWORK[:OPTION=VALUE,...]",
    help="What learns it: mlp, lenet, vgg, lstm.  [default: the one that suits the task]",
)
@click.option(
    "--schemes",
    metavar="NAME,...|all",
    help="Schemes, each a lane; `bnnlab schemes` lists them.  [default: all]",
)
@click.option(
    "--scheme",
    "specs",
    multiple=True,
    metavar="NAME[:OPTION=VALUE,...]",
    help="A scheme with options of its own; can be repeated.",
)
@click.option(
    "--seeds",
    metavar="COUNT|SEED,SEED,...",
    help="How many seeds a scheme is trained with, or which.  [default: 1]",
)
@click.option(
    "--processes",
    type=click.IntRange(1, limits.PROCESSES),
    help="Trainers side by side.  [default: one for each core]",
)
@device_option()
def command(out, processes, device, **given: Any) -> None:
    """Train schemes side by side and print how they did.

    If the folder is there already, training goes on where it left off; then `--out` alone is
    enough. Ctrl-C saves a checkpoint.

    \b
    bnnlab compare --task digits --schemes all --steps 300 --seeds 2 --out digits.bnnlab
    bnnlab compare --task moons:noise=0.2 --schemes bwn,lab --batch-norm off --out moons.bnnlab
    bnnlab compare --task text:length=100 --schemes binary_connect,lab --out text.bnnlab
    bnnlab compare --task mnist --network vgg:width_factor=0.25 --schemes bnn,lab2 --out vgg.bnnlab
    bnnlab compare --scheme dorefa:activation_bits=2 --scheme lab:granularity=channel --out k.bnnlab
    bnnlab compare --task cifar10 --schemes bnn,lab2 --device cuda --out cifar10.bnnlab
    bnnlab compare --out digits.bnnlab --steps 600
    """
    given = {name: value for name, value in given.items() if value not in (None, ())}
    comparison = _resumed(out, given) if (out / "comparison.json").exists() else None
    try:
        log = (comparison or _described(given)).run(out, processes=processes, device=device)
    except KeyboardInterrupt:
        click.echo(
            f"\nStopped; a checkpoint is saved. To go on: bnnlab compare --out {out}", err=True
        )
        raise click.exceptions.Exit(130) from None
    click.echo(results([log]))


def _resumed(out: Path, given: dict[str, Any]) -> Any:
    """The comparison that is there, if nothing but the number of steps was said of it."""
    import bnnlab

    if set(given) - {"steps"}:
        return None
    log = bnnlab.open(out)
    return bnnlab.Comparison.from_dict(log.comparison | {"steps": log.steps} | given)


def _described(given: dict[str, Any]) -> Any:
    import bnnlab

    network = {option.name: given.pop(option.name) for option in _network_options()
               if option.name in given}  # fmt: skip
    spec: dict[str, Any] = {}
    if "task" in given:
        spec["task"] = parse_spec(given.pop("task"))
    if "network" in given:
        spec["network"] = {**parse_spec(given.pop("network")), **network}
    elif network:
        suited = bnnlab.tasks.get(**spec.get("task", {"name": "digits"})).network
        spec["network"] = {"name": suited, **network}
    names = given.pop("schemes", None)
    specs = [parse_spec(text) for text in given.pop("specs", ())]
    if names == "all":
        spec["schemes"] = [*bnnlab.schemes.names(), *specs]
    elif names or specs:
        spec["schemes"] = [name.strip() for name in (names or "").split(",") if name.strip()]
        spec["schemes"] += specs
    if "seeds" in given:
        spec["seeds"] = _seeds(given.pop("seeds"))
    return bnnlab.Comparison(**spec, **given)


def _seeds(text: str) -> int | list[int]:
    try:
        seeds = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ValueError(
            f"--seeds is {text!r}; give how many (3), or which with a comma (0,1,7 or 5,)"
        ) from None
    return seeds if "," in text else seeds[0]
