"""The clock: what it times is what it says."""

import os
import subprocess
import sys

import pytest
import torch

import bnnlab
from bnnlab.packed import benchmark


def test_contenders_take_turns_and_medians_lie_between_low_and_high():
    calls = []
    times = benchmark.interleaved(
        {"a": lambda: calls.append("a"), "b": lambda: sum(range(20000)) and calls.append("b")},
        rounds=5,
    )
    assert set(times) == {"a", "b"}
    for timing in times.values():
        assert 0 < timing["low"] <= timing["median"] <= timing["high"]
    assert times["a"]["median"] < times["b"]["median"]
    last = "".join(calls).rindex("a")
    assert "b" in calls[:last]


def test_twins_compute_what_the_network_does(network, grid):
    x = grid(40, 64)
    for scheme in ("full_precision", "binary_connect", "bnn", "dorefa", "lab2"):
        for batch_norm in ("on", "off"):
            model = network(scheme, batch_norm=batch_norm)
            with torch.inference_mode():
                expected = model(x)
                for onednn in (False, True):
                    got = benchmark.FloatTwin(model, onednn=onednn, batch=len(x))(x)
                    assert torch.equal(got.argmax(1), expected.argmax(1)), (scheme, onednn)
                    limit = 1e-5 * float(expected.abs().max())
                    torch.testing.assert_close(got, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("scheme", ["full_precision", "binary_connect", "bnn", "lat", "bitwise"])
@pytest.mark.parametrize("kind", ["lenet", "lstm"])
def test_twins_of_other_networks_compute_what_they_do(any_network, kind, scheme):
    for options in [{}, {"first_and_last": "binarized", "batch_norm": "shift"}]:
        model, x = any_network(kind, scheme, **options)
        with torch.inference_mode():
            expected = model(x)
            limit = 1e-5 * float(expected.abs().max())
            for onednn in (False, True):
                got = benchmark.FloatTwin(model, onednn=onednn, batch=len(x))(x)
                torch.testing.assert_close(got, expected, rtol=0, atol=limit)


def test_what_is_compared_is_said(any_network):
    said = {kind: benchmark.compared(any_network(kind, "bnn")[0]) for kind in ("mlp", "lenet")}
    assert "conv2d" in said["lenet"] and "conv2d" not in said["mlp"]
    assert all("F.linear, and oneDNN's inner product" in words for words in said.values())


def test_all_contenders_are_timed(network, grid):
    for scheme, packs in [("bnn", True), ("binary_connect", False)]:
        model = network(scheme, width=16)
        packed = bnnlab.pack(model)
        times = benchmark.compare(model, packed, grid(3, 64).numpy(), rounds=3)
        assert set(times) == {"packed", "torch", "onednn"} | ({"packing"} if packs else set())


def test_the_onednn_twin_is_run_by_onednn():
    """Asked of oneDNN itself, which reports every primitive it executes."""
    code = """
import torch
from bnnlab import nn, schemes
from bnnlab.packed.benchmark import FloatTwin
model = nn.MLP(64, 10, width=96, depth=2, scheme=schemes.get("bnn")).eval()
x = torch.randn(7, 64)
with torch.inference_mode():
    twin = FloatTwin(model, onednn=True, batch=7)
    print("begin", flush=True)
    twin(x)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"ONEDNN_VERBOSE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    executed = done.stdout.partition("begin")[2]
    assert executed.count("exec,cpu,inner_product") == 3, done.stdout


def test_packing_is_the_part_that_makes_bits(network, grid):
    packed = bnnlab.pack(network("bnn"))
    assert benchmark.packing(bnnlab.pack(network("lab")), grid(2, 64).numpy()) is None
    pack = benchmark.packing(packed, grid(2, 64).numpy())
    assert pack is not None and pack() is None
