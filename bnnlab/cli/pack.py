"""`bnnlab pack`: a trained network as packed bits, in a file."""

from pathlib import Path
from typing import Any

import click

from bnnlab.cli.common import comparison_argument


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
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write, NAME.safetensors.",
)
def command(comparison, lane, seed, out) -> None:
    """Write a trained network as packed bits.

    Its predictions on the test set are checked against PyTorch's.

    \b
    bnnlab pack digits.bnnlab --scheme bnn --out bnn.safetensors
    """
    import bnnlab

    log = bnnlab.open(comparison)
    model = log.model(lane, seed)
    packed = bnnlab.pack(model)
    packed.about = _about(log, packed)
    packed.save(out)
    floats = bnnlab.summary(model).bytes_float32
    size = out.stat().st_size
    click.echo(f"{out}: {size:,} bytes; with 32-bit weights {floats:,} ({floats / size:.1f} times)")
    click.echo(_check(log, model, bnnlab.load_packed(out)))


def _about(log: Any, packed: Any) -> Any:
    """What the task says of samples and scores; nothing where its file is gone."""
    from bnnlab import tasks
    from bnnlab.packed.about import NOTHING_KNOWN, checked

    try:
        known = tasks.get(**log.comparison["task"]).about()
    except tasks.TaskUnavailable as error:
        click.echo(f"How samples are prepared is not in the file: {error}", err=True)
        return NOTHING_KNOWN
    return checked(known, packed.inputs, packed.outputs, text=not packed.shape)


def _check(log: Any, model: Any, packed: Any) -> str:
    import numpy as np
    import torch

    from bnnlab import tasks

    try:
        x = tasks.get(**log.comparison["task"]).load().test_x
    except tasks.TaskUnavailable as error:
        return f"Predictions were not checked: {error}"
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).argmax(-1).numpy()
    equal = int((np.asarray(packed(x)).argmax(-1) == expected).sum())
    return f"Predictions on the test set equal to PyTorch's: {equal:,} of {expected.size:,}"
