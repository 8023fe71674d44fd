"""Tables a user brings."""

import os
import sys

import numpy as np
import pandas as pd
import pytest

from bnnlab import limits, tasks
from bnnlab.tasks import FileRefused, TaskUnavailable, splitting

KINDS = {
    ".csv": lambda table, path: table.to_csv(path, index=False),
    ".tsv": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    ".parquet": lambda table, path: table.to_parquet(path),
}


def of_file(path, **options):
    return tasks.get("table", path=str(path), **options)


@pytest.fixture
def flowers():
    random = np.random.default_rng(0)
    species = np.array(["rose", "iris", "aster"])[np.arange(200) % 3]
    return pd.DataFrame(
        {
            "petals": random.integers(3, 9, 200),
            "species": species,
            "height": random.normal(40, 12, 200),
            "soil": random.choice(["clay", "sand"], 200),
            "wild": random.random(200) < 0.5,
            "same": 7.5,
        }
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_becomes_numbers_and_classes(flowers, tmp_path, kind):
    path = tmp_path / f"flowers{kind}"
    KINDS[kind](flowers, path)
    task = of_file(path, label="species")
    task.fetch()
    assert (task.shape, task.inputs, task.classes, task.kind) == ((6,), 6, 3, "vector")
    split = task.load()
    y = np.searchsorted(["aster", "iris", "rose"], flowers["species"])
    parts = splitting.stratified(y)
    for index, part in enumerate(parts):
        x, labels = split[2 * index : 2 * index + 2]
        assert x.dtype == np.float32 and labels.dtype == np.int64
        assert np.array_equal(labels, y[part])
        train = flowers.iloc[parts[0]]
        for place, name in ((0, "petals"), (1, "height"), (4, "wild")):
            known = train[name].to_numpy(float)
            expected = (flowers[name].to_numpy(float)[part] - known.mean()) / known.std()
            assert np.allclose(x[:, place], expected, atol=1e-5)
        assert np.array_equal(x[:, 2] == 1, flowers["soil"].iloc[part] == "clay")
        assert np.array_equal(x[:, 2] + x[:, 3], np.ones(len(part)))
        assert not x[:, 5].any(), "what never changes says nothing"


def test_classes_of_numbers_are_in_their_order(tmp_path):
    path = tmp_path / "t.csv"
    numbers = np.tile([10, 9, 100], 10)
    pd.DataFrame({"a": numbers, "label": numbers}).to_csv(path, index=False)
    split = of_file(path).load()
    means = [split.train_x[split.train_y == label].mean() for label in range(3)]
    assert means == sorted(means) and means[1] - means[0] < 0.1


def test_a_table_that_changed_is_read_again(flowers, tmp_path):
    path = tmp_path / "t.csv"
    flowers.to_csv(path, index=False)
    task = of_file(path, label="species")
    assert task.inputs == 6
    flowers.drop(columns="soil").to_csv(path, index=False)
    os.utime(path, ns=(1, 1))
    assert task.inputs == 4


def test_words_of_any_language_and_quoted_commas(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,label\n" + '"x, y",été\nz,冬\n' * 5, encoding="utf-8")
    task = of_file(path)
    assert (task.inputs, task.classes) == (2, 2)
    task.load()


def test_a_table_is_not_unpacked(tmp_path, flowers):
    path = tmp_path / "t.csv.gz"
    flowers.to_csv(path, index=False)
    with pytest.raises(FileRefused, match=r"no \.csv, \.tsv or \.parquet"):
        _ = of_file(path).inputs
    renamed = path.rename(tmp_path / "packed.csv")
    with pytest.raises(FileRefused, match="no such table"):
        _ = of_file(renamed).inputs


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "0 bytes"),
        ("\n\n", "no such table"),
        ("a,label\n", "0 rows"),
        ("a,class\n1,2\n", r"no column 'label'; it has 'a', 'class'"),
        ("label\n1\n2\n", "no column but 'label'; are they separated by commas"),
        ("a;label\n1;2\n", "no column 'label'; it has 'a;label'"),
        ("a,label\n1,0\n,0\n2,1\n3,\n", "2 of 4 rows, first in column 'a'"),
        ("a,label\n1,2,3\n4,5,6\n", "more values in a row than names"),
        ("a,label\n1,2\n1,2,3\n", "no such table"),
        ("a,label\ninf,0\n" + "1,0\n1,1\n" * 3, "'a' holds infinite"),
        ("a,label\n1e200,0\n" + "1,0\n1,1\n" * 3, "'a' holds infinite"),
        ("a,label\n" + "1,0\n" * 9, "1 different values"),
        ("a,label\n" + "1,0\n" * 9 + "1,1\n" * 2, "'label' is 1 in 2 rows"),
        ("a,label\n" + "".join(f"1,{i}\n" for i in range(1001)), "1,001 different values"),
        ("a,label\n" + "".join(f"x{i},0\n" for i in range(101)), "101 different values .* leave"),
        ("a,label\n\udcff,1\n", "no such table"),
    ],
    ids=[
        "empty", "blank", "no rows", "no label", "one column", "semicolons", "missing", "wide",
        "ragged", "infinite", "immense", "one class", "rare", "a number", "an identifier",
        "not UTF-8",
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_learnt_is_refused(tmp_path, content, words):
    path = tmp_path / "bad.csv"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    for use in (lambda task: task.inputs, lambda task: task.fetch(), lambda task: task.load()):
        for kind in (TaskUnavailable, ValueError):
            with pytest.raises(kind, match=rf"bad\.csv.*{words}"):
                use(of_file(path))


def test_a_number_that_is_far_from_the_others_is_refused(tmp_path):
    path = tmp_path / "far.csv"
    numbers = np.arange(40) * 1e-9
    test = splitting.stratified(np.arange(40) % 2)[2]
    numbers[test[0]] = 1e40
    pd.DataFrame({"a": numbers, "label": np.arange(40) % 2}).to_csv(path, index=False)
    with pytest.raises(FileRefused, match="'a' holds immense"):
        of_file(path).load()


def test_an_index_is_no_column(tmp_path, flowers):
    path = tmp_path / "t.parquet"
    flowers[flowers["height"] > 30].to_parquet(path)
    assert of_file(path, label="species").inputs == 6


def test_bounds_hold(tmp_path, flowers, monkeypatch):
    path = tmp_path / "t.csv"
    flowers.to_csv(path, index=False)
    task = of_file(path, label="species")
    for name, value, words in (
        ("TABLE_BYTES", 100, "100 are allowed"),
        ("ROWS", 199, "1 to 199 are allowed"),
        ("INPUTS", 5, "samples of 6 numbers"),
        ("ARRAYS_BYTES", 4 * 200 * 6 - 1, "4,799 bytes"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(limits, name, value)
            os.utime(path, ns=(value, value))
            with pytest.raises(FileRefused, match=words):
                task.fetch()


def test_a_large_table_in_parquet_is_not_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": np.zeros(1000), "label": np.zeros(1000)}).to_parquet(path)
    monkeypatch.setattr("pyarrow.parquet.ParquetFile.read", lambda self: pytest.fail("was read"))
    for name, value, words in (("ROWS", 999, "1,000 rows"), ("ARRAYS_BYTES", 7999, "2,000 cells")):
        with monkeypatch.context() as patch:
            patch.setattr(limits, name, value)
            with pytest.raises(FileRefused, match=words):
                of_file(path).fetch()


def test_what_is_no_parquet_is_refused(tmp_path):
    path = tmp_path / "bad.parquet"
    path.write_bytes(b"PAR1" + b"\0" * 100 + b"PAR1")
    with pytest.raises(FileRefused, match="cannot be read"):
        of_file(path).fetch()


def test_parquet_without_pyarrow_says_how_to_get_it(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FileRefused, match=r"pip install 'bnnlab\[parquet\]'"):
        of_file(path).fetch()


def test_no_table_is_named():
    for use in (lambda task: task.inputs, lambda task: task.classes, lambda task: task.load()):
        with pytest.raises(ValueError, match=r"no file is named; .*table:path="):
            use(tasks.get("table"))
    assert tasks.get("table").options() == {"path": "", "label": "label"}
