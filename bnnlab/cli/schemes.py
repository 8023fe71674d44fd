"""`bnnlab schemes`: what there is to compare."""

import click

from bnnlab.cli.common import options_table, table


@click.command()
@click.argument("name", required=False)
def command(name) -> None:
    """List the schemes, or explain one.

    What is explained are its paper, formulas and options.

    \b
    bnnlab schemes
    bnnlab schemes lab
    """
    from bnnlab import schemes

    if name is None:
        made = [schemes.get(key) for key in schemes.names()]
        rows = [
            [s.key, f"{s.weight_bits}/{s.activation_bits}", s.title, str(s.year or ""), s.reference]
            for s in made
        ]
        click.echo(table([["name", "bits W/A", "title", "year", "reference"], *rows]))
        return
    scheme = schemes.get(name)
    click.echo(f"{scheme.title}\n{scheme.authors} ({scheme.year}), {scheme.reference}\n")
    for equation in scheme.equations:
        click.echo(f"  {equation}")
    click.echo(f"\nOptions (--scheme {name}:OPTION=VALUE,...):\n{options_table(type(scheme))}")
