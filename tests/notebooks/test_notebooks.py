"""The notebooks are run as they are, and come without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


# One kernel for all of them: starting one and importing PyTorch take longer than most notebooks.
pytestmark = pytest.mark.xdist_group("notebooks")

# Nothing of the notebook before is left but what it imported. Other tests run beside these, so that
# one trainer at a time is as fast as several.
_ANEW = """
%reset -f
%cd -q {folder}
import os
os.cpu_count = lambda: 1
%reset -f
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("OMP_NUM_THREADS", "1")
        changed.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        started = NotebookClient(nbformat.v4.new_notebook(), timeout=240)
        started.execute(cleanup_kc=False)
        yield started
        started.nb = nbformat.v4.new_notebook()
        started.execute(cleanup_kc=True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# The kernel's client leaves sockets to the garbage collector.
@pytest.mark.filterwarnings("default")
def test_it_runs_from_the_first_cell_to_the_last(path, client, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(_ANEW.format(folder=tmp_path)))
    client.nb = notebook
    client.execute(cleanup_kc=False)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_without_outputs_and_ends_in_something_to_change(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
    *_, words, code = notebook.cells
    assert words.cell_type == "markdown" and "## Yours to change" in words.source
    assert code.cell_type == "code"


def test_there_are_six():
    assert len(NOTEBOOKS) == 6
