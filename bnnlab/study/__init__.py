"""Published tables as recipes, with reports that set ours beside them; and studies."""

from bnnlab.study.recipe import Part, Recipe, load, names
from bnnlab.study.report import report, write
from bnnlab.study.results import Line, Result, card, committed, follows, result

__all__ = ["Line", "Part", "Recipe", "Result", "card", "committed", "follows", "load", "names",
           "report", "result", "write"]  # fmt: skip
