"""Studies: grids are checked and expanded, run through Dask, survive it, and are tabulated."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml
from click.testing import CliRunner
from distributed import LocalCluster
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from waiting import wait_while

import bnnlab
from bnnlab import limits
from bnnlab.cli import main
from bnnlab.study import cluster, folder, grid, tables
from bnnlab.training import checkpoint, files
from bnnlab.ui.library import Library

SMALL = {
    "task": "moons", "network": {"name": "mlp", "width": 8}, "schemes": ["bwn", "lab"],
    "steps": 40, "batch_size": 32, "seeds": 2,
    "grid": {"network.batch_norm": ["on", "off"]},
}  # fmt: skip


def test_a_grid_is_every_combination():
    data = {**SMALL, "title": "T", "grid": {
        "network.width": [4, 8], "scheme.lab.granularity": ["layer", "channel"],
        "task.noise": [0.1], "lr": [0.01, 0.02],
    }}  # fmt: skip
    study = grid.study(data)
    assert len(study.comparisons) == 8 and study.runs == 32
    made = study.comparisons["width=8, granularity=channel, noise=0.1, lr=0.02"]
    assert made.network["width"] == 8 and made.task["noise"] == 0.1 and made.lr == 0.02
    assert [s.get("granularity") for s in made.schemes if s["name"] == "lab"] == ["channel"]
    assert list(grid.study({**SMALL, "grid": {}}).comparisons) == ["all"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": "moons"}, "a study has no tasks; it takes title, task, network"),
        ({"grid": 3}, "grid lists the values of each key"),
        ({"grid": {"lr": 0.1}}, "grid lists the values of each key"),
        ({"grid": {"lr": []}}, "grid lists the values of each key"),
        ({"grid": {"speed": [1]}}, "speed in the grid is no setting"),
        ({"grid": {"network.size": [1]}}, "size=1: .*size"),
        ({"grid": {"lr": [-1]}}, "lr=-1: .*lr"),
        ({"grid": {"scheme.bnn.variant": ["x"]}}, "schemes does not list bnn"),
        ({"schemes": ["nothing"]}, "nothing"),
    ],
)
def test_what_is_wrong_with_a_study_is_said(changes, message):
    with pytest.raises(ValueError, match=message):
        grid.study({**SMALL, **changes})


def test_a_study_has_so_many_runs(monkeypatch):
    monkeypatch.setattr(limits, "STUDY_RUNS", 8)
    assert grid.study(SMALL).runs == 8
    with pytest.raises(ValueError, match="more than 8 runs; split it"):
        grid.study({**SMALL, "seeds": 3})


def test_what_is_no_study_is_refused(tmp_path):
    path = tmp_path / "s.yaml"
    for text, message in (("a: [", "not YAML"), ("- 1", "a study is a mapping"),
                          ("!!python/object/apply:os.system ['true']", "not YAML")):  # fmt: skip
        path.write_text(text)
        refused = CliRunner().invoke(main, ["study", str(path)])
        assert refused.exit_code == 2 and message in refused.output
    path.write_text(yaml.safe_dump(SMALL))
    refused = CliRunner().invoke(main, ["study", str(path), "--table", "x.doc"])
    assert refused.exit_code == 2 and "give .csv, .parquet, .md, .tex" in refused.output
    refused = CliRunner().invoke(main, ["study", str(path), "--scheduler=tcp://a", "--workers=2"])
    assert refused.exit_code == 2 and "--workers is for this machine" in refused.output
    listed = CliRunner().invoke(main, ["study", str(path), "--dry-run"])
    assert "batch_norm=off: 4 runs of 40 steps" in listed.output
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]


def command(path, out, *more):
    return [sys.executable, "-m", "bnnlab", "study", str(path), "--out", str(out), *more]


def test_a_study_is_trained_tabulated_and_not_done_twice(tmp_path):
    path, out = tmp_path / "s.yaml", tmp_path / "out"
    failing = {"optimizer": "sgd", "grid": {"lr": [0.01, 10.0]}}
    path.write_text(yaml.safe_dump({**SMALL, "schemes": ["full_precision"], **failing}))
    wanted = [f"--table={tmp_path / f't{kind}'}" for kind in tables.KINDS]
    wanted.append(f"--tensorboard={tmp_path / 'tb'}")
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as elsewhere:
        done = subprocess.run(
            command(path, out, f"--scheduler={elsewhere.scheduler_address}", *wanted),
            capture_output=True, text=True,
        )  # fmt: skip
    study = grid.load(path)
    logs = {name: bnnlab.open(out / f"{name}.bnnlab") for name in study.comparisons}
    bad = [
        f"{name}/{run.id}" for name, log in logs.items() for run in log.runs
        if run.end["state"] != "done"
    ]  # fmt: skip
    assert 0 < len(bad) < study.runs, "some of them diverge with such a step size"
    assert done.returncode == 1, done.stderr
    assert all(f"failed: {name}: diverged at step" in done.stderr for name in bad)
    found = pd.read_csv(tmp_path / "t.csv")
    assert found.equals(pd.read_parquet(tmp_path / "t.parquet"))
    assert found.runs.sum() == study.runs - len(bad)
    log = logs["lr=0.01"]
    row = found[found.comparison == "lr=0.01"].iloc[0]
    ends = pd.Series([run.end["test_accuracy"] for run in log.runs])
    assert row.test_accuracy == ends.mean() and row.test_accuracy_spread == ends.std()
    assert f"{ends.mean():.4f} ± {ends.std():.4f}" in (tmp_path / "t.md").read_text()
    assert " & Full precision & " in (tmp_path / "t.tex").read_text()
    run = log.runs[-1]
    events = EventAccumulator(str(tmp_path / "tb" / "lr=0.01" / run.id)).Reload()
    steps, values = run.column("train_loss")
    told = [(event.step, event.value) for event in events.Scalars("train_loss")]
    assert [step for step, _ in told] == steps.tolist()
    assert [value for _, value in told] == pytest.approx(values.tolist())
    before = {path: path.stat().st_mtime_ns for path in out.rglob("scalars.jsonl")}
    refused = CliRunner().invoke(main, ["study", str(path), "--out", str(out)])
    assert refused.exit_code == 2 and "4 of 4 runs done; --resume does" in refused.output
    kept = folder.create(study, out, resume=True)
    told = []
    again = cluster.run(kept, tell=told.append)  # needs no cluster: nothing is missing
    assert set(again) == set(bad) == set(told[0].failed)
    assert told[0].done == told[0].runs == 4 and told[0].made == told[0].steps == 160
    assert {path: path.stat().st_mtime_ns for path in out.rglob("scalars.jsonl")} == before


def test_a_study_is_one_thing_to_show_send_and_open(tmp_path):
    out = tmp_path / "library" / "widths.bnnlab"
    kept = folder.create(grid.study({**SMALL, "title": "T"}), out)
    assert kept.missing == list(kept.runs) and len(kept.runs) == 8
    shown = CliRunner().invoke(main, ["show", str(out)])
    assert shown.exit_code == 0 and shown.output.count("batch_norm=off.bnnlab") == 2
    made = CliRunner().invoke(main, ["archive", str(out), "--out", str(tmp_path / "s.bnnlab.zip")])
    assert made.exit_code == 0, made.output
    again = CliRunner().invoke(main, ["show", str(tmp_path / "s.bnnlab.zip")])
    assert again.output == shown.output
    there = folder.open_study(tmp_path / "s.bnnlab")
    assert there.title == "T" and list(there.logs) == list(kept.logs)
    library = Library(out.parent)
    assert library.find("widths/batch_norm=off") == out / "batch_norm=off.bnnlab"
    for name in ("widths/nothing", "widths/../widths", "nothing/batch_norm=off", "widths/"):
        with pytest.raises(ValueError):
            library.find(name)
    with pytest.raises(ValueError, match=r"widths\.bnnlab is a study; give one of its comparisons"):
        bnnlab.open(out)
    with pytest.raises(ValueError, match="is a study; unzip it in"):
        library.receive("s.zip", tmp_path / "s.bnnlab.zip")
    assert [path.name for path in library.folder.iterdir()] == ["widths.bnnlab"]
    with pytest.raises(ValueError, match="is not a study"):
        folder.create(grid.study(SMALL), tmp_path)
    for names in (["../library/widths"], [".."], "all", [3]):
        files.write_json(out / files.STUDY, {"format": files.FORMAT, "comparisons": names})
        with pytest.raises(ValueError, match="does not list the names"):
            folder.open_study(out)


def workers(study):
    """By a run's folder, the process of a study that has trained some steps of it by now."""
    found = {}
    for child in psutil.Process(study.pid).children(recursive=True):
        try:
            for path in (Path(file.path) for file in child.open_files()):
                if path.name == "scalars.jsonl" and path.stat().st_size > 8000:
                    found[path.parent] = child.pid
        except psutil.Error:
            pass
    return found


def test_what_is_killed_and_stopped_costs_nothing_but_time(tmp_path):
    path, out = tmp_path / "s.yaml", tmp_path / "out"
    data = {**SMALL, "grid": {}, "steps": 3000, "checkpoint_every": 400, "seeds": 1}
    path.write_text(yaml.safe_dump(data))

    def begin(*more):
        return subprocess.Popen(
            command(path, out, "--workers", "2", *more),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    study = begin()
    folder_of_one, pid = next(iter(wait_while(study, lambda: workers(study)).items()))
    os.kill(pid, signal.SIGKILL)
    trained = (folder_of_one / "scalars.jsonl").stat().st_size

    def goes_on():
        """Whether another process has trained it further."""
        further = (folder_of_one / "scalars.jsonl").stat().st_size > trained
        return further and workers(study).get(folder_of_one, pid) != pid

    wait_while(study, goes_on)
    os.killpg(study.pid, signal.SIGINT)  # as a terminal does for Ctrl-C
    _, said = study.communicate(timeout=300)
    assert study.returncode == 130 and "The same command with --resume goes on" in said, said
    kept = folder.open_study(out)
    assert kept.missing
    for run in (kept.runs[key][1] for key in kept.missing):
        assert checkpoint.newest_step(run.folder) == files.last_step(run.folder)
    study = begin("--resume")
    _, said = study.communicate(timeout=300)
    assert study.returncode == 0, said
    undisturbed = grid.load(path).comparisons["all"].run(tmp_path / "twin.bnnlab", progress=False)
    for run in undisturbed.runs:
        there = out / "all.bnnlab" / "runs" / run.id
        assert (there / "scalars.jsonl").read_bytes() == (run.folder / "scalars.jsonl").read_bytes()
        assert (there / "end.json").read_bytes() == (run.folder / "end.json").read_bytes()
