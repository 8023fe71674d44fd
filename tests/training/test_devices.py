"""Training elsewhere than on the CPU, on a device that is only pretended: see `elsewhere.py`."""

import pytest
import torch
from click.testing import CliRunner

from bnnlab import Comparison
from bnnlab.cli import main
from bnnlab.training import checkpoint, files
from bnnlab.training.conductor import TrainerDied, train
from bnnlab.training.lane import Lane
from bnnlab.training.trainer import Trainer

from .elsewhere import DEVICE, pretended

STEPS = 3
WORK = {
    "mlp": ("moons", {"name": "mlp", "width": 6}, "all"),
    "lenet": ("digits", {"name": "lenet", "channels": 2, "width": 6},
              ["full_precision", "lab2", "xnor_net", "few_multiplications_binary", "react_net"]),
    "vgg": ("digits", {"name": "vgg", "width_factor": 1 / 64}, ["bnn"]),
    "lstm": ({"name": "text", "length": 3}, {"name": "lstm", "hidden": 6},
             ["lab", "bnn_stochastic"]),
}  # fmt: skip


def create(folder, kind="mlp", **changed):
    task, network, schemes = WORK[kind]
    settings = {"task": task, "network": network, "schemes": schemes, **changed}
    return Comparison(
        steps=STEPS, batch_size=8, probe_every=3, evaluate_every=3, test_every=3,
        checkpoint_every=2, **settings,
    ).create(folder)  # fmt: skip


def here(log, until=STEPS):
    """Train, and stop as a killed trainer does: without a word."""
    with Trainer(log.path) as trainer:
        for step in trainer:
            if step == until < STEPS:
                return


def elsewhere(log, monkeypatch, until=STEPS):
    with pretended(monkeypatch), Trainer(log.path, device="cuda") as trainer:
        for step in trainer:
            for run in trainer.runs:
                held = [*run.lane.network.parameters(), *run.lane.last_signs.values()]
                assert all(tensor.device == DEVICE for tensor in held), run.name
            if step == until < STEPS:
                return


def assert_same(one, other):
    """The same scalars, the same arrays, the same last checkpoint."""
    for ours, theirs in zip(one.runs, other.runs, strict=True):
        left, right = (files.read_lines(run.folder / "scalars.jsonl") for run in (ours, theirs))
        for found, expected in zip(left, right, strict=True):
            # Eigenvalues are rounded otherwise where PyTorch composes a product otherwise.
            assert found == pytest.approx(expected, rel=1e-6), ours.scheme
        arrays = sorted((ours.folder / "arrays").iterdir())
        assert len(arrays) == len(list((theirs.folder / "arrays").iterdir()))
        for path in arrays:
            assert path.read_bytes() == (theirs.folder / "arrays" / path.name).read_bytes()
        left, right = saved(ours).tensors, saved(theirs).tensors
        assert left.keys() == right.keys()
        for name, tensor in left.items():
            assert torch.equal(tensor, right[name]), (ours.scheme, name)


def saved(run):
    found = checkpoint.read(run.folder)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", WORK)
def test_everything_that_training_computes_is_computed_on_the_device(tmp_path, monkeypatch, kind):
    expected, log = create(tmp_path / "a.bnnlab", kind), create(tmp_path / "b.bnnlab", kind)
    here(expected)
    elsewhere(log, monkeypatch, until=2)
    elsewhere(log, monkeypatch)  # goes on from the checkpoint
    assert_same(log, expected)


def test_a_run_says_on_which_devices_it_was(tmp_path, monkeypatch):
    schemes = ["binary_connect_stochastic", "lab"]
    expected = create(tmp_path / "a.bnnlab", schemes=schemes)
    log = create(tmp_path / "b.bnnlab", schemes=schemes)
    here(expected)
    elsewhere(log, monkeypatch, until=2)
    here(log)
    assert_same(log, expected)
    for one, other in zip(log.runs, expected.runs, strict=True):
        assert files.read_json(one.folder / "end.json")["devices"] == ["meta", "cpu"]
        assert files.read_json(other.folder / "end.json")["devices"] == ["cpu"]


def test_a_network_trained_elsewhere_opens_without_the_device(tmp_path, monkeypatch):
    log = create(tmp_path / "a.bnnlab", schemes=["lab"])
    elsewhere(log, monkeypatch)
    assert all(p.device.type == "cpu" for p in log.model("lab", seed=0).parameters())


def test_a_stream_of_another_kind_of_device_begins_anew_where_it_cannot_go_on(tmp_path):
    log = create(tmp_path / "a.bnnlab", schemes=["binary_connect_stochastic"])
    here(log, until=2)
    native = saved(log.runs[0])
    foreign = {**native.tensors, "generator": torch.zeros(16, dtype=torch.uint8)}  # as CUDA's is
    settings = {**log.comparison, **{k: log.task[k] for k in ("inputs", "shape", "classes")}}
    spec = files.read_json(log.runs[0].folder / "run.json")["scheme"]

    def draws(state):
        lane = Lane(settings, spec, seed=0)
        lane.load(state)
        return torch.rand(8, generator=lane.generator).tolist()

    found = draws(native._replace(tensors=foreign))
    assert found == draws(native._replace(tensors=foreign))
    assert found != draws(native)
    assert found != draws(native._replace(tensors=foreign, step=native.step + 1))


def test_tensors_of_two_devices_do_not_meet(monkeypatch):
    with pretended(monkeypatch):
        there = torch.ones(3, device=DEVICE)
        assert (there + 1).cpu().tolist() == [2, 2, 2]
        with pytest.raises(RuntimeError, match="two devices"):
            torch.add(there, torch.ones(3))
        with pytest.raises(RuntimeError, match="draws on meta from one of cpu"):
            torch.rand(3, generator=torch.Generator(), device=DEVICE)
        with pytest.raises(RuntimeError):
            there.numpy()


@pytest.mark.parametrize("device", ["cuda:99", "gpu", ""])
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(tmp_path, device):
    study, out = tmp_path / "study.yaml", tmp_path / "out"
    study.write_text("task: moons\nschemes: [bwn]\n")
    for command in (
        ["compare", "--task", "moons", "--out", str(out)],
        ["reproduce", "lab-mnist", "--out", str(out)],
        ["study", str(study), "--out", str(out)],
    ):
        result = CliRunner().invoke(main, [*command, "--device", device])
        assert result.exit_code == 2
        assert f"device is {device!r}; PyTorch finds cpu" in result.output
    assert not out.exists()


def test_a_trainer_is_told_its_device(tmp_path):
    log = create(tmp_path / "a.bnnlab", schemes=["bwn"])
    with pytest.raises(TrainerDied, match="device is 'cuda:99'"):
        train(log.path, progress=False, device="cuda:99")
