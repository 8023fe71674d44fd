"""SVHN, on few images in the true format."""

import hashlib

import numpy as np
import pytest
from scipy.io import savemat

from bnnlab import tasks
from bnnlab.tasks import TaskUnavailable, download, preprocessing, svhn

COUNTS = {"train": 120, "test": 50, "extra": 90}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Files by name; the red of each image's corner is its number."""
    monkeypatch.setenv("BNNLAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(svhn, "VALIDATION", {"train_32x32.mat": 4, "extra_32x32.mat": 2})
    folder = tmp_path / "data" / "svhn"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    written, sums = {}, {}
    for name, count in COUNTS.items():
        x = random.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        x[0, 0, 0] = np.arange(count)
        y = (1 + np.arange(count) % 10).astype(np.uint8)[:, None]
        path = folder / f"{name}_32x32.mat"
        savemat(path, {"X": x, "y": y}, do_compression=True)
        written[name] = x, y
        sums[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(svhn, "SHA256", sums)
    return written


def numbers(x):
    return np.round((x.reshape(-1, 3, 32, 32)[:, 0, 0, 0] * 256 + 255) / 2).astype(int)


def test_each_digit_has_its_share_of_the_validation_images(small):
    split = tasks.get("svhn", preprocessing="centred").load()
    assert [len(split[i]) for i in (1, 3, 5)] == [80, 40, 50]
    assert np.bincount(split.validation_y).tolist() == [4] * 10
    train, validation = numbers(split.train_x), numbers(split.validation_x)
    assert sorted([*train, *validation]) == list(range(120))
    for shown, labels in ((train, split.train_y), (validation, split.validation_y)):
        assert np.array_equal(labels, (1 + shown % 10) % 10)
    assert np.any(np.diff(validation) < 0), "a look at the first images sees every digit"


def test_images_are_laid_out_colour_by_colour_row_by_row(small):
    split = tasks.get("svhn", preprocessing="centred").load()
    x, y = small["test"]
    expected = preprocessing.centred(x.transpose(3, 2, 0, 1)).reshape(50, -1)
    assert np.array_equal(split.test_x, expected)
    assert np.array_equal(split.test_y, y.ravel() % 10)


def test_extra_images_are_trained_on_and_validate_too(small):
    split = tasks.get("svhn", preprocessing="centred", extra=True).load()
    assert [len(split[i]) for i in (1, 3, 5)] == [150, 60, 50]
    assert np.bincount(split.validation_y).tolist() == [6] * 10
    rows = np.concatenate([split.train_x, split.validation_x])
    both = np.concatenate([small[name][0].transpose(3, 2, 0, 1) for name in ("train", "extra")])
    expected = preprocessing.centred(both).reshape(210, -1)
    assert set(map(bytes, rows)) == set(map(bytes, expected))


def test_images_are_normalized_globally_and_locally(small):
    split = tasks.get("svhn").load()
    images = small["test"][0].transpose(3, 2, 0, 1)
    flat = preprocessing.global_contrast(images.reshape(50, -1))
    expected = preprocessing.local_contrast(flat.reshape(50, 3, 32, 32))
    assert np.allclose(split.test_x, expected.reshape(50, -1), atol=1e-6)
    assert split.test_x.dtype == np.float32 and np.isfinite(split.train_x).all()


def test_it_is_downloaded_without_extra_unless_asked(small, served, monkeypatch, tmp_path):
    root, mirrors = served
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (tmp_path / "data" / "svhn" / name).rename(root / name)
    monkeypatch.delenv("BNNLAB_DATA")
    monkeypatch.setattr(svhn, "MIRRORS", mirrors)
    told = []
    tasks.get("svhn").fetch(lambda *done: told.append(done))
    assert told and len(tasks.get("svhn").load().train_y) == 80
    with pytest.raises(TaskUnavailable, match=r"extra_32x32\.mat"):
        tasks.get("svhn", extra=True).fetch()


def test_the_split_of_the_paper():
    """With the counts of the real files."""
    counts = {"train_32x32.mat": 73_257, "extra_32x32.mat": 531_131}
    found = {
        name: (np.empty(0), np.random.default_rng(0).integers(0, 10, count))
        for name, count in counts.items()
    }
    drawn = svhn._drawn(found)
    assert len(set(drawn)) == 6_000 and sum(counts.values()) - len(drawn) == 598_388
    assert (drawn < 73_257).sum() == 4_000 and drawn.max() < sum(counts.values())


def test_another_file_is_refused(small, tmp_path):
    path = tmp_path / "data" / "svhn" / "test_32x32.mat"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TaskUnavailable, match="checksum"):
        tasks.get("svhn").load()


@pytest.mark.parametrize(
    "content",
    [
        {"X": np.zeros((32, 32, 3, 2), np.uint8)},
        {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.ones((3, 1), np.uint8)},
        {"X": np.zeros((28, 28, 3, 2), np.uint8), "y": np.ones((2, 1), np.uint8)},
        {"X": np.zeros((32, 32, 3, 2)), "y": np.ones((2, 1), np.uint8)},
    ],
    ids=["no labels", "other labels", "another size", "another type"],
)
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "odd.mat"
    savemat(path, content)
    with pytest.raises(download.Damaged, match="holds no images"):
        svhn.read(path)


def test_what_is_no_matlab_file_is_refused(tmp_path):
    path = tmp_path / "odd.mat"
    path.write_bytes(b"x" * 1000)
    with pytest.raises(download.Damaged, match="no MATLAB file"):
        svhn.read(path)
