"""The clock: what it times is what it says."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import bnnlab
from bnnlab.packed import benchmark, kernels, limits, trials, twins


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
                for way in ("torch", "onednn"):
                    got = twins.Twin(model, way, batch=len(x))(x)
                    assert torch.equal(got.argmax(1), expected.argmax(1)), (scheme, way)
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
            for way in ("torch", "onednn"):
                got = twins.Twin(model, way, batch=len(x))(x)
                torch.testing.assert_close(got, expected, rtol=0, atol=limit)


def test_what_is_compared_is_said(any_network):
    said = {kind: twins.compared(any_network(kind, "bnn")[0]) for kind in ("mlp", "lenet")}
    assert "conv2d" in said["lenet"] and "conv2d" not in said["mlp"]
    assert all("F.linear, and oneDNN's inner product" in words for words in said.values())


def test_all_contenders_are_timed(network, grid):
    for scheme, packs in [("bnn", True), ("binary_connect", False)]:
        model = network(scheme, width=16)
        packed = bnnlab.pack(model)
        found = benchmark.compare(model, packed, grid(3, 64).numpy(), rounds=2)
        others = set(twins.ways())
        assert set(found["seconds"]) == {"packed"} | others | ({"packing"} if packs else set())
        assert set(found["faster"]) == others
        assert found["limit"]["bound"] in ("counting", "reading")
        assert found["limit"]["share"]["median"] > 0
        assert found["traffic"]["packed"] < found["traffic"]["float32"]


def test_of_several_threads_there_is_no_limit(network, grid):
    model = network("bnn", width=16)
    before = torch.get_num_threads()
    found = benchmark.compare(model, bnnlab.pack(model), grid(8, 64).numpy(), rounds=2, threads=2)
    assert found["limit"] is None
    assert found["seconds"]["packed"]["median"] > 0
    assert torch.get_num_threads() == before


def test_the_onednn_twin_is_run_by_onednn():
    """Asked of oneDNN itself, which reports every primitive it executes."""
    code = """
import torch
from bnnlab import nn, schemes
from bnnlab.packed.twins import Twin
model = nn.MLP(64, 10, width=96, depth=2, scheme=schemes.get("bnn")).eval()
x = torch.randn(7, 64)
with torch.inference_mode():
    twin = Twin(model, "onednn", batch=7)
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


@pytest.mark.parametrize("way", ["bfloat16", "int8"])
@pytest.mark.parametrize("kind", ["mlp", "lenet", "lstm"])
def test_twins_of_fewer_bits_compute_about_the_same(any_network, kind, way):
    if way not in twins.ways():
        assert twins.missing_int8()
        return
    model, x = any_network(kind, "binary_connect")
    with torch.inference_mode():
        expected, got = model(x), twins.Twin(model, way, batch=len(x))(x)
    assert got.dtype == torch.float32 and got.shape == expected.shape
    together = np.corrcoef(expected.flatten(), got.flatten())[0, 1]
    assert together > 0.99
    assert not torch.equal(got, expected)


def test_a_pytorch_without_an_engine_says_so(monkeypatch):
    def refuse(weight, bias):
        raise RuntimeError("Didn't find engine for operation quantized::linear_prepack NoQEngine")

    monkeypatch.setattr(twins, "int8_linear", refuse)
    for cached in (twins.missing_int8, twins.ways):
        cached.cache_clear()
    try:
        assert "NoQEngine" in (twins.missing_int8() or "")
        assert twins.ways() == ["torch", "onednn", "bfloat16"]
        found = trials.product("bits", (2, 16, 32), 2)
        assert "int8" not in found["seconds"]
    finally:
        for cached in (twins.missing_int8, twins.ways):
            cached.cache_clear()


def sum_of_tiles():
    """Of four equal products of 16 rows of bytes and 16 outputs, four of whose bytes follow."""
    given = (np.arange(1, 1025, dtype=np.uint32) * np.uint32(2654435761) >> 24).astype(np.uint8)
    rows = given.reshape(16, 64).astype(int)
    weights = given.view(np.int8).reshape(16, 16, 4).transpose(0, 2, 1).reshape(64, 16).astype(int)
    return 4 * int((rows @ weights).sum()) % 2**32


def test_loops_at_the_limit_do_their_work():
    """A step's sum is what its multiply-adds give: no compiler left any out."""
    total = kernels.ffi.new("uint32_t *")
    ones = bin(0x12345678 ^ 0x9ABCDEF0).count("1")
    for isa in kernels.isas():
        number = kernels.isa_number(isa)
        for name, which in limits.LOOPS.items():
            work = kernels.lib.bnnlab_limit_work(number, which)
            if not work:
                assert limits.loop(name, isa) is None
                continue
            assert kernels.lib.bnnlab_limit_run(number, which, 1, total) == 0
            # Bits: 32 to a word. Bytes are 3 x 1. Floats are 1 x 2.
            expected = {"bits": work // 32 * ones, "bytes": 3 * work, "floats": 2 * work}
            if isa == "amx":
                expected["bits"] = expected["bytes"] = sum_of_tiles()
            if isa == "avx2":  # digits of 1 are looked up, of four bytes two
                expected["bytes"] = work // 4 * 2
            if name in expected:
                assert total[0] == expected[name], (isa, name)
            assert kernels.lib.bnnlab_limit_run(number, which, 0, total) == 0
            assert total[0] == 0


@pytest.mark.parametrize("length", [0, 1, 31, 32, 77])
def test_reading_sees_every_word(length):
    for isa in kernels.isas():
        for at in range(length):
            words = np.zeros(length, np.uint32)
            words[at] = 1 << (at % 32)
            seen = kernels.ffi.new("uint32_t *")
            number = kernels.isa_number(isa)
            status = kernels.lib.bnnlab_limit_read(
                number, *kernels.buffer("uint32_t[]", words), seen
            )
            assert (status, seen[0]) == (0, words[at]), (isa, at)


def test_limits_refuse_what_is_not_there():
    total = kernels.ffi.new("uint32_t *")
    run, read = kernels.lib.bnnlab_limit_run, kernels.lib.bnnlab_limit_read
    assert run(99, 1, 1, total) == run(1, 0, 1, total) == run(1, 5, 1, total) == 4
    assert run(1, 1, 1, kernels.ffi.NULL) == read(1, kernels.ffi.NULL, 3, total) == 1
    assert read(99, kernels.ffi.NULL, 0, total) == 4


def timings(found):
    for timing in found:
        assert 0 < timing["low"] <= timing["median"] <= timing["high"]


@pytest.mark.parametrize("operands", trials.OPERANDS)
def test_a_trial_of_a_product(operands):
    found = trials.product(operands, (3, 40, 50), 2)
    assert (found["kernel"], found["shape"]) == (operands, [3, 40, 50])
    assert found["isa"] == kernels.isa() and found["operations"] == 2 * 3 * 40 * 50
    others = set(twins.ways())
    own = {"packed", "kernel", "counting", "reading"} | (
        {"packing"} if operands == "bits" else set()
    )
    assert set(found["seconds"]) == own | others and set(found["faster"]) == others
    timings([*found["seconds"].values(), *found["faster"].values(), found["limit"]["share"]])
    assert found["traffic"]["float32"] == 4 * (3 * 40 + 3 * 50 + 40 * 50)
    alone = trials.product(operands, (3, 40, 50), 2, beside_torch=False)
    assert not alone["faster"]


def test_a_trial_of_a_convolution():
    found = trials.convolution(8, 5, 2)
    assert found["shape"] == [8, 5, 5] and found["operations"] == 2 * 9 * 8 * 8 * 25
    assert set(found["faster"]) == {"torch", "bfloat16"}
    timings(found["seconds"].values())


def test_what_is_timed_is_the_product():
    x, weights, panels = trials.drawn(3, 20, 70)
    signs = np.where(x >= 0, 1, -1) @ np.where(weights >= 0, 1, -1).T
    for isa in kernels.isas():
        with benchmark.instruction_set(isa):
            assert kernels.isa() == isa
            out = kernels.xnor_matmul(kernels.pack_signs(x), panels, 20, 70)
            np.testing.assert_array_equal(out, signs)
            trials.bare("bits", kernels.pack_signs(x), panels, 20, 70)()
    with (
        pytest.raises(ValueError, match=r"no instruction set 'mmx' here; there are scalar"),
        benchmark.instruction_set("mmx"),
    ):
        pass


def test_a_share_is_of_the_longer_of_two_times():
    found = benchmark.share([4.0, 4.0], [1.0, 1.0], [2.0, 2.0])
    assert found["share"]["median"] == 0.5 and found["bound"] == "reading"
    found = benchmark.share([4.0, 4.0], [3.0, 3.0], [2.0, 2.0])
    assert found["share"]["median"] == 0.75 and found["bound"] == "counting"


def test_what_a_pass_asks_of_the_machine(network, any_network):
    layers = 64 * 70 + 70 * 70 + 70 * 10
    bnn = limits.demands(bnnlab.pack(network("bnn", width=70, depth=2)), 100)
    hidden = bnn.work[1]
    assert hidden == {"bits": 100 * 70 * 70}
    dorefa = limits.demands(bnnlab.pack(network("dorefa", width=70, depth=2)), 1)
    assert dorefa.work[1] == {"bits": 2 * 70 * 70, "bytes": 70 * 70}
    assert set(bnn.work[0]) <= {"reals", "bytes"}
    assert bnn.traffic_float32 == 4 * (layers + 100 * (64 + 70 + 70 + 70 + 70 + 10))
    assert bnn.weights < 4 * layers / 6 < bnn.traffic_float32
    real = limits.demands(bnnlab.pack(network("full_precision", width=70, depth=2)), 1)
    assert real.work == ({"floats": 64 * 70}, {"floats": 70 * 70}, {"floats": 700})
    assert real.counting({"floats": 1.0}) == layers and real.counting({}) == 0
    model, _ = any_network("lstm", "binary_connect")
    text = limits.demands(bnnlab.pack(model), 2, 5)
    assert text.work[0] == {"reals": 2 * 5 * 4 * 21 * 21}
    assert text.weights > limits.demands(bnnlab.pack(model), 2, 4).weights
