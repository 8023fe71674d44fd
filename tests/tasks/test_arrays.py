"""Arrays a user brings."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnlab import limits, tasks
from bnnlab.tasks import FileRefused, TaskUnavailable, splitting


def of_file(path):
    return tasks.get("arrays", path=str(path))


def saved(path, save=np.savez, **arrays):
    save(path, **arrays)
    return path


def some(count, *shape, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, *shape)), random.permutation(np.arange(count) % 4)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_x_and_y_are_split_by_class(tmp_path, save):
    x, y = some(100, 5)
    task = of_file(saved(tmp_path / "a.npz", save, x=x, y=y, note=np.array("not read")))
    task.fetch()
    assert (task.shape, task.kind, task.classes) == ((5,), "vector", 4)
    split = task.load()
    for index, part in enumerate(splitting.stratified(y)):
        assert np.array_equal(split[2 * index], x[part].astype(np.float32))
        assert np.array_equal(split[2 * index + 1], y[part])
        assert split[2 * index].dtype == np.float32 and split[2 * index + 1].dtype == np.int64


def test_images_are_images_and_bytes_are_pixels(tmp_path):
    x, y = some(40, 3, 4, 6)
    pixels = np.random.default_rng(0).integers(0, 256, x.shape, dtype=np.uint8)
    task = of_file(saved(tmp_path / "a.npz", x=pixels, y=y.astype(np.uint8)))
    assert (task.shape, task.kind, task.inputs) == ((3, 4, 6), "image", 72)
    train, *_ = splitting.stratified(y)
    expected = (2 * pixels[train].astype(np.float32) - 255) / 256
    assert np.array_equal(task.load().train_x, expected.reshape(len(train), 72))


def test_parts_stay_as_they_are(tmp_path):
    parts = {}
    for seed, name in enumerate(("train", "val", "test")):
        parts[f"x_{name}"], parts[f"y_{name}"] = some(20, 2, seed=seed)
    names = np.array(["ant", "bee", "cat", "dog"])
    words = {name: names[value] if name[0] == "y" else value for name, value in parts.items()}
    split = of_file(saved(tmp_path / "a.npz", **words)).load()
    for found, expected in zip(split, parts.values(), strict=True):
        assert np.allclose(found, expected)


def test_without_a_validation_part_the_training_part_gives_it(tmp_path):
    (x, y), (test_x, test_y) = some(100, 2), some(12, 2, seed=1)
    path = saved(tmp_path / "a.npz", x_train=x, y_train=y, x_test=test_x, y_test=test_y)
    split = of_file(path).load()
    assert len(split.train_y) == 84 and np.bincount(split.validation_y).tolist() == [4] * 4
    both = np.concatenate([split.train_x, split.validation_x])
    assert np.array_equal(np.sort(both, axis=0), np.sort(x.astype(np.float32), axis=0))
    assert np.array_equal(split.test_y, test_y)


def test_columns_first_and_other_numbers(tmp_path):
    x, y = some(30, 4)
    for kind in (np.float16, np.int64, bool, np.float64):
        given = np.asfortranarray((x * 3).astype(kind))
        split = of_file(saved(tmp_path / f"{kind.__name__}.npz", x=given, y=y > 1)).load()
        train, *_ = splitting.stratified(y > 1)
        assert np.array_equal(split.train_x, given[train].astype(np.float32))
        assert set(split.train_y) == {0, 1}


X, Y = some(20, 3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "holds nothing; give x and y"),
        ({"a": X, "y": Y}, "holds a, y; give x and y"),
        ({"x": X, "y": Y[:-1]}, "x has 20 samples, y has 19 labels"),
        ({"x": X[:, 0], "y": Y}, r"x has the shape \(20,\); give \(samples, numbers\)"),
        ({"x": X[:0], "y": Y[:0]}, r"x has the shape \(0, 3\)"),
        ({"x": X[:, :0], "y": Y}, r"x has the shape \(20, 0\)"),
        ({"x": X, "y": np.eye(4)[Y]}, r"y holds float64; give whole numbers or words"),
        ({"x": X, "y": Y[:, None]}, r"y has the shape \(20, 1\); give \(samples,\)"),
        ({"x": X * 1j, "y": Y}, "x holds complex128; give numbers"),
        ({"x": X.astype(str), "y": Y}, "x holds <U32; give numbers"),
        ({"x": np.zeros(20, [("a", float)]), "y": Y}, "x holds .*; give numbers"),
        ({"x": X, "y": Y * 0}, "1 different values"),
        ({"x": np.zeros((2000, 1)), "y": np.arange(2000)}, "2,000 different values"),
        ({"x": X, "y": np.r_[9, Y[1:]]}, "y is 9 1 times"),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 1}, "y_test holds 4, which is"),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y.astype(str)}, "y_test holds"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, 1:], "y_test": Y}, "different shapes"),
        ({"x": np.zeros((3, 20_000), bool), "y": Y[:3]}, "16,384 numbers are allowed"),
    ],
)
def test_arrays_that_cannot_be_learnt_are_refused(tmp_path, given, words):
    path = saved(tmp_path / "bad.npz", **given)
    for use in (lambda task: task.inputs, lambda task: task.fetch(), lambda task: task.load()):
        for kind in (TaskUnavailable, ValueError):
            with pytest.raises(kind, match=rf"bad\.npz.*{words}"):
                use(of_file(path))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_what_is_not_finite_is_refused(tmp_path, bad):
    x = X.copy()
    x[3, 1] = bad
    with pytest.raises(FileRefused, match="x holds numbers that are not finite"):
        of_file(saved(tmp_path / "a.npz", x=x, y=Y)).load()


def test_objects_are_not_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("it was unpickled",)

    trap = np.array([Trap()] * 20, dtype=object)
    for arrays in ({"x": trap, "y": Y}, {"x": X, "y": trap}):
        path = tmp_path / "trap.npz"
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in arrays.items():
                archive.writestr(f"{name}.npy", packed(array))
        with pytest.raises(FileRefused, match="holds object"):
            of_file(path).load()


def packed(array):
    """An array as a file; of objects, their type and something in their place."""
    file = io.BytesIO()
    if array.dtype.hasobject:
        header = {"descr": "|O", "fortran_order": False, "shape": array.shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(b"cpytest\nfail\n(S'it was unpickled'\ntR.")
    else:
        np.lib.format.write_array(file, array)
    return file.getvalue()


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    """A small file of many zeros, and a header that promises more than there is."""
    saved(tmp_path / "zeros.npz", np.savez_compressed, x=np.zeros((4000, 16_000)), y=Y)
    huge = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 16_000)}
    np.lib.format.write_array_header_1_0(huge, header)
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("x.npy", huge.getvalue())
        archive.writestr("y.npy", packed(Y))
    monkeypatch.setattr(limits, "ARRAYS_BYTES", 4000 * 16_000 * 8)
    for name in ("zeros", "huge"):
        assert (tmp_path / f"{name}.npz").stat().st_size < 10**6
        with pytest.raises(FileRefused, match=r"holds arrays of [\d,]+ bytes; 512,000,000 are"):
            of_file(tmp_path / f"{name}.npz").load()


@given(st.data())
def test_a_damaged_file_is_refused_or_read(tmp_path_factory, data):
    """Whatever byte is changed: nothing but a refusal comes out."""
    path = saved(tmp_path_factory.mktemp("damaged") / "a.npz", x=X, y=Y)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        of_file(path).load()
    except FileRefused as refusal:
        assert "a.npz" in str(refusal)


def test_no_file_is_named():
    with pytest.raises(ValueError, match=r"no file is named; .*arrays:path="):
        _ = tasks.get("arrays").shape
