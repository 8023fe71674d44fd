"""The page in a notebook cell."""

import pytest
from waiting import until

import bnnlab
from bnnlab import Comparison, figures
from bnnlab.training.store import Log
from bnnlab.ui.notebook import Widget


def test_a_log_is_shown_without_training_it(trained_folder, tmp_path):
    import shutil

    folder = tmp_path / "moons.bnnlab"
    shutil.copytree(trained_folder, folder)
    shown = Widget(Log(folder))
    shown.content()
    page = shown.page
    try:
        until(page, lambda: page.bench.lanes)
        assert page.session.status().state == "finished"
        assert page.bench.embedded
    finally:
        shown.end()
        page._thread.shutdown(wait=True)
    assert folder.exists()


def test_a_comparison_trains_until_its_widget_is_closed():
    shown = Widget(Comparison(task="moons", schemes=["bnn"], steps=5000))
    shown.content()
    page = shown.page
    try:
        until(page, lambda: page.session.status().step >= 2)
        folder = page.session.log.path
    finally:
        shown.end()
        page._thread.shutdown(wait=True)
    assert not folder.exists()


@pytest.mark.parametrize("name", figures.names())
def test_every_view_stands_alone(name, trained_folder):
    log = Log(trained_folder)
    shown = getattr(bnnlab.ui, name)(log, theme="dark")
    assert shown.content().objects
    ended, draw = shown.state()
    assert ended
    drawing = draw()
    assert drawing.panels and drawing.theme == "dark"


def test_what_a_view_cannot_show_is_refused(trained_folder):
    with pytest.raises(ValueError, match="no layer 'hidden9'; the layers are hidden1"):
        bnnlab.ui.weights(Log(trained_folder), layers=["hidden9"])
    with pytest.raises(AttributeError, match="no attribute 'wights'"):
        bnnlab.ui.wights  # noqa: B018


def test_outside_a_kernel_nothing_is_trained(trained_folder):
    """IPython in a terminal prints the object's words instead."""
    for shown in (Comparison(task="moons", schemes=["bnn"]), Log(trained_folder)):
        with pytest.raises(NotImplementedError):
            shown._ipython_display_()
