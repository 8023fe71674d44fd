"""Every scheme goes on from a checkpoint as if nothing had happened."""

import pytest
import torch

from bnnlab import Comparison
from bnnlab.training import checkpoint
from bnnlab.training.trainer import Trainer

STEPS = 8


def create(folder, **network):
    return Comparison(
        task="digits", network=network, schemes="all", steps=STEPS, batch_size=16,
        probe_every=2, evaluate_every=4, checkpoint_every=3,
    ).create(folder)  # fmt: skip


def run_out(log, until=STEPS):
    """Train, and stop as a killed trainer does: without a word."""
    with Trainer(log.path) as trainer:
        while trainer.going and trainer.step < until:
            next(trainer)
        if until == STEPS:
            for _ in trainer:
                pass
    return {run.lane: run for run in log.runs}


@pytest.fixture(scope="module", params=["mlp", "lenet"])
def straight(request, tmp_path_factory):
    options = {"mlp": {"width": 6}, "lenet": {"channels": 2, "width": 6}}[request.param]
    network = {"name": request.param, **options}
    log = create(tmp_path_factory.mktemp("straight") / "all.bnnlab", **network)
    return network, run_out(log)


@pytest.mark.parametrize("killed_at", [2, 5, 7])
def test_a_killed_run_ends_as_an_undisturbed_one(straight, tmp_path, killed_at):
    network, expected = straight
    log = create(tmp_path / "killed.bnnlab", **network)
    run_out(log, until=killed_at)
    found = run_out(log)
    assert found.keys() == expected.keys()
    for lane, run in found.items():
        one, other = run.folder / "scalars.jsonl", expected[lane].folder / "scalars.jsonl"
        assert one.read_bytes() == other.read_bytes(), lane
        ours, theirs = checkpoint.read(run.folder), checkpoint.read(expected[lane].folder)
        assert ours.tensors.keys() == theirs.tensors.keys()
        for name, tensor in ours.tensors.items():
            assert torch.equal(tensor, theirs.tensors[name]), (lane, name)
