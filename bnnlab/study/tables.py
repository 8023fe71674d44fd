"""What came of a study, as tables: CSV, Parquet, Markdown, LaTeX, and TensorBoard's event files."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnlab.training.store import Log

if TYPE_CHECKING:
    import pandas as pd

KINDS = (".csv", ".parquet", ".md", ".tex")
MEASURES = ("validation_accuracy", "test_accuracy", "test_loss")


def results(logs: Mapping[str, Log]) -> "pd.DataFrame":
    """Return a row for each comparison and lane: means and standard deviations over its seeds.

    Columns: comparison, lane, title (what the lane is called where people read), runs (that came to
    their end), and of each measure its mean and `_spread`; NaN where no run came to its end, or
    only one for the spread.
    """
    import pandas as pd

    rows = []
    for name, log in logs.items():
        for lane in log.lanes:
            ends = [run.end for run in log.runs if run.lane == lane]
            done = pd.DataFrame([end for end in ends if end and end["state"] == "done"])
            row: dict[str, Any] = {
                "comparison": name, "lane": lane, "title": log.run(lane).title, "runs": len(done),
            }  # fmt: skip
            for key in MEASURES:
                values = pd.Series(done[key] if key in done else [], dtype=float)
                row |= {key: values.mean(), f"{key}_spread": values.std()}
            rows.append(row)
    return pd.DataFrame(rows)


def write(table: "pd.DataFrame", path: Path) -> None:
    """Write a table, as its file's name ends; in Markdown and LaTeX the best is in bold.

    Raises ValueError for another ending, RuntimeError where Parquet lacks its library.
    """
    check(path)
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        try:
            table.to_parquet(path, index=False)
        except ImportError:
            raise RuntimeError("Parquet needs pyarrow: pip install 'bnnlab[parquet]'") from None
    else:
        path.write_text(_text(table, latex=path.suffix == ".tex"), encoding="utf-8")


def check(path: Path) -> None:
    """Raises ValueError for a name that no table ends in."""
    if path.suffix not in KINDS:
        raise ValueError(f"{path} ends in {path.suffix or 'nothing'}; give {', '.join(KINDS)}")


def _text(table: "pd.DataFrame", *, latex: bool) -> str:
    rows = []
    for _, of in table.groupby("comparison", sort=False):
        best = {key: getattr(of[key], "min" if key == "test_loss" else "max")() for key in MEASURES}
        for row in of.to_dict("records"):
            cells = [_cell(row, key, row[key] == best[key], latex) for key in MEASURES]
            rows.append([*(_escaped(row[key], latex) for key in ("comparison", "title")), *cells])
    heads = ["comparison", "scheme", *(key.replace("_", " ") for key in MEASURES)]
    if latex:
        lines = [r" & ".join(cells) + r" \\" for cells in (heads, *rows)]
        lines.insert(1, r"\hline")
        return "\n".join(
            [r"\begin{tabular}{llrrr}", r"\hline", *lines, r"\hline", r"\end{tabular}", ""]
        )
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (heads, ["---"] * 5, *rows))


def _cell(row: dict[Any, Any], key: str, best: bool, latex: bool) -> str:
    if not math.isfinite(row[key]):
        return "--" if latex else "–"
    spread, between = row[f"{key}_spread"], r" $\pm$ " if latex else " ± "
    text = f"{row[key]:.4f}" + (f"{between}{spread:.4f}" if math.isfinite(spread) else "")
    if not best:
        return text
    return rf"\textbf{{{text}}}" if latex else f"**{text}**"


def _escaped(text: str, latex: bool) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", text) if latex else text


def tensorboard(logs: Mapping[str, Log], folder: Path) -> None:
    """Write the scalars of every run as TensorBoard's event files, a folder a run.

    Raises RuntimeError where TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        said = "event files need TensorBoard: pip install 'bnnlab[tensorboard]'"
        raise RuntimeError(said) from None
    for name, log in logs.items():
        for run in log.runs:
            with SummaryWriter(str(folder / name / run.id)) as writer:
                for key in run.keys:
                    for step, value in zip(*run.column(key), strict=True):
                        if math.isfinite(value):
                            writer.add_scalar(key, value, int(step))
