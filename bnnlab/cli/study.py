"""`bnnlab study`: a grid of comparisons, on the cores of this machine or on a cluster."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bnnlab import limits
from bnnlab.cli.common import device_option

if TYPE_CHECKING:
    from tqdm import tqdm

    from bnnlab.study.cluster import Progress


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to keep it in.  [default: NAME.bnnlab, with the file's name]",
)
@click.option("--resume", is_flag=True, help="Do only what is missing of the folder.")
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler, as tcp://10.0.0.1:8786.")
@click.option(
    "--workers",
    type=click.IntRange(1, limits.PROCESSES),
    help="Runs side by side on this machine.  [default: one for each core]",
)
@device_option()
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
def command(file, out, resume, scheduler, workers, device, table, tensorboard, dry_run) -> None:
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

    Every combination is a comparison in the study's folder, which all other commands take. Runs go
    through Dask.distributed: on this machine, or where --scheduler is; all workers must see the
    folder under the same path. A worker that dies loses what was trained since a checkpoint at
    most; after Ctrl-C, --resume does only what is missing. A run that fails is reported at the end.

    \b
    bnnlab study widths.yaml --dry-run
    bnnlab study widths.yaml --table widths.md --table widths.tex
    bnnlab study widths.yaml --resume
    bnnlab study widths.yaml --scheduler tcp://10.0.0.1:8786 --out /shared/widths.bnnlab
    bnnlab show widths.bnnlab
    bnnlab serve "widths.bnnlab/width=8, batch_norm=on.bnnlab"
    bnnlab archive widths.bnnlab
    """
    from bnnlab.study import cluster, folder, grid, tables
    from bnnlab.training import devices, files

    if scheduler is not None and workers is not None:
        raise click.UsageError("--workers is for this machine; a scheduler has workers of its own")
    if scheduler is None:  # whose workers have devices of their own
        devices.get(device)
    study = grid.load(file)
    for path in table:
        tables.check(path)
    click.echo(f"{study.title}: {len(study.comparisons)} comparisons, {study.runs} runs", err=True)
    if dry_run:
        for name, comparison in study.comparisons.items():
            click.echo(f"{name}: {len(comparison.runs)} runs of {comparison.steps} steps")
        return
    out = Path(f"{file.stem}{files.SUFFIX}") if out is None else out
    kept = folder.create(study, out, resume=resume)
    bars = _Bars({key: log.steps for key, (log, _) in kept.runs.items()})
    try:
        failed = cluster.run(
            kept, scheduler=scheduler, workers=workers, device=device, tell=bars.show
        )
    except KeyboardInterrupt:
        said = "Stopped; checkpoints are saved. The same command with --resume goes on from there."
        click.echo(f"\n{said}", err=True)
        raise click.exceptions.Exit(130) from None
    finally:
        bars.close()
    kept.refresh()
    found = tables.results(kept.logs)
    for path in table:
        tables.write(found, path)
    if tensorboard is not None:
        tables.tensorboard(kept.logs, tensorboard)
    shown = found.drop(columns="title")  # its lanes are what other commands are told
    click.echo(shown.to_string(index=False, na_rep="–", float_format=lambda x: f"{x:.4f}"))
    for name, why in failed.items():
        click.echo(f"failed: {name}: {why}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


class _Bars:
    """A bar for the whole study, and below it one for each run that goes on."""

    def __init__(self, steps: dict[str, int]):
        from bnnlab.training.progress import bar

        self._bar, self._steps = bar, steps
        self._whole = bar(total=sum(steps.values()), unit="step")
        self._runs: dict[str, tqdm] = {}

    def show(self, progress: "Progress") -> None:
        failed = f", {len(progress.failed)} failed" if progress.failed else ""
        self._whole.set_description(
            f"{progress.done} of {progress.runs} runs{failed}", refresh=False
        )
        self._whole.update(progress.made - self._whole.n)
        for key in self._runs.keys() - progress.going.keys():
            self._runs.pop(key).close()
        for key, made in progress.going.items():
            if key not in self._runs:
                self._runs[key] = self._bar(
                    total=self._steps[key], desc=key, unit="step", leave=False, disable=None
                )
            self._runs[key].update(made - self._runs[key].n)

    def close(self) -> None:
        for bar in [*self._runs.values(), self._whole]:
            bar.close()
