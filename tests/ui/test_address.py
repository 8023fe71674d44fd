"""The address of a page: what a link restores, and what of a bad one is refused in words."""

import pytest

from bnnlab import Comparison
from bnnlab.ui import address
from bnnlab.ui.address import OPENING, settings_of, settings_to

EVERYTHING = {
    "task": "moons",
    "task.noise": "0.25",
    "network.width": "32",
    "network.batch_norm": "off",
    "schemes": "full_precision,dorefa,lab",
    "scheme.lab.granularity": "channel",
    "scheme.dorefa.activation_bits": "4",
    "lr": "0.0123456789",
    "steps": "777",
    "batch_size": "64",
    "optimizer": "sgd",
    "seed": "5",
    "seeds": "3",
    "probe_every": "10",
}


def test_a_link_restores_every_setting():
    settings = settings_of(EVERYTHING)
    assert (settings.messages, settings.stray) == ({}, [])
    comparison = settings.comparison()
    assert comparison.task == {"name": "moons", **comparison.task, "noise": 0.25}
    assert comparison.schemes[2]["granularity"] == "channel"
    assert (comparison.lr, comparison.seeds) == (0.0123456789, [5, 6, 7])
    assert settings_to(settings) == EVERYTHING
    assert settings_of(settings_to(settings)).comparison().to_dict() == comparison.to_dict()


def test_a_page_that_opens_by_itself_has_an_empty_address():
    settings = settings_of({})
    assert settings.comparison().to_dict() == Comparison.from_dict(OPENING).to_dict()
    assert settings_to(settings) == {} and address.write({}) == ""


def test_another_task_brings_what_suits_it_and_only_the_rest_is_named():
    settings = settings_of({"task": "text", "task.length": "30"})
    chosen = settings.comparison()
    assert (chosen.network["name"], chosen.loss) == ("lstm", "cross_entropy")
    assert settings_to(settings) == {"task": "text", "task.length": "30"}


def test_what_only_fits_together_is_taken_in_any_order():
    both = {"network.first_and_last": "float", "network.depth": "3", "network": "mlp"}
    settings = settings_of(dict(reversed(both.items())))
    assert settings.messages == {} and settings.comparison().network["depth"] == 3


@pytest.mark.parametrize(
    "key, value, beside, said",
    [
        ("network.width", "0", "network.width", "from 1 to 4,096"),
        ("network.width", "9" * 300, "network.width", "from 1 to 4,096"),
        ("lr", "nan", "lr", "above 0"),
        ("task", "../../etc/passwd", "task", "One of"),
        ("network", "<b>", "network", "One of"),
        ("schemes", "nothing", "schemes", "There is no scheme nothing"),
        ("schemes", "", "schemes", "Keep at least one scheme"),
        ("seeds", "100", "seeds", "from 1 to 16"),
        ("task.path", "/etc/passwd", "task.path", "names no files"),
    ],
)
def test_a_bad_value_is_refused_beside_its_field(key, value, beside, said):
    settings = settings_of({key: value})
    assert said in settings.messages[beside]
    settings.to_form()
    assert settings.comparison().to_dict() == Comparison.from_dict(OPENING).to_dict()


def test_of_schemes_those_that_there_are_are_taken():
    settings = settings_of({"schemes": "lab,nothing"})
    assert "There is no scheme nothing" in settings.messages["schemes"]
    assert [scheme["name"] for scheme in settings.comparison().schemes] == ["lab"]


def test_no_path_goes_into_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("a,label\n" + "1,x\n2,y\n" * 50)
    settings = settings_of({"task": "table"})
    settings.set("task.path", "mine.csv")
    assert settings.comparison().task["path"] == "mine.csv"
    assert "mine" not in address.write(settings_to(settings))


def test_keys_of_another_network_are_named_as_strays():
    assert settings_of({"network.hidden": "3", "scheme.lab.x": "1"}).stray == [
        "network.hidden",
        "scheme.lab.x",
    ]


def test_a_query_is_read_back_and_cut_to_size():
    written = address.write({"schemes": "bnn,lab", "filter": "^(lab|bnn)$", "theme": ""})
    assert written == "?schemes=bnn,lab&filter=%5E(lab|bnn)%24"
    assert address.read({"a": [b"1", b"2"], "bokeh-session-id": [b"x"]}) == {"a": "2"}
    many = {f"k{i}": [b"\xff" * 5000] for i in range(1000)}
    assert len(address.read(many)) == 120
    assert len(address.read(many)["k0"]) == address.LONGEST
