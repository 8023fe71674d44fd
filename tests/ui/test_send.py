"""What a page hands out."""

import io
import zipfile

import pytest

from bnnlab.ui.send import packed_file


def test_a_packed_network_in_c_comes_with_its_header(trained_folder):
    made = packed_file(trained_folder, "bnn", "c")
    assert (made.name, made.kind) == ("bnn.zip", "application/zip")
    assert "equal to PyTorch's" in made.said
    archive = zipfile.ZipFile(io.BytesIO(made.data))
    assert archive.namelist() == ["bnn.c", "bnn.h"]
    assert b"bnn_run" in archive.read("bnn.h") or b"bnn" in archive.read("bnn.h")


def test_what_is_missing_is_said(trained_folder, tmp_path, monkeypatch):
    (tmp_path / "onnx.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"bnn was not packed: .*bnnlab\[onnx\]"):
        packed_file(trained_folder, "bnn", "onnx")
    with pytest.raises(ValueError, match="'exe' is no kind of packed network; there are safet"):
        packed_file(trained_folder, "bnn", "exe")
