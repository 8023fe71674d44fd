"""What a process leaves in the folder for temporary things."""

import subprocess
import sys

from waiting import wait_for

from bnnlab.ui.scratch import Scratch

_MAKE = """
import os, signal
from bnnlab.ui.scratch import Scratch
made = Scratch()
(made.path / "kept").write_text("")
print(made.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_made_goes(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    killed = subprocess.run([sys.executable, "-c", _MAKE], stdout=subprocess.PIPE, check=False)
    assert killed.stdout.decode().startswith(str(tmp_path / "bnnlab-"))
    wait_for(lambda: not list(tmp_path.iterdir()), "it to go")


def test_what_is_forgotten_goes_at_once():
    made = Scratch()
    (made.path / "kept").write_text("")
    made.forget()
    assert not made.path.exists()
