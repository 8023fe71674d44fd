"""`bnnlab show`: how the lanes of comparisons did, as a table."""

from typing import TYPE_CHECKING

import click

from bnnlab.cli.common import comparison_argument, spread, table

if TYPE_CHECKING:
    from bnnlab.training.store import Log, RunLog

HEAD = ("lane", "bits W/A", "validation accuracy", "test accuracy", "test loss", "bytes", "")


@click.command()
@comparison_argument(nargs=-1)
def command(comparison) -> None:
    """Print how each lane did.

    Takes one or several comparisons, or studies. Accuracies and losses are means ± standard
    deviations over seeds.

    \b
    bnnlab show digits.bnnlab
    bnnlab show with-batch-norm.bnnlab without.bnnlab
    bnnlab show widths.bnnlab
    """
    from bnnlab.study import folder

    click.echo(results([log for path in comparison for log in folder.logs(path)]))


def results(logs: "list[Log]") -> str:
    """A table of every lane: accuracies and loss over its seeds, bits, bytes, and what went wrong.

    Bytes are those of the network with its weights packed, see `bnnlab.summary`.
    """
    several = len(logs) > 1
    rows = [["comparison", *HEAD] if several else list(HEAD)]
    for log in logs:
        for lane in log.lanes:
            cells = _cells(log, lane)
            rows.append([log.path.name, *cells] if several else cells)
    return table(rows, numbers=range(1 + several, len(rows[0]) - 1))


def _cells(log: "Log", lane: str) -> list[str]:
    runs = [run for run in log.runs if run.lane == lane]
    about = runs[0].description
    done = [run.end for run in runs if run.end and run.end["state"] == "done"]
    values = {
        key: spread([end[key] for end in done if end[key] is not None])
        for key in ("validation_accuracy", "test_accuracy", "test_loss")
    }
    bits = f"{about['weight_bits']}/{about['activation_bits']}"
    return [lane, bits, *values.values(), _bytes(log, lane), _trouble(runs)]


def _bytes(log: "Log", lane: str) -> str:
    import bnnlab

    try:
        return f"{bnnlab.summary(log.model(lane)).total.bytes:,}"
    except ValueError:  # no checkpoint yet
        return "-"


def _trouble(runs: "list[RunLog]") -> str:
    troubles = [
        f"seed {run.seed}: "
        + (f"{run.end['state']} at step {run.end['step']}" if run.end else f"at step {run.step}")
        for run in runs
        if run.end is None or run.end["state"] != "done"
    ]
    return "; ".join(troubles)
