import json

import pytest

from bnnlab import Comparison, limits, schemes

TOY = {"task": {"name": "moons"}, "network": {"name": "mlp", "width": 16, "depth": 2}}


def test_names_and_defaults_are_completed():
    comparison = Comparison(task="moons", schemes=["full_precision", "lab"], seeds=2)
    assert comparison.seeds == [0, 1]
    assert comparison.network["batch_norm"] == "on"
    assert comparison.schemes[1] == {"name": "lab", **schemes.get("lab").options()}
    assert "noise" in comparison.task


def test_all_schemes_by_default():
    from bnnlab import schemes

    names = [scheme["name"] for scheme in Comparison(task="moons").schemes]
    assert names == schemes.names()


def test_plain_data_round_trip():
    comparison = Comparison(**TOY, schemes=["bnn", {"name": "dorefa", "activation_bits": 3}])
    written = json.loads(json.dumps(comparison.to_dict()))
    again = Comparison.from_dict(written)
    assert again.to_dict() == comparison.to_dict()
    assert again.runs == comparison.runs


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"task": "moon"}, ["moon", "moons"]),
        ({"task": {"name": "moons", "nois": 1}}, ["nois", "noise"]),
        ({"network": {"name": "mlp", "width": 0}}, ["width", "0"]),
        ({"network": "cnn"}, ["cnn", "mlp"]),
        ({"schemes": ["lab", "labb"]}, ["labb", "lab2"]),
        ({"schemes": []}, ["[]", "lab"]),
        ({"schemes": ["lab", "lab"]}, ["lab", "twice"]),
        ({"seeds": 0}, ["0", "1 or more"]),
        ({"seeds": [1, 1]}, ["[1, 1]", "different"]),
        ({"seeds": [-1]}, ["-1", "from 0"]),
        ({"steps": 0}, ["steps", "0", "1"]),
        ({"lr": 0}, ["lr", "0"]),
        ({"lr": float("nan")}, ["lr", "nan"]),
        ({"batch_size": 1}, ["batch_size", "1", "2"]),
        ({"stepz": 3}, ["stepz", "steps"]),
        ({"schedule": [[15, 0.1], [15, 0.1]]}, ["[15, 0.1]", "epochs from 0 that grow"]),
        ({"schedule": [[3, 0]]}, ["[3, 0]", "above 0"]),
        ({"schedule": [5]}, ["5", "[epoch, factor]"]),
        ({"seeds": 100, "schemes": ["lab", "bnn"]}, ["200", str(limits.RUNS)]),
        ({"network": {"name": "mlp", "width": 4096, "depth": 8}}, ["weights", "allowed"]),
        (
            {"network": {"name": "mlp", "depth": 1}, "schemes": ["xnor_net"]},
            ["xnor_net", "make it deeper", "binarized"],
        ),
    ],
)
def test_bad_input_is_refused_with_what_is_allowed(settings, words):
    with pytest.raises(ValueError) as refusal:
        Comparison(**{"task": "moons", **settings})
    for word in words:
        assert word in str(refusal.value)


def test_lanes_of_one_scheme_are_told_apart_by_what_differs():
    comparison = Comparison(
        **TOY,
        schemes=["bnn", "dorefa", {"name": "dorefa", "activation_bits": 4}],
    )
    lanes = [run.lane for run in comparison.runs]
    assert lanes == ["bnn", "dorefa(activation_bits=2)", "dorefa(activation_bits=4)"]


def test_run_ids_depend_on_the_run_alone():
    few = Comparison(**TOY, schemes=["lab"], steps=10)
    many = Comparison(**TOY, schemes=["bnn", "lab"], seeds=[3, 0], steps=99)
    assert few.runs[0].id in {run.id for run in many.runs}
    other = Comparison(**TOY, schemes=["lab"], lr=0.01)
    assert other.runs[0].id != few.runs[0].id


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(ValueError, match="not a comparison"):
        Comparison(**TOY, schemes=["bnn"]).create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_another_comparison_is_refused_and_more_steps_extend(tmp_path):
    Comparison(**TOY, schemes=["bnn"], steps=10).create(tmp_path / "a")
    with pytest.raises(ValueError, match=r"another comparison \(lr: 0.005 there, 0.01 now\)"):
        Comparison(**TOY, schemes=["bnn"], steps=10, lr=0.01).create(tmp_path / "a")
    assert Comparison(**TOY, schemes=["bnn"], steps=30).create(tmp_path / "a").steps == 30
