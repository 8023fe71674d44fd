"""A real server in a process of its own, and a real Chromium that can reach nothing else."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from served import Served
from waiting import PATIENCE

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


class Server(Served):
    """The dashboard."""

    def __init__(self, folder: Path):
        self.library = folder / "library"
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        super().__init__(
            folder,
            lambda port: [sys.executable, "-c", _SERVE, str(self.library), str(port)],
            TMPDIR=str(self.temporary),
        )


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
        self._server.wait(lambda: self.step >= least, f"step {least}")
        return self.step

    def wait_for_state(self, state: str) -> int:
        """Give the step shown with it."""
        self.page.locator(f".state[data-state={state}]").wait_for()
        return self.step

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
