"""`bnnlab figures`: the views of a comparison, as files."""

from pathlib import Path

import click

from bnnlab.cli.common import comparison_argument


@click.command()
@comparison_argument()
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write into; made if it is not there.",
)
@click.option(
    "--format",
    "formats",
    default="pdf",
    show_default=True,
    metavar="pdf,svg,png,html",
    help="One format or several.",
)
@click.option(
    "--view",
    "views",
    multiple=True,
    metavar="VIEW",
    help="Only this view, or `sheet` for all on one page; can be repeated.",
)
@click.option(
    "--width",
    metavar="INCHES|column|page|sheet",
    help="How wide.  [default: a page; a sheet for the sheet]",
)
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True)
def command(comparison, out, formats, views, width, theme) -> None:
    """Write the views of a comparison as files.

    One file for each view and format, and one `sheet` with the whole comparison. PDF, SVG and PNG
    need no browser; an HTML file needs no network.

    \b
    bnnlab figures digits.bnnlab --out figures/ --format pdf,svg,png
    bnnlab figures digits.bnnlab --out figures/ --view weights --view curves --width column
    """
    from tqdm import tqdm

    import bnnlab
    from bnnlab import figures
    from bnnlab.figures.export import FORMATS

    log = bnnlab.open(comparison)
    suffixes = [f".{name.strip().lower().removeprefix('.')}" for name in formats.split(",")]
    unknown = [suffix for suffix in suffixes if suffix not in FORMATS]
    if unknown:
        raise ValueError(f"--format is {formats!r}; the formats are {', '.join(FORMATS)}")
    asked = _views(views)
    size = _width(width)
    told = []
    for name in tqdm(asked, unit="view", disable=None):
        figure = figures.drawing(name, log, theme=theme)
        told += [bnnlab.export(figure, out / f"{name}{suffix}", width=size) for suffix in suffixes]
    for path in told:
        click.echo(path)


def _views(asked: tuple[str, ...]) -> list[str]:
    from bnnlab import figures

    known = [*figures.names(), "sheet"]
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise ValueError(f"no view {', '.join(unknown)}; the views are {', '.join(known)}")
    return list(asked) or known


def _width(given: str | None) -> float | str | None:
    try:
        return None if given is None else float(given)
    except ValueError:
        return given  # a named width, or refused by `export`
