"""`bnnlab report`: a comparison as one HTML file."""

from pathlib import Path

import click

from bnnlab.cli.common import comparison_argument


@click.command()
@comparison_argument()
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write.  [default: COMPARISON.html]",
)
def command(comparison, out) -> None:
    """Write a comparison as one HTML file, to read or to send.

    It opens in a browser without a server or a network: curves, a slider over training for weights
    and estimators, scaling factors, flips, what `bnnlab bench` measured, and the settings.

    \b
    bnnlab report digits.bnnlab
    bnnlab report digits.bnnlab -o report.html
    """
    import bnnlab
    from bnnlab.figures.report import report

    log = bnnlab.open(comparison)
    path = report(log, out or log.path.with_suffix(".html"))
    click.echo(f"{path}: {path.stat().st_size:,} bytes")
