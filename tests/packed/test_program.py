"""A network as one call: its program, its threads, its workspace, and what it refuses."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import bnnlab
from bnnlab import schemes
from bnnlab.packed import kernels
from bnnlab.packed.network import Network
from bnnlab.packed.program import Values

KERNELS = Path(__file__).parents[2] / "kernels"
NETWORKS = [("mlp", "bnn"), ("lenet", "dorefa"), ("vgg", "lab2"), ("lenet", "bitnet"),
            ("lstm", "lab2"), ("lstm", "twn")]  # fmt: skip


@pytest.mark.parametrize(("kind", "scheme"), NETWORKS)
def test_threads_change_nothing(any_network, kind, scheme):
    model, x = any_network(kind, scheme, samples=11)
    packed = bnnlab.pack(model)
    expected = packed(x)
    for threads in (2, 3, 11, 300):
        assert torch.equal(packed(x, threads=threads), expected)
    with pytest.raises(ValueError, match="threads is 0; there must be at least one"):
        packed(x, threads=0)


@pytest.mark.parametrize(("kind", "scheme"), NETWORKS)
def test_neither_do_the_other_samples(any_network, kind, scheme):
    """A batch goes through in blocks, of which the last is smaller; a text in steps."""
    model, x = any_network(kind, scheme, samples=150 if kind == "mlp" else 30)
    packed = bnnlab.pack(model)
    expected = packed(x)
    for samples in (1, 7):
        assert torch.equal(packed(x[:samples]), expected[:samples])
    assert torch.equal(packed(x[-3:]), expected[-3:])


@pytest.mark.parametrize("scheme", ["bnn", "dorefa", "lab"])
@pytest.mark.parametrize("first_and_last", ["binarized", "float"])
def test_wide_layers_of_large_batches(network, grid, monkeypatch, scheme, first_and_last):
    """Whose sums some instruction sets turn into bits before these lie in memory."""
    options = {"activation_bits": 1} if scheme == "dorefa" else None
    shape = {"width": 333, "depth": 3, "first_and_last": first_and_last}
    packed = bnnlab.pack(network(scheme, inputs=100, options=options, **shape))
    x = grid(100, 100)
    said = {}
    for isa in kernels.isas():
        monkeypatch.setenv("BNNLAB_ISA", isa)
        said[isa] = packed.hidden(x)
    for isa, layers in said.items():
        for name, values in layers.items():
            assert np.array_equal(values, said["scalar"][name]), (isa, name)


def test_texts_of_any_length(any_network):
    model, _ = any_network("lstm", "lab2")
    packed = bnnlab.pack(model)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, packed.inputs, (3, 300), generator=generator)
    expected = packed(x)
    assert torch.equal(packed(x[:, :170]), expected[:, :170])
    with torch.no_grad():
        assert torch.equal(model(x).argmax(-1), expected.argmax(-1))


def test_callers_at_once_do_not_meet(any_network):
    model, x = any_network("lenet", "dorefa", samples=20)
    packed = bnnlab.pack(model)
    expected = packed(x)
    with ThreadPoolExecutor(4) as pool:
        given = [pool.submit(packed, x[i % 9 :]) for i in range(60)]
        for i, future in enumerate(given):
            assert torch.equal(future.result(), expected[i % 9 :])
    packed(x)  # the last one kept may have been for fewer samples
    held = packed.workspace_nbytes
    assert 0 < held <= 4 * packed.workspace(20)
    packed(x)
    assert packed.workspace_nbytes == held


def test_sums_can_be_seen(any_network):
    """Of signs with signs they are what PyTorch's layers give, exactly."""
    for kind in ("mlp", "lenet"):
        model, x = any_network(kind, "bnn", first_and_last="binarized", batch_norm="on")
        expected = layer_outputs(model, x)
        sums = bnnlab.pack(model).sums(x)
        assert sums.keys() == expected.keys()
        for name, of_layer in expected.items():
            assert np.array_equal(sums[name], of_layer), name


@torch.no_grad()
def layer_outputs(model, x):
    """What the layers of a network give before batch norm and activation, by name."""
    seen = {}

    def keeper(name):
        return lambda module, given, out: seen.__setitem__(name, out.numpy())

    for name, block in model.named_children():
        block.layer.register_forward_hook(keeper(name))
    model(x)
    return seen


def test_what_does_not_fit_is_refused(any_network):
    packed = bnnlab.pack(any_network("lenet", "bnn")[0])
    steps = packed.program.steps
    network = Network(steps)
    x = np.zeros((3, packed.inputs), np.float32)
    out = np.zeros((3, packed.outputs), np.float32)
    size = network.workspace(3)
    number = kernels.isa_number(None)
    space = kernels.aligned((size,), kernels.UINT8)
    assert network.run(x, out, space, 1, number) == 0

    def refused(message, *arguments):
        with pytest.raises(ValueError, match=message):
            kernels.check(network.run(*arguments))

    refused("the length that the sizes ask for", x, out, space[:-1], 1, number)
    refused("the length that the sizes ask for", x[:, 1:].copy(), out, space, 1, number)
    refused("the length that the sizes ask for", x, out[:, 1:].copy(), space, 1, number)
    refused("the length that the sizes ask for", x, out, space, 3, number)
    refused("instruction set is not available", x, out, space, 1, 99)
    refused("not finite", x + np.float32(np.inf), out, space, 1, number)
    for threads in (2, 3):
        more = kernels.aligned((network.workspace(3, threads=threads),), kernels.UINT8)
        refused("not finite", x * np.float32(np.nan), out, more, threads, number)
    with pytest.raises(ValueError, match="too large"):
        network.workspace(2**62, threads=2**62)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": 4},
        {"kind": 0},
        {"channels": 0},
        {"channels": 2**62},
        {"height": 2**40},
        {"outputs": 11},
        {"operands": 9},
        {"panels": None},
        {"factors": np.ones(2, np.int32)},
        {"offsets": np.ones(3, np.int32)},
        {"ways_down": np.zeros(3, np.uint8)},
        {"thresholds": np.zeros(3, np.int32)},
        {"flip": None},
        {"levels": 256},
        {"pool_down": 0},
        {"pool_across": 99},
        {"given": Values(25, 0, 1, 1.0)},
        {"taken": Values(2, 0, 1, 1.0)},
        {"totals": np.zeros(1, np.int32)},
        {"sign_planes": 2},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_layers_that_are_not_what_they_say(any_network, wrong):
    steps = list(bnnlab.pack(any_network("lenet", "bnn")[0]).program.steps)
    steps[1] = replace(steps[1], **wrong)
    with pytest.raises(ValueError, match="do not fit one another"):
        Network(steps)


def test_layers_in_another_order(any_network):
    steps = bnnlab.pack(any_network("lenet", "bnn")[0]).program.steps
    for others in (steps[::-1], steps[1:], (), (steps[0], steps[2])):
        with pytest.raises(ValueError, match="do not fit one another"):
            Network(others)


def test_the_network_needs_nothing_but_c99(tmp_path):
    """Neither threads nor mathematics nor Python: for those who take it elsewhere."""
    sources = [KERNELS / "src" / name for name in ("network.c", "scalar.c")]
    done = subprocess.run(
        [os.environ.get("CC", "cc"), "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O1",
         "-fPIC", "-shared", "-Wl,--no-undefined", "-I", KERNELS / "include", *sources,
         "-o", tmp_path / "network.so"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


RUN = """
import sys
import numpy as np
import bnnlab.packed
for name in sys.argv[1:]:
    packed = bnnlab.packed.load_packed(name + ".safetensors")
    given = np.load(name + ".npz")
    assert np.array_equal(packed(given["x"], threads=2), given["scores"]), name
assert "torch" not in sys.modules
"""


def test_running_takes_no_torch(any_network, tmp_path):
    chosen = [
        ("mlp", "bitwise", {}, 0.0),
        ("lenet", "bitnet_158", {}, 1.0),
        ("vgg", "xnor_net", {"input_scale": True}, 1.0),
        ("lenet", "full_precision", {}, 1.0),
        ("lstm", "qnn", {}, 1.0),
        ("lstm", "bitnet", {}, 1.0),
    ]
    names = []
    for kind, scheme, options, progress in chosen:
        model, x = any_network(kind, schemes.get(scheme, **options), samples=9, progress=progress)
        packed = bnnlab.pack(model)
        names.append(str(tmp_path / f"{kind}-{scheme}"))
        packed.save(f"{names[-1]}.safetensors")
        np.savez(f"{names[-1]}.npz", x=x.numpy(), scores=packed(x.numpy()))
    done = subprocess.run([sys.executable, "-c", RUN, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
