"""How far long work is: a bar in a terminal or a notebook, in a log a line of it now and then."""

import sys
from typing import Any

from tqdm.auto import tqdm

_LIVE, _LOGGED = 0.1, 10.0  # seconds between two states


def bar(**settings: Any) -> tqdm:
    """A bar of tqdm, which takes the settings. Redirected, it writes a hundredth as often."""
    live = sys.stderr.isatty() or _in_notebook()
    return tqdm(mininterval=_LIVE if live else _LOGGED, **settings)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")  # which a notebook's kernel has loaded
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
