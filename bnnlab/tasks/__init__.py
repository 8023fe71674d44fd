"""What is learnt: 2-D toys, digits, photographs, text, and what the user brings.

Every module of this package is looked at; each `Task` subclass in it that has a `key` of its own is
offered under that name. A new task is one new file here, nothing else.
"""

import sys
from typing import Any

from bnnlab import registry
from bnnlab.tasks.base import FileRefused, Split, Task, TaskUnavailable

__all__ = ["FileRefused", "Split", "Task", "TaskUnavailable", "get", "kinds", "names"]


def kinds() -> dict[str, type[Task]]:
    """Every task's class by name, in the order to show them in."""
    found = registry.discover(sys.modules[__name__], Task)
    return {kind.key: kind for kind in sorted(found, key=lambda kind: (kind.order, kind.key))}


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
    return registry.checked(kinds()[name], f"task {name!r}", options)
