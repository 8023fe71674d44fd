"""`bnnlab bench`: what the networks cost on this machine."""

import json
from typing import Any

import click

from bnnlab.cli.common import comparison_argument, table


@click.command()
@comparison_argument()
@click.option(
    "--lane", "lanes", multiple=True, metavar="LANE", help="Only this lane; can be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything measured, as JSON.")
def command(comparison, lanes, as_json) -> None:
    """Measure what the trained networks cost on this machine.

    The first seed of each lane is packed and timed with one thread, beside PyTorch in 32 bits: as
    `F.linear` runs it, and through oneDNN. Packing the inputs counts. Results are kept in the
    comparison.

    \b
    bnnlab bench digits.bnnlab
    bnnlab bench digits.bnnlab --lane bnn --json
    """
    from tqdm import tqdm

    import bnnlab
    from bnnlab import cost, tasks
    from bnnlab.packed import kernels

    log = bnnlab.open(comparison)
    kernels.require()
    runs = [log.run(lane) for lane in lanes or log.lanes]
    test_x = tasks.get(**log.comparison["task"]).load().test_x
    bar = tqdm(runs, unit="lane", disable=None)
    records = {run.lane: cost.measure_run(log, run, test_x) for run in bar}
    click.echo(json.dumps(records, indent=1) if as_json else _report(records))


def _report(records: dict[str, dict[str, Any]]) -> str:
    measured = {lane: record for lane, record in records.items() if "batches" in record}
    lines = []
    if measured:
        first = next(iter(measured.values()))
        lines.append(f"{first['machine']}, {first['isa']} kernels, one thread")
        lines.append("times in microseconds, with how many times longer PyTorch takes\n")
        rows = [_head(first), *(_row(lane, record) for lane, record in measured.items())]
        lines.append(table(rows, numbers=range(1, len(rows[0]))))
    lines += [
        f"{lane} is not packed: {record['not_packable']}"
        for lane, record in records.items()
        if "not_packable" in record
    ]
    return "\n".join(lines)


def _head(record: dict[str, Any]) -> list[str]:
    head = ["lane", "bytes", "of"]
    for batch in record["batches"]:
        head += [f"batch {batch['batch']}", "F.linear", "oneDNN"]
    return [*head, "predictions equal"]


def _row(lane: str, record: dict[str, Any]) -> list[str]:
    row = [lane, f"{record['bytes_packed']:,}", f"{record['bytes_float32']:,}"]
    for batch in record["batches"]:
        packed = batch["packed_s"]["median"]
        row.append(f"{packed * 1e6:,.1f}")
        for other in ("torch_s", "onednn_s"):
            there = batch[other]
            row.append(f"{there['median'] / packed:.1f}x" if there else "-")
    return [*row, f"{record['predictions_equal']:,}/{record['predictions']:,}"]
