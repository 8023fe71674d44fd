"""Folders as they may be found: half-written, torn, changed, hostile."""

import shutil
import zipfile

import numpy as np
import pytest
import torch

import bnnlab
from bnnlab import Comparison, limits
from bnnlab.training import checkpoint, files
from bnnlab.training.archive import archive, unarchive
from bnnlab.training.recorder import Recorder
from bnnlab.training.trainer import Trainer

SMALL = {
    "task": "moons",
    "network": {"name": "mlp", "width": 8, "depth": 2},
    "schemes": ["bnn"],
    "steps": 20,
    "batch_size": 32,
    "probe_every": 10,
    "checkpoint_every": 10,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    log = Comparison(**SMALL).create(tmp_path_factory.mktemp("store") / "small.bnnlab")
    with Trainer(log.path) as trainer:
        for _ in trainer:
            pass
    return log.path


@pytest.fixture
def folder(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copy.bnnlab")


def run_of(folder):
    return bnnlab.open(folder).runs[0]


def test_an_incomplete_last_line_is_not_there_yet(tmp_path):
    log = Comparison(**SMALL).create(tmp_path / "a")
    [run] = log.runs
    path = run.folder / "scalars.jsonl"
    path.write_bytes(b'{"step":1,"train_loss":0.5}\n{"step":2,"train_')
    assert log.refresh() and run.step == 1
    assert not log.refresh()
    with path.open("ab") as file:
        file.write(b'loss":0.25}\n')
    assert log.refresh() and run.step == 2
    assert run.column("train_loss")[1].tolist() == [0.5, 0.25]
    assert files.last_step(run.folder) == 2


def test_what_is_not_finite_is_written_as_null_and_read_as_nan(folder):
    run = run_of(folder)
    recorder = Recorder(run.folder, (run.folder / "scalars.jsonl").stat().st_size)
    recorder.record(21, {"train_loss": float("inf"), "train_accuracy": 0.5}, {})
    recorder.close()
    assert b'"train_loss":null' in (run.folder / "scalars.jsonl").read_bytes()
    run.refresh()
    assert np.isnan(run.column("train_loss")[1][-1])


def test_what_a_killed_trainer_had_begun_to_write_is_cleared(folder):
    run = run_of(folder)
    kept = sorted((run.folder / "arrays").iterdir())
    begun = [run.folder / ".end.json.17", run.folder / "arrays" / ".00000020.safetensors.4711"]
    for path in begun:
        path.write_bytes(b"half")
    Recorder(run.folder, (run.folder / "scalars.jsonl").stat().st_size).close()
    assert not any(path.exists() for path in begun)
    assert kept and sorted((run.folder / "arrays").iterdir()) == kept


def test_checkpoints_alternate_and_either_half_may_be_missing(tmp_path):
    for step in (1, 2, 3):
        checkpoint.write(
            tmp_path, checkpoint.Checkpoint(step, {"a": torch.full((2,), step)}, step, ["cpu"])
        )
    assert checkpoint.read(tmp_path).step == 3
    newest = next(
        path
        for path in (tmp_path / "checkpoint").glob("*.json")
        if files.read_json(path)["step"] == 3
    )
    newest.with_suffix(".safetensors").write_bytes(b"torn")
    found = checkpoint.read(tmp_path)
    assert found.step == 2 and found.tensors["a"].tolist() == [2, 2]
    newest.unlink()
    assert checkpoint.read(tmp_path).step == 2


def test_files_appear_whole(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        files.write_json(path, {"a": float("nan")})
    assert files.read_json(path) == {"a": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "a/b", "", "UPPER-CASE", "x" * 65])
def test_names_from_outside_never_become_paths(folder, name):
    with pytest.raises(ValueError, match="not a run id"):
        files.run_folder(folder, name)
    spec = files.read_json(folder / "comparison.json")
    files.write_json(folder / "comparison.json", {**spec, "runs": [name]})
    with pytest.raises(ValueError, match="not a run id"):
        bnnlab.open(folder)


def test_what_is_no_comparison_is_refused_in_words(tmp_path, folder):
    with pytest.raises(ValueError, match=r"holds no comparison\.json"):
        bnnlab.open(tmp_path)
    (folder / "comparison.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        bnnlab.open(folder)
    (folder / "comparison.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="has format 99, this version reads format 1"):
        bnnlab.open(folder)


def test_one_file_to_send_and_back_again_and_on(folder, tmp_path):
    sent = archive(folder, tmp_path / "sent.bnnlab.zip")
    log = bnnlab.open(sent)
    assert log.path == tmp_path / "sent.bnnlab"
    assert log.runs[0].end == run_of(folder).end
    x = torch.randn(5, 2)
    assert torch.equal(log.model("bnn")(x), bnnlab.open(folder).model("bnn")(x))
    Comparison(**{**SMALL, "steps": 30}).create(log.path)
    with Trainer(log.path) as trainer:
        for _ in trainer:
            pass
    assert log.refresh() and log.runs[0].step == 30


@pytest.mark.parametrize(
    "name", ["../out.json", "/tmp/out.json", "a/../../out.json", "evil.py", "a\\..\\b.json"]
)
def test_a_hostile_zip_leaves_nothing_behind(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "bad.bnnlab.zip", "w") as zipped:
        zipped.writestr("comparison.json", "{}")
        zipped.writestr(name, "boo")
    with pytest.raises(ValueError, match="which no comparison does"):
        unarchive(tmp_path / "bad.bnnlab.zip", tmp_path / "into")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.bnnlab.zip"]


def test_a_zip_that_unpacks_to_too_much_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "ARCHIVE_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "big.bnnlab.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("comparison.json", b"0" * (3 << 20))
    with pytest.raises(ValueError, match="unpacks to more than"):
        unarchive(tmp_path / "big.bnnlab.zip", tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_what_is_no_zip_is_refused(tmp_path):
    (tmp_path / "a.bnnlab.zip").write_text("hello")
    with pytest.raises(ValueError, match="not a zipped comparison"):
        bnnlab.open(tmp_path / "a.bnnlab.zip")
