"""Character text: symbols, sequences, sources."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnlab import limits, tasks
from bnnlab.tasks import TaskUnavailable, text

PARTS = ((0, 1), (2, 3), (4, 5))


def of_file(path, **options):
    return tasks.get("text", source="file", path=str(path), **options)


@pytest.fixture
def story(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text("Ça va? Oui, ça va.\r\n" * 100, encoding="utf-8", newline="")
    return path


@given(st.text(alphabet=text.VOCABULARIES["python"]))
def test_known_characters_come_back(written):
    task = tasks.get("text")
    assert task.decode(task.encode(written)) == written


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_every_character_has_a_symbol(written):
    task = tasks.get("text", source="war_and_peace")
    symbols = task.encode(written)
    assert symbols.dtype == np.int64 and symbols.shape == (len(written),)
    known = [letter if letter in task.vocabulary else text.UNKNOWN for letter in written]
    assert task.decode(symbols) == "".join(known)


def test_it_says_what_a_comparison_takes():
    task = tasks.get("text")
    assert (task.kind, task.shape, task.network, task.loss) == ("text", (), "lstm", "cross_entropy")
    assert task.lr == 0.002 and task.inputs == task.classes == 97
    assert tasks.get("text", source="war_and_peace").inputs == 87 + 1


@pytest.mark.parametrize("length", [2, 50, 500])
def test_each_label_is_the_next_character(length):
    task = tasks.get("text", length=length)
    split = task.load()
    whole = task.encode(text._library())
    assert len(whole) == text.CHARACTERS
    start = 0
    for (x, y), count in zip(
        ((split[i], split[j]) for i, j in PARTS), (800_000, 100_000, 100_000), strict=True
    ):
        assert x.shape == y.shape == ((count - 1) // length, length)
        assert x.dtype == y.dtype == np.int64
        assert np.array_equal(x.ravel(), whole[start : start + x.size])
        assert np.array_equal(y.ravel(), whole[start + 1 : start + 1 + x.size])
        start += count


def test_pythons_library_is_english_and_code():
    task = tasks.get("text")
    split = task.load()
    assert "import" in task.decode(split.test_x.ravel())
    # Few characters are not in the vocabulary, and no symbol is beyond it.
    symbols = np.concatenate([split[i].ravel() for i, _ in PARTS])
    assert symbols.max() < task.classes and (symbols == 0).mean() < 1e-3


def test_a_python_without_sources_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(text.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(TaskUnavailable, match="source files"):
        tasks.get("text").fetch()


def test_a_file_has_the_characters_of_its_training_part(story):
    task = of_file(story, length=10)
    assert task.vocabulary == text.UNKNOWN + "".join(sorted(set("Ça va? Oui, ça va.\r\n")))
    split = task.load()
    assert task.decode(split.train_x.ravel()).startswith("Ça va? Oui, ça va.\r\nÇa")
    with story.open("a", encoding="utf-8") as file:
        file.write("z" * 10)
    assert "z" not in task.vocabulary
    assert (task.load().test_y == 0).sum() > 0


def test_a_file_that_changed_is_read_again(story):
    task = of_file(story)
    before = task.inputs
    story.write_text("z" + story.read_text(encoding="utf-8"), encoding="utf-8")
    assert task.inputs == before  # \r\n became \n, and z came
    assert "z" in task.vocabulary


def test_a_mark_of_the_encoding_is_no_character(tmp_path):
    path = tmp_path / "marked.txt"
    path.write_text("abc" * 100, encoding="utf-8-sig")
    assert of_file(path, length=5).vocabulary == text.UNKNOWN + "abc"


def test_a_path_may_start_at_home(story, monkeypatch):
    monkeypatch.setenv("HOME", str(story.parent))
    assert of_file("~/story.txt").inputs > 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "0 bytes"),
        (b"abc" * 100, "300 characters; sequences of 50 need at least 510"),
        (b"abc\xff" * 1000, "not a text in UTF-8 .byte 3"),
        (b"abc\0" * 1000, "zero bytes"),
        ("".join(map(chr, range(0x4E00, 0x5300))).encode() * 3, "1,280 different"),
    ],
    ids=["empty", "short", "binary", "zeros", "too many kinds"],
)
def test_a_file_that_is_no_such_text_is_refused(tmp_path, content, words):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    for use in (lambda task: task.inputs, lambda task: task.fetch(), lambda task: task.load()):
        for kind in (TaskUnavailable, ValueError):
            with pytest.raises(kind, match=rf"bad\.txt .*{words}"):
                use(of_file(path))


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        file.truncate(limits.TEXT_BYTES + 1)
    with pytest.raises(TaskUnavailable, match="16,777,217 bytes; 1 to 16,777,216"):
        of_file(path).load()


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no file is named; .*text:source=file,path="):
        _ = of_file("").inputs
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, words in (
        (tmp_path / "none.txt", "No such file"),
        (tmp_path, "is a folder"),
        (pipe, "no ordinary file"),
        ("nul\0", "cannot be read"),
    ):
        with pytest.raises(TaskUnavailable, match=words):
            _ = of_file(path).inputs


@pytest.mark.parametrize("options", [{"source": "moby"}, {"length": 1}, {"length": 501}])
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        tasks.get("text", **options)


def test_another_war_and_peace_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("BNNLAB_DATA", str(tmp_path))
    task = tasks.get("text", source="war_and_peace")
    with pytest.raises(TaskUnavailable, match="neither text/warpeace_input"):
        task.fetch()
    (tmp_path / text.WAR_AND_PEACE).write_text("Well, Prince")
    with pytest.raises(TaskUnavailable, match="checksum"):
        task.load()


@pytest.mark.skipif("BNNLAB_DATA" not in os.environ, reason="BNNLAB_DATA names no data")
def test_the_real_war_and_peace():
    task = tasks.get("text", source="war_and_peace", length=100)
    split = task.load()
    counts = [2_606_596, 325_825, 325_825]
    assert sum(counts) == 3_258_246
    assert [len(split[i]) for i, _ in PARTS] == [(count - 1) // 100 for count in counts]
    assert set(np.unique(np.concatenate([split[i].ravel() for i, _ in PARTS]))) <= set(range(1, 88))
    whole = text._war_and_peace(None).read_bytes()
    assert len(whole) == 3_258_246
    assert {chr(byte) for byte in whole} == set(text.VOCABULARIES["war_and_peace"])
    assert "Well, Prince" in task.decode(split.train_x[0])
