"""`bnnlab tasks`: what there is to learn."""

from typing import TYPE_CHECKING

import click

from bnnlab.cli.common import options_table, table

if TYPE_CHECKING:
    from bnnlab.tasks import Task


@click.command()
@click.argument("name", required=False)
def command(name) -> None:
    """List the tasks, or explain one and its options.

    \b
    bnnlab tasks
    bnnlab tasks moons
    """
    from bnnlab import tasks

    if name is None:
        made = {key: tasks.get(key) for key in tasks.names()}
        rows = [[key, *_size(task), task.description] for key, task in made.items()]
        head = ["name", "inputs", "classes", ""]
        click.echo(table([head, *rows], numbers=(1, 2)))
        return
    task = tasks.get(name)
    click.echo(f"{task.title}: {task.description}")
    click.echo(f"\nOptions (--task {name}:OPTION=VALUE,...):\n{options_table(type(task))}")


def _size(task: "Task") -> tuple[str, str]:
    """The inputs and classes of a task; dashes where they depend on a file that is not named."""
    try:
        return str(task.inputs), str(task.classes)
    except ValueError:
        return "-", "-"
