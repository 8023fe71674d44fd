"""Servers in processes of their own."""

import os
import socket
import subprocess

import psutil
from waiting import wait_for


def trainers(pid: int) -> set[int]:
    """The processes that train for one; those that end while they are looked at do not."""
    found = set()
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if "bnnlab.training.worker" in child.cmdline():
                found.add(child.pid)
        except psutil.Error:
            pass
    return found


class Served:
    """A server on a free port of this machine, from its first answer on.

    `command` takes the port.
    """

    def __init__(self, folder, command, **environment):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}/"
        self._said = (folder / "server.log").open("w+")
        self.process = subprocess.Popen(
            command(self._port),
            stdout=self._said,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
        self.wait(self._answers, "an answer")

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def wait(self, happened, what: str) -> None:
        wait_for(happened, lambda: f"{what}: {self.log()}")

    def log(self) -> str:
        """The end of what the server said."""
        self._said.seek(0)
        return self._said.read()[-3000:]

    def trainers(self) -> set[int]:
        """The processes that train for it."""
        return trainers(self.process.pid)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._said.close()
