"""Reproducing published tables: recipes as data, and the report that sets ours beside them."""

from bnnlab.study.recipe import Part, Recipe, load, names
from bnnlab.study.report import report, write
from bnnlab.study.results import Line, Result, card, committed, follows, result

__all__ = ["Line", "Part", "Recipe", "Result", "card", "committed", "follows", "load", "names",
           "report", "result", "write"]  # fmt: skip
