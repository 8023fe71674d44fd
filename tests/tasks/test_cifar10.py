"""CIFAR-10, on small photographs in the true format."""

import hashlib
import io
import tarfile
from typing import NamedTuple

import numpy as np
import pytest
import torch

from bnnlab import tasks
from bnnlab.tasks import TaskUnavailable, cifar10, download, prepared, preprocessing

SIDE = 4  # of a photograph here: whitening takes the cube of its pixels
IMAGES = 40  # a file


def archive(path, records, *, link=""):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in {"cifar-10-batches-bin/readme.html": b"<html>", **records}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if name == link:
                member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
            tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def small(monkeypatch):
    """Records by file: a label and the colours of each photograph."""
    monkeypatch.setattr(cifar10, "IMAGES", IMAGES)
    monkeypatch.setattr(cifar10, "PIXELS", 3 * SIDE**2)
    random = np.random.default_rng(0)
    found = {}
    for name in (*cifar10.TRAIN, cifar10.TEST):
        labels = random.integers(0, 10, (IMAGES, 1))
        found[name] = np.hstack([labels, random.integers(0, 256, (IMAGES, 3 * SIDE**2))])
    return {name: table.astype(np.uint8) for name, table in found.items()}


@pytest.fixture
def mirror(small, cache, served, monkeypatch):
    root, mirrors = served
    path = root / cifar10.FILE
    archive(path, {name: table.tobytes() for name, table in small.items()})
    monkeypatch.setattr(cifar10, "MIRRORS", mirrors)
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_it_says_what_it_is():
    task = tasks.get("cifar10")
    assert (task.shape, task.inputs, task.classes, task.kind) == ((3, 32, 32), 3072, 10, "image")


def test_photographs_are_split_in_their_order(small, mirror):
    told = []
    tasks.get("cifar10", preprocessing="centred").fetch(lambda *done: told.append(done))
    assert told[-1] == (mirror.stat().st_size,) * 2
    mirror.unlink()
    split = tasks.get("cifar10", preprocessing="centred").load()
    table = np.concatenate([small[name] for name in cifar10.TRAIN])
    x, y = preprocessing.centred(table[:, 1:]), table[:, 0]
    assert np.array_equal(split.train_x, x[:180]) and np.array_equal(split.train_y, y[:180])
    assert np.array_equal(split.validation_x, x[180:])
    assert np.array_equal(split.validation_y, y[180:])
    assert np.array_equal(split.test_y, small[cifar10.TEST][:, 0])
    assert split.train_x.dtype == np.float32 and split.train_y.dtype == np.int64


def test_whitening_is_fitted_to_all_training_photographs(small, mirror):
    split = tasks.get("cifar10").load()
    table = np.concatenate([small[name][:, 1:] for name in cifar10.TRAIN])
    contrast = preprocessing.global_contrast(table, 55)
    covariance = np.cov(contrast.T, bias=True)
    white = np.concatenate([split.train_x, split.validation_x])
    assert np.abs(white.mean(axis=0)).max() < 1e-3
    expected = covariance @ np.linalg.inv(covariance + 0.1 * np.eye(len(covariance)))
    assert np.allclose(np.cov(white.T, bias=True), expected, atol=1e-2)
    # The test set goes through the same matrix, and would have another of its own.
    own = np.cov(split.test_x.T, bias=True)
    assert not np.allclose(own, np.cov(white.T, bias=True), atol=0.1)


def test_both_preprocessings_are_kept_side_by_side_and_prepared_once(mirror, monkeypatch):
    plain, white = (tasks.get("cifar10", preprocessing=how) for how in ("centred", "gcn_zca"))
    plain.fetch()
    white.fetch()
    monkeypatch.setattr(download, "obtain", lambda *given: pytest.fail("read again"))
    assert np.abs(plain.load().train_x - white.load().train_x).max() > 0.1


def test_what_is_written_into_it_is_not_kept(mirror):
    task = tasks.get("cifar10", preprocessing="centred")
    first = task.load()
    first.train_x[:] = 7
    assert isinstance(first.train_x, np.memmap)
    assert np.abs(task.load().train_x).max() < 1


def test_torch_takes_what_is_kept_as_it_is(mirror):
    split = tasks.get("cifar10").load()
    x = torch.from_numpy(split.train_x)
    assert x.dtype == torch.float32 and x.data_ptr() == split.train_x.ctypes.data


def test_what_was_cut_short_is_prepared_again(mirror):
    task = tasks.get("cifar10", preprocessing="centred")
    before = task.load().train_x.copy()
    (place,) = download.cache("cifar10").glob("centred-*/train_x.npy")
    place.write_bytes(place.read_bytes()[:-1])
    (place.parent.parent / f".{place.parent.name}").mkdir()  # and whoever prepared it died
    assert np.array_equal(task.load().train_x, before)


class Usage(NamedTuple):
    free: int


def test_a_full_disk_is_said(mirror, monkeypatch):
    monkeypatch.setattr(prepared.shutil, "disk_usage", lambda path: Usage(1000))
    with pytest.raises(TaskUnavailable, match=r"GB are free"):
        tasks.get("cifar10").load()


def test_a_disk_that_refuses_leaves_nothing_behind(mirror, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepared.os, "fsync", full)
    with pytest.raises(TaskUnavailable, match="No space left"):
        tasks.get("cifar10").load()
    assert {path.suffix for path in download.cache("cifar10").iterdir()} == {".gz", ".lock"}


def test_another_archive_is_refused(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("BNNLAB_DATA", str(tmp_path))
    (tmp_path / cifar10.FILE).write_bytes(mirror.read_bytes() + b"x")
    with pytest.raises(TaskUnavailable, match="checksum"):
        tasks.get("cifar10").fetch()


@pytest.mark.parametrize("how", ["missing", "short", "link"])
def test_only_files_of_the_right_name_and_size_are_read(small, tmp_path, how):
    records = {name: table.tobytes() for name, table in small.items()}
    if how == "missing":
        records["elsewhere/test_batch.bin"] = records.pop(cifar10.TEST)
    if how == "short":
        records[cifar10.TEST] = records[cifar10.TEST][:-1]
    path = tmp_path / "odd.tar.gz"
    archive(path, records, link=cifar10.TEST if how == "link" else "")
    with pytest.raises(download.Damaged, match=r"holds no cifar-10-batches-bin/test_batch\.bin"):
        cifar10.read(path)
