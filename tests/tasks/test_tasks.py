import sys

import numpy as np
import pytest
from click.testing import CliRunner

from bnnlab import Comparison, tasks
from bnnlab.cli import main

TOYS = ["moons", "circles", "xor", "spirals"]
LOCAL = ["digits", *TOYS]


def test_names():
    assert tasks.names() == ["digits", "mnist", "cifar10", "svhn", "text", *TOYS, "table", "arrays"]


@pytest.mark.parametrize("name", tasks.names())
def test_what_a_comparison_takes_is_said(name):
    task = tasks.get(name)
    assert task.network in ("mlp", "lenet", "vgg", "lstm")
    assert task.loss in ("squared_hinge", "cross_entropy") and 0 < task.lr < 1


@pytest.mark.parametrize("name", LOCAL)
def test_data_is_what_the_task_says(name):
    task = tasks.get(name)
    split = task.load()
    for x, y in (split[0:2], split[2:4], split[4:6]):
        assert x.dtype == np.float32 and y.dtype == np.int64
        assert x.shape == (len(y), task.inputs)
        assert task.inputs == np.prod(task.shape)
        assert task.kind == {1: "vector", 3: "image"}[len(task.shape)]
        assert np.isfinite(x).all() and np.abs(x).max() < 4
        assert set(np.unique(y)) == set(range(task.classes))
        share = np.bincount(y) / len(y)
        assert np.abs(share - 1 / task.classes).max() < 0.12
    again = task.load()
    assert all(np.array_equal(a, b) for a, b in zip(split, again, strict=True))


@pytest.mark.parametrize("name", LOCAL)
def test_no_sample_is_in_two_parts(name):
    split = tasks.get(name).load()
    seen = [set(map(bytes, split[i])) for i in (0, 2, 4)]
    # The digits hold a few images twice; more would be a leak.
    assert len(seen[0] & seen[1]) + len(seen[0] & seen[2]) + len(seen[1] & seen[2]) <= 2


def test_digits_are_split_evenly_and_lie_on_a_grid():
    split = tasks.get("digits").load()
    assert [len(split[i]) for i in (1, 3, 5)] == [1257, 270, 270]
    assert np.array_equal(split.train_x * 8, np.round(split.train_x * 8))


@pytest.mark.parametrize("name", TOYS)
def test_toys_can_be_separated_by_their_neighbours(name):
    from sklearn.neighbors import KNeighborsClassifier

    split = tasks.get(name, noise=0.02).load()
    near = KNeighborsClassifier(5).fit(split.train_x, split.train_y)
    assert near.score(split.test_x, split.test_y) > 0.95


def test_options_shape_the_data():
    assert len(tasks.get("moons", samples=500).load().train_y) == 300
    calm, loud = (tasks.get("xor", noise=noise).load().train_x for noise in (0, 0.5))
    assert np.abs(calm).max() <= 1 < np.abs(loud).max()
    assert tasks.get("moons", noise=0.3).options() == {"noise": 0.3, "samples": 1000}


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("moon", {}, ["moon", "digits", "moons"]),
        ("moons", {"nois": 0.1}, ["nois", "noise", "samples"]),
        ("moons", {"noise": -1}, ["noise", "-1"]),
        ("moons", {"samples": 10.5}, ["samples", "10.5"]),
        ("moons", {"samples": True}, ["samples", "True"]),
        ("digits", {"noise": 0.1}, ["noise", "none"]),
    ],
)
def test_bad_input_is_refused(name, options, words):
    with pytest.raises(ValueError) as refusal:
        tasks.get(name, **options)
    for word in words:
        assert word in str(refusal.value)


NEW = '''
import numpy as np

from bnnlab.tasks.base import Split, Task


class Coin(Task):
    """Heads or tails."""

    key = "coin"
    title = "Coin"
    description = "Heads or tails."
    shape = (1,)
    classes = 2

    def load(self, progress=None):
        y = np.arange(100) % 2
        x = y[:, None].astype(np.float32)
        return Split(x, y, x, y, x, y)
'''


def test_a_new_task_is_one_new_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    (tmp_path / "coin.py").write_text(NEW)
    try:
        assert "coin" in tasks.names()
        assert tasks.get("coin").load().train_x.shape == (100, 1)
    finally:
        sys.modules.pop("bnnlab.tasks.coin", None)


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    split = tasks.get("digits").load()
    x = np.concatenate(split[0::2]) * 8 + 8
    y = np.concatenate(split[1::2])
    ours, theirs = (
        np.unique(np.column_stack(both), axis=0, return_counts=True)
        for both in ((x, y), (pixels, labels))
    )
    assert np.array_equal(ours[0], theirs[0]) and np.array_equal(ours[1], theirs[1])


def test_the_list_shows_what_a_file_would_have_to_tell():
    listed = CliRunner().invoke(main, ["tasks"]).output.splitlines()
    sizes = {line.split()[0]: line.split()[1:3] for line in listed}
    assert sizes["table"] == sizes["arrays"] == ["-", "-"]
    assert sizes["text"] == ["97", "97"] and sizes["cifar10"] == ["3072", "10"]


def test_a_comparison_says_what_is_wrong_with_a_file(tmp_path):
    for path, words in (("", "no file is named"), (tmp_path / "none.csv", "No such file")):
        with pytest.raises(ValueError, match=words):
            Comparison(task={"name": "table", "path": str(path)})
