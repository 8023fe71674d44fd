"""What the page sustains: updates a second with eight lanes, and how soon a click takes effect.

Run with `python benchmarks/live_page.py`. It serves the dashboard in a process of its own and looks
at it with a real Chromium on the same machine (named by BNNLAB_CHROMIUM, found on PATH, or
Playwright's own), while eight lanes train at full speed.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine
from playwright.sync_api import sync_playwright

SECONDS = 10
CLICKS = 60
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
VIEWS = ("curves", "weights")

_SERVE = """
import sys
from bnnlab.ui.serve import serve
serve(library=sys.argv[1], port=int(sys.argv[2]), show=False)
"""

# Clicks pause or play and gives the milliseconds until the page says that it holds.
_CLICK = """async (button) => {
    const state = button.getRootNode().querySelector(".state")
    const before = state.dataset.state
    const clicked = performance.now()
    const changed = new Promise((done) => {
        const watch = new MutationObserver(() => {
            if (state.dataset.state === before) return
            watch.disconnect()
            requestAnimationFrame(() => done(performance.now()))
        })
        watch.observe(state, { attributes: true })
    })
    button.click()
    return (await changed) - clicked
}"""


def chromium() -> str | None:
    named = os.environ.get("BNNLAB_CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome")
    return named or next((path for name in names if (path := shutil.which(name))), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def frames(page) -> int:
    return int(page.locator(".app").get_attribute("data-frame") or 0)


def measure(page) -> list[tuple[str, float, float, float, float]]:
    """Give, for each view: its name, updates a second, and click to effect: median, p95, worst."""
    steps = page.locator("#f-steps")
    steps.fill("1000000")
    steps.press("Enter")
    rows = []
    for view in VIEWS:
        page.click(f"[data-view={view}]")
        page.locator(".view:not(.drawing) canvas").first.wait_for()
        time.sleep(2)
        first, began = frames(page), time.perf_counter()
        time.sleep(SECONDS)
        rate = (frames(page) - first) / (time.perf_counter() - began)
        took = []
        for _ in range(CLICKS):
            took.append(page.locator(".play").evaluate(_CLICK))
            time.sleep(0.25)
        took.sort()
        rows.append((view, rate, statistics.median(took), took[int(0.95 * CLICKS)], took[-1]))
    return rows


def report() -> None:
    """Measure, and print the table."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        log = Path(folder) / "log"
        command = [sys.executable, "-c", _SERVE, folder, str(port)]
        server = subprocess.Popen(command, stdout=log.open("w"), stderr=subprocess.STDOUT)
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.1)
            browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            began = time.perf_counter()
            page.goto(f"http://127.0.0.1:{port}/")
            page.locator(".lane").first.wait_for()
            shown = time.perf_counter() - began
            while page.locator("#step").inner_text() == "0":
                time.sleep(0.05)
            moves = time.perf_counter() - began
            rows = measure(page)
            browser.close()
        finally:
            server.terminate()
            server.wait()
    print("the page, on the same cores as the browser that draws it")
    print(f"shown after {shown:.1f} s, training seen after {moves:.1f} s")
    print(
        f"{'view':10} {'updates/s':>10} {'click to effect, ms: median':>28} {'p95':>6} {'worst':>6}"
    )
    for view, rate, median, high, worst in rows:
        print(f"{view:10} {rate:10.1f} {median:28.0f} {high:6.0f} {worst:6.0f}")


if __name__ == "__main__":
    print(machine())
    report()
