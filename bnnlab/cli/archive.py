"""`bnnlab archive`: a comparison or a study in one file."""

from pathlib import Path

import click

from bnnlab.cli.common import comparison_argument


@click.command()
@comparison_argument()
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write.  [default: COMPARISON.zip]",
)
def command(comparison, out) -> None:
    """Put a comparison, or a study, into one file.

    Commands take the file in place of the folder.

    \b
    bnnlab archive digits.bnnlab
    bnnlab show digits.bnnlab.zip
    bnnlab archive widths.bnnlab --out to-send.bnnlab.zip
    """
    from bnnlab.training.archive import archive

    folder = comparison.resolve()
    path = archive(folder, out or folder.with_name(f"{folder.name}.zip"))
    click.echo(f"{path}: {path.stat().st_size:,} bytes")
