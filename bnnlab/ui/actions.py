"""What a page does when its browser asks: training, settings, views.

Each action takes the page and the message, `{"do": its name, ...}`. A message comes from outside:
what it names is looked up among what there is, and what makes no sense is dropped.
"""

from typing import TYPE_CHECKING, Any

from bnnlab import schemes
from bnnlab.ui import visits
from bnnlab.ui.address import LONGEST, SPEEDS
from bnnlab.ui.cards import card_of, lead
from bnnlab.ui.settings import acts_at_once

if TYPE_CHECKING:
    from bnnlab.ui.page import Page

Message = dict[str, Any]


def drawn(page: "Page", message: Message) -> None:
    """A frame was drawn; the next may be sent."""
    frame = message.get("frame")
    if isinstance(frame, int) and page.drawn < frame <= page.frame:
        page.drawn = frame


def ready(page: "Page", message: Message) -> None:
    """The browser has just drawn the page."""
    page.greet()


def shown(page: "Page", message: Message) -> None:
    """The browser has the figures that were put on the page."""
    page.views.shown(message.get("stamp"))


def theme(page: "Page", message: Message) -> None:
    """Light or dark; what was chosen, not only the system's, belongs to the address."""
    name = "dark" if message.get("dark") is True else "light"
    if message.get("chosen") is True:
        page.place["theme"] = name
    page.views.theme(name)


def play(page: "Page", message: Message) -> None:
    """Train on; with trainers that were stopped or died, start them first."""
    conductor = page.session.conductor
    state = page.session.status().state
    if state in ("stopped", "crashed") and not page.waiting:
        page.later("Starting", page.session.resume)
    elif conductor is not None:
        conductor.play()


def pause(page: "Page", message: Message) -> None:
    """Stop training, every lane at the same step."""
    if page.session.conductor is not None:
        page.session.conductor.pause()


def step(page: "Page", message: Message) -> None:
    """Make one step."""
    if page.session.conductor is not None:
        page.session.conductor.step()


def stop(page: "Page", message: Message) -> None:
    """Have the trainers leave."""
    if not page.waiting:
        page.later("Stopping", page.session.stop)


def resume(page: "Page", message: Message) -> None:
    """Go on from the last checkpoints."""
    if not page.waiting:
        page.later("Resuming", page.session.resume)


def reset(page: "Page", message: Message) -> None:
    """Go back to step 0."""
    if not page.waiting:
        playing = page.session.status().state == "playing"
        page.later("Starting", lambda: page.session.restart(play=playing), page.began)


def speed(page: "Page", message: Message) -> None:
    """Train at most so many steps a second."""
    value = message.get("value")
    if value in SPEEDS:
        page.place["speed"] = value
        page.session.set_speed(SPEEDS[value])


def set_(page: "Page", message: Message) -> None:
    """Take what was typed into a field; some settings act at once."""
    key, typed = str(message.get("key")), message.get("value")
    conductor, log = page.session.conductor, page.session.log
    try:
        value = page.settings.set(key, typed)
        if value is not None and conductor is not None and log is not None and acts_at_once(key):
            if key.startswith("scheme."):
                _, name, option = key.split(".")
                lanes = {run.lane for run in log.runs if run.scheme == name}
                conductor.set(options={lane: {option: value} for lane in lanes})
            else:
                conductor.set(**{key: value})
    except ValueError as error:
        page.settings.messages[key] = str(error)
        page.settings.typed[key] = str(typed)
    page.show_settings()


def scheme(page: "Page", message: Message) -> None:
    """Put a scheme into the comparison or take it out."""
    if message.get("name") in schemes.names():
        page.settings.choose(message["name"], bool(message.get("on")))
    page.show_settings()


def restart(page: "Page", message: Message) -> None:
    """Begin anew with the settings as they stand."""
    if not page.waiting:
        try:
            comparison = page.settings.comparison()
        except ValueError as error:
            page.say(str(error), "bad")
            return
        page.later("Starting", lambda: page.session.begin(comparison, play=True), page.began)


def discard(page: "Page", message: Message) -> None:
    """Go back to the settings of the comparison in progress."""
    if page.session.comparison is not None:
        page.settings.load(page.session.comparison)
    page.show_settings()


def view(page: "Page", message: Message) -> None:
    """Open a view."""
    page.views.open(str(message.get("name")))
    page.show_views()


def option(page: "Page", message: Message) -> None:
    """Choose an option of the open view."""
    try:
        page.views.set(str(message.get("key")), message.get("value"))
    except ValueError as error:
        page.say(f"{error}.", "bad")
    page.show_views()


def lanes(page: "Page", message: Message) -> None:
    """Show just some lanes; `filter` and `pin` are how they were chosen."""
    log, wanted = page.session.log, message.get("shown")
    if log is None or not isinstance(wanted, list):
        return
    for key in ("filter", "pin"):
        page.place[key] = str(message.get(key, ""))[:LONGEST]
    shown = [lane for lane in log.lanes if lane in wanted]
    page.views.show_lanes(shown if 0 < len(shown) < len(log.lanes) else None)
    page.show_views()


def baseline(page: "Page", message: Message) -> None:
    """Show curves as differences to a lane's, or as they are."""
    page.views.set("baseline", str(message.get("lane") or ""), "curves")
    page.show_views()


def moment(page: "Page", message: Message) -> None:
    """Tell how the lanes did at a step that is pointed at."""
    if isinstance(message.get("step"), int):
        page.show_moment(message["step"])


def story(page: "Page", message: Message) -> None:
    """Tell a step of a story; without a name, end it and leave all as it is."""
    if page.waiting:
        return
    if message.get("name") is None:
        page.telling.end()
    else:
        try:
            visits.tell(page, str(message["name"]), message.get("at"), play=True)
        except ValueError as error:
            page.say(f"{error}.", "bad")


def card(page: "Page", message: Message) -> None:
    """Show a lane's card, or none."""
    log, lane = page.session.log, message.get("lane")
    if log is None or lane not in log.lanes:
        page.bench.card = {}
        return
    run = log.run(lane)
    kind = schemes.kinds().get(run.scheme)
    about = card_of(run.description, lead(kind) if kind else "")
    page.bench.card = {"lane": lane, **about}


def measure(page: "Page", message: Message) -> None:
    """Measure what the packed networks cost."""
    page.later("Saving", page.session.measure)


ACTIONS = {
    action.__name__.rstrip("_"): action
    for action in (
        drawn, ready, shown, theme, play, pause, step, stop, resume, reset, speed, set_, scheme,
        restart, discard, view, option, lanes, baseline, moment, story, card, measure,
    )
}  # fmt: skip
