"""Training end to end in this process, and in processes of its own."""

import json

import numpy as np
import pytest
import torch

import bnnlab
from bnnlab import Comparison
from bnnlab.training import files
from bnnlab.training.trainer import Trainer

EIGHT = ["full_precision", "binary_connect", "bwn", "bnn", "xnor_net", "dorefa", "lab", "lab2"]
SMALL = {
    "task": "moons",
    "network": {"name": "mlp", "width": 12, "depth": 2},
    "batch_size": 32,
    "probe_every": 5,
    "evaluate_every": 5,
    "checkpoint_every": 10,
}


def run_out(path):
    with Trainer(path) as trainer:
        for _ in trainer:
            pass


def train(folder, **settings):
    log = Comparison(**SMALL | settings).create(folder)
    run_out(log.path)
    log.refresh()
    return log


def records(log, lane, seed=None):
    return files.read_lines(log.run(lane, seed).folder / "scalars.jsonl")


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    return train(tmp_path_factory.mktemp("logs") / "eight.bnnlab", schemes=EIGHT, steps=20)


def test_every_lane_ends_done_and_is_evaluated_on_everything(eight):
    for run in eight.runs:
        assert run.end["state"] == "done" and run.end["step"] == 20
        assert 0 <= run.end["test_accuracy"] <= 1
        assert run.step == 20
        assert run.array_steps == [0, 5, 10, 15, 20]


def test_lanes_start_from_the_same_latent_weights_and_see_the_same_batches(tmp_path):
    log = Comparison(**SMALL, schemes=EIGHT, steps=3).create(tmp_path / "a.bnnlab")
    with Trainer(log.path) as trainer:
        first = trainer.runs[0].lane.layers
        for run in trainer.runs[1:]:
            for name, layer in run.lane.layers.items():
                assert torch.equal(layer.weight, first[name].weight)
        assert len(trainer.batches) == 1  # one order of the data for the seed, for all lanes


def test_adding_or_removing_a_lane_changes_no_other_lanes_numbers(tmp_path, eight):
    alone = train(tmp_path / "alone.bnnlab", schemes=["lab"], steps=20)
    assert records(alone, "lab") == records(eight, "lab")
    stochastic = ["binary_connect_stochastic"]
    one = train(tmp_path / "one.bnnlab", schemes=stochastic, steps=20)
    two = train(tmp_path / "two.bnnlab", schemes=["bnn", *stochastic], steps=20)
    assert records(one, *stochastic) == records(two, *stochastic)


def test_seeds_differ_and_reproduce(tmp_path):
    log = train(tmp_path / "a.bnnlab", schemes=["bnn"], seeds=2, steps=10)
    again = train(tmp_path / "b.bnnlab", schemes=["bnn"], seeds=2, steps=10)
    assert records(log, "bnn", 0) != records(log, "bnn", 1)
    assert records(log, "bnn", 1) == records(again, "bnn", 1)


def test_what_is_recorded(eight):
    lab = eight.run("lab")
    assert {"train_loss", "train_accuracy", "validation_loss", "epoch"} <= set(lab.keys)
    for key in ("alpha", "alpha_bwn", "error", "error_bwn", "flips", "saturation"):
        assert f"{key}/hidden1" in lab.keys
    steps, alpha = lab.column("alpha/hidden2")
    assert steps.tolist() == [0, 5, 10, 15, 20]
    _, plain = lab.column("alpha_bwn/hidden2")
    assert alpha[0] == pytest.approx(plain[0])  # LAB's first scale is BWN's
    assert alpha[-1] != pytest.approx(plain[-1], rel=1e-4)
    _, error = lab.column("error/hidden2")
    _, error_bwn = lab.column("error_bwn/hidden2")
    assert (error <= error_bwn * (1 + 1e-6)).all()  # LAB's alpha minimizes it
    arrays = lab.arrays()
    weights = 12 * 12
    assert arrays["latent/hidden2"].sum() == weights
    assert arrays["binary_counts/hidden2"].sum() == weights
    assert "curvature_edges/hidden2" in arrays
    assert arrays["curvature/hidden2"].sum() == arrays["weight_curvature/hidden2"].sum() == weights
    assert arrays["bits_shape/hidden2"].tolist() == [12, 12]
    assert arrays["boundary"].shape == (64, 64)
    assert "curvature/hidden1" not in eight.run("bwn").arrays()


def test_recorded_bits_and_flips_are_those_of_the_weights(eight):
    run = eight.run("bnn")
    weight = eight.model("bnn").hidden2.layer.weight
    rows, columns = run.arrays()["bits_shape/hidden2"]
    bits = {
        step: np.unpackbits(run.arrays(step)["bits/hidden2"], count=rows * columns)
        for step in run.array_steps
    }
    assert np.array_equal(bits[20].reshape(rows, columns), (weight >= 0).numpy())
    flipped = np.unpackbits(run.arrays(20)["flipped/hidden2"], count=rows * columns)
    assert np.array_equal(flipped, bits[20] ^ bits[15])
    _, share = run.column("flips/hidden2")
    assert share[-1] == pytest.approx(flipped.mean())


def test_gradients_after_the_estimator_are_those_it_lets_through(eight):
    run = eight.run("bnn")
    arrays = run.arrays()
    before = arrays["gradient_activations_before/hidden2"].sum()
    after = arrays["gradient_activations_after/hidden2"].sum()
    steps, blocked = run.column("blocked_activations/hidden2")
    assert steps[-1] == 20
    samples = SMALL["batch_size"] * 12
    assert before <= samples
    assert after <= round((1 - blocked[-1]) * samples)
    assert arrays["reach_activations/hidden2"].sum() == samples


def test_scalars_and_histograms_as_frames(eight):
    frame = eight.scalars()
    assert len(frame) == len(EIGHT) * 21
    assert set(frame.lane) == set(EIGHT)
    lab = frame[frame.lane == "lab"].set_index("step")
    assert lab.train_loss[7] == records(eight, "lab")[7]["train_loss"]
    histograms = eight.histograms("latent")
    assert histograms.groupby(["lane", "layer"])["count"].sum()["lab", "hidden2"] == 144


def test_unknown_lanes_seeds_and_steps_say_what_there_is(eight):
    with pytest.raises(ValueError, match="no lane 'labb'; the lanes are full_precision"):
        eight.run("labb")
    with pytest.raises(ValueError, match="no seed 7; its seeds are 0"):
        eight.run("lab", 7)
    with pytest.raises(ValueError, match="no arrays at step 3; it did at 0, 5"):
        eight.run("lab").arrays(3)


def test_the_restored_model_gives_the_recorded_accuracy(eight):
    from bnnlab import tasks

    split = tasks.get(**eight.comparison["task"]).load()
    for lane in EIGHT:
        scores = eight.model(lane)(torch.from_numpy(split.test_x))
        accuracy = (scores.argmax(1).numpy() == split.test_y).mean()
        assert accuracy == pytest.approx(eight.run(lane).end["test_accuracy"])


def test_a_lane_that_diverges_is_marked_and_the_others_go_on(tmp_path):
    log = Comparison(**SMALL, schemes=["full_precision", "bnn"], steps=12).create(tmp_path / "a")
    with Trainer(log.path) as trainer:
        next(trainer)
        with torch.no_grad():
            trainer.runs[0].lane.layers["hidden1"].weight[0, 0] = float("nan")
        for _ in trainer:
            pass
    log.refresh()
    sick, well = log.runs
    assert sick.end["state"] == "diverged" and "nan" in sick.end["why"]
    assert np.isnan(sick.column("train_loss")[1][-1])
    assert well.end["state"] == "done" and well.step == 12
    for line in (sick.folder / "scalars.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_a_parameter_that_is_not_finite_is_noticed_at_the_next_look(tmp_path):
    log = Comparison(**SMALL, schemes=["lab"], steps=12).create(tmp_path / "a")
    with Trainer(log.path) as trainer:
        for _ in range(3):
            next(trainer)
        # ReLU makes it 0, so the loss stays finite.
        norm = trainer.runs[0].lane.network.hidden1.norm
        with torch.no_grad():
            norm.bias[0] = -float("inf")
        for _ in trainer:
            pass
    log.refresh()
    assert log.runs[0].end["state"] == "diverged"
    assert "hidden1.norm.bias has values that are not finite" in log.runs[0].end["why"]


def test_an_infinite_step_size_diverges_without_an_exception(tmp_path):
    log = train(
        tmp_path / "a",
        schemes=["full_precision"],
        steps=400,
        lr=10.0,
        network={"name": "mlp", "width": 12, "depth": 8, "batch_norm": "off"},
    )
    assert log.runs[0].end["state"] in ("diverged", "done")


def test_a_changed_step_size_holds_from_its_step_and_again_on_resume(tmp_path):
    comparison = Comparison(**SMALL, schemes=["bnn"], steps=25)
    log = comparison.create(tmp_path / "a")
    files.append_line(log.path / "changes.jsonl", {"at": 12, "lr": 0.05})
    run_out(log.path)
    plain = train(tmp_path / "plain", schemes=["bnn"], steps=25)
    changed = records(bnnlab.open(log.path), "bnn")
    assert changed[:13] == records(plain, "bnn")[:13]
    assert changed[14] != records(plain, "bnn")[14]
    halves = comparison.create(tmp_path / "b")
    files.append_line(halves.path / "changes.jsonl", {"at": 12, "lr": 0.05})
    with Trainer(halves.path) as first:
        while first.step < 17:
            next(first)
    # It went without a checkpoint: the last one is of step 10.
    run_out(halves.path)
    assert records(halves, "bnn") == changed


def test_more_steps_go_on_from_where_it_ended(tmp_path):
    whole = train(tmp_path / "whole", schemes=["lab"], steps=30)
    first = train(tmp_path / "parts", schemes=["lab"], steps=20)
    first.runs[0].refresh()
    parts = train(tmp_path / "parts", schemes=["lab"], steps=30)
    assert records(parts, "lab") == records(whole, "lab")
    assert parts.run("lab").end == whole.run("lab").end
    with pytest.raises(ValueError, match="steps is 10, but 30 have been made"):
        Comparison(**SMALL, schemes=["lab"], steps=10).create(tmp_path / "parts")


def test_options_changed_while_it_trains_hold_from_their_step_on(tmp_path):
    change = {"at": 5, "lane": "dorefa", "options": {"weight_bits": 3, "activation_bits": 1}}
    logs = {}
    for name in ("plain", "changed", "resumed"):
        comparison = Comparison(
            task="moons", network={"name": "mlp", "width": 8}, schemes=["dorefa"], steps=12,
            probe_every=3, evaluate_every=3, checkpoint_every=4, batch_size=16,
        )  # fmt: skip
        log = comparison.create(tmp_path / f"{name}.bnnlab")
        if name != "plain":
            files.append_line(log.path / "changes.jsonl", change)
        if name == "resumed":
            with Trainer(log.path) as trainer:
                while trainer.step < 9:
                    next(trainer)  # the checkpoint is of step 8
        with Trainer(log.path) as trainer:
            for _ in trainer:
                pass
        log.refresh()
        logs[name] = log
    losses = {n: log.run("dorefa").column("train_loss")[1] for n, log in logs.items()}
    assert (losses["plain"][:5] == losses["changed"][:5]).all()
    assert (losses["plain"][5:] != losses["changed"][5:]).all()
    assert (losses["resumed"] == losses["changed"]).all()
    layer = logs["changed"].model("dorefa").hidden2.layer
    assert layer.scheme.weight_bits == 3 and layer.input_step == 1.0
    assert logs["plain"].model("dorefa").hidden2.layer.scheme.weight_bits == 1


def test_the_schedule_multiplies_the_step_size_from_its_epochs_on(tmp_path):
    settings = SMALL | {"schemes": ["bnn"], "steps": 60}
    log = Comparison(**settings, schedule=[[1, 0.1], [2, 0.5]]).create(tmp_path / "a.bnnlab")
    with Trainer(log.path) as trainer:
        per_epoch, lrs = trainer.batches[0].per_epoch, []
        for _ in trainer:
            lrs.append(trainer.runs[0].lane.lr)
    assert per_epoch < 30
    expected = [0.005] * per_epoch + [0.0005] * per_epoch + [0.00025] * (60 - 2 * per_epoch)
    assert lrs[:60] == pytest.approx(expected)


def test_the_test_is_taken_where_validation_was_best(tmp_path):
    log = train(tmp_path / "a.bnnlab", schemes=["bnn"], steps=40, test_every=10)
    run = log.run("bnn")
    steps, validation = run.column("whole_validation_accuracy")
    _, test = run.column("whole_test_accuracy")
    assert steps.tolist() == [10, 20, 30, 40]
    at = max(range(4), key=lambda i: (validation[i], i))  # a later one wins a tie
    assert run.end["best"]["step"] == steps[at]
    assert run.end["best"]["test_accuracy"] == test[at]
    assert run.end["test_accuracy"] == test[-1]  # the last is the end
    assert "best" not in train(tmp_path / "b.bnnlab", schemes=["bnn"], steps=5).run("bnn").end
