"""What `bnnlab.cost` writes about the runs of a comparison."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import bnnlab
from bnnlab import cost, tasks
from bnnlab.nn import multiplications
from bnnlab.packed import kernels

SCHEMES = ["bnn", "lab", "binary_connect_stochastic", "lat"]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    if not kernels.available():
        if os.environ.get("BNNLAB_REQUIRE_KERNELS"):
            kernels.require()
        pytest.skip("the compiled kernels are not installed")
    comparison = bnnlab.Comparison(
        task="digits", network={"name": "mlp", "width": 24}, schemes=SCHEMES, steps=4
    )
    folder = tmp_path_factory.mktemp("cost") / "digits.bnnlab"
    log = comparison.run(folder, progress=False)
    cost.measure(folder, rounds=2)
    log.refresh()
    return log


def test_every_run_gets_a_record_that_agrees_with_its_network(log):
    for lane in SCHEMES:
        record, model = log.run(lane).cost, log.model(lane)
        counted = bnnlab.summary(model).total
        assert record["step"] == 4
        assert record["threads"] == 1
        assert record["machine"]
        assert record["weights_1bit"] == counted.weights_1bit
        assert record["weights_32bit"] == counted.weights_32bit
        assert record["weights_ternary"] == counted.weights_ternary
        assert record["weights_ternary"] == (0 if lane != "lat" else 64 * 24 + 24 * 24 + 24 * 10)
        assert sum(record["macs"].values()) == 64 * 24 + 24 * 24 + 24 * 10
        assert record["bytes_float32"] == bnnlab.summary(model).bytes_float32
        training = multiplications(model, batch_size=100).total
        assert record["multiplications"] == training.remaining
        assert record["multiplications_plain"] == training.plain > training.remaining


def test_what_is_packed_is_measured_and_predicts_the_same(log, tmp_path):
    for lane in SCHEMES:
        record, packed = log.run(lane).cost, bnnlab.pack(log.model(lane))
        assert record["isa"] == kernels.isa()
        assert record["predictions"] == record["predictions_equal"] == 270
        assert record["max_relative_difference"] < 1e-5
        assert all(200 < equal <= 270 for equal in record["predictions_equal_fewer_bits"].values())
        packed.save(tmp_path / "packed.safetensors")
        assert record["bytes_packed"] == (tmp_path / "packed.safetensors").stat().st_size
        assert record["memory_packed_bytes"] == packed.nbytes
        words = sum(layer.weight_bytes for layer in packed.layers)
        assert words + 4 * record["other_32bit"] == packed.payload
        assert [batch["batch"] for batch in record["batches"]] == [1, 10, 100]
        for batch in record["batches"]:
            assert batch["limit"]["bound"] in ("counting", "reading")
            assert batch["traffic"]["packed"] > 0
            for name in ("packed_s", "torch_s", "onednn_s", "bfloat16_s", "int8_s"):
                timing = batch[name]
                assert 0 < timing["low"] <= timing["median"] <= timing["high"] < 1
            assert (batch["packing_s"] is not None) == (lane == "bnn")
    assert log.run("bnn").cost["bytes_packed"] < log.run("bnn").cost["bytes_float32"] / 4


def test_real_weights_are_packed_as_they_are(log):
    record = log.run("binary_connect_stochastic").cost
    assert record["weights_32bit"] == 64 * 24 + 24 * 24 + 24 * 10
    assert record["bytes_packed"] > 4 * record["weights_32bit"]


def test_what_cannot_be_packed_says_why_and_is_still_counted(log, monkeypatch):
    from bnnlab.packed import NotPackable

    def refuse(model):
        raise NotPackable("hidden1: why not")

    run = log.run("lab")
    before = (run.folder / "cost.json").read_bytes()
    monkeypatch.setattr(bnnlab, "pack", refuse)
    record = cost.measure_run(log, run, np.zeros((1, 64), np.float32))
    assert record["not_packable"] == "hidden1: why not"
    assert "batches" not in record and record["weights_1bit"] == 64 * 24 + 24 * 24 + 24 * 10
    (run.folder / "cost.json").write_bytes(before)


@pytest.mark.parametrize(
    ("task", "network", "predictions", "compared"),
    [
        ("digits", {"name": "lenet", "channels": 2, "width": 8}, 270, "conv2d"),
        ("text", {"name": "lstm", "hidden": 8}, 50 * 50, "one product a time step"),
    ],
)
def test_other_networks_are_measured_too(
    tmp_path, monkeypatch, task, network, predictions, compared
):
    if not kernels.available():
        pytest.skip("the compiled kernels are not installed")
    monkeypatch.setattr(cost, "MOST_SEQUENCES", 50)
    comparison = bnnlab.Comparison(task=task, network=network, schemes=["lab2"], steps=2)
    log = comparison.run(tmp_path / "x.bnnlab", progress=False)
    test_x = tasks.get(**log.comparison["task"]).load().test_x
    record = cost.measure_run(log, log.run("lab2"), test_x, rounds=2)
    assert record["predictions"] == record["predictions_equal"] == predictions
    assert compared in record["compared"]
    assert [batch["batch"] for batch in record["batches"]] == [1, 10, 100]
    assert all(batch["packed_s"]["median"] > 0 for batch in record["batches"])


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "bnnlab.cost", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environment,
    )


def test_one_lane_alone(log):
    others = {
        r.id: (r.folder / "cost.json").stat().st_mtime_ns for r in log.runs if r.lane != "bnn"
    }
    (log.run("bnn").folder / "cost.json").unlink()
    done = run(log.path, "--lane", "bnn", "--rounds", 2, BNNLAB_ISA="scalar")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("bnn-0-")
    assert "270 of 270 predictions equal" in done.stdout
    record = json.loads((log.run("bnn").folder / "cost.json").read_text())
    assert record["isa"] == "scalar"
    for one in log.runs:
        if one.id in others:
            assert (one.folder / "cost.json").stat().st_mtime_ns == others[one.id]


def test_failures_are_said_in_a_line(log, tmp_path):
    for arguments, message in [
        ([tmp_path], "is not a comparison"),
        ([log.path, "--lane", "nobody"], "no lane 'nobody'; the lanes are bnn, lab"),
        ([log.path, "--run", "nobody"], "no run nobody; the runs are bnn-0-"),
    ]:
        done = run(*arguments)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    with pytest.raises(RuntimeError, match="no run nobody"):
        cost.measure(log.path, ["nobody"])
