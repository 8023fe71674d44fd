"""The page in a notebook cell."""

import time

from bnnlab import Comparison
from bnnlab.training.store import Log
from bnnlab.ui.notebook import Widget


def test_a_log_is_shown_without_training_it(trained_folder, tmp_path):
    import shutil

    folder = tmp_path / "moons.bnnlab"
    shutil.copytree(trained_folder, folder)
    shown = Widget(Log(folder))
    try:
        deadline = time.monotonic() + 60
        while not shown.page.bench.lanes:
            assert time.monotonic() < deadline, shown.page.bench.notice
            time.sleep(0.05)
            shown.page.tick()
        assert shown.page.session.status().state == "finished"
        assert shown.page.bench.embedded
    finally:
        shown.close()
        shown.page._thread.shutdown(wait=True)
    assert folder.exists()


def test_a_comparison_trains_until_its_widget_is_closed():
    shown = Widget(Comparison(task="moons", schemes=["bnn"], steps=5000))
    try:
        deadline = time.monotonic() + 60
        while shown.page.session.status().step < 2:
            assert time.monotonic() < deadline, shown.page.bench.notice
            time.sleep(0.05)
            shown.page.tick()
        folder = shown.page.session.log.path
    finally:
        shown.close()
        shown.page._thread.shutdown(wait=True)
    assert not folder.exists()
