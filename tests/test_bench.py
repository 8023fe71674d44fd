"""`bnnlab bench`: what it measures is what it says, and what cannot be is refused at once."""

import json
import os
import shutil

import pytest
from click.testing import CliRunner

import bnnlab
from bnnlab.cli import main
from bnnlab.packed import kernels, trials, twins


@pytest.fixture(autouse=True)
def compiled():
    if not kernels.available():
        if os.environ.get("BNNLAB_REQUIRE_KERNELS"):
            kernels.require()
        pytest.skip("the compiled kernels are not installed")


def bench(*arguments):
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


def test_networks_are_measured_and_what_was_found_is_kept(trained_folder, tmp_path):
    folder = shutil.copytree(trained_folder, tmp_path / "moons.bnnlab")
    lanes = ["--lane", "bnn", "--lane", "binary_connect_stochastic", "--rounds", 2]
    result = bench(folder, *lanes)
    assert result.exit_code == 0, result.output
    about, *_ = result.stdout.splitlines()
    assert f"{kernels.isa()} kernels, one thread" in about
    head, *rows = (line.split() for line in result.stdout.splitlines()[-7:])
    assert head[:2] == ["lane", "batch"]
    assert [row[:2] for row in rows[:3]] == [["bnn", "1"], ["bnn", "10"], ["bnn", "100"]]
    assert all(row[-1] == "200/200" for row in rows)
    # Packed with its real weights.
    assert {row[0] for row in rows[3:]} == {"binary_connect_stochastic"}

    kept = bnnlab.open(folder).run("bnn").cost
    result = bench(folder, "--lane", "bnn", "--batch", 3, "--batch", 2, "--rounds", 2, "--json")
    printed = json.loads(result.stdout)["bnn"]
    assert printed.keys() == kept.keys()
    assert [batch["batch"] for batch in printed["batches"]] == [2, 3]
    assert printed["predictions_equal"] == 200
    assert bnnlab.open(folder).run("bnn").cost == printed


def test_networks_in_several_threads_on_another_instruction_set(trained_folder, tmp_path):
    folder = shutil.copytree(trained_folder, tmp_path / "moons.bnnlab")
    used = kernels.isa()
    figure = tmp_path / "speed.png"
    result = bench(folder, "--lane", "bnn", "--batch", 4, "--threads", 2, "--isa", "scalar",
                   "--rounds", 2, "--figure", figure)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "scalar kernels, 2 threads" in result.stdout and figure.stat().st_size > 5000
    kept = bnnlab.open(folder).run("bnn").cost
    assert (kept["isa"], kept["threads"]) == ("scalar", 2)
    assert kept["batches"][0]["limit"] is None
    assert kernels.isa() == used


def test_kernels_are_measured_on_shapes_that_are_given():
    result = bench("--shape", "2,24,40", "--shape", "1,16,32", "--rounds", 2)
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines() if " x " in line]
    head, *rows = rows[1:]
    assert ["of", "limit"] == head[head.index("of") :][:2] and "int8" in head
    assert [row[0] for row in rows] == ["signs", "signs", "bytes", "bytes", "floats", "floats"]
    assert "2 x 24 x 40" in result.stdout and "1 x 16 x 32" in result.stdout


def test_what_machines_read_says_where_it_was_measured():
    record = json.loads(bench("--shape", "2,24,40", "--rounds", 2, "--json").stdout)
    assert record["isa"] == kernels.isa() and record["threads"] == 1 and record["rounds"] == 2
    assert record["machine"] and record["torch"] and record["date"]
    assert [row["kernel"] for row in record["rows"]] == list(trials.OPERANDS)
    for row in record["rows"]:
        assert row["shape"] == [2, 24, 40]
        assert set(twins.ways()) <= set(row["seconds"])
        for timing in [*row["seconds"].values(), *row["faster"].values(), row["limit"]["share"]]:
            assert 0 < timing["low"] <= timing["median"] <= timing["high"]


def test_the_quick_trials_and_the_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "WIDTH", 64)
    monkeypatch.setattr(trials, "WIDTHS", (32, 64, 96, 128))
    figure = tmp_path / "roofline.svg"
    result = bench("--figure", figure, "--batch", 1, "--batch", 8, "--quick")
    assert result.exit_code == 0, result.output
    text = figure.read_text()
    for words in ("limit", "packed", "F.linear", "oneDNN", "bf16", "samples", "64 samples"):
        assert words in text, words
    assert trials.standard(quick=True)[-1][0] == "convolution"
    assert len(trials.standard()) > 20


def test_an_interruption_shows_what_there_is(monkeypatch):
    real, asked = trials.run, []

    def run(kind, shape, rounds):
        asked.append(kind)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return real(kind, shape, rounds)

    monkeypatch.setattr(trials, "run", run)
    result = bench("--shape", "2,24,40", "--rounds", 2)
    assert result.exit_code == 130
    assert "interrupted: 1 of 3 are measured" in result.output
    assert "signs   2 x 24 x 40" in result.output and "bytes" not in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shape", "1,2"], ["'1,2'", "M,N,K", "65,536"]),
        (["--shape", "0,2,3"], ["'0,2,3'", "from 1"]),
        (["--shape", "1,60000,60000"], ["268,435,456 weights"]),
        (["--shape", "a,b,c"], ["M,N,K"]),
        (["--isa", "mmx"], ["'mmx'", "scalar"]),
        (["--threads", "2"], ["--threads is 2", "COMPARISON"]),
        (["--batch", "4"], ["--batch", "--figure"]),
        (["--batch", "0"], ["0", "1<=x<=65536"]),
        (["--rounds", "0"], ["0", "1<=x<=1000"]),
        (["--lane", "bnn"], ["--lane", "COMPARISON"]),
        (["--figure", "roof.gif"], ["roof.gif", ".pdf, .svg, .png, .html"]),
        (["--figure", "roof.pdf", "--shape", "1,2,3"], ["--shape", "neither"]),
        ([".", "--shape", "1,2,3"], ["--shape", "neither"]),
        (["nowhere.bnnlab"], ["nowhere.bnnlab"]),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, said, monkeypatch):
    monkeypatch.setattr(trials, "run", lambda *_: pytest.fail("it measured"))
    result = bench(*arguments)
    assert result.exit_code == 2, result.output
    assert all(words in result.output for words in said), result.output
