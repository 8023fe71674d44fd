"""Packed networks taken away: as ONNX, run by onnxruntime, and as C, built by what is here."""

import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import bnnlab
from bnnlab import nn, schemes
from bnnlab.packed import export_c
from bnnlab.packed.about import checked
from bnnlab.packed.network import Network

VARIANTS = [(name, {}) for name in schemes.names()] + [
    ("bwn", {"granularity": "layer"}),
    ("xnor_net", {"input_scale": True}),
    ("lab2", {"granularity": "channel"}),
    ("dorefa", {"activation_bits": 1}),
    ("dorefa", {"weight_bits": 3, "activation_bits": 4}),
]
KINDS = ("mlp", "lenet", "vgg", "lstm")
STRICT = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic"]


def compilers():
    """The compilers of C that are here; one is, where the kernels were built."""
    found = [name for name in ("gcc", "clang") if shutil.which(name)]
    assert found or shutil.which("cc")
    return found or ["cc"]


def run_onnx(path, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    return session.run(None, {"x": x})[0]


def built(files, folder, compiler=None, flags=("-std=c99", "-O0")):
    """The test program of a C file, and what it says."""
    compiler = compiler or compilers()[0]
    command = [compiler, *flags, "-DBNNLAB_TEST", str(files[0]), "-o", str(folder / "test")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return subprocess.run([folder / "test"], capture_output=True, text=True)


def shaped(packed, x):
    return x.numpy().reshape(len(x), *(packed.shape or x.shape[1:]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("scheme", "options"), VARIANTS)
def test_every_scheme_on_every_network(any_network, tmp_path, kind, scheme, options):
    model, x = any_network(kind, schemes.get(scheme, **options), samples=12)
    packed = bnnlab.pack(model)
    expected = packed(x).numpy()

    path = tmp_path / "network.onnx"
    assert packed.save(path) == [path]
    scores = run_onnx(path, shaped(packed, x))
    assert np.array_equal(scores.argmax(-1), expected.argmax(-1))
    # A real sum within rounding of the border between two codes may become the other one.
    steps = scheme.startswith("bitnet") or options.get("activation_bits", 1) > 1
    off = (5e-2 if steps else 1e-5) * np.abs(expected).max()
    np.testing.assert_allclose(scores, expected, rtol=0, atol=off)

    files = packed.save(tmp_path / "network.c", x.numpy())
    assert [file.suffix for file in files] == [".c", ".h"]
    done = built(files, tmp_path)
    assert (done.returncode, done.stdout) == (0, "network: 8 samples, 0 wrong\n")


@pytest.mark.parametrize("kind", ["vgg", "lstm"])
def test_the_c_satisfies_strict_compilers(any_network, tmp_path, kind):
    model, x = any_network(kind, "xnor_net")
    files = bnnlab.pack(model).save(tmp_path / "network.c", x.numpy())
    for compiler in compilers():
        assert built(files, tmp_path, compiler, STRICT).returncode == 0
        # As it is delivered, without its test: one symbol, and nothing but memcpy and the like.
        made = tmp_path / "network.o"
        subprocess.run([compiler, *STRICT, "-c", files[0], "-o", made], check=True)
        listed = subprocess.run(["nm", "-g", made], capture_output=True, text=True, check=True)
        symbols = [line.split()[-2:] for line in listed.stdout.splitlines()]
        assert [name for kind, name in symbols if kind == "T"] == ["network_predict"]
        foreign = {name for kind, name in symbols if kind == "U"}
        assert foreign <= {"memcpy", "memset", "memmove", "__stack_chk_fail",
                           "_GLOBAL_OFFSET_TABLE_"}  # fmt: skip


def test_the_c_computes_bit_for_bit_what_the_plain_kernels_do(any_network, tmp_path):
    """Called as a library."""
    import ctypes

    for kind, scheme in [("mlp", "bnn"), ("lenet", "lab2"), ("vgg", "dorefa"), ("lstm", "lab")]:
        model, x = any_network(kind, scheme, samples=20)
        packed = bnnlab.pack(model)
        files = packed.save(tmp_path / f"{kind}_{scheme}.c")
        library = tmp_path / f"{kind}.so"
        flags = ["-std=c99", "-O1", "-ffp-contract=off", "-shared", "-fPIC"]
        subprocess.run([compilers()[0], *flags, files[0], "-o", library], check=True)
        predict = getattr(ctypes.CDLL(str(library)), f"{files[0].stem}_predict")
        expected = export_c._scores(packed, np.ascontiguousarray(x.numpy()))
        for given, wanted in zip(x.numpy(), expected, strict=True):
            scores = np.empty_like(wanted)
            length = [] if packed.shape else [ctypes.c_size_t(len(given))]
            assert predict(given.ctypes.data_as(ctypes.c_void_p), *length,
                           scores.ctypes.data_as(ctypes.c_void_p)) == 0  # fmt: skip
            assert np.array_equal(scores, wanted), files[0].stem
        if packed.shape:  # bad input is refused, and does not crash
            given[0] = np.nan
            assert predict(given.ctypes.data_as(ctypes.c_void_p),
                           scores.ctypes.data_as(ctypes.c_void_p)) != 0  # fmt: skip


def test_test_vectors_can_fail(any_network, tmp_path):
    model, x = any_network("mlp", "bnn")
    files = bnnlab.pack(model).save(tmp_path / "network.c", x.numpy())
    text = files[0].read_text()
    at = text.index("layer1_panels[")
    at = text.index("\n", at) + 1
    files[0].write_text(text[:at] + "0x0u," * 20 + text[at:].split(",", 20)[20])
    done = built(files, tmp_path)
    assert done.returncode == 1 and "wrong" in done.stdout and "not " in done.stdout


def test_names_that_c_does_not_allow_are_refused(any_network, tmp_path):
    packed = bnnlab.pack(any_network("mlp", "bnn")[0])
    for name in ("2bits.c", "my-network.c", "a b.c", "é.c"):
        with pytest.raises(ValueError, match="letters, digits and _"):
            packed.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_header_says_what_must_be_known_and_can_not_be_broken_out_of(any_network, tmp_path):
    packed = bnnlab.pack(any_network("mlp", "bnn")[0])
    classes = [f"class */ int evil{i}; /*" for i in range(10)]
    columns = [{"name": f"c\\{i}\n#error", "centre": 1.5, "unit": 2} for i in range(64)]
    said = {"task": "table", "classes": classes, "label": "kind", "columns": columns}
    packed.about = checked(said, 64, 10, text=False)
    files = packed.save(tmp_path / "network.c")
    header = files[1].read_text()
    assert "class * / int evil3; / *" in header and "(number - 1.5) / 2" in header
    assert f"#define NETWORK_WORKSPACE {packed_workspace(packed)}" in header
    assert built(files, tmp_path, flags=STRICT).returncode == 0


def packed_workspace(packed):
    return Network(packed.program.steps).workspace(1, 1)


def test_zeros_of_either_sign_fall_on_the_same_side(tmp_path):
    """Sums that are zero, or stand exactly on a threshold."""
    model = nn.MLP(4, 3, width=8, depth=1, scheme=schemes.get("bnn"), batch_norm="off").eval()
    x = np.array([[0, 0, 0, 0], [-0.0, -0.0, 0, -0.0], [1, -1, 1, -1], [-1, 1, 1, -1]], np.float32)
    packed = bnnlab.pack(model)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    assert np.array_equal(packed(x), expected)
    packed.save(tmp_path / "network.onnx")
    assert np.array_equal(run_onnx(tmp_path / "network.onnx", x), expected)
    assert built(packed.save(tmp_path / "network.c", x), tmp_path).returncode == 0


@pytest.mark.parametrize("kind", ["mlp", "lenet"])
@pytest.mark.parametrize("name", ["bnn", "lab", "dorefa", "bitnet"])
def test_trained_networks_predict_the_same_on_the_whole_test_set(
    trained_on_digits, tmp_path, kind, name
):
    spec = {"name": kind, "width": 48} | ({"depth": 2} if kind == "mlp" else {"channels": 8})
    model, split = trained_on_digits(spec, schemes.get(name), 80)
    with torch.no_grad():
        expected = model(torch.from_numpy(split.test_x)).numpy()
    packed = bnnlab.pack(model)
    path = tmp_path / "network.onnx"
    packed.save(path)
    scores = run_onnx(path, split.test_x.reshape(-1, 1, 8, 8))
    assert np.array_equal(scores.argmax(1), expected.argmax(1))
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert (scores.argmax(1) == split.test_y).mean() > 0.7


def test_onnx_says_what_it_is_keeps_bits_and_takes_any_batch(any_network, tmp_path):
    model, x = any_network("mlp", "bnn", width=600, depth=3)
    packed = bnnlab.pack(model)
    packed.about = checked({"task": "digits", "classes": list("abcdefghij")}, 64, 10, text=False)
    path = tmp_path / "network.onnx"
    packed.save(path)
    read = onnx.load(path)
    onnx.checker.check_model(read, full_check=True)
    assert read.producer_name == "bnnlab" and "1-bit weights" in read.doc_string
    said = json.loads({prop.key: prop.value for prop in read.metadata_props}["about"])
    assert said == {"task": "digits", "classes": list("abcdefghij")}
    assert {node.domain for node in read.graph.node} == {""}
    assert [opset.version for opset in read.opset_import] == [18]
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert path.stat().st_size < 4 * weights / 16
    for count in (1, 7):
        scores = run_onnx(path, x.numpy()[:count])
        np.testing.assert_allclose(scores, packed(x[:count]).numpy(), rtol=0, atol=1e-5)


def test_texts_may_be_of_any_length(any_network, tmp_path):
    model, _ = any_network("lstm", "lab")
    packed = bnnlab.pack(model)
    packed.save(tmp_path / "network.onnx")
    for shape in [(1, 1), (3, 17)]:
        x = torch.randint(0, 37, shape, generator=torch.Generator().manual_seed(0))
        scores = run_onnx(tmp_path / "network.onnx", x.numpy())
        np.testing.assert_allclose(scores, packed(x).numpy(), rtol=0, atol=1e-5)


def test_without_onnx_it_is_said_how_to_get_it(any_network, tmp_path, monkeypatch):
    packed = bnnlab.pack(any_network("mlp", "bnn")[0])
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(bnnlab.packed.ExtraMissing, match=r"pip install 'bnnlab\[onnx\]'"):
        packed.save(tmp_path / "network.onnx")
    assert list(tmp_path.iterdir()) == []
