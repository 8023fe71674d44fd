"""A page without a browser: what it does with messages, and that nothing of it stays behind."""

import gc
import os
import threading
import weakref

import pytest
from bokeh.client import pull_session
from served import trainers
from tornado.ioloop import IOLoop
from waiting import PATIENCE, until, wait_for

from bnnlab import Comparison
from bnnlab.ui import page as pages
from bnnlab.ui import serve
from bnnlab.ui.page import Page

SMALL = Comparison(
    task="moons", network={"name": "mlp", "width": 8}, schemes=["full_precision", "bnn"], steps=5000
)


@pytest.fixture
def page(tmp_path):
    made = Page(comparison=SMALL, library=tmp_path / "library", autoplay=True)
    yield made
    made.close()
    made._thread.shutdown(wait=True)


def test_an_address_opens_what_is_kept_with_its_settings(tmp_path):
    SMALL.create(tmp_path / "study.bnnlab" / "width=8.bnnlab")
    made = Page(
        library=tmp_path, autoplay=False, address={"open": "study/width=8", "view": "weights"}
    )
    try:
        until(made, lambda: made.session.name == "study/width=8" and made.bench.lanes)
        values = made.bench.form["values"]
        assert values["task"] == "moons" and values["network.width"] == "8"
        assert made.settings.comparison().to_dict() == SMALL.to_dict()
        assert made.views.to_address() == {"view": "weights"} and not made.bench.notice.get("text")
    finally:
        made.close()
        made._thread.shutdown(wait=True)


def test_the_device_is_what_the_trainers_train_on(tmp_path):
    made = Page(comparison=SMALL, library=tmp_path, device="cuda:99")
    try:
        until(made, lambda: "died" in made.bench.notice.get("text", ""))
        assert "device is 'cuda:99'" in made.bench.notice["text"]
    finally:
        made.close()
        made._thread.shutdown(wait=True)


def test_trains_pauses_steps_and_goes_on(page):
    until(page, lambda: page.session.status().step > 3)
    page.handle({"do": "pause"})
    until(page, lambda: page.session.status().state == "paused")
    page.session.refresh()
    held = page.session.log.step
    page.handle({"do": "step"})
    until(page, lambda: page.session.log.step == held + 1)
    page.handle({"do": "set", "key": "lr", "value": "0.01"})
    assert page.session.conductor.lr == 0.01
    page.handle({"do": "set", "key": "lr", "value": "-1"})
    assert "above 0" in page.bench.form["messages"]["lr"]
    assert page.session.conductor.lr == 0.01
    page.handle({"do": "play"})
    until(page, lambda: page.session.log.step > held + 3)


def test_messages_that_mean_nothing_are_dropped(page):
    until(page, lambda: page.session.log is not None)
    for message in (
        {"do": "__init__"},
        {"do": "close"},
        {"do": "set", "key": "nothing", "value": 1},
        {"do": "view", "name": "../x"},
        {"do": "option", "key": "x", "value": {}},
        {"do": "open", "name": "../../etc"},
        {"do": "speed", "value": "fast"},
        {"do": "scheme", "name": "os", "on": True},
        {"do": "drawn", "frame": "1"},
        {"do": "card", "lane": ["x"]},
        {"do": "upload", "data": "!!"},
        {"do": "export", "what": "all", "kind": "exe"},
    ):
        page.handle(message)
    page.tick()
    assert page.session.status().state in ("playing", "finished")


def test_changes_that_need_a_restart_wait_for_it(page):
    until(page, lambda: page.session.status().step > 1)
    page.handle({"do": "set", "key": "network.width", "value": "16"})
    assert page.bench.form["changes"] == ["width 8 → 16"]
    assert page.session.comparison.network["width"] == 8
    page.handle({"do": "restart"})
    until(page, lambda: page.session.comparison.network["width"] == 16)
    until(page, lambda: page.bench.form["changes"] == [] and page.session.status().step > 1)


def test_a_card_explains_a_lane(page):
    until(page, lambda: page.bench.lanes)
    page.handle({"do": "card", "lane": "bnn"})
    card = page.bench.card
    assert card["title"] == "BNN" and "arXiv" in card["reference"]
    assert all(equation["svg"].startswith("<svg") for equation in card["equations"])
    page.handle({"do": "card", "lane": None})
    assert page.bench.card == {}


def test_closing_stops_the_trainers_deletes_the_folder_and_frees_the_page(tmp_path):
    page = Page(comparison=SMALL, library=tmp_path)
    until(page, lambda: page.session.status().step > 1)
    folder = page.session.log.path
    assert trainers(os.getpid()) and folder.exists()
    thread, gone = page._thread, weakref.ref(page)
    page.close()
    thread.shutdown(wait=True)
    assert not trainers(os.getpid()) and not folder.exists()
    page = None
    gc.collect()
    assert gone() is None


def test_sessions_of_a_server_end_with_their_connection(tmp_path):
    ready, made = threading.Event(), {}

    def run():
        server = serve.server(library=tmp_path, port=0)
        made["server"], made["loop"] = server, IOLoop.current()
        server.start()
        made["loop"].add_callback(ready.set)
        made["loop"].start()

    others = set(pages.pages)  # of tests before this one, held so that they cannot go meanwhile

    def count():
        return len(set(pages.pages) - others)

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(PATIENCE)
    server = made["server"]
    sessions = [pull_session(url=f"http://127.0.0.1:{server.port}/") for _ in range(3)]
    assert count() == 3
    for session in sessions:
        session.close()
    del session, sessions
    wait_for(lambda: gc.collect() >= 0 and not (count() or trainers(os.getpid())), "them to go")

    def stop():
        server.stop()
        made["loop"].stop()

    made["loop"].add_callback(stop)
    thread.join(30)
    assert not thread.is_alive()


def test_a_task_that_cannot_be_had_is_said_and_the_comparison_goes_on(page, tmp_path, monkeypatch):
    monkeypatch.setenv("BNNLAB_DATA", str(tmp_path))
    until(page, lambda: page.session.status().step > 3)
    folder = page.session.log.path
    page.handle({"do": "set", "key": "task", "value": "mnist"})
    page.handle({"do": "restart"})
    until(page, lambda: "BNNLAB_DATA" in page.bench.notice.get("text", ""))
    assert page.session.log.path == folder
    step = page.session.status().step
    until(page, lambda: page.session.status().step > step)
