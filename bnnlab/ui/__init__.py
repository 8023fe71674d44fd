"""The page and the notebook widget: Panel components built on the figures.

A `Page` belongs to one browser tab (or one notebook cell). It owns a `Session` (a comparison's
folder, its trainers and its log), the settings, and the view that is open; `Bench` is what is
drawn. Training never runs in this process: a page reads the store and sends commands.
"""
