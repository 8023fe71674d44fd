"""The settings of a page: derived from parameters, checked as they are typed."""

import numpy as np
import pytest

from bnnlab import Comparison, schemes
from bnnlab.ui.settings import Settings


@pytest.fixture
def settings():
    return Settings(Comparison(task="digits", schemes=["full_precision", "lab"]))


def fields(settings):
    form = settings.to_form()
    plain = [field for section in form["sections"] for field in section["fields"]]
    rows = [row for section in form["sections"] for row in section.get("schemes", [])]
    return plain + [field for row in rows for field in row["options"]]


def test_every_parameter_of_the_comparison_has_a_field(settings):
    keys = {field["key"] for field in fields(settings)}
    assert {"task", "network.width", "network.batch_norm", "lr", "loss", "seed", "seeds"} <= keys
    assert {
        f"scheme.{name}.{option}"
        for name in schemes.names()
        for option in schemes.get(name).options()
    } <= keys
    assert all(field["help"] for field in fields(settings) if field["key"] != "task")


@pytest.mark.parametrize(
    "key, typed, message",
    [
        ("network.width", "0", "Enter a whole number from 1 to 4,096."),
        ("network.width", "12.5", "Enter a whole number from 1 to 4,096."),
        ("network.depth", "nine", "Enter a whole number from 1 to 8."),
        ("lr", "0", "Enter a number above 0 to 10.0."),
        ("lr", "nan", "Enter a number above 0 to 10.0."),
        ("lr", "1e999", "Enter a number above 0 to 10.0."),
        ("batch_size", "-3", "Enter a whole number from 2 to 4,096."),
        ("loss", "perplexity", "One of squared_hinge, cross_entropy."),
        ("seeds", "99", "Enter a whole number from 1 to 16."),
    ],
)
def test_a_bad_value_is_refused_with_the_range_and_the_good_one_holds(
    settings, key, typed, message
):
    before = settings.comparison().to_dict()
    assert settings.set(key, typed) is None
    form = settings.to_form()
    assert form["messages"] == {key: message}
    assert form["typed"] == {key: typed}
    assert settings.comparison().to_dict() == before
    good = form["values"][key]
    settings.set(key, good)
    assert settings.to_form()["messages"] == {}


def test_what_only_fits_together_is_refused_too(settings):
    settings.choose("xnor_net", True)
    assert settings.set("network.depth", "1") is None
    assert "make it deeper" in settings.messages["network.depth"]


def test_changes_are_told_apart_from_what_acts_at_once(settings):
    settings.set("lr", "0.01")
    settings.set("steps", "2000")
    assert settings.changes() == []
    settings.set("network.width", "64")
    settings.set("network.batch_norm", "off")
    settings.choose("bnn", True)
    assert settings.changes() == ["width 128 → 64", "batch norm on → off", "schemes"]
    assert settings.comparison().lr == 0.01
    assert [spec["name"] for spec in settings.comparison().schemes] == [
        "full_precision",
        "bnn",
        "lab",
    ]


def test_the_last_scheme_stays(settings):
    settings.choose("lab", False)
    settings.choose("full_precision", False)
    assert settings.messages["schemes"] == "Keep at least one scheme."
    assert [spec["name"] for spec in settings.comparison().schemes] == ["full_precision"]


def test_another_task_brings_its_own_options(settings):
    settings.set("task", "moons")
    assert settings.comparison().task["name"] == "moons"
    assert any(field["key"] == "task.noise" for field in fields(settings))
    settings.set("task.noise", "0.3")
    assert settings.comparison().task["noise"] == 0.3
    settings.set("task", "digits")
    assert settings.comparison().task == {"name": "digits"}


def test_what_a_page_cannot_show_is_kept_until_something_is_changed():
    twice = [{"name": "lab", "granularity": "layer"}, {"name": "lab", "granularity": "channel"}]
    settings = Settings(Comparison(schemes=twice, seeds=[3, 8]))
    settings.set("lr", "0.01")
    kept = settings.comparison()
    assert kept.seeds == [3, 8] and len(kept.schemes) == 2


def test_an_unknown_setting_is_an_error(settings):
    with pytest.raises(ValueError, match=r"no setting 'os\.system'"):
        settings.set("os.system", "1")


def test_a_task_brings_a_network_a_loss_and_a_step_size_that_suit_it(settings):
    settings.set("task", "text")
    chosen = settings.comparison()
    assert (chosen.network["name"], chosen.loss, chosen.lr) == ("lstm", "cross_entropy", 0.002)
    (network,) = [field for field in fields(settings) if field["key"] == "network"]
    assert [value for value, _ in network["choices"]] == ["lstm"]
    settings.set("lr", "0.01")
    settings.set("task", "digits")
    chosen = settings.comparison()
    assert (chosen.network["name"], chosen.loss) == ("mlp", "squared_hinge")
    assert chosen.lr == 0.01  # it was somebody's choice


def test_another_network_brings_its_own_options(settings):
    settings.set("network", "lenet")
    assert settings.comparison().network["channels"] == 16
    assert "network.depth" not in {field["key"] for field in fields(settings)}
    assert settings.changes() == ["network mlp → lenet"]


def test_a_file_is_chosen_among_those_of_the_folder(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("a,label\n" + "1,x\n2,y\n" * 50)
    (tmp_path / ".hidden").write_text("x")
    settings.set("task", "table")
    form = settings.to_form()
    assert form["values"]["task"] == "table" and form["messages"]["task.path"]
    assert form["changes"] == []
    settings.set("network.width", "16")  # what is missing of the task is no reason to refuse it
    settings.choose("bnn", True)
    assert list(settings.messages) == ["task.path"]
    (path,) = [field for field in fields(settings) if field["key"] == "task.path"]
    assert [value for value, _ in path["choices"]] == ["", "mine.csv"]
    assert settings.set("task.path", "/etc/passwd") is None
    assert settings.set("task.path", "mine.csv") == "mine.csv"
    assert settings.messages == {}
    assert settings.comparison().task["path"] == "mine.csv"
    assert settings.comparison().network["width"] == 16


def test_arrays_can_be_chosen_before_their_file(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=draw.normal(size=(90, 4)), y=np.arange(90) % 3)
    settings.set("task", "text")
    settings.set("task", "arrays")
    form = settings.to_form()
    assert form["messages"]["task.path"].startswith("Choose one. A file of the folder bnnlab was")
    assert form["values"]["network"] == "mlp"
    settings.set("task.path", "mine.npz")
    assert settings.messages == {} and settings.comparison().task["path"] == "mine.npz"


def test_options_that_act_at_once_need_no_restart(settings):
    settings.choose("dorefa", True)
    before = settings.changes()
    settings.set("scheme.dorefa.activation_bits", "4")
    assert settings.changes() == before == ["schemes"]
    live = {field["key"] for field in fields(settings) if field["live"]}
    assert {"lr", "steps", "scheme.dorefa.activation_bits"} <= live
    assert "scheme.lab.granularity" not in live
