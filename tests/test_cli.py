"""The command line: real commands, in processes of their own where they train."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from waiting import wait_while

import bnnlab
from bnnlab.cli import main

SMALL = (
    "--task moons --width 8 --schemes full_precision,bnn,lab --batch-size 32 --processes 1"
).split()
ROOT = Path(__file__).parent.parent


def command(*arguments):
    return [sys.executable, "-m", "bnnlab", *map(str, arguments)]


def run(*arguments, **options):
    options |= {"capture_output": True, "text": True, "encoding": "utf-8", "timeout": 120}
    return subprocess.run(command(*arguments), **options)


def invoke(*arguments):
    """Run a command in this process: the quick way, for what only reads or refuses."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_help_names_every_command_and_each_has_examples():
    result = invoke("--help")
    assert result.exit_code == 0
    names = main.list_commands(None)
    assert names == [
        "serve", "compare", "show", "figures", "report", "bench", "pack", "predict", "archive",
        "reproduce", "study", "schemes", "tasks",
    ]  # fmt: skip
    for name in names:
        assert f"  {name} " in result.output
        about = invoke(name, "--help")
        assert about.exit_code == 0, about.output
        shown = re.findall(rf"^  bnnlab {name}\b", about.output, re.MULTILINE)
        assert shown, "every command shows how it is used, one example a line"


def test_help_is_quick_to_load():
    script = (
        "import sys; from bnnlab.cli import main; main(['--help'], standalone_mode=False); "
        "heavy = {'torch', 'panel', 'holoviews', 'pandas', 'matplotlib'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_the_version():
    assert invoke("--version").output.strip() == f"bnnlab, version {bnnlab.__version__}"


def test_compare_trains_prints_a_table_goes_on_and_extends(tmp_path):
    out = tmp_path / "moons.bnnlab"
    first = run("compare", *SMALL, "--steps", 12, "--seeds", 2, "--out", out)
    assert first.returncode == 0, first.stderr
    assert "12/12" in first.stderr, "a progress bar"
    lines = first.stdout.splitlines()
    assert lines[0].split()[:4] == ["lane", "bits", "W/A", "validation"]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["full_precision", "32/32"], ["bnn", "1/1"], ["lab", "1/32"],
    ]  # fmt: skip
    assert all(line.count(" ± ") == 3 for line in lines[1:])

    again = run("compare", *SMALL, "--steps", 12, "--seeds", 2, "--out", out)
    assert (again.returncode, again.stdout) == (0, first.stdout)

    longer = run("compare", "--out", out, "--steps", 20)
    assert longer.returncode == 0, longer.stderr
    assert all(run.step == 20 for run in bnnlab.open(out).runs)

    other = run("compare", *SMALL, "--steps", 12, "--lr", 0.1, "--out", out)
    assert other.returncode == 2 and "holds another comparison (lr: 0.005" in other.stderr
    assert "Traceback" not in other.stderr


def test_ctrl_c_saves_a_checkpoint_and_says_how_to_go_on(tmp_path):
    out = tmp_path / "long.bnnlab"
    process = subprocess.Popen(
        command("compare", *SMALL, "--steps", 100_000, "--checkpoint-every", 100_000, "--out", out),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    wait_while(process, lambda: any(out.glob("runs/lab-*/arrays/00000100.safetensors")))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"To go on: bnnlab compare --out {out}" in errors
    assert "Traceback" not in errors
    log = bnnlab.open(out)
    assert all(any((run.folder / "checkpoint").iterdir()) for run in log.runs)
    reached = max(run.step for run in log.runs)
    finished = run("compare", "--out", out, "--steps", reached + 10)
    assert finished.returncode == 0, finished.stderr
    assert all(run.end["step"] == reached + 10 for run in bnnlab.open(out).runs)


def test_options_reach_the_comparison(tmp_path):
    out = tmp_path / "options.bnnlab"
    result = invoke(
        "compare", "--task", "spirals:noise=0.05,samples=400", "--schemes", "bwn",
        "--scheme", "dorefa:activation_bits=4", "--scheme", "lab:granularity=channel",
        "--batch-norm", "off", "--depth", 3, "--width", 6, "--first-and-last", "binarized",
        "--loss", "cross_entropy", "--lr", 0.01, "--batch-size", 16, "--steps", 2,
        "--seeds", "4,", "--processes", 1, "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    spec = bnnlab.open(out).comparison
    assert spec["task"]["noise"] == 0.05 and spec["task"]["samples"] == 400
    assert spec["network"] == {
        "name": "mlp", "width": 6, "depth": 3, "batch_norm": "off", "first_and_last": "binarized",
    }  # fmt: skip
    assert [scheme["name"] for scheme in spec["schemes"]] == ["bwn", "dorefa", "lab"]
    assert spec["schemes"][1]["activation_bits"] == 4
    assert spec["schemes"][2]["granularity"] == "channel"
    assert spec["seeds"] == [4]
    assert (spec["loss"], spec["lr"], spec["batch_size"]) == ("cross_entropy", 0.01, 16)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("compare --task moon --out X", ["'moon'", "moons"]),
        ("compare --task moons:noise=7 --out X", ["noise", "7", "1"]),
        ("compare --task moons:noise --out X", ["'noise'", "no value"]),
        ("compare --width 0 --out X", ["width", "1", "0"]),
        ("compare --width 1.5 --out X", ["--width", "'1.5'"]),
        ("compare --depth 9 --out X", ["depth", "8", "9"]),
        ("compare --steps 0 --out X", ["steps", "1", "0"]),
        ("compare --seeds x --out X", ["'x'", "0,1,7"]),
        ("compare --seeds 129 --schemes bnn --out X", ["129 runs", "128"]),
        ("compare --schemes bn,lab --out X", ["'bn'", "bnn"]),
        ("compare --scheme lab:foo=1 --out X", ["'foo'", "granularity"]),
        ("compare --network alexnet --out X", ["'alexnet'", "mlp"]),
        ("compare --loss hinge --out X", ["'hinge'", "squared_hinge"]),
        ("compare --nope --out X", ["--nope"]),
        ("compare", ["--out"]),
        ("show X", ["X", "does not exist"]),
        ("show .", ["not a comparison", "bnnlab compare"]),
        ("figures . --out Y", ["not a comparison"]),
        ("bench .", ["not a comparison"]),
        ("pack . --scheme bnn --out Y.safetensors", ["not a comparison"]),
        ("archive .", ["not a comparison"]),
        ("serve .", ["not a comparison"]),
        ("serve --address 0.0.0.0 --no-show", ["0.0.0.0", "basic"]),
        ("serve --port 70000", ["70000", "65535"]),
        ("serve --device cuda:99", ["cuda:99", "cpu"]),
        ("schemes x", ["'x'", "lab2"]),
        ("tasks x", ["'x'", "digits"]),
        ("sing", ["'sing'"]),
    ],
)
def test_bad_input_is_refused_in_words(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments.split())
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit), "no traceback"
    for words in said:
        assert words in result.output
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_offline_mnist_says_what_to_do_and_nothing_else_is_lost(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "BNNLAB_DATA"}
    environment |= {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        # Nothing listens on port 9.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    result = run(
        "compare", "--task", "mnist", "--schemes", "bnn", "--steps", 1, "--out",
        tmp_path / "m.bnnlab", env=environment,
    )  # fmt: skip
    assert result.returncode == 1
    assert "BNNLAB_DATA" in result.stderr and "Traceback" not in result.stderr


def test_show_puts_comparisons_under_each_other(trained_folder, tmp_path):
    archive = tmp_path / "sent.bnnlab.zip"
    made = invoke("archive", trained_folder, "--out", archive)
    assert made.exit_code == 0, made.output
    assert str(archive) in made.output
    result = invoke("show", trained_folder, archive)
    assert result.exit_code == 0, result.output
    head, *rows = result.output.splitlines()
    lanes = bnnlab.open(trained_folder).lanes
    assert head.startswith("comparison")
    assert [row.split()[:2] for row in rows] == [
        [name, lane] for name in ("moons.bnnlab", "sent.bnnlab") for lane in lanes
    ]


def test_show_says_what_did_not_end_well(trained_folder, tmp_path):
    folder = shutil.copytree(trained_folder, tmp_path / "half.bnnlab")
    log = bnnlab.open(folder)
    (log.run("bwn", 0).folder / "end.json").unlink()
    end = {"state": "diverged", "step": 7, "why": "train_loss is nan at step 7"}
    (log.run("bnn", 1).folder / "end.json").write_text(json.dumps(end))
    rows = {line.split()[0]: line for line in invoke("show", folder).output.splitlines()}
    assert rows["bwn"].endswith("seed 0: at step 40")
    assert rows["bnn"].endswith("seed 1: diverged at step 7")
    assert " ± " not in rows["bnn"], "one seed has no deviation"


@pytest.mark.parametrize("kind", ["schemes", "tasks"])
def test_lists_and_their_details(kind):
    names = getattr(bnnlab, kind).names()
    listed = invoke(kind)
    assert [line.split()[0] for line in listed.output.splitlines()[1:]] == names
    for name in names:
        about = invoke(kind, name)
        assert about.exit_code == 0, about.output
        made = getattr(bnnlab, kind).get(name)
        assert made.title in about.output
        for option in made.options():
            assert re.search(rf"^  {option} ", about.output, re.MULTILINE)


def test_pack_writes_a_file_and_checks_it(trained_folder, tmp_path):
    out = tmp_path / "bnn.safetensors"
    result = invoke("pack", trained_folder, "--scheme", "bnn", "--seed", 1, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"{out.stat().st_size:,} bytes" in result.output
    assert "200 of 200" in result.output
    assert "hidden1" in result.output and "1-bit weights" in result.output
    refused = invoke("pack", trained_folder, "--scheme", "bn", "--out", out)
    assert refused.exit_code == 2 and "full_precision" in refused.output
    assert bnnlab.load_packed(out).about.task == "moons"


def test_pack_writes_onnx_and_c_as_the_name_or_the_option_says(trained_folder, tmp_path):
    for arguments, names in [
        (["--out", tmp_path / "a.onnx"], ["a.onnx"]),
        (["--to", "c", "--out", tmp_path / "b"], ["b.c", "b.h"]),
    ]:
        result = invoke("pack", trained_folder, "--scheme", "bnn", *arguments)
        assert result.exit_code == 0, result.output
        assert "200 of 200" in result.output
        assert all(f"{tmp_path / name}: " in result.output for name in names)
        assert all((tmp_path / name).stat().st_size for name in names)
    for arguments, said in [
        (["--out", tmp_path / "a.bin"], "NAME.safetensors, NAME.onnx, NAME.c"),
        (["--to", "c", "--out", tmp_path / "a.onnx"], "--to c, but a.onnx ends in .onnx"),
        (["--out", tmp_path / "2.c"], "letters, digits and _"),
    ]:
        refused = invoke("pack", trained_folder, "--scheme", "bnn", *arguments)
        assert refused.exit_code == 2 and said in refused.output, refused.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.c", "b.h"]


def test_figures_are_written_one_file_a_view_and_format(trained_folder, tmp_path):
    result = invoke(
        "figures", trained_folder, "--out", tmp_path, "--format", "pdf,svg,png",
        "--view", "weights", "--view", "curves", "--width", "column",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    starts = {"pdf": b"%PDF-", "svg": b"<?xml", "png": b"\x89PNG"}
    paths = [tmp_path / f"{view}.{kind}" for view in ("weights", "curves") for kind in starts]
    assert result.stdout.splitlines() == [str(path) for path in paths]
    assert all(path.read_bytes().startswith(starts[path.suffix[1:]]) for path in paths)


def test_figures_writes_every_view_and_the_sheet(trained_folder, tmp_path):
    result = run("figures", trained_folder, "--out", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    names = {path.stem for path in tmp_path.glob("*.pdf")}
    assert names == {*bnnlab.figures.names(), "sheet"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "gif"], ["gif", ".pdf"]),
        (["--view", "wights"], ["wights", "weights", "sheet"]),
        (["--view", "curves", "--width", "huge"], ["huge", "column"]),
        (["--view", "curves", "--width", "0"], ["0", "60"]),
    ],
)
def test_figures_that_cannot_be_are_refused(arguments, said, trained_folder, tmp_path):
    result = invoke("figures", trained_folder, "--out", tmp_path / "figures", *arguments)
    assert result.exit_code == 2, result.output
    assert all(words in result.output for words in said)
    assert not list(tmp_path.iterdir())


def test_the_readme_command_serves(tmp_path):
    """The server starts, says where it is, and leaves on Ctrl-C without a word."""
    import urllib.request

    process = subprocess.Popen(
        command("serve", "--no-show", "--no-autoplay", "--port", 0),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        said = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/", said)[0]
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert answer.status == 200 and b"bnnlab" in answer.read()
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors
    assert process.returncode in (0, 130), errors


@pytest.mark.parametrize(
    ("values", "written"),
    [([], "-"), ([0.5], "0.5000"), ([0.25, 0.75], "0.5000 ± 0.3536"), ([2.5e25], "2.5e+25")],
)
def test_means_and_deviations_are_written_to_be_read(values, written):
    from bnnlab.cli.common import spread

    assert spread(values) == written
