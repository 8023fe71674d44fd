"""`bnnlab study`: a grid of comparisons, on the cores of this machine or on a cluster."""

from pathlib import Path

import click

from bnnlab import limits


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for its comparisons.  [default: the file's name]",
)
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler, as tcp://10.0.0.1:8786.")
@click.option(
    "--workers",
    type=click.IntRange(1, limits.PROCESSES),
    help="Runs side by side on this machine.  [default: one for each core]",
)
@click.option(
    "--table",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="Write the results to NAME.csv, .parquet, .md or .tex; can be repeated.",
)
@click.option(
    "--tensorboard",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the scalars of every run as TensorBoard's event files into this folder.",
)
@click.option("--dry-run", is_flag=True, help="List the comparisons, and train nothing.")
def command(file, out, scheduler, workers, table, tensorboard, dry_run) -> None:
    """Train a grid of comparisons and tabulate what came of it.

    FILE says what is compared and over which values: it is a YAML file such as

    \b
    task: moons
    schemes: [full_precision, bwn, lab]
    seeds: 3
    steps: 300
    grid:
      network.width: [8, 32]
      network.batch_norm: ["on", "off"]

    Every combination is a comparison in the folder, which all other commands take. Runs go through
    Dask.distributed: on this machine, or where --scheduler is; all workers must see the folder
    under the same path. The same command does only what is missing: Ctrl-C, or a worker that dies,
    loses what was trained since a checkpoint at most. A run that fails is reported at the end.

    \b
    bnnlab study widths.yaml --dry-run
    bnnlab study widths.yaml --table widths.md --table widths.tex
    bnnlab study widths.yaml --scheduler tcp://10.0.0.1:8786 --out /shared/widths
    bnnlab serve "widths/width=8, batch_norm=on.bnnlab"
    """
    from tqdm.auto import tqdm

    from bnnlab.study import cluster, grid, tables
    from bnnlab.training.store import Log

    study = grid.load(file)
    for path in table:
        tables.check(path)
    out = Path(file.stem) if out is None else out
    click.echo(f"{study.title}: {len(study.comparisons)} comparisons, {study.runs} runs", err=True)
    if dry_run:
        for name, comparison in study.comparisons.items():
            click.echo(f"{name}: {len(comparison.runs)} runs of {comparison.steps} steps")
        return
    with tqdm(unit="step") as bar:

        def tell(made: int, steps: int, failed: dict[str, str]) -> None:
            bar.total = steps
            bar.update(made - bar.n)
            if failed:
                bar.set_postfix_str(f"{len(failed)} failed")

        try:
            failed = cluster.run(study, out, scheduler=scheduler, workers=workers, tell=tell)
        except KeyboardInterrupt:
            said = "Stopped; checkpoints are saved. The same command goes on from there."
            click.echo(f"\n{said}", err=True)
            raise click.exceptions.Exit(130) from None
    found = tables.results(study, out)
    for path in table:
        tables.write(found, path)
    if tensorboard is not None:
        tables.tensorboard({name: Log(out / f"{name}.bnnlab") for name in study.comparisons},
                           tensorboard)  # fmt: skip
    click.echo(found.to_string(index=False, float_format=lambda value: f"{value:.4f}"))
    for name, why in failed.items():
        click.echo(f"failed: {name}: {why}", err=True)
    if failed:
        raise click.exceptions.Exit(1)
