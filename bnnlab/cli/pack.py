"""`bnnlab pack`: a trained network as packed bits, in a file."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from bnnlab.cli.common import comparison_argument, table

KINDS = ("safetensors", "onnx", "c")


@click.command()
@comparison_argument()
@click.option(
    "--scheme",
    "lane",
    required=True,
    metavar="LANE",
    help="Which lane: a scheme's name as `bnnlab show` lists it.",
)
@click.option("--seed", type=int, help="Which seed.  [default: the lane's first]")
@click.option(
    "--to",
    type=click.Choice(KINDS),
    help="safetensors: what bnnlab reads. onnx: standard operators, for other runtimes. c: C99 "
    "that needs nothing else, with a header.  [default: as the file's name ends]",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write: NAME.safetensors, NAME.onnx or NAME.c.",
)
def command(comparison, lane, seed, to, out) -> None:
    """Write a trained network as packed bits.

    Its predictions on the test set are checked against PyTorch's. The file says what samples and
    scores are, which `bnnlab predict` needs.

    \b
    bnnlab pack digits.bnnlab --scheme bnn --out bnn.safetensors
    bnnlab pack digits.bnnlab --scheme bnn --to onnx --out bnn.onnx
    bnnlab pack digits.bnnlab --scheme bnn --to c --out bnn.c
    """
    import bnnlab
    from bnnlab import tasks

    out = _named(out, to)
    log = bnnlab.open(comparison)
    model = log.model(lane, seed)
    packed = bnnlab.pack(model)
    task = tasks.get(**log.comparison["task"])
    samples = None
    try:
        samples, packed.about = task.load().test_x, _about(task, packed)
    except tasks.TaskUnavailable as error:
        click.echo(
            f"Predictions are not checked, nor is it written what inputs are: {error}", err=True
        )
    files = packed.save(out, samples)
    rows = [["layer", "", "bytes"]]
    for layer in packed.layers:
        size = sum(array.nbytes for array in layer.arrays().values())
        rows.append([layer.name, layer.describe(), f"{size:,}"])
    click.echo(table(rows, numbers=[2]))
    floats = bnnlab.summary(model).bytes_float32
    for file in files:
        click.echo(f"{file}: {file.stat().st_size:,} bytes")
    what, size = "The file", files[0].stat().st_size
    if files[0].suffix == ".c":
        what, size = "Its constants", packed.nbytes
    click.echo(
        f"{what}: {size:,} bytes; with 32-bit weights {floats:,} ({floats / size:.1f} times)"
    )
    if samples is not None:
        click.echo(_check(model, _runner(files[0], packed), samples))


def _named(out: Path, to: str | None) -> Path:
    """The file to write, of which the ending says the kind."""
    ending = out.suffix.lower().removeprefix(".")
    if to is None and ending not in KINDS:
        raise click.UsageError(
            f"{out}: how is it to be written? name it {_endings()}, or give --to"
        )
    if to is not None and ending != to:
        if ending in KINDS:
            raise click.UsageError(f"--to {to}, but {out.name} ends in .{ending}")
        return out.with_name(f"{out.name}.{to}")
    return out


def _endings() -> str:
    return ", ".join(f"NAME.{kind}" for kind in KINDS)


def _about(task: Any, packed: Any) -> Any:
    """What the task says of samples and scores, as the file has it."""
    from bnnlab.packed.about import checked

    return checked(task.about(), packed.inputs, packed.outputs, text=not packed.shape)


def _runner(file: Path, packed: Any) -> Any:
    """From samples to scores by the file, or where it takes a compiler, by the packed network."""
    import bnnlab

    if file.suffix == ".safetensors":
        return bnnlab.load_packed(file)
    if file.suffix == ".onnx" and find_spec("onnxruntime"):
        import onnxruntime

        session = onnxruntime.InferenceSession(file)
        return lambda x: session.run(None, {"x": x.reshape(-1, *(packed.shape or x.shape[1:]))})[0]
    return packed


def _check(model: Any, runner: Any, samples: Any) -> str:
    import numpy as np
    import torch

    with torch.no_grad():
        expected = model(torch.from_numpy(samples)).argmax(-1).numpy()
    equal = int((np.asarray(runner(samples)).argmax(-1) == expected).sum())
    return f"Predictions on the test set equal to PyTorch's: {equal:,} of {expected.size:,}"
