"""`bnnlab predict`: what a packed network says of new samples."""

import csv
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click

_NUMBERS = 2**22  # inputs and scores of a batch
_MOST = 4096  # samples of a batch


@click.command()
@click.argument(
    "model", type=click.Path(exists=True, path_type=Path, dir_okay=False), metavar="MODEL"
)
@click.argument(
    "file", type=click.Path(exists=True, path_type=Path, dir_okay=False), metavar="FILE"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the predictions to this file, as CSV.  [default: to the screen]",
)
@click.option("--scores", is_flag=True, help="Write the score of every class beside.")
@click.option(
    "--label",
    metavar="COLUMN",
    help="The column of a table that says the class: its name, or its place from 1, or from -1 "
    "backwards.  [default: the one called as in training, or label, class, target or y]",
)
@click.option(
    "--header/--no-header",
    default=None,
    help="Whether a table begins with the names of its columns.  [default: it is looked at]",
)
@click.option(
    "--prepared",
    is_flag=True,
    help="The numbers are as the network takes them, not as they are found.",
)
@click.option(
    "--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="How many."
)
def command(model, file, out, scores, label, header, prepared, threads) -> None:
    """Run a packed network on the samples of a file.

    MODEL is what `bnnlab pack` wrote. FILE is a table (.csv, .tsv) with a sample in each row, or an
    .npz file with the arrays x and perhaps y, or for a network that reads texts a .txt file, of
    which every next character is predicted. Where there are labels, the accuracy is printed.

    \b
    bnnlab predict bnn.safetensors digits.csv
    bnnlab predict bnn.safetensors digits.npz --out predictions.csv --scores
    bnnlab predict bnn.safetensors digits.csv --label -1 --threads 2
    """
    from tqdm import tqdm

    import bnnlab
    from bnnlab.samples import Samples

    network = bnnlab.load_packed(model)
    samples = Samples(file, network, label, header, prepared)
    names = network.about.classes or tuple(network.about.vocabulary)
    names = names or tuple(map(str, range(network.outputs)))
    size = max(1, min(_MOST, _NUMBERS // (network.inputs + network.outputs)))
    tally = _Tally()
    bar = tqdm(total=samples.count(), unit="sample", unit_scale=True, disable=None, delay=0.5)
    # Closed at once where a sample is refused, and its file with it.
    with bar, _written(out) as write, closing(samples.batches(size)) as batches:
        for x, y in batches:
            given = network(x, threads=threads).reshape(-1, network.outputs)
            truth = None if y is None else y.reshape(-1)
            if not tally.count:
                write(_head(names if scores else (), truth is not None))
            for row in _rows(given, truth, names, scores, tally.count):
                write(row)
            tally.add(given, truth)
            bar.update(len(given))
    if out is not None:
        click.echo(f"{out}: {tally.count:,} predictions")
    for line in tally.lines():
        click.echo(line, err=out is None)
    if network.about.prepared and not prepared:
        click.echo(f"Samples were taken as they are: {network.about.prepared} was left to you.",
                   err=True)  # fmt: skip


@contextmanager
def _written(out: Path | None) -> Iterator[Any]:
    """A function that writes rows: to the screen, or to a file that is there when all is done."""
    if out is None:
        yield csv.writer(sys.stdout, lineterminator="\n").writerow
        return
    aside = out.with_name(f".{out.name}.part")
    try:
        with aside.open("w", newline="", encoding="utf-8") as file:
            yield csv.writer(file, lineterminator="\n").writerow
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)


def _head(names: tuple[str, ...], labelled: bool) -> list[str]:
    return ["sample", "predicted", *["label"] * labelled, *(f"score of {name}" for name in names)]


def _rows(given: Any, truth: Any, names: Any, scores: bool, first: int) -> Iterator[list]:
    for i, place in enumerate(given.argmax(-1).tolist()):
        row = [first + i + 1, names[place]]
        if truth is not None:
            row.append(names[truth[i]] if truth[i] >= 0 else "")
        yield row + [f"{score:.9g}" for score in given[i].tolist()] if scores else row


class _Tally:
    """What is counted."""

    def __init__(self):
        self.count = self.labelled = self.right = self.strange = 0

    def add(self, scores: Any, truth: Any) -> None:
        """Count the predictions of a batch."""
        self.count += len(scores)
        if truth is not None:
            known = truth >= 0
            self.labelled += int(known.sum())
            self.strange += int((~known).sum())
            self.right += int((scores.argmax(-1) == truth)[known].sum())

    def lines(self) -> Iterator[str]:
        """What is said of them."""
        if self.labelled:
            share = 100 * self.right / self.labelled
            yield f"Accuracy: {self.right:,} of {self.labelled:,} ({share:.2f} %)"
        if self.strange:
            yield f"{self.strange:,} labels are no class of the network's; they were not counted"
