"""The state of a page as the query of its address: what a link that is sent restores.

    ?task=moons&network.width=32&schemes=full_precision,lab&scheme.lab.granularity=channel&view=bits

Keys are those of the settings (see `settings.Field`), of the views' options (`curves.smoothing`)
and of what else a page shows (`PLACES`, `OTHERS`). Only what differs from a page that opens by
itself is in it. It never names a path: files stay on the machine they are on.
"""

from functools import lru_cache
from urllib.parse import quote, urlencode

from bnnlab.training.comparison import Comparison
from bnnlab.ui.settings import FILE, Settings

# What a page opens with.
OPENING = {
    "task": "digits",
    "schemes": [
        "full_precision",
        "binary_connect",
        "bwn",
        "bnn",
        "xnor_net",
        "dorefa",
        "lab",
        "lab2",
    ],
    "steps": 2000,
    # Livelier than the default, for one who watches.
    "probe_every": 50,
    "evaluate_every": 25,
}
# Where a page stands, beside its settings and the options of its views.
PLACES = ("theme", "speed", "filter", "pin")
OTHERS = ("open", "view", "story", "at")
SPEEDS = {"": None, **{str(speed): speed for speed in (1, 2, 5, 10, 20, 50)}}  # steps a second

_MOST = 120  # keys of an address
LONGEST = 400  # characters of a value
_SERVERS = "bokeh-"  # keys that the server itself uses

Address = dict[str, str]


def read(arguments: dict[str, list[bytes]]) -> Address:
    """Return the keys and values of a query as the server gives it, cut to a sensible size."""
    found = {
        key: values[-1].decode(errors="replace")[:LONGEST]
        for key, values in arguments.items()
        if values and not key.startswith(_SERVERS)
    }
    return dict(list(found.items())[:_MOST])


def write(address: Address) -> str:
    """Return the query of an address, "" for none."""
    kept = {key: value for key, value in address.items() if value}
    return f"?{urlencode(kept, quote_via=quote, safe=',|()*')}" if kept else ""


def settings_of(address: Address) -> Settings:
    """Return the settings of an address; what was refused is among their messages."""
    settings = Settings(Comparison.from_dict(OPENING))
    wanted = {key: value for key, value in address.items() if settings.owns(key)}
    for key in ("task", "network"):  # they decide which other keys there are
        if key in wanted:
            settings.set(key, wanted.pop(key))
    if "schemes" in wanted:
        settings.choose_all(wanted.pop("schemes").split(","))
    if FILE in wanted:
        settings.refuse(FILE, "", "An address names no files; choose one here.")
        del wanted[FILE]
    # Some only fit together: what is refused alone may hold once the others are in place.
    while wanted:
        refused = {}
        for key, value in wanted.items():
            try:
                if settings.set(key, value) is None and key in settings.messages:
                    refused[key] = value
            except ValueError:  # another task's, another network's
                settings.stray.append(key)
        if len(refused) == len(wanted):
            break
        wanted = refused
    return settings


def settings_to(settings: Settings) -> Address:
    """Return the address of settings: what differs from a page of that task and network."""
    here = settings.to_words()
    plain = _plain(here["task"], here["network"])
    return {key: value for key, value in here.items() if plain.get(key) != value and key != FILE}


@lru_cache(maxsize=32)
def _plain(task: str, network: str) -> Address:
    """Return the settings that choosing a task and a network brings; those two are not in it."""
    opening = Settings(Comparison.from_dict(OPENING))
    former = opening.to_words()
    opening.set("task", task)
    suited = opening.to_words()["network"]
    opening.set("network", network)
    plain = opening.to_words(of_all=True)
    if task != former["task"]:
        del plain["task"]
    if network != suited:
        del plain["network"]
    return plain
