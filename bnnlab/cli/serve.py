"""`bnnlab serve`: the dashboard."""

from pathlib import Path

import click

from bnnlab.cli.common import comparison_argument, device_option


@click.command()
@comparison_argument(required=False)
@click.option(
    "--library",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where comparisons are kept. Default: beside COMPARISON, or ./comparisons.",
)
@click.option(
    "--port",
    default=5006,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 takes any that is free.",
)
@click.option(
    "--address",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. One that other machines reach needs --basic-auth.",
)
@click.option(
    "--basic-auth",
    metavar="PASSWORD|FILE",
    envvar="BNNLAB_BASIC_AUTH",
    help="A password, or a JSON file of users and passwords.",
)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="HOST:PORT",
    help="A page that may connect, behind a proxy; can be repeated.",
)
@device_option()
@click.option("--show/--no-show", default=True, show_default=True, help="Open a browser.")
@click.option(
    "--autoplay/--no-autoplay",
    default=True,
    show_default=True,
    help="Begin training when a page opens.",
)
def command(
    comparison, library, port, address, basic_auth, origins, device, show, autoplay
) -> None:
    """Serve the dashboard to this machine, until Ctrl-C.

    With COMPARISON (NAME.bnnlab, or the NAME.bnnlab.zip it was sent as) the page opens it.

    \b
    bnnlab serve
    bnnlab serve digits.bnnlab --port 8000 --no-show
    bnnlab serve --device cuda
    """
    import bnnlab
    from bnnlab.ui.serve import serve

    folder = None if comparison is None else bnnlab.open(comparison).path
    try:
        serve(
            folder, library, port, address, show=show, autoplay=autoplay, device=device,
            basic_auth=basic_auth, origins=list(origins) or None,
        )  # fmt: skip
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {address}:{port}: {error.strerror or error}; try --port 0"
        ) from error
