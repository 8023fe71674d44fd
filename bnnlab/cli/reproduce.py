"""`bnnlab reproduce`: train the protocol of a published table and set our figures beside it."""

import shlex
import sys
from pathlib import Path

import click

from bnnlab import limits
from bnnlab.cli.common import device_option


@click.command()
@click.argument("recipe", required=False)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the comparisons and the report.  [default: the recipe's name]",
)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="How many.")
@click.option("--short", is_flag=True, help="The recipe's version that takes minutes.")
@click.option("--epochs", type=click.IntRange(1), help="Fewer than the paper's.")
@click.option("--width", type=click.IntRange(1), help="Narrower layers than the paper's.")
@click.option("--schemes", metavar="NAME,...", help="Only these of the recipe's schemes.")
@click.option(
    "--processes",
    type=click.IntRange(1, limits.PROCESSES),
    help="Trainers side by side.  [default: one for each core]",
)
@device_option()
def command(recipe, out, seeds, short, epochs, width, schemes, processes, device) -> None:
    """Reproduce a published table: train its protocol, and report ours beside the paper's figures.

    Without a name, the recipes are listed. A recipe is a YAML file; one of your own can be named by
    its path. Ctrl-C saves checkpoints; the same command goes on from there. The report is written
    into the folder, report.md with its curves and result.json, however far it has come.

    \b
    bnnlab reproduce
    bnnlab reproduce lab-mnist --short
    bnnlab reproduce lab-mnist --seeds 3
    bnnlab reproduce lab-cifar10 --device cuda
    bnnlab reproduce lab-mnist --epochs 5 --width 512 --schemes full_precision,lab --out short
    """
    from bnnlab import study
    from bnnlab.training import devices

    if recipe is None:
        for name in study.names():
            about = study.load(name)
            click.echo(f"{name}\n  {about.title}. {about.source}")
        return
    chosen = study.load(recipe)
    devices.get(device)  # refused before a folder is made
    out = Path(chosen.name) if out is None else out
    if short:
        if chosen.short is None:
            raise click.UsageError(f"{chosen.name} has no short version; give --epochs and --width")
        epochs, width = epochs or chosen.short.epochs, width or chosen.short.width
    names = [name.strip() for name in schemes.split(",") if name.strip()] if schemes else None
    parts = chosen.comparisons(seeds=seeds, epochs=epochs, width=width, schemes=names)
    typed = shlex.join(["bnnlab", *sys.argv[1:]])
    logs, report = {}, ""
    try:
        for name, comparison in parts.items():
            folder = out / f"{chosen.name}-{name}.bnnlab"
            logs[name] = comparison.create(folder)
        for name, comparison in parts.items():
            click.echo(f"{chosen.name}: {name}", err=True)
            comparison.run(logs[name].path, processes=processes, device=device)
    except KeyboardInterrupt:
        said = "Stopped; checkpoints are saved. The same command goes on from there."
        click.echo(f"\n{said}", err=True)
        raise click.exceptions.Exit(130) from None
    finally:
        if logs:
            for log in logs.values():
                log.refresh()
            report = study.write(out, study.result(chosen, logs, typed), logs)
    click.echo(report)
