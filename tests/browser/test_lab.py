"""The widget in a real JupyterLab and a real Notebook 7, with the network cut."""

import json
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from served import Served
from waiting import PATIENCE

# What Notebook 7 (7.6) says as it opens, whatever is in the notebook.
_THEIR_OWN = ["Cannot read properties of undefined (reading 'schema')"]
_OPEN = "window.jupyterapp.shell.currentWidget"


class Front(NamedTuple):
    """A front end: its module, its application's settings, and where it shows a notebook."""

    module: str
    settings: tuple[str, ...]
    place: str


LAB = Front(
    "jupyterlab",
    ("LabApp.expose_app_in_browser=True", "LabApp.news_url=", "LabApp.extension_manager=readonly"),
    "doc/tree",
)
NOTEBOOK = Front("notebook", ("JupyterNotebookApp.expose_app_in_browser=True",), "notebooks")


class Jupyter(Served):
    """A front end, with one notebook open in a browser."""

    def __init__(self, folder: Path, browser, front: Front):
        self._place = front.place
        self.folder = folder
        own = {f"JUPYTER_{kind}_DIR": str(folder / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
        super().__init__(
            folder,
            lambda port: [
                sys.executable, "-m", front.module, "--no-browser", "--allow-root",
                f"--port={port}", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}",
                "--ServerApp.disable_check_xsrf=True", *(f"--{one}" for one in front.settings),
            ],
            **own, IPYTHONDIR=str(folder / "IPYTHON"), TMPDIR=str(folder),
        )  # fmt: skip
        self.page = browser.new_page(viewport={"width": 1300, "height": 1000})
        self.page.set_default_timeout(PATIENCE * 1000)
        self.errors: list[str] = []
        self.outside: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.route("**/*", self._guard)

    def _guard(self, route) -> None:
        if route.request.url.startswith((self.url, "blob:", "data:")):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()

    def write(self, *cells: str) -> Path:
        """Write the notebook, a cell for each text."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, self.folder / "lab.ipynb")
        return self.folder / "lab.ipynb"

    def open(self) -> None:
        self.page.goto(f"{self.url}{self._place}/lab.ipynb")
        ready = f"{_OPEN}?.sessionContext?.session?.kernel?.status == 'idle'"
        self.page.wait_for_function(f"window.jupyterapp && {ready}")

    def command(self, name: str, cell: int | None = None) -> None:
        """Do what a menu entry does, to a cell."""
        if cell is not None:
            self.page.evaluate(f"{_OPEN}.content.activeCellIndex = {cell}")
            self.page.evaluate(f"{_OPEN}.content.scrollToItem({cell}, 'start')")
        self.page.evaluate(f"window.jupyterapp.commands.execute('{name}')")

    def look_at(self, cell: int) -> None:
        self.page.evaluate(f"{_OPEN}.content.scrollToItem({cell}, 'start')")

    def widget(self, cell: int):
        """What is live in a cell."""
        return self.page.locator(".jp-Notebook-cell").nth(cell).locator(".app")

    def step(self, cell: int) -> int:
        return int(self.widget(cell).locator("#step").inner_text().replace(",", ""))

    def pause(self, cell: int) -> int:
        """Give the step that the training then holds."""
        self.look_at(cell)
        self.widget(cell).get_by_role("button", name="Pause").click()
        self.widget(cell).locator(".state[data-state=paused]").wait_for()
        return self.step(cell)

    def stop_kernel(self) -> None:
        """Shut the kernel down, and see that nothing of it is left."""
        self.page.evaluate(f"{_OPEN}.sessionContext.shutdown()")
        self.wait(lambda: not self.trainers(), "the trainers to leave")
        self.wait(lambda: not list(self.folder.glob("bnnlab-*")), "temporary folders to go")

    def stop(self) -> None:
        self.page.close()
        super().stop()


@pytest.fixture
def jupyter(tmp_path, browser):
    """Starts front ends; at the end none of them had an error or asked anybody else."""
    every: list[Jupyter] = []

    def started(front: Front) -> Jupyter:
        every.append(Jupyter(tmp_path, browser, front))
        return every[-1]

    yield started
    for one in every:
        one.stop()
        assert [error for error in one.errors if error not in _THEIR_OWN] == []
        assert one.outside == []


CELLS = (
    "import bnnlab",
    "bnnlab.Comparison(task='moons', schemes=['full_precision', 'lab'], steps=20_000)",
    "bnnlab.Comparison(task='circles', schemes=['full_precision', 'bnn'], steps=20_000)",
    "bnnlab.ui.weights(bnnlab.open('moons.bnnlab'), layers=['hidden2'])",
)


def test_widgets_live_in_their_cells_and_leave_nothing_behind(jupyter, trained_folder):
    """One server and one kernel for all of it: they take longer to start than the rest."""
    lab = jupyter(LAB)
    shutil.copytree(trained_folder, lab.folder / "moons.bnnlab")
    file = lab.write(*CELLS)
    lab.open()
    lab.command("notebook:run-all-cells")

    # Both comparisons train, each in its cell.
    for cell in (1, 2):
        lab.look_at(cell)
        lab.widget(cell).wait_for()
        lab.wait(lambda cell=cell: lab.step(cell) > 2, "training")
    both = lab.trainers()
    assert len(both) >= 2

    # A click pauses one; the other goes on.
    held, other = lab.pause(1), lab.step(2)
    lab.wait(lambda: lab.step(2) > other + 20, "the other to go on")
    assert lab.step(1) == held

    # A single view stands alone in its cell.
    lab.look_at(3)
    alone = lab.page.locator(".jp-Notebook-cell").nth(3)
    alone.locator("canvas").first.wait_for()
    assert alone.locator(".app").count() == 0

    # A cell that is run again stops its trainer, and begins anew.
    lab.command("notebook:run-cell", cell=1)
    lab.wait(lambda: lab.trainers() - both and len(lab.trainers()) == len(both), "a new trainer")
    lab.widget(1).wait_for()
    lab.wait(lambda: lab.step(1) > 2, "training anew")

    # A cell that is deleted stops its trainer; the other one stays.
    before = lab.trainers()
    lab.command("notebook:delete-cell", cell=2)
    lab.wait(lambda: lab.trainers() < before, "the trainer of a deleted cell to leave")
    assert lab.trainers()

    # What is saved holds no scripts but the last state, seen when nobody is there to draw it.
    lab.pause(1)
    picture = lab.page.get_by_alt_text("The last state").first
    picture.wait_for(state="attached")
    assert not picture.is_visible(), "the live one hides it"
    lab.command("docmanager:save")
    lab.wait(lambda: "image/png" in file.read_text(), "the notebook to be saved")
    outputs = [o for cell in json.loads(file.read_text())["cells"] for o in cell["outputs"]]
    assert not any("holoviews_load" in kind for o in outputs for kind in o.get("data", {}))
    assert file.stat().st_size < 1_500_000

    # The kernel goes, and every trainer with it.
    lab.stop_kernel()
    lab.open()
    lab.page.get_by_alt_text("The last state").first.wait_for()
    assert lab.page.locator(".app").count() == 0


def test_a_widget_trains_and_pauses_in_notebook_7(jupyter):
    """As Panel's own, and as the ipywidget that it has to be in VS Code."""
    notebook = jupyter(NOTEBOOK)
    vscode = "import panel; panel.config.comms = 'vscode'"
    notebook.write(*CELLS[:2], f"{vscode}\n{CELLS[2]}")
    notebook.open()
    notebook.command("notebook:run-all-cells")
    for cell in (1, 2):
        notebook.look_at(cell)
        widget = notebook.widget(cell)
        widget.wait_for()
        notebook.wait(lambda cell=cell: notebook.step(cell) > 2, "training")
        held = notebook.pause(cell)
        widget.get_by_role("button", name="One step").click()
        notebook.wait(lambda cell=cell, held=held: notebook.step(cell) == held + 1, "one step")
        widget.get_by_role("tab", name="Weights").click()
        widget.locator("[data-view=weights][aria-selected=true]").wait_for()
        widget.locator(".view:not(.drawing) canvas").first.wait_for()
    both = notebook.trainers()
    notebook.command("notebook:delete-cell", cell=2)
    notebook.wait(lambda: notebook.trainers() < both, "the trainer of a deleted cell to leave")
    notebook.stop_kernel()


def test_an_ipywidget_waits_for_its_scripts(jupyter):
    """A browser that is busy may run them only after the widget has come."""
    late = "from bnnlab.ui import cell; load, cell._load_scripts = cell._load_scripts, lambda _: []"
    vscode = "import bnnlab, panel; panel.config.comms = 'vscode'"
    notebook = jupyter(NOTEBOOK)
    notebook.write(f"{vscode}\n{late}", CELLS[1], "load('')")
    notebook.open()
    notebook.command("notebook:run-cell", cell=0)
    notebook.command("notebook:run-cell", cell=1)
    notebook.page.locator(".bnnlab-ready").wait_for(state="attached")
    assert notebook.widget(1).count() == 0
    notebook.command("notebook:run-cell", cell=2)
    notebook.look_at(1)
    notebook.widget(1).wait_for()
    notebook.wait(lambda: notebook.step(1) > 2, "training")
    notebook.stop_kernel()
