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
    metavar="pdf,svg,png,html",
    help="One format or several; of animations gif or mp4.  [default: pdf; gif]",
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
    metavar="INCHES|MM|column|page|...",
    help="How wide: inches, millimetres as 89mm, or by name: column, page, sheet, neurips, iclr, "
    "icml-column, icml, ieee-column, ieee.  [default: a page; a sheet for the sheet]",
)
@click.option(
    "--caption",
    type=click.Choice(["inside", "beside"]),
    default="inside",
    show_default=True,
    help="Title and caption above the panels; or in a .tex file of the same name.",
)
@click.option(
    "--animate",
    metavar="VIEW,VIEW",
    help="Write these views over training as animations, instead of the figures.",
)
@click.option("--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True)
def command(comparison, out, formats, views, width, caption, animate, theme) -> None:
    """Write the views of a comparison as files.

    One file for each view and format, and one `sheet` with the whole comparison. PDF, SVG and PNG
    need no browser; an HTML file needs no network.

    \b
    bnnlab figures digits.bnnlab --out figures/ --format pdf,svg,png
    bnnlab figures digits.bnnlab --out figures/ --view weights --view curves --width column
    bnnlab figures digits.bnnlab --out figures/ --width 89mm --caption beside
    bnnlab figures moons.bnnlab --out figures/ --animate weights,boundary
    """
    from tqdm import tqdm

    import bnnlab
    from bnnlab import figures
    from bnnlab.figures import animation
    from bnnlab.figures.export import FORMATS

    log = bnnlab.open(comparison)
    known = animation.FORMATS if animate else FORMATS
    given = formats or ("gif" if animate else "pdf")
    suffixes = [f".{name.strip().lower().removeprefix('.')}" for name in given.split(",")]
    unknown = [suffix for suffix in suffixes if suffix not in known]
    if unknown:
        raise ValueError(f"--format is {given!r}; the formats are {', '.join(known)}")
    told = []
    if animate:
        moving = [name.strip() for name in animate.split(",")]
        for name in moving:
            figures.get(name)  # all can be drawn and written before the first is
        for suffix in suffixes:
            animation.check(Path(f"{moving[0]}{suffix}"))
        for name in moving:
            for suffix in suffixes:
                path = out / f"{name}{suffix}"
                told.append(figures.animate(name, log, path, width=width, theme=theme))
    else:
        for name in tqdm(_views(views), unit="view", disable=None):
            figure = figures.drawing(name, log, theme=theme)
            told += [
                bnnlab.export(figure, out / f"{name}{suffix}", width=width, caption=caption)
                for suffix in suffixes
            ]
    for path in told:
        click.echo(path)


def _views(asked: tuple[str, ...]) -> list[str]:
    from bnnlab import figures

    known = [*figures.names(), "sheet"]
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise ValueError(f"no view {', '.join(unknown)}; the views are {', '.join(known)}")
    return list(asked) or known
