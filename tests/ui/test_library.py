"""Names from outside never become paths elsewhere; uploads are counted."""

import json
import shutil

import pytest

from bnnlab.training.archive import archive
from bnnlab.ui.library import Library, Upload


@pytest.mark.parametrize(
    "name",
    ["", " ", "../up", "a/b", "a\\b", ".hidden", "/etc/passwd", "x" * 65, "a\0b", "dots..", "end."],
)
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="cannot be a name"):
        Library(tmp_path).place(name)


@pytest.mark.parametrize("name", ["digits", "LAB, no batch norm (2)", "a.b-c_d=1+2"])
def test_a_name_is_a_folder_inside_the_library(tmp_path, name):
    assert Library(tmp_path).place(name).parent == tmp_path


def test_lists_finds_and_receives(tmp_path, trained_folder):
    library = Library(tmp_path / "kept")
    assert library.saved() == []
    with pytest.raises(ValueError, match="none yet"):
        library.find("moons")
    shutil.copytree(trained_folder, library.place("moons"))
    assert [saved.name for saved in library.saved()] == ["moons"]
    assert "moons" in library.saved()[0].about
    zipped = archive(trained_folder, tmp_path / "sent.bnnlab.zip")
    assert library.receive("../../sent.bnnlab.zip", zipped) == "sent"
    assert library.receive("sent.bnnlab.zip", zipped) == "sent 2"
    assert library.find("sent 2").parent == library.folder


def test_an_upload_is_counted_and_forgotten_when_it_grows_too_large():
    upload = Upload("big.zip", most=1000)
    upload.take(b"x" * 900)
    with pytest.raises(ValueError, match="larger than"):
        upload.take(b"x" * 101)
    assert not upload.path.exists()


def test_an_upload_is_what_was_sent():
    upload = Upload("small.zip", most=1000)
    upload.take(b"ab")
    upload.take(b"cd")
    assert upload.finish().read_bytes() == b"abcd"
    upload.forget()
    assert not upload.path.exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.csv", "a/b.csv"])
def test_what_is_sent_cannot_have_files_read(tmp_path, trained_folder, path):
    folder = tmp_path / "sent.bnnlab"
    shutil.copytree(trained_folder, folder)
    spec = json.loads((folder / "comparison.json").read_text())
    spec["task"] = {"name": "table", "path": path, "label": "label"}
    (folder / "comparison.json").write_text(json.dumps(spec))
    zipped = archive(folder, tmp_path / "sent.bnnlab.zip")
    library = Library(tmp_path / "kept")
    with pytest.raises(ValueError, match="it learns from"):
        library.receive("sent.bnnlab.zip", zipped)
    assert library.saved() == []
