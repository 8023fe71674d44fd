"""What a process leaves in the folder for temporary things."""

import subprocess
import sys
import tempfile

import pytest

from bnnlab.ui.scratch import Scratch

_MAKE = """
import os, signal
from bnnlab.ui.scratch import Scratch
made = Scratch()
(made.path / "kept").write_text("")
print(made.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_what_a_killed_process_left_goes_and_what_is_in_use_stays(temporary):
    mine = Scratch()
    (temporary / "bnnlab-from-elsewhere").mkdir()
    subprocess.run([sys.executable, "-c", _MAKE], stdout=subprocess.DEVNULL, check=False)
    assert len(list(temporary.iterdir())) == 3
    other = Scratch()
    assert {path.name for path in temporary.iterdir()} == {
        mine.path.name, other.path.name, "bnnlab-from-elsewhere"
    }  # fmt: skip
    for made in (mine, other):
        made.forget()
    assert [path.name for path in temporary.iterdir()] == ["bnnlab-from-elsewhere"]
