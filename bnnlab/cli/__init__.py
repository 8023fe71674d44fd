"""The `bnnlab` command.

Every module of this package that has a `command` is a subcommand of its name. What takes long to
load (torch, panel, holoviews) is loaded by the subcommand that needs it, when it runs.
"""

import atexit
import gc
import pkgutil
from importlib import import_module

import click

import bnnlab

_ORDER = ("serve", "compare", "show", "figures", "report", "bench", "pack", "predict", "archive",
          "reproduce", "study", "schemes", "tasks")  # fmt: skip


class _Commands(click.Group):
    """Finds subcommands by module, and turns errors that users can mend into messages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        modules = {module.name for module in pkgutil.iter_modules(__path__)}
        return [name for name in _ORDER if name in modules]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        return import_module(f"{__name__}.{cmd_name}").command

    def invoke(self, ctx: click.Context):
        try:
            return super().invoke(ctx)
        except ValueError as error:
            # What was given is not allowed: the library's messages say what is.
            raise click.UsageError(str(error)) from error
        except (RuntimeError, OSError) as error:
            if isinstance(error, (click.exceptions.Exit, click.Abort)):
                raise
            raise click.ClickException(str(error)) from error


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(bnnlab.__version__, prog_name="bnnlab")
def main() -> None:
    """Binarized neural networks, trained live and side by side under every published scheme.

    \b
    bnnlab serve                                    the dashboard, in a browser
    bnnlab compare --task digits --out digits.bnnlab
    bnnlab figures digits.bnnlab --out figures/
    """
    # To look for garbage among PyTorch's objects at the end would take a third of a second.
    atexit.register(gc.freeze)
