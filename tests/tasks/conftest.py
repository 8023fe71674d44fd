"""A cache and a mirror of our own."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty place to keep what is downloaded."""
    monkeypatch.delenv("BNNLAB_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def served(tmp_path):
    """The folder that is served, and mirrors: one that is not there, and one that serves it."""
    root = tmp_path / "served"
    root.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield root, ("http://127.0.0.1:9/", f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()
    server.server_close()
