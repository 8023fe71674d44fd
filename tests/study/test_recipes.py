"""Recipes are data that is checked; reports compare by their rule."""

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
        assert comparison.steps == recipe.epochs * recipe.steps_per_epoch
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
    ],
)
def test_what_is_wrong_with_a_recipe_is_said(toy, changes, message):
    with pytest.raises(ValueError, match=message):
        study.load(toy(**changes))


def test_what_is_no_recipe_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no recipe is called 'x'; there are lab-mnist"):
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
    again = CliRunner().invoke(main, arguments)  # nothing is left to do
    assert again.exit_code == 0 and (out / "report.md").read_text() == text


def test_unfinished_runs_are_said_to_be(toy, tmp_path):
    recipe = study.load(toy())
    comparison = recipe.comparisons()["real"]
    logs = {"real": comparison.create(tmp_path / "toy-real.bnnlab")}
    (line,) = study.card(recipe, logs)
    assert line.verdict == "unfinished" and line.going == 1 and line.ours == []
    assert "| – | unfinished |" in study.report(recipe, logs, "x")


def test_the_list_names_every_recipe():
    listed = CliRunner().invoke(main, ["reproduce"]).output
    assert all(path.stem in listed for path in FOLDER.glob("*.yaml"))
