"""`bnnlab bench`: what the kernels, or trained networks, do on this machine."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bnnlab.cli.common import comparison_argument, table

ROUNDS, QUICK_ROUNDS = 15, 3
CURVE = (1, 4, 16, 64, 256)  # batches of a comparison's figure
LARGEST = 2**16  # of each number of a shape
MOST = 2**28  # weights of a layer: 1 GiB in float32
INTERRUPTED = 130


@click.command()
@comparison_argument(required=False)
@click.option(
    "--lane", "lanes", multiple=True, metavar="LANE", help="Only this lane; can be repeated."
)
@click.option(
    "--batch", "batches", multiple=True, type=click.IntRange(1, LARGEST), metavar="SAMPLES",
    help="Samples at once, of networks and of --figure; can be repeated.  [default: 1, 10, 100]",
)  # fmt: skip
@click.option(
    "--shape", "shapes", multiple=True, metavar="M,N,K",
    help="Measure this product of M samples, N outputs, K inputs; can be repeated.",
)  # fmt: skip
@click.option(
    "--threads", default=1, show_default=True, type=click.IntRange(1, 256),
    help="Threads of a network's pass, packed and in PyTorch; single kernels have one.",
)  # fmt: skip
@click.option("--isa", metavar="NAME", help="The kernels' instruction set.  [default: the best]")
@click.option(
    "--rounds", type=click.IntRange(1, 1000), metavar="COUNT",
    help=f"Samples of each time.  [default: {ROUNDS}; {QUICK_ROUNDS} with --quick]",
)  # fmt: skip
@click.option("--quick", is_flag=True, help="A few shapes and rounds: to see that all is well.")
@click.option("--json", "as_json", is_flag=True, help="Print everything measured, as JSON.")
@click.option(
    "--figure", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Draw throughput against batch size and layer width, below the machine's limit, into a "
    ".pdf, .svg, .png or .html.",
)  # fmt: skip
@click.pass_context
def command(
    context, comparison, lanes, batches, shapes, threads, isa, rounds, quick, as_json, figure
) -> None:
    """Measure what the kernels do on this machine, or what trained networks cost on it.

    Without COMPARISON: products and convolutions, packing the inputs counted and apart, beside
    PyTorch in float32 (F.linear and oneDNN), bfloat16 and dynamic int8. With it: the first seed of
    each lane, packed, beside the same; the results are kept in the comparison.

    All is timed on the spot, in turn; a figure is a median, in brackets its 10th and 90th
    percentiles. The limit is what this machine's instruction set does with everything in registers,
    or how fast it reads the packed weights, whichever takes longer. Ctrl-C prints what there is.

    \b
    bnnlab bench
    bnnlab bench --shape 64,4096,4096 --isa avx2
    bnnlab bench --figure roofline.pdf --json > kernels.json
    bnnlab bench digits.bnnlab --lane bnn --batch 1 --batch 64
    bnnlab bench digits.bnnlab --figure digits.pdf
    """
    from bnnlab.packed import kernels

    kernels.require()
    _refuse(comparison, lanes, batches, shapes, threads, figure)
    from bnnlab.packed.benchmark import instruction_set

    rounds = rounds or (QUICK_ROUNDS if quick else None)
    with instruction_set(isa):
        if comparison is None:
            complete = _kernels(
                [_shape(text) for text in shapes], batches, rounds or ROUNDS, quick, as_json, figure
            )
        else:
            sizes = batches or (CURVE if figure else ())
            complete = _networks(comparison, lanes, sizes, threads, rounds, as_json, figure)
    if not complete:
        context.exit(INTERRUPTED)


def _refuse(comparison, lanes, batches, shapes, threads, figure) -> None:
    """Raise ValueError where options do not go together."""
    from bnnlab.figures.export import FORMATS

    if comparison is None and lanes:
        raise ValueError("--lane names a lane of a COMPARISON; give one")
    if comparison is None and threads > 1:
        raise ValueError(f"--threads is {threads}; single kernels have 1: give a COMPARISON")
    if comparison is None and batches and not figure:
        raise ValueError("--batch is for a COMPARISON or a --figure; --shape M,N,K has its own")
    if shapes and (comparison is not None or figure):
        raise ValueError("--shape measures a product; it goes with neither COMPARISON nor --figure")
    if figure is not None and figure.suffix.lower() not in FORMATS:
        raise ValueError(f"--figure is {str(figure)!r}; it can end in {', '.join(FORMATS)}")


def _shape(text: str) -> tuple[int, int, int]:
    try:
        m, n, k = (int(part) for part in text.split(","))
        if not all(1 <= size <= LARGEST for size in (m, n, k)) or max(m, n) * k > MOST:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"--shape is {text!r}; it must be M,N,K: samples, outputs and inputs from 1 to "
            f"{LARGEST:,}, with at most {MOST:,} weights, and inputs of all samples"
        ) from None
    return m, n, k


def _gather(trials: list[tuple[str, Callable[[], Any]]]) -> tuple[dict[str, Any], bool]:
    """Run trials with a bar; return what each gave, by name, and whether none was left out."""
    from tqdm import tqdm

    found = {}
    with tqdm(trials, unit="trial", disable=None, leave=False) as bar:
        try:
            for name, trial in bar:
                bar.set_postfix_str(name)
                found[name] = trial()
        except KeyboardInterrupt:
            pass
    if len(found) < len(trials):
        click.echo(f"interrupted: {len(found)} of {len(trials)} are measured", err=True)
    return found, len(found) == len(trials)


def _kernels(shapes, batches, rounds, quick, as_json, figure) -> bool:
    from bnnlab.packed import trials

    if figure is not None:
        planned = trials.sweep(batches, quick)
    elif shapes:
        planned = [(operands, shape) for operands in trials.OPERANDS for shape in shapes]
    else:
        planned = trials.standard(quick)
    found, complete = _gather(
        [(f"{kind} {_by(shape)}", lambda kind=kind, shape=shape: trials.run(kind, shape, rounds))
         for kind, shape in planned]
    )  # fmt: skip
    record = trials.conditions() | {"rounds": rounds, "rows": list(found.values())}
    if figure is not None and found:
        from bnnlab.figures import throughput
        from bnnlab.figures.export import export

        export(throughput.drawing(record), figure)
    click.echo(json.dumps(record, indent=1) if as_json else _told(record, figure))
    return complete


def _by(shape) -> str:
    return " x ".join(map(str, shape))


def _told(record: dict[str, Any], figure: Path | None) -> str:
    lines = [_conditions(record)]
    lines += [record["int8_missing"]] if record["int8_missing"] else []
    products = [row for row in record["rows"] if row["kernel"] != "convolution"]
    layers = [row for row in record["rows"] if row["kernel"] == "convolution"]
    for about, rows, dense in [
        ("Products: samples x outputs x inputs, times signs.", products, "F.linear"),
        ("Convolutions: channels x height x width, 3 x 3 taps, as many out.", layers, "conv2d"),
    ]:
        if rows:
            lines += ["", about, _rows(rows, dense)]
    return "\n".join([*lines, *([f"\n{figure}"] if figure else [])])


def _conditions(about: dict[str, Any]) -> str:
    threads = "one thread" if about["threads"] == 1 else f"{about['threads']} threads"
    said = f"{about['machine']}, {about['isa']} kernels, {threads}, torch {about['torch']}"
    busy = about["load"] is not None and about["load"] > about["cores"]
    return said + (f"\nOther programs want its cores: load {about['load']:.1f}" if busy else "")


def _rows(rows: list[dict[str, Any]], dense: str) -> str:
    """A table of trials; `dense` is what PyTorch does in float32."""
    from bnnlab.packed.twins import WAYS

    names = WAYS | {"torch": dense}
    beside = [way for way in names if any(way in row["faster"] for row in rows)]
    head = ["inputs", "shape", "us", "(10-90 %)", "packing", "GOPS", "of limit", "bound by"]
    cells = [[*head, *(f"x {names[way]}" for way in beside), "kB", "float32"]]
    for row in rows:
        seconds, traffic = row["seconds"], row["traffic"]
        packed = seconds["packed"]
        cells.append(
            [
                "signs" if row["kernel"] in ("bits", "convolution") else row["kernel"],
                _by(row["shape"]),
                f"{packed['median'] * 1e6:,.1f}",
                f"({packed['low'] * 1e6:,.1f}-{packed['high'] * 1e6:,.1f})",
                f"{seconds['packing']['median'] * 1e6:,.1f}" if "packing" in seconds else "-",
                f"{row['operations'] / packed['median'] / 1e9:,.0f}",
                _percent(row["limit"]),
                str(row["limit"]["bound"]),
                *(_times(row["faster"].get(way)) for way in beside),
                f"{traffic['packed'] / 1e3:,.0f}",
                f"{traffic['float32'] / 1e3:,.0f}",
            ]
        )
    return table(cells, numbers=[2, 4, 5, 6, *range(8, len(cells[0]))])


def _percent(limit: dict[str, Any] | None) -> str:
    return "-" if limit is None else f"{100 * limit['share']['median']:.0f} %"


def _times(timing: dict[str, float] | None) -> str:
    return "-" if timing is None else f"{timing['median']:.1f}"


def _networks(comparison, lanes, batches, threads, rounds, as_json, figure) -> bool:
    import bnnlab
    from bnnlab import cost, tasks
    from bnnlab.packed.trials import conditions

    log = bnnlab.open(comparison)
    runs = [log.run(lane) for lane in lanes or log.lanes]
    test_x = tasks.get(**log.comparison["task"]).load().test_x
    options = {"batches": batches or cost.BATCHES, "threads": threads, "rounds": rounds}
    records, complete = _gather(
        [(run.lane, lambda run=run: cost.measure_run(log, run, test_x, **options)) for run in runs]
    )
    about = conditions() | {"threads": threads}
    if figure is not None and records:
        from bnnlab.figures import drawing

        log.refresh()
        bnnlab.export(drawing("roofline", log, lanes=list(records)), figure)
    click.echo(json.dumps(records, indent=1) if as_json else _report(records, about, figure))
    return complete


def _report(records: dict[str, Any], about: dict[str, Any], figure: Path | None) -> str:
    from bnnlab.packed.twins import WAYS

    measured = {lane: record for lane, record in records.items() if "batches" in record}
    lines = []
    if measured:
        lines += [_conditions(about), *filter(None, [about["int8_missing"]])]
        lines.append("Times longer than the packed network: x; predictions that are float32's.\n")
        head = ["lane", "batch", "us", "(10-90 %)", "packing", "of limit", "bound by"]
        head += [f"x {name}" for name in WAYS.values()]
        rows = [[*head, "kB moved", "float32", "bytes", "float32", "same predictions"]]
        for lane, record in measured.items():
            rows += [_row(lane, record, batch) for batch in record["batches"]]
        lines.append(table(rows, numbers=[1, 2, 4, 5, *range(7, len(rows[0]))]))
    lines += [
        f"{lane} is not packed: {record['not_packable']}"
        for lane, record in records.items()
        if "not_packable" in record
    ]
    return "\n".join([*lines, *([f"\n{figure}"] if figure else [])])


def _row(lane: str, record: dict[str, Any], batch: dict[str, Any]) -> list[str]:
    from bnnlab.packed.twins import WAYS

    packed, packing, limit = batch["packed_s"], batch["packing_s"], batch["limit"]
    others = [batch[f"{way}_s"] for way in WAYS]
    return [
        lane,
        str(batch["batch"]),
        f"{packed['median'] * 1e6:,.1f}",
        f"({packed['low'] * 1e6:,.1f}-{packed['high'] * 1e6:,.1f})",
        f"{packing['median'] * 1e6:,.1f}" if packing else "-",
        _percent(limit),
        limit["bound"] if limit else "-",
        *(f"{other['median'] / packed['median']:.1f}" if other else "-" for other in others),
        f"{batch['traffic']['packed'] / 1e3:,.1f}",
        f"{batch['traffic']['float32'] / 1e3:,.1f}",
        f"{record['bytes_packed']:,}",
        f"{record['bytes_float32']:,}",
        f"{record['predictions_equal']:,}/{record['predictions']:,}",
    ]
