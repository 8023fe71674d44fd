"""The views, one file each: what is drawn, as panels of marks.

A module here that defines a `View` with a `key` is a view; nothing else changes when one is added.
"""
