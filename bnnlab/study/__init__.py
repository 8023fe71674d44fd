"""Reproducing published tables: recipes as data, and the report that sets ours beside them."""

from bnnlab.study.recipe import Part, Recipe, load, names
from bnnlab.study.report import Line, card, curves_name, report

__all__ = ["Line", "Part", "Recipe", "card", "curves_name", "load", "names", "report"]
