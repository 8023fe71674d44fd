"""MNIST's files: found, fetched, checked, on a small file of the same kind."""

import gzip
import hashlib
import os
import struct

import numpy as np
import pytest

from bnnlab import tasks
from bnnlab.tasks import TaskUnavailable, download, mnist

IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
PAYLOAD = struct.pack(">4I", 0x803, *IMAGES.shape) + IMAGES.tobytes()
PART = mnist.Part("small.gz", hashlib.sha256(PAYLOAD).hexdigest(), IMAGES.shape)


@pytest.fixture
def mirror(served, monkeypatch):
    root, mirrors = served
    monkeypatch.setattr(mnist, "MIRRORS", mirrors)
    return root


def test_a_folder_that_holds_it(tmp_path, monkeypatch):
    monkeypatch.setenv("BNNLAB_DATA", str(tmp_path))
    with pytest.raises(TaskUnavailable, match=r"neither mnist/small\.gz nor small\.gz"):
        mnist.read_part(PART)
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "small.gz").write_bytes(gzip.compress(PAYLOAD))
    assert np.array_equal(mnist.read_part(PART), IMAGES)


def test_it_is_downloaded_once_with_progress(cache, mirror):
    (mirror / "small.gz").write_bytes(gzip.compress(PAYLOAD))
    told = []
    assert np.array_equal(mnist.read_part(PART, lambda *done: told.append(done)), IMAGES)
    size = (mirror / "small.gz").stat().st_size
    assert told[-1] == (size, size)
    (mirror / "small.gz").unlink()
    assert np.array_equal(mnist.read_part(PART), IMAGES)


def test_a_task_is_fetched_before_it_is_loaded(cache, mirror, monkeypatch):
    monkeypatch.setattr(mnist, "PARTS", {"train_images": PART})
    (mirror / "small.gz").write_bytes(gzip.compress(PAYLOAD))
    told = []
    tasks.get("mnist").fetch(lambda *done: told.append(done))
    assert (download.cache("mnist") / "small.gz").is_file() and told
    tasks.get("digits").fetch(lambda *done: pytest.fail("nothing to download"))


def test_a_cache_that_cannot_be_is_refused(cache, tmp_path):
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(TaskUnavailable, match="cannot be made"):
        mnist.read_part(PART)


def test_a_damaged_cache_is_fetched_again(cache, mirror):
    (download.cache("mnist") / "small.gz").write_bytes(gzip.compress(PAYLOAD)[:-12])
    (mirror / "small.gz").write_bytes(gzip.compress(PAYLOAD))
    assert np.array_equal(mnist.read_part(PART), IMAGES)


def test_without_a_network_it_says_what_would_help(cache, monkeypatch):
    monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:9/",))
    with pytest.raises(TaskUnavailable) as refusal:
        mnist.read_part(PART)
    for word in ("small.gz", "127.0.0.1:9", "BNNLAB_DATA", "need no download"):
        assert word in str(refusal.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not gzip",
        gzip.compress(PAYLOAD[:-1]),
        gzip.compress(PAYLOAD + b"x"),
        gzip.compress(b"\1" + PAYLOAD[1:]),
        gzip.compress(PAYLOAD)[:-20],
    ],
    ids=["empty", "not gzip", "short", "long", "another magic number", "cut"],
)
def test_another_file_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.setenv("BNNLAB_DATA", str(tmp_path))
    (tmp_path / "small.gz").write_bytes(data)
    with pytest.raises(TaskUnavailable, match=r"small\.gz is (not|damaged)"):
        mnist.read_part(PART)


def test_a_file_with_the_right_checksum_but_another_shape_is_refused():
    wrong = mnist.Part("small.gz", PART.sha256, (3, 5, 4))
    with pytest.raises(download.Damaged, match="not an IDX file"):
        mnist.parse(gzip.compress(PAYLOAD), wrong)


def test_no_more_is_unpacked_than_the_file_should_hold():
    bomb = gzip.compress(b"\0" * (64 << 20))
    with pytest.raises(download.Damaged, match="checksum"):
        mnist.parse(bomb, PART)


@pytest.mark.skipif("BNNLAB_DATA" not in os.environ, reason="BNNLAB_DATA names no data")
def test_the_real_data():
    split = tasks.get("mnist").load()
    assert [len(split[i]) for i in (1, 3, 5)] == [50_000, 10_000, 10_000]
    assert split.train_x.shape[1] == 784
    assert np.bincount(split.test_y).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009
    ]  # fmt: skip
    assert np.array_equal(split.test_x * 256, np.round(split.test_x * 256))
