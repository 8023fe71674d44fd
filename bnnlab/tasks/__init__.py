"""What is learnt: 2-D toys, handwritten digits, MNIST.

Every module of this package is looked at; each `Task` subclass in it that has a `key` of its own is
offered under that name. A new task is one new file here, nothing else.
"""

import pkgutil
from functools import cache
from importlib import import_module
from typing import Any

from bnnlab.options import checked
from bnnlab.tasks.base import Split, Task, TaskUnavailable

__all__ = ["Split", "Task", "TaskUnavailable", "get", "kinds", "names"]


@cache
def kinds() -> dict[str, type[Task]]:
    """Every task's class by name, in the order to show them in."""
    found = [
        kind
        for information in pkgutil.iter_modules(__path__)
        for kind in vars(import_module(f"{__name__}.{information.name}")).values()
        if isinstance(kind, type) and issubclass(kind, Task) and "key" in vars(kind)
    ]
    return {kind.key: kind for kind in sorted(set(found), key=lambda kind: (kind.order, kind.key))}


def names() -> list[str]:
    """The names of the tasks."""
    return list(kinds())


def get(name: str, **options: Any) -> Task:
    """Return a task by name, with its options.

    Raises ValueError when there is no such task or option (the message lists what there is), or a
    value is not allowed.
    """
    if name not in kinds():
        raise ValueError(f"no task is called {name!r}; there are {', '.join(kinds())}")
    return checked(kinds()[name], f"task {name!r}", options)
