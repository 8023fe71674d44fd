"""Temporary folders that do not outlive whoever made them, killed or not."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Waits until its input ends, which it does with the process that holds the other end, however that
# ends; then deletes the folder, more than once: what trains in it may be about to write to it.
_WATCH = """
import shutil, sys, time
sys.stdin.read()
for _ in range(5):
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    time.sleep(1)
"""


class Scratch:
    """A temporary folder, which a small process of its own deletes should its maker be killed.

    A notebook's kernel that is shut down on a busy machine is killed before it is through with
    deleting.

    Attributes:
        path: the folder.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="bnnlab-"))
        self._watch = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCH, str(self.path)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,  # what ends the maker's group leaves it be
        )  # fmt: skip

    def forget(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._watch.kill()
        self._watch.communicate()
