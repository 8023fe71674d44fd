"""Logs in the states a figure meets: trained, not begun, diverged."""

import json
import shutil

import pytest

import bnnlab


@pytest.fixture(scope="session")
def log(trained_folder):
    """Every scheme, two seeds, moons, trained to the end."""
    return bnnlab.open(trained_folder)


@pytest.fixture(scope="session")
def digits_log(tmp_path_factory):
    """Three lanes on a task that does not lie in a plane."""
    comparison = bnnlab.Comparison(
        task="digits", network={"name": "mlp", "width": 8, "depth": 1},
        schemes=["full_precision", "bnn", "lab"], steps=10, probe_every=5, evaluate_every=5,
    )  # fmt: skip
    return comparison.run(tmp_path_factory.mktemp("digits") / "digits.bnnlab", progress=False)


@pytest.fixture(scope="session")
def empty_log(tmp_path_factory):
    """A comparison of which no step was trained."""
    comparison = bnnlab.Comparison(
        task="moons", schemes=["full_precision", "bnn", "dorefa", "lab"], steps=10
    )
    return comparison.create(tmp_path_factory.mktemp("empty") / "empty.bnnlab")


@pytest.fixture
def growing(trained_folder, tmp_path):
    """The trained comparison cut back to its first records, and a function that lets it grow.

    `growing()` appends what was cut off, as a trainer does, and refreshes the log it returns.
    """
    folder = tmp_path / "growing.bnnlab"
    shutil.copytree(trained_folder, folder)
    rest = {}
    for path in folder.glob("runs/*/scalars.jsonl"):
        lines = path.read_text().splitlines(keepends=True)
        early = [line for line in lines if json.loads(line)["step"] <= 10]
        path.write_text("".join(early))
        rest[path] = "".join(lines[len(early) :])
        (path.parent / "end.json").unlink()
    log = bnnlab.open(folder)

    def grow():
        for path, text in rest.items():
            with path.open("a") as file:
                file.write(text)
        assert log.refresh()
        return log

    grow.log = log
    return grow


@pytest.fixture
def diverged_log(trained_folder, tmp_path):
    """The trained comparison, but its first bnn run diverged at step 20."""
    folder = tmp_path / "diverged.bnnlab"
    shutil.copytree(trained_folder, folder)
    run = bnnlab.open(folder).run("bnn").folder
    lines = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    kept = [line for line in lines if line["step"] <= 20]
    kept[-1]["train_loss"] = kept[-1]["validation_loss"] = None
    (run / "scalars.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    end = {"state": "diverged", "step": 20, "why": "the loss is not finite"}
    (run / "end.json").write_text(json.dumps(end))
    return bnnlab.open(folder)
