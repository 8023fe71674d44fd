"""The views of a page: which one is open, with what options, and its live figures."""

from pathlib import Path
from typing import Any

from bnnlab.training.store import Log
from bnnlab.ui.bench import Figures


class Views:
    def __init__(self):
        self.pane = Figures()
        self.active = "curves"
        self.other_name = None

    def look_at(self, log): ...
    def compare_with(self, name, folder): ...
    def open(self, name): ...
    def set(self, key, value): ...
    def refresh(self): return False
    def update(self): ...
    def arguments(self): return {}
    def close(self): ...
    def to_form(self, measuring=False):
        return {"tabs": [{"name": "curves", "title": "Curves"}], "active": "curves", "options": [], "caption": ""}
