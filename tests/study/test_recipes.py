"""Recipes are data that is checked; reports compare by their rule."""

import json
import math

import pytest
import yaml
from click.testing import CliRunner

import bnnlab
from bnnlab import study
from bnnlab.cli import main
from bnnlab.study.recipe import FOLDER

TOY = {
    "title": "Toy, table 1",
    "source": "Nobody",
    "known": "made up",
    "measure": "test_error",
    "tolerance": 100.0,
    "epochs": 4,
    "steps_per_epoch": 5,
    "task": "moons",
    "network": {"name": "mlp", "width": 8},
    "settings": {"batch_size": 32, "schedule": [[2, 0.1]]},
    "parts": {
        "real": {"lr": 0.01, "schemes": ["full_precision"]},
        "binary": {"schemes": ["bnn", {"name": "bwn", "granularity": "layer"}]},
    },
    "published": {"real": {"full_precision": 1.5}, "binary": {"bnn": 2.5, "bwn": -200.0}},
    "differs": ["Everything."],
}


@pytest.fixture
def toy(tmp_path):
    def write(**changes):
        path = tmp_path / "toy.yaml"
        path.write_text(yaml.safe_dump({**TOY, **changes}))
        return str(path)

    return write


@pytest.mark.parametrize("name", study.names())
def test_recipes_that_come_along_make_comparisons(name):
    recipe = study.load(name)
    found = recipe.comparisons()
    assert list(found) == [part.name for part in recipe.parts]
    for part in recipe.parts:
        comparison = found[part.name]
        assert comparison.steps == recipe.epochs * part.steps_per_epoch
        assert {spec["name"] for spec in comparison.schemes} == set(part.published)


def test_the_mnist_recipe_is_the_papers_protocol():
    parts = study.load("lab-mnist").comparisons(seeds=2)
    weights, activations = parts["weights"], parts["activations"]
    assert (weights.lr, activations.lr) == (0.01, 0.005)
    assert weights.steps == 25_000 and weights.schedule == [[15, 0.1], [25, 0.1]]
    assert weights.network["first_and_last"] == "binarized" and weights.loss == "squared_hinge"
    assert weights.seeds == [0, 1]


def test_a_short_version_is_short_all_over():
    parts = study.load("lab-mnist").comparisons(epochs=5, width=64, schemes=["lab"])
    assert list(parts) == ["weights"]
    assert parts["weights"].schedule == [[1.5, 0.1], [2.5, 0.1]]
    assert parts["weights"].network["width"] == 64 and parts["weights"].steps == 2500
    assert [spec["name"] for spec in parts["weights"].schemes] == ["lab"]


def test_a_step_size_that_decays_is_spelt_out(toy):
    settings = {"batch_size": 32, "schedule": {"after": 1, "every": 1, "factor": 0.5}}
    found = study.load(toy(settings=settings)).comparisons()
    assert found["real"].schedule == [[2, 0.5], [3, 0.5]]
    linux = study.load("bnn-mnist").comparisons()["binarized"]
    last = linux.lr * math.prod(factor for _, factor in linux.schedule)
    assert math.isclose(last * linux.schedule[0][1], 3e-7)


def test_a_part_may_have_epochs_of_its_own():
    parts = study.load("lab-warpeace").comparisons(epochs=2)
    assert {name: part.steps for name, part in parts.items()} == {
        "unrolled-10": 5212, "unrolled-50": 1042, "unrolled-100": 520, "unrolled-150": 346
    }  # fmt: skip


def test_every_network_of_a_recipe_can_be_narrower():
    narrow = study.load("lab-cifar10").comparisons(width=16)["weights"]
    assert narrow.network["width_factor"] == 0.125
    assert study.load("lab-warpeace").comparisons(width=32)["unrolled-10"].network["hidden"] == 32


SHORT = {
    "epochs": 2, "width": 8, "seeds": 3,
    "expected": {
        "real": {"full_precision": [0, 100]}, "binary": {"bnn": [0, 100], "bwn": [-2, -1]}
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measure": "speed"}, "measure is one of test_error"),
        ({"epochs": 0}, "epochs is a whole number above 0"),
        ({"parts": {}}, "parts is a mapping"),
        ({"parts": {"real": {}}}, "part real lacks schemes"),
        ({"published": {"real": {}}}, "published figures of part"),
        ({"published": {**TOY["published"], "x": {}}}, "published has parts that are not there"),
        ({"lr": 3}, "does not take lr"),
        ({"published": 3}, "published is a mapping of parts"),
        ({"published": {"real": 3}}, "published figures of part"),
        ({"published": {**TOY["published"], "real": {"full_precision": "x"}}}, "not numbers"),
        ({"parts": {"real": {"schemes": 3}}}, "schemes of part real is no list"),
        ({"parts": {"real": {"schemes": [3]}}}, "schemes of part real is no list"),
        ({"tolerance": "x"}, "tolerance is a number"),
        ({"settings": 3}, "settings is a mapping"),
        ({"differs": 3}, "differs is a list"),
        ({"settings": {"schedule": {"after": 1}}}, "a schedule is a list of"),
        ({"settings": {"schedule": {"after": 0, "every": 1e-4, "factor": 1}}}, "at most 2000"),
        ({"parts": {**TOY["parts"], "real": {"steps_per_epoch": 0, **TOY["parts"]["real"]}}},
         "steps_per_epoch is a whole number"),
        ({"short": {}}, "short has epochs, expected, seeds, width"),
        ({"short": {**SHORT, "epochs": 0}}, "epochs of short is a whole number"),
        ({"short": {**SHORT, "expected": {}}}, "a band for each lane of each part"),
        ({"short": {**SHORT, "expected": SHORT["expected"] | {"real": {"full_precision": [2, 1]}}}},
         "the band of full_precision in short"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_recipe_is_said(toy, changes, message):
    with pytest.raises(ValueError, match=message):
        study.load(toy(**changes))


def test_what_is_no_recipe_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no recipe is called 'x'; there are bnn-mnist"):
        study.load("x")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ValueError, match="is not YAML"):
        study.load(str(tmp_path / "bad.yaml"))
    (tmp_path / "code.yaml").write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(ValueError, match="is not YAML"):
        study.load(str(tmp_path / "code.yaml"))
    with pytest.raises(ValueError, match="lab-mnist has no scheme dorefa; it has full_precision"):
        study.load("lab-mnist").comparisons(schemes=["dorefa"])
    with pytest.raises(ValueError, match="epochs is 5000"):
        study.load("lab-mnist").comparisons(epochs=5000)


def test_it_is_trained_reported_and_goes_on(toy, tmp_path):
    out, recipe = tmp_path / "out", toy()
    arguments = ["reproduce", recipe, "--out", str(out), "--seeds", "2", "--processes", "1"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    text = (out / "report.md").read_text()
    assert text.strip() in done.output
    assert "4 of 4 epochs, seeds 0, 1" in text and "- Everything." in text
    logs = {part: bnnlab.open(out / f"toy-{part}.bnnlab") for part in TOY["parts"]}
    lines = {line.lane: line for line in study.card(study.load(recipe), logs)}
    assert lines["full_precision"].verdict == "agrees" and len(lines["bnn"].ours) == 2
    assert lines["bwn"].verdict == "worse"
    run = logs["binary"].run("bnn", 1)
    validation = run.column("whole_validation_accuracy")[1].tolist()
    at = len(validation) - 1 - validation[::-1].index(max(validation))
    expected = 100 * (1 - run.column("whole_test_accuracy")[1][at])
    assert math.isclose(lines["bnn"].ours[1], expected)
    assert all(f"]({part}.svg)" in text for part in TOY["parts"])
    assert all("<svg" in (out / f"{part}.svg").read_text() for part in TOY["parts"])
    kept = study.Result.from_dict(json.loads((out / "result.json").read_text()))
    assert study.report(kept) == text and kept.lines == list(lines.values())
    again = CliRunner().invoke(main, arguments)  # nothing is left to do
    assert again.exit_code == 0 and (out / "report.md").read_text() == text


def test_the_short_version_is_held_to_its_bands(toy, tmp_path):
    recipe, out = toy(short=SHORT), tmp_path / "out"
    arguments = ["reproduce", recipe, "--short", "--out", str(out), "--processes", "1"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    text = (out / "report.md").read_text()
    assert "2 of 4 epochs" in text and "measured with 3 seeds" in text
    assert "| 0.00 to 100.00 | as expected |" in text
    assert "| -2.00 to -1.00 | not as expected |" in text
    refused = CliRunner().invoke(main, ["reproduce", toy(), "--short"])
    assert refused.exit_code == 2 and "toy has no short version" in refused.output


def test_a_device_that_is_not_the_processor_is_said(toy, tmp_path):
    recipe = study.load(toy())
    log = recipe.comparisons(epochs=1)["real"].run(tmp_path / "toy-real.bnnlab", progress=False)
    assert "trained on" not in study.report(study.result(recipe, {"real": log}, "x"))
    path = log.runs[0].folder / "end.json"
    end = json.loads(path.read_text())
    path.write_text(json.dumps({**end, "devices": ["cuda:0 (A GPU)", "cpu"]}))
    log.refresh()
    said = study.report(study.result(recipe, {"real": log}, "x"))
    assert "cores, trained on cpu and cuda:0 (A GPU)." in said


def test_unfinished_runs_are_said_to_be(toy, tmp_path):
    recipe = study.load(toy())
    comparison = recipe.comparisons()["real"]
    logs = {"real": comparison.create(tmp_path / "toy-real.bnnlab")}
    (line,) = study.card(recipe, logs)
    assert line.verdict == "unfinished" and line.going == 1 and line.ours == []
    assert "| – | unfinished |" in study.report(study.result(recipe, logs, "x"))


def test_the_list_names_every_recipe():
    listed = CliRunner().invoke(main, ["reproduce"]).output
    assert all(path.stem in listed for path in FOLDER.glob("*.yaml"))
