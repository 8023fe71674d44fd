"""`bnnlab predict`: packed networks on files of the user's."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

import bnnlab
from bnnlab import nn, schemes, tasks
from bnnlab.cli import main
from bnnlab.packed.about import checked


def invoke(*arguments):
    return CliRunner().invoke(main, ["predict", *map(str, arguments)])


@pytest.fixture
def packed(tmp_path):
    """A packed network for a task, in a file that knows the task."""

    def build(task="digits", network="mlp", about=True, **options):
        task = tasks.get(task, **options)
        shape = task.shape if task.shape else task.inputs
        spec = {"name": network, "hidden": 12} if network == "lstm" else {"name": network}
        model = nn.networks.build(spec, shape, task.classes, schemes.get("lab")).eval()
        made = bnnlab.pack(model)
        if about:
            made.about = checked(task.about(), made.inputs, made.outputs, text=not made.shape)
        path = tmp_path / "network.safetensors"
        made.save(path)
        return bnnlab.load_packed(path), path, task

    return build


def write(path, rows, head=None):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([*([head] if head else []), *rows])
    return path


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def pixels_of(split):
    return (split.test_x * 8 + 8).astype(int)


def test_a_table_of_raw_pixels_is_prepared_as_the_task_does(packed, tmp_path):
    model, path, task = packed()
    split = task.load()
    expected = model(split.test_x)
    x, y = pixels_of(split), split.test_y
    labelled = write(tmp_path / "a.csv", np.c_[x, y], [*(f"p{i}" for i in range(64)), "label"])
    first = write(tmp_path / "first.csv", np.c_[y, x])
    bare = write(tmp_path / "bare.csv", x)
    prepared = write(tmp_path / "prepared.csv", split.test_x)
    np.savez(tmp_path / "a.npz", x=x.reshape(-1, 1, 8, 8).astype(np.uint8), y=y)
    np.savez_compressed(tmp_path / "f.npz", x=np.asfortranarray(x), y=y.astype(str))
    for arguments in (
        [labelled], [first, "--label", 1], [first, "--label", "-65"], [bare],
        [prepared, "--prepared"], [tmp_path / "a.npz"], [tmp_path / "f.npz", "--threads", 2],
    ):  # fmt: skip
        out = tmp_path / "out.csv"
        result = invoke(path, *arguments, "--scores", "--out", out)
        assert result.exit_code == 0, result.output
        assert f"{out}: 270 predictions" in result.output
        read = rows_of(out)
        assert [row["predicted"] for row in read] == [str(i) for i in expected.argmax(1)]
        scores = [[float(row[f"score of {i}"]) for i in range(10)] for row in read]
        assert np.array_equal(np.array(scores, np.float32), expected)
        if arguments[0] in (bare, prepared):
            assert "label" not in read[0] and "Accuracy" not in result.output
        else:
            right = int((expected.argmax(1) == y).sum())
            assert [row["label"] for row in read] == [str(i) for i in y]
            assert f"Accuracy: {right} of 270 ({100 * right / 270:.2f} %)" in result.output


def test_without_a_file_predictions_go_to_the_screen(packed, tmp_path):
    model, path, task = packed()
    x = pixels_of(task.load())[:3]
    result = invoke(path, write(tmp_path / "a.csv", x))
    places = model((x / 8 - 1).astype(np.float32)).argmax(1)
    expected = [f"{i + 1},{place}" for i, place in enumerate(places)]
    assert result.stdout.splitlines() == ["sample,predicted", *expected]


def test_long_files_are_run_in_batches_alike(packed, tmp_path, monkeypatch):
    from bnnlab.cli import predict

    _, path, task = packed()
    split = task.load()
    source = write(tmp_path / "a.csv", np.c_[pixels_of(split), split.test_y])
    whole = invoke(path, source, "--label", -1).stdout
    monkeypatch.setattr(predict, "_MOST", 7)
    assert invoke(path, source, "--label", -1).stdout == whole
    np.savez(tmp_path / "a.npz", x=pixels_of(split), y=split.test_y)
    assert invoke(path, tmp_path / "a.npz").stdout == whole


FLOWERS = """species,length,colour
{rows}"""


def flowers(path, count=60):
    random = np.random.default_rng(0)
    rows = [
        f"{kind},{random.normal(place, 0.3):.3f},{colour}"
        for _ in range(count // 3)
        for kind, place, colour in [("iris", 1, "red"), ("rose", 2, "blue"), ("lily", 3, "red")]
    ]
    path.write_text(FLOWERS.format(rows="\n".join(rows)))
    return path


def test_columns_of_a_table_are_found_by_name(packed, tmp_path):
    source = flowers(tmp_path / "flowers.csv")
    model, path, task = packed("table", path=str(source), label="species")
    assert model.about.classes == ("iris", "lily", "rose")
    new = tmp_path / "new.csv"
    new.write_text("colour,id,length\nred,7,1.25\nblue,8,2.5\n")
    result = invoke(path, new, "--scores")
    assert result.exit_code == 0, result.output
    table = [line.split(",") for line in source.read_text().splitlines()[1:]]
    split = task.load()
    whole = invoke(path, source)
    assert len(whole.stdout.splitlines()) == len(table) + 1 and "Accuracy" in whole.stderr
    # What the task makes of its own rows is what is made of them here.
    out = tmp_path / "out.csv"
    assert invoke(path, source, "--scores", "--out", out).exit_code == 0
    given = np.array([[float(row[f"score of {c}"]) for c in model.about.classes]
                      for row in rows_of(out)], np.float32)  # fmt: skip
    every = np.concatenate([split.train_x, split.validation_x, split.test_x])
    assert np.array_equal(np.unique(model(every), axis=0), np.unique(given, axis=0))
    for text, said in [
        ("colour\nred\n", ["no column 'length'", "'colour'"]),
        ("colour,length\ngreen,1\n", ["sample 1", "'green'", "blue, red"]),
        ("colour,length\nred,1\nred,long\n", ["sample 2", "'long'", "length", "number"]),
        ("colour,length\nred,\n", ["sample 1", "no value"]),
        ("red,1\n", ["names of its columns"]),
    ]:
        new.write_text(text)
        refused = invoke(path, new, "--header") if text[0] == "c" else invoke(path, new)
        assert refused.exit_code != 0
        assert all(word in refused.output for word in said), refused.output


def test_a_text_is_predicted_character_by_character(packed, tmp_path):
    source = tmp_path / "notes.txt"
    source.write_text("so much depends upon a red wheel barrow\n" * 40)
    model, path, task = packed("text", "lstm", source="file", path=str(source), length=20)
    assert model.about.vocabulary == task.vocabulary and model.about.length == 20
    new, out = tmp_path / "new.txt", tmp_path / "out.csv"
    new.write_text("a red wheel; so much\ndepends, upon a red barrow?")
    result = invoke(path, new, "--out", out)
    assert result.exit_code == 0, result.output
    symbols = task.encode(new.read_text())
    read = rows_of(out)
    assert len(read) == len(symbols) - 1
    assert [row["label"] for row in read] == list(task.decode(symbols[1:]))
    begins = model(symbols[None, :20]).argmax(-1)[0]
    assert [row["predicted"] for row in read[:20]] == list(task.decode(begins))
    assert invoke(path, tmp_path / "network.safetensors").exit_code != 0


@pytest.mark.parametrize(
    ("name", "content", "arguments", "said"),
    [
        ("a.csv", "1,2,3\n", [], ["3 columns", "64 numbers"]),
        ("a.csv", ",".join("1" * 65) + "\n", [], ["65 columns", "--label"]),
        ("a.csv", ",".join("1" * 63) + ",nan\n", [], ["sample 1", "number", "64"]),
        ("a.csv", ",".join(["1"] * 63 + ["inf"]) + "\n", [], ["sample 1", "inf", "0 to 16"]),
        ("a.csv", ",".join(["1"] * 63 + ["-0.5"]) + "\n", [], ["-0.5", "0 to 16", "--prepared"]),
        ("a.csv", ",".join(["1"] * 63 + ["x"]) + "\n", [], ["'x'", "column 64"]),
        ("a.csv", ",".join("1" * 64) + "\n" + ",".join("1" * 66) + "\n", [], ["no such table"]),
        ("a.csv", ",".join("1" * 64) + "\n" + "1,1\n", [], ["sample 2", "no value"]),
        ("a.csv", "", [], ["0 bytes"]),
        ("a.csv", "\n", [], ["columns"]),
        ("a.csv", ",".join("1" * 64), ["--label", "kind"], ["'kind'"]),
        ("a.csv", ",".join(f"p{i}" for i in range(64)) + "\n", [], ["no samples"]),
        ("a.csv", b"\xff\xfe\x00" * 40, [], ["a.csv"]),
        ("a.xlsx", "1,2,3\n", [], [".csv, .tsv or .npz"]),
        ("a.txt", "some words", [], [".csv, .tsv or .npz"]),
        ("a.npz", b"PK\x03\x04 no archive", [], ["cannot be read"]),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(packed, tmp_path, name, content, arguments, said):
    path = packed()[1]
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    out = tmp_path / "out.csv"
    result = invoke(path, file, *arguments, "--out", out)
    assert result.exit_code in (1, 2) and isinstance(result.exception, SystemExit)
    assert all(word in result.output for word in said), result.output
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "network.safetensors"])


def test_arrays_are_checked_and_never_run_code(packed, tmp_path):
    path, file = packed()[1], tmp_path / "a.npz"
    right = np.ones((3, 64))
    for arrays, said in [
        ({"x": np.ones((3, 63))}, ["(3, 63)", "(samples, 64)", "(samples, 1, 8, 8)"]),
        ({"x": np.array([[object()] * 64])}, ["object"]),
        ({"x": right, "y": np.array([object()] * 3)}, ["y is object"]),
        ({"x": right, "y": np.zeros(2, int)}, ["y is int64 (2,)"]),
        ({"a": right}, ["holds a", "give x"]),
        ({"x": right * np.nan}, ["sample 1", "nan"]),
    ]:
        np.savez(file, **arrays)
        result = invoke(path, file)
        assert result.exit_code in (1, 2), result.output
        assert all(word in result.output for word in said), result.output


def test_labels_that_are_no_class_are_counted_apart(packed, tmp_path):
    path, file = packed()[1], tmp_path / "a.csv"
    write(file, [["1"] * 64 + [label] for label in ("3", "3.0", "cat", "")])
    result = invoke(path, file, "--label", -1)
    assert "of 2 (" in result.stderr and "2 labels are no class" in result.stderr


def test_a_file_that_says_nothing_of_its_task_is_run_as_it_is(packed, tmp_path):
    model, path, task = packed(about=False)
    split = task.load()
    file = write(tmp_path / "a.csv", split.test_x)
    result = invoke(path, file)
    expected = [str(place) for place in model(split.test_x).argmax(1)]
    assert [line.split(",")[1] for line in result.stdout.splitlines()[1:]] == expected


@pytest.mark.parametrize("name", tasks.names())
def test_every_task_says_what_its_samples_are(name, tmp_path):
    options = {}
    if name == "table":
        options = {"path": str(flowers(tmp_path / "flowers.csv")), "label": "species"}
    if name == "arrays":
        x = np.zeros((30, 4), np.uint8)
        np.savez(tmp_path / "a.npz", x=x, y=np.arange(30) % 3)
        options = {"path": str(tmp_path / "a.npz")}
    task = tasks.get(name, **options)
    said = json.loads(json.dumps(task.about()))
    about = checked(said, task.inputs, task.classes, text=not task.shape)
    assert about.task == name and (about.vocabulary or len(about.classes) == task.classes)
    assert checked(about.described(), task.inputs, task.classes, text=not task.shape) == about


@pytest.mark.parametrize(
    "given",
    [
        [], {"odd": 1}, {"classes": ["a"]}, {"classes": "ab"}, {"classes": [1, 2]},
        {"task": 3}, {"task": "x" * 300}, {"numbers": {"centre": 1}},
        {"numbers": {"centre": 1, "unit": 0}}, {"numbers": {"centre": float("nan"), "unit": 1}},
        {"numbers": {"centre": 10**400, "unit": 1}}, {"numbers": {"centre": True, "unit": 1}},
        {"numbers": {"centre": 1, "unit": 1, "name": "a"}}, {"vocabulary": "abc"}, {"length": 5},
        {"columns": [{"name": "a", "centre": 0, "unit": 1}]}, {"columns": {}},
        {"columns": [{"name": "a", "values": ["x"] * 3, "odd": 1}]},
    ],
)  # fmt: skip
def test_what_a_file_says_of_its_task_is_checked(given):
    with pytest.raises(ValueError, match="about"):
        checked(given, 4, 2, text=False)
