"""What a process that trains is prepared with, before it makes a network."""

import ctypes
import importlib
import os
import sys
import types
from typing import Any

import torch

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # as malloc.h numbers them
_COMPILER = "torch._dynamo"


def prepare() -> None:
    """Prepare this process. May be called twice."""
    keep_memory()
    leave_out_compiler()


def keep_memory() -> None:
    """Keep freed memory in the process instead of handing it back to the system, if that is known.

    A step frees what the next one needs again; from the system it would come page by page, each of
    which is cleared first. With layers of millions of weights that is a third of a step's time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:  # of the GNU C library
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_MMAP_MAX, 0)


def leave_out_compiler() -> None:
    """Load PyTorch's compiler only for those who compile.

    Its optimizers ask for the compiler only to tell it what to leave alone. To load it takes as
    long as PyTorch itself, and to unload it half as long.
    """
    if _COMPILER not in sys.modules:
        sys.modules[_COMPILER] = torch._dynamo = _NoCompiler(_COMPILER)  # pyright: ignore


class _NoCompiler(types.ModuleType):
    """torch._dynamo as optimizers need it; the real one takes its place when more is asked."""

    def graph_break(self, *_: object, **__: object) -> None:
        """Break no graph, where none is made."""

    def disable(self, fn: Any = None, *given: object, **settings: object) -> Any:
        """Return the function, which is not compiled anyway."""
        return fn if callable(fn) else self.__getattr__("disable")(fn, *given, **settings)

    def __getattr__(self, name: str) -> Any:
        # Whoever looks through all modules asks for a file, or the like.
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        if sys.modules.get(_COMPILER) is self:
            del sys.modules[_COMPILER]
            torch._dynamo = importlib.import_module(_COMPILER)
        return getattr(sys.modules[_COMPILER], name)
