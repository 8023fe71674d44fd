"""Studies as the page shows them: how far each has come, and what its comparisons gave."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from bnnlab.study import tables
from bnnlab.study.folder import Kept, ended, made, open_study
from bnnlab.training import files
from bnnlab.training.store import RunLog

_MEASURES = (("validation_accuracy", "Validation accuracy", max),
             ("test_accuracy", "Test accuracy", max), ("test_loss", "Test loss", min))  # fmt: skip


def studies(library: Path) -> list[dict[str, Any]]:
    """Return what the page says of each study in a library, the newest first."""
    found = [path for path in library.glob(f"*{files.SUFFIX}") if (path / files.STUDY).is_file()]
    found.sort(key=lambda path: (path / files.STUDY).stat().st_mtime, reverse=True)
    return [_shown(open_study(path)) for path in found]


def _shown(kept: Kept) -> dict[str, Any]:
    runs, name = kept.runs, kept.path.stem
    left = len(kept.missing)
    steps = sum(log.steps for log, _ in runs.values())
    behind = sum(made(log, run) for log, run in runs.values())
    done = f"{len(runs) - left} of {len(runs)} runs done"
    return {
        "name": name,
        "title": kept.title,
        "state": done if left else f"all {len(runs)} runs done",
        "share": round(100 * behind / max(steps, 1), 1),
        "going": bool(left),
        "heads": [head for _, head, _ in _MEASURES],
        "comparisons": [_comparison(kept, name, inside) for inside in kept.logs],
    }


def _comparison(kept: Kept, study: str, name: str) -> dict[str, Any]:
    log = kept.logs[name]
    table = tables.results({name: log})
    best = {key: better(table[key].dropna(), default=None) for key, _, better in _MEASURES}
    lanes = []
    for row in table.to_dict("records"):
        cells = [
            {"words": _words(row, key), "best": len(table) > 1 and row[key] == best[key]}
            for key, _, _ in _MEASURES
        ]
        runs = [run for run in log.runs if run.lane == row["lane"]]
        lanes.append({"title": row["title"], "cells": cells,
                      "runs": [_run(run, log.steps, ended(log, run)) for run in runs]})  # fmt: skip
    return {"name": name, "open": urlencode({"open": f"{study}/{name}"}), "lanes": lanes}


def _words(row: dict[Any, Any], key: str) -> str:
    if not np.isfinite(row[key]):
        return "–"
    spread = row[f"{key}_spread"]
    return f"{row[key]:.4f}" + (f" ± {spread:.4f}" if np.isfinite(spread) else "")


def _run(run: RunLog, steps: int, at_end: bool) -> dict[str, Any]:
    if at_end and run.end is not None:
        state = run.end["state"]
        return {"share": 100, "kind": "done" if state == "done" else "bad",
                "words": f"seed {run.seed}: {state} at step {run.end['step']:,}"}  # fmt: skip
    step = max(0, run.step)
    return {
        "share": round(100 * step / steps, 1),
        "kind": "going",
        "words": f"seed {run.seed}: step {step:,} of {steps:,}",
    }
