"""Going where an address or a story leads, and saying where a page is."""

from functools import lru_cache
from typing import TYPE_CHECKING

from bnnlab import figures
from bnnlab.tasks import TaskUnavailable
from bnnlab.training.comparison import Comparison
from bnnlab.ui import story
from bnnlab.ui.address import (
    OPENING,
    OTHERS,
    PLACES,
    SPEEDS,
    Address,
    settings_of,
    settings_to,
)

if TYPE_CHECKING:
    from bnnlab.ui.page import Page


def visit(page: "Page", address: Address, *, play: bool) -> None:
    """Show what an address names; what of it cannot be is said, of settings beside their fields."""
    refused = []
    if "story" in address:
        page.place = {key: value for key, value in address.items() if key in PLACES}
        try:
            tell(page, address["story"], address.get("at", "1"), play=play)
            return
        except ValueError as error:
            refused.append(f"{error}.")
    _go(page, address, play=play, refused=refused)


def tell(page: "Page", name: str, at: object, *, play: bool) -> None:
    """Tell a step of a story, with what it shows; theme and speed stay as they are.

    Raises ValueError when there is no such story, or `at` is no number.
    """
    step = page.telling.go(name, int(str(at)))
    kept = {key: page.place[key] for key in ("theme", "speed") if key in page.place}
    _go(page, {**step.page, **kept}, play=play and not step.paused, refused=[])
    if step.paused and page.session.conductor is not None:
        page.session.conductor.pause()


def _go(page: "Page", address: Address, *, play: bool, refused: list[str]) -> None:
    page.place = {key: value for key, value in address.items() if key in PLACES}
    if page.place.get("speed", "") in SPEEDS:
        page.session.set_speed(SPEEDS[page.place.get("speed", "")])
    page.views.wish(address)
    if "open" in address:
        _open(page, address["open"], play=play, refused=refused)
        return
    page.settings = settings_of(address)
    strays = [key for key in address if not _known(page, key)] + page.settings.stray
    refused += [f"{key}: nothing here is called so." for key in strays]
    try:
        comparison = page.settings.comparison()
    except ValueError:  # of a task that still needs a file, for one; it is said beside its field
        refused.append(
            "The settings lack something, which they say; until it is there, this is the opening "
            "comparison."
        )
        comparison = Comparison.from_dict(OPENING)
    running = page.session.comparison
    if running is not None and running.to_dict() == comparison.to_dict():
        page.began(refused)
        return

    def begin() -> None:
        try:
            page.session.begin(comparison, play=play)
        except TaskUnavailable as error:
            if page.session.log is not None:
                raise
            page.settings.refuse("task", comparison.task["name"], str(error))
            page.session.begin(Comparison.from_dict(OPENING), play=play)

    page.later("Starting", begin, lambda: page.began(refused))


def _open(page: "Page", name: str, *, play: bool, refused: list[str]) -> None:
    try:
        folder = page.session.library.find(name)
    except ValueError as error:
        _go(page, {}, play=play, refused=[f"open: {error}."])
        return

    def show() -> None:
        page.settings = settings_of({})  # of no address: what was opened has its own
        page.began()
        if refused:
            page.say(" ".join(refused), "bad")

    page.later("Opening", lambda: page.session.open(folder, name), show)
    if play:
        page.later("Opening", page.go_on)


def _known(page: "Page", key: str) -> bool:
    return key in PLACES + OTHERS or _of_view(key) or page.settings.owns(key)


def address_of(page: "Page") -> Address:
    """Return the address of what a page shows.

    A page that stands as a step of a story set it up has that step's.
    """
    place = {key: value for key, value in page.place.items() if value}
    views = page.views.to_address()
    name = page.session.name
    if name is not None:
        return {"open": name, **views, **place} if _kept(page, name) else {}
    here = {**settings_to(page.settings), **views}
    telling = page.telling
    if telling.story is not None and here == _set_up(telling.story.name, telling.at):
        here = {"story": telling.story.name, "at": str(telling.at)}
    return {**here, **place}


@lru_cache(maxsize=32)
def _set_up(name: str, at: int) -> Address:
    """Return what `address_of` would give for a step of a story that set a page up."""
    address = story.get(name).steps[at - 1].page
    first = figures.names()[0]
    views = {
        k: value for k, value in address.items() if _of_view(k) and (k, value) != ("view", first)
    }
    return {**settings_to(settings_of(address)), **views}


def _of_view(key: str) -> bool:
    return key == "view" or key.partition(".")[0] in figures.kinds()


def _kept(page: "Page", name: str) -> bool:
    """Whether a comparison can be opened by its name: it lies in the library."""
    try:
        found = page.session.library.find(name)
    except ValueError:
        return False
    return page.session.log is not None and found.resolve() == page.session.log.path.resolve()
