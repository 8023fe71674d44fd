"""A bar that is looked at moves; one that is kept in a file does not fill it."""

import io
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from bnnlab.training.progress import bar


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("kind", "least", "most"), [(io.StringIO, 2, 4), (_Terminal, 50, 201)])
def test_a_log_gets_few_states_of_long_work(monkeypatch, kind, least, most):
    """Of 200 steps in 20 seconds, as the clock of the bar has it."""
    from tqdm import std

    written = kind()
    monkeypatch.setattr(sys, "stderr", written)
    now = 0.0
    monkeypatch.setattr(std, "time", lambda: now)
    with bar(total=200, unit="step") as steps:
        for _ in range(200):
            now += 0.1
            steps.update(1)
    states = [state for state in written.getvalue().split("\r") if state]
    assert "200/200" in states[-1]
    assert least <= len(states) <= most


def test_a_notebook_is_looked_at():
    """In a kernel of its own; what it writes reaches the notebook."""
    code = "from bnnlab.training import progress\nprint('bar:', progress.bar(total=3).mininterval)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, kernel_name="python3").execute()
    assert "bar: 0.1" in str(notebook.cells[0].outputs)
