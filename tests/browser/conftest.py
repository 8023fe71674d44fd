"""A real server in a process of its own, and a real Chromium that can reach nothing else."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 90.0  # seconds, on a busy machine
expect.set_options(timeout=PATIENCE * 1000)
# What most tests look at: two small lanes, which cost little to train and to draw.
SMALL = "?schemes=full_precision,bnn&network.width=16&speed=20"
_SERVE = """
import sys
from bnnlab.ui.serve import serve
serve(library=sys.argv[1], port=int(sys.argv[2]), show=False)
"""


def chromium() -> str | None:
    named = os.environ.get("BNNLAB_CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome")
    return named or next((path for name in names if (path := shutil.which(name))), None)


class Server:
    """The dashboard, served by another process."""

    def __init__(self, folder: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.library = folder / "library"
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.said = (folder / "server.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(self.library), str(self.port)],
            stdout=self.said,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(self.temporary)},
        )
        self.wait(self._answers)

    def wait(self, happened) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def log(self) -> str:
        self.said.seek(0)
        return self.said.read()

    def trainers(self) -> list[psutil.Process]:
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if "bnnlab.training.worker" in child.cmdline():
                    found.append(child)
            except psutil.Error:
                pass
        return found

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.said.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    served = Server(tmp_path_factory.mktemp("served"))
    yield served
    served.stop()


@pytest.fixture(scope="module")
def browser():
    # Not for the session: while Playwright is there, no other test could run an event loop.
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield launched
        launched.close()


class Tab:
    """A page of the dashboard in a browser that is cut off from everything but its server."""

    def __init__(self, browser, server: Server, at: str = "", **options):
        self.context = browser.new_context(
            **{"viewport": {"width": 1440, "height": 900}, "accept_downloads": True, **options}
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE * 1000)
        self.errors: list[str] = []
        self.outside: list[str] = []
        self._server = server
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.route("**/*", self._guard)
        self.page.goto(server.url + at)

    def _heard(self, message) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _guard(self, route) -> None:
        if route.request.url.startswith((self._server.url, "blob:", "data:")):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()

    @property
    def step(self) -> int:
        return int(self.page.locator("#step").inner_text().replace(",", ""))

    def wait_for_step(self, least: int) -> int:
        self._server.wait(lambda: self.step >= least)
        return self.step

    def settled(self) -> int:
        """Wait until the step stays, and give it: one in progress may still be made."""

        def stays() -> bool:
            shown = self.step
            time.sleep(1)
            return shown == self.step

        self._server.wait(stays)
        return self.step

    def wait_for_state(self, state: str) -> None:
        self.page.locator(f".state[data-state={state}]").wait_for()

    def close(self) -> None:
        self.context.close()


@pytest.fixture
def open_tab(browser, server):
    """Opens pages; at the end none of them had an error or asked anybody else for anything."""
    tabs: list[Tab] = []

    def opened(at: str = SMALL, **options) -> Tab:
        tabs.append(Tab(browser, server, at, **options))
        return tabs[-1]

    yield opened
    for tab in tabs:
        tab.close()
    for tab in tabs:
        assert tab.errors[:5] == []
        assert tab.outside == []


@pytest.fixture
def tab(open_tab):
    return open_tab()
