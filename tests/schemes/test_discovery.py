"""Finding schemes by name, and adding one as one file."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import bnnlab
from bnnlab import schemes
from bnnlab.nn import MLP
from bnnlab.ui.page import OPENING

KINDS = schemes.kinds()

NEW = '''
from bnnlab.schemes.base import Quantized, Scheme
from bnnlab.schemes.estimators import identity, sign


class Half(Scheme):
    """Signs of one half."""

    key = "half"
    title = "Half"
    authors = "Nobody"
    reference = "arXiv:0000.00000"
    year = 2001
    color = "#123456"
    weight_bits = 1
    weight_estimator = identity

    def quantize(self, w, second_moment=None, generator=None):
        scale = w.new_full((1,) * w.ndim, 0.5)
        return Quantized(sign(w) * scale, sign(w), scale)
'''


# The names that others write against.
PROMISED = """
    full_precision stochastic_neurons binary_connect binary_connect_stochastic bitwise
    few_multiplications_binary few_multiplications_ternary bwn xnor_net bnn bnn_stochastic qnn
    dorefa lab lab2 laq lat twn bop prox_quant bi_real bnn_plus ir_net react_net
""".split()


def test_names_are_in_order():
    names = schemes.names()
    assert set(PROMISED) <= set(names) and names[0] == "full_precision"
    years = [KINDS[name].year for name in names[1:]]
    assert years == sorted(years)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(schemes, "__path__", [*schemes.__path__, str(tmp_path)])
    yield tmp_path
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(f"bnnlab.schemes.{path.stem}", None)


def test_a_new_scheme_is_one_new_file(folder):
    (folder / "half.py").write_text(NEW)
    assert schemes.names()[:2] == ["full_precision", "half"]
    scheme = schemes.get("half")
    model = MLP(4, 2, 8, 1, scheme=scheme)
    model(torch.ones(3, 4)).sum().backward()
    assert scheme.quantized(model.hidden1.layer).values.abs().unique().tolist() == [0.5]
    assert scheme.description()["estimators"]["weights"]["name"] == "identity"


def bnnlab_command(folder, *arguments):
    """The command in a process of its own, told of the folder by the environment."""
    return subprocess.run(
        [sys.executable, "-c", "from bnnlab.cli import main; main()", *map(str, arguments)],
        env={**os.environ, "BNNLAB_SCHEMES": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def test_a_scheme_from_outside_is_found_everywhere(tmp_path):
    """In the registry, the command line, a comparison, a figure and a packed model."""
    plugins, out = tmp_path / "mine", tmp_path / "half.bnnlab"
    plugins.mkdir()
    (plugins / "half.py").write_text(NEW)
    assert "half" in bnnlab_command(plugins, "schemes").split()
    assert "arXiv:0000.00000" in bnnlab_command(plugins, "schemes", "half")
    bnnlab_command(
        plugins, "compare", "--task", "moons", "--schemes", "full_precision,half", "--steps", 30,
        "--width", 8, "--probe-every", 10, "--evaluate-every", 10, "--out", out,
    )  # fmt: skip
    drawn = tmp_path / "figures"
    bnnlab_command(plugins, "figures", out, "--view", "weights", "--format", "svg", "--out", drawn)
    (picture,) = drawn.glob("*.svg")
    assert "half" in picture.read_text()
    model = tmp_path / "half.safetensors"
    bnnlab_command(plugins, "pack", out, "--scheme", "half", "--out", model)
    packed = bnnlab.load_packed(model)
    assert packed(np.zeros((3, 2), np.float32)).shape == (3, 2)
    assert "half" not in schemes.names()  # this process was not told


def test_two_schemes_of_one_name_are_refused(folder):
    (folder / "other_lab.py").write_text(NEW.replace('"half"', '"lab"'))
    with pytest.raises(RuntimeError, match="share a name"):
        schemes.names()


def test_a_scheme_that_does_not_say_where_it_comes_from_is_refused(folder):
    (folder / "half.py").write_text(NEW.replace("    authors", "    writers"))
    with pytest.raises(RuntimeError, match=r"scheme 'half' .* lacks \['authors'\]"):
        schemes.names()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("labs", {}, "no scheme is called 'labs'; there are full_precision, .*binary_connect"),
        (["lab"], {}, r"no scheme is called \['lab'\]"),
        ("lab", {"granularity": None}, "does not accept None"),
        ("lab", {"gran": 1}, "scheme 'lab' has no option 'gran'; it takes granularity, .*epsilon"),
        ("full_precision", {"bits": 1}, "has no option 'bits'; it takes none"),
        ("lab", {"granularity": "row"}, r"'row'; valid options include: '\[layer, channel\]'"),
        ("dorefa", {"weight_bits": 9}, "must be at most 8, not 9"),
        ("dorefa", {"weight_bits": 0}, "must be at least 1, not 0"),
        ("dorefa", {"weight_bits": 1.5}, "weight_bits' must be an integer"),
        ("dorefa", {"weight_bits": True}, "weight_bits does not accept True"),
        ("dorefa", {"activation_bits": True}, "activation_bits does not accept True"),
        ("dorefa", {"activation_bits": 16}, "does not accept 16"),
        ("lab", {"epsilon": 0.0}, "epsilon"),
        ("lab", {"epsilon": float("nan")}, "epsilon"),
    ],
)
def test_errors_say_what_is_allowed(name, options, message):
    with pytest.raises(ValueError, match=message):
        schemes.get(name, **options)


def test_every_scheme_looks_different():
    looks = [(kind.dash, kind.marker) for kind in KINDS.values()]
    assert len(set(looks)) == len(looks)
    assert {dash for dash, _ in looks} <= {"solid", "dashed", "dotted", "dashdot"}
    assert len({kind.color for kind in KINDS.values()}) == len(KINDS)


# What the eye's cones make of a color without the long, middle or short ones: linear RGB matrices
# of Machado, Oliveira and Fernandes (2009), severity 1.
SIGHT = {
    "full": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def cielab(color, sight):
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(SIGHT[sight]) @ linear, 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750]]
    xyz = np.array([*to_xyz, [0.0193339, 0.1191920, 0.9503041]]) @ linear
    f = np.cbrt(xyz / [0.95047, 1, 1.08883])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHT)
def test_colors_can_be_told_apart(sight):
    """Apart by 12 in CIELAB, where 2 to 3 is the least that can be seen side by side.

    More than a dozen colours cannot all be so, to every eye: the lanes a page opens with are, and
    any others that are closer differ in dash and in marker.
    """
    seen = {name: cielab(kind.color, sight) for name, kind in KINDS.items()}
    for a, b in itertools.combinations(seen, 2):
        far = np.linalg.norm(seen[a] - seen[b]) > 12
        if {a, b} <= set(OPENING["schemes"]):
            assert far, (a, b)
        else:
            differ = KINDS[a].dash != KINDS[b].dash and KINDS[a].marker != KINDS[b].marker
            assert far or differ, (a, b)


def test_full_precision_is_a_neutral_dark_grey():
    red, green, blue = (KINDS["full_precision"].color[i : i + 2] for i in (1, 3, 5))
    assert red == green == blue and int(red, 16) < 0x80
