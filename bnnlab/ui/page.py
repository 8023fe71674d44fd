"""A page: one session, its settings and its views, drawn by a `Bench`.

Everything that waits (starting and stopping trainers, saving, exporting) happens on a thread of
the page's own, one thing after the other; `tick` hands over what came of it. So the server's loop
is never held up, and nothing touches the page from another thread.
"""

import os
import queue
import secrets
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from panel.io import hold

from bnnlab.tasks import TaskUnavailable
from bnnlab.training.comparison import Comparison
from bnnlab.training.conductor import Status, TrainerDied
from bnnlab.training.store import Column, Log
from bnnlab.ui import actions, filing, visits
from bnnlab.ui.address import OPENING, Address, write
from bnnlab.ui.bench import Bench
from bnnlab.ui.library import Library, Upload
from bnnlab.ui.session import Session
from bnnlab.ui.settings import Settings, look
from bnnlab.ui.story import Telling, shelf
from bnnlab.ui.views import Views

PERIOD = 30  # milliseconds between looks at the store
# Seconds between frames at least, a little less than three looks: eleven frames a second. More
# would be taken from the trainers, which want the cores, too.
_INTERVAL = 0.085
_PATIENCE = 1.0  # seconds to wait for a browser to say that it drew a frame
_LOSSES = 10  # training losses that a card's number is the mean of

# Figures tell the page they stand on; another page may stand beside it in a notebook.
_POINTED = """document.dispatchEvent(new CustomEvent("bnnlab-pointed", {
    detail: { bench: "TOKEN", step: cb_obj.location },
}))"""
_QUIET = ("drawn", "moment")  # what asks for no other drawing

_ACTIONS = {**actions.ACTIONS, **filing.ACTIONS}

pages: "weakref.WeakSet[Page]" = weakref.WeakSet()


class Page:
    """What one browser tab or notebook cell sees.

    Args:
        folder: a comparison to open; by default a new one begins.
        comparison: the comparison to begin; by default digits with eight schemes.
        library: where comparisons are saved; by default `comparisons` in the current folder.
        autoplay: whether training begins by itself.
        embedded: whether it is part of another page, a notebook's.
        address: what is to be restored instead, see `bnnlab.ui.address`.
        device: the name of the one to train on, see `bnnlab.training.devices`.
    """

    def __init__(
        self,
        folder: str | os.PathLike | None = None,
        *,
        comparison: Comparison | None = None,
        library: str | os.PathLike | None = None,
        autoplay: bool = True,
        embedded: bool = False,
        address: Address | None = None,
        device: str = "cpu",
    ):
        self.session = Session(Library(Path(library or "comparisons")), device)
        self.settings = Settings(comparison or Comparison.from_dict(OPENING))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bnnlab-page")
        self._drawer = ThreadPoolExecutor(1, thread_name_prefix="bnnlab-draw")
        self._done: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.frame = self.drawn = 0
        self._sent = 0.0
        self._shown = Status("", 0, 0)
        self._measuring = False
        self._stale = True
        self.upload: Upload | None = None
        self._notice: dict = {}
        self._busy: list[str] = []
        self._ready = False
        self._to_put: Callable[[], None] | None = None
        # Whether anybody is there to see it; the dashboard knows.
        self.watched: Callable[[], bool] = lambda: True
        self._closed = False
        token = secrets.token_hex(4)
        self.views = Views(_weakly(self.draw_later), _POINTED.replace("TOKEN", token))
        self.bench = Bench(
            _weakly(self.handle),
            figures=self.views.pane,
            embedded=embedded,
            token=token,
        )
        # What of the address is neither a setting nor a view's: theme, speed, filter, pin.
        self.place: dict[str, str] = {}
        self.telling = Telling()
        self.bench.stories = [] if embedded else shelf()
        self.show_settings()
        self.show_library()
        if address:
            visits.visit(self, address, play=autoplay)
        elif folder is None:
            begun = comparison or self.settings.comparison()
            self.later("Starting", lambda: self.session.begin(begun, play=autoplay), self.began)
        else:
            place = Path(folder)
            self.later("Opening", lambda: self.session.open(place, place.stem), self.began)
            if autoplay:
                self.later("Opening", self.go_on)
        pages.add(self)

    def close(self) -> None:
        """Stop the trainers, delete what was not saved, let everything go."""
        self._closed = True
        self.views.close()
        self._to_put = None
        self._thread.submit(self.session.close)
        self._thread.shutdown(wait=False)
        self._drawer.shutdown(wait=False, cancel_futures=True)
        if self.upload is not None:
            self.upload.forget()

    # Things that wait.

    def later(
        self,
        busy: str,
        work: Callable[[], Any],
        then: Callable[..., None] | None = None,
        on: ThreadPoolExecutor | None = None,
    ) -> None:
        """Do `work` on a thread, then `then` (with its result, if any) in a tick."""
        self._busy.append(busy)
        self.bench.busy = f"{busy} …"
        future = (on or self._thread).submit(work)
        future.add_done_callback(lambda done: self._done.put(lambda: self._take(busy, done, then)))

    def draw_later(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Draw figures off the server's loop."""

        def put(drawn: Any) -> None:
            then(drawn)
            self.show_views()

        def hand(drawn: Any) -> None:
            if self._ready:
                put(drawn)
            else:
                self._to_put = lambda: put(drawn)

        self.later("Drawing", work, hand, on=self._drawer)

    def greet(self) -> None:
        """Give a browser that has just drawn the page everything there is.

        What was set while it was still connecting may not have reached it.
        """
        self.drawn, self._ready = self.frame, True
        self.bench.repeat()
        put, self._to_put = self._to_put, None
        if put is not None:
            put()

    @property
    def waiting(self) -> bool:
        """Whether trainers are being started or stopped, or something is being written."""
        return any(busy != "Drawing" for busy in self._busy)

    def _take(self, busy: str, done: Any, then: Callable[..., None] | None) -> None:
        self._busy.remove(busy)
        self.bench.busy = f"{self._busy[-1]} …" if self._busy else ""
        error = done.exception()
        if error is not None:
            self.say(str(error) or type(error).__name__, "bad")
            if not isinstance(error, (ValueError, OSError, TaskUnavailable, TrainerDied)):
                raise error
        elif then is not None:
            result = done.result()
            then() if result is None else then(result)
        self._stale = True

    def go_on(self) -> None:
        """Train on with what was opened."""
        if self.session.conductor is not None:
            self.session.conductor.play()

    def began(self, refused: list[str] | None = None) -> None:
        """Show the comparison that the session has just begun or opened.

        `refused` is what an address asked for in vain, in words; what its settings lack then stays
        said beside their fields.
        """
        comparison, log = self.session.comparison, self.session.log
        if comparison is None or log is None:
            return
        if refused is None:
            self.settings.load(comparison)
        if self.settings.accept(comparison):
            if self.session.lr is not None:
                self.settings.set("lr", self.session.lr)
            for run in log.runs:
                for name, value in log.changes.options(run.lane, log.steps).items():
                    self.settings.set(f"scheme.{run.scheme}.{name}", value)
        said = [*(refused or []), *self.views.look_at(log)]
        self._drawer.submit(self.session.forget_left, log.path)  # once all else is drawn
        self.say(" ".join(said), "bad" if said else "")
        self.bench.lanes = [
            {"name": run.lane, "title": run.title, **look(run.description)}
            for run in map(log.run, log.lanes)
        ]
        self.show_views()
        self.bench.card = {}
        self.show_settings()
        self.show_library()
        self.show_place()

    # What is drawn.

    def tick(self) -> None:
        """Look at the store and draw what is new, if the last frame has been drawn."""
        while not self._done.empty():
            self._done.get()()
        if self.session.fetching:
            self.bench.busy = self.session.fetching
        if not self.watched():
            actions.pause(self, {})  # the page was closed; its session soon is
            return
        self._watch_measurement()
        now = time.monotonic()
        if self.frame > self.drawn and now - self._sent < _PATIENCE:
            return
        same = self.session.status().state == self._shown.state  # a click shows at once
        if same and not self._stale and now - self._sent < _INTERVAL:
            return
        new = self.session.refresh()
        new = self.views.refresh() or new
        if new or self._stale or self.session.status() != self._shown:
            self._stale = False
            with hold():  # one message for all that changed
                self.views.update()
                self.draw()

    def draw(self) -> None:
        """Draw the numbers of this moment."""
        status = self.session.status()
        if status.state != self._shown.state:
            self._show_state(status)
        self._shown = status
        self.frame += 1
        self._sent = time.monotonic()
        rate = self.session.rate(status)
        self.bench.show(
            {
                "frame": self.frame,
                "state": status.state,
                "step": status.step,
                "steps": status.steps,
                "rate": f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}" if rate else "",
                "lanes": self._lanes(),
                # What is being started is another comparison than the one that is still there.
                "claims": self.telling.claims(None if self.waiting else self.session.log),
            }
        )

    def _show_state(self, status: Status) -> None:
        if status.state == "crashed":
            self.say(
                f"A trainer died: {status.why}. Nothing recorded is lost; it can go on from its "
                "last checkpoint.",
                "bad",
                [["Resume", "resume"]],
            )
        elif self._notice.get("actions"):
            self.say("")
        if status.state == "finished" and self._shown.state == "playing":
            actions.measure(self, {})  # nothing else wants the machine now

    def _watch_measurement(self) -> None:
        """Tell when a measurement ends, and how."""
        if self._measuring == self.session.measuring:
            return
        self._measuring = self.session.measuring
        failed = self.session.measurement_failed()
        if failed:
            self.say(f"The packed networks could not be measured: {failed}", "bad")
        self.show_views()

    def show_views(self) -> None:
        """Draw the tabs and the options of the open view."""
        self.bench.views = self.views.to_form(measuring=self.session.measuring)

    def _lanes(self) -> list[dict[str, Any]]:
        log = self.session.log
        return [] if log is None else [_lane_at(log, lane) for lane in log.lanes]

    def show_moment(self, step: int) -> None:
        """Draw the numbers of a step that is pointed at."""
        log = self.session.log
        if log is not None:
            lanes = {lane: _lane_at(log, lane, step) for lane in log.lanes}
            self.bench.show_moment(step, lanes)

    def say(self, text: str, kind: str = "", actions: list | None = None) -> None:
        """Show a notice, with buttons that name actions; an empty one takes it away."""
        self._notice = {"text": text, "kind": kind, "actions": actions or []}
        self.bench.notice = self._notice

    def show_settings(self) -> None:
        """Draw the settings."""
        self.bench.form = self.settings.to_form()

    def show_place(self) -> None:
        """Draw what else the address says, and the address."""
        baseline = self.views.chosen("curves", "baseline") or ""
        self.bench.place = {**self.place, "baseline": baseline}
        self.bench.story = self.telling.to_form()
        self.bench.address = write(visits.address_of(self))

    def show_library(self, **more: str) -> None:
        """Draw the saved comparisons, with what is to be said beside them."""
        name = self.session.name
        saved = [
            {"name": one.name, "about": one.about, "open": one.name == name}
            for one in self.session.library.saved()
        ]
        self.bench.library = {
            "title": name or "Untitled",
            "name": name or "",
            "saved": saved,
            "compared": self.views.other_name,
            **more,
        }

    # What the browser asks for.

    def handle(self, message: dict[str, Any]) -> None:
        """Act on a message of the browser: `{"do": ..., ...}`; drop what is not understood."""
        action = _ACTIONS.get(message["do"])
        if action is not None and not self._closed:
            action(self, message)
            if message["do"] not in _QUIET:
                self._stale = True
                self.show_place()
                self.draw()  # the effect of a click does not wait for a frame


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    """A method that does not keep its object, and does nothing once that is gone."""
    weak = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        bound = weak()
        if bound is not None:
            bound(*arguments)

    return call


def _lane_at(log: Log, lane: str, step: int | None = None) -> dict[str, Any]:
    """How a lane does now, or did at a step, over its seeds."""
    runs = [run for run in log.runs if run.lane == lane]
    accuracies = [_until(run.column("validation_accuracy"), step)[-1:] for run in runs]
    losses = [_until(run.column("train_loss"), step)[-_LOSSES:] for run in runs]
    bad = [run.end for run in runs if run.end and run.end["state"] in ("diverged", "failed")]
    mark = f"{bad[0]['state']} at step {bad[0]['step']:,}" if bad else ""
    return {
        "name": lane,
        "accuracy": _mean(accuracies, lambda x: f"{100 * x:.1f} %"),
        "loss": _mean(losses, _short),
        "mark": mark,
        "ended": bool(bad) and len(bad) == len(runs),
    }


def _until(column: Column, step: int | None) -> np.ndarray:
    steps, values = column
    return values if step is None else values[: np.searchsorted(steps, step, side="right")]


def _short(loss: float) -> str:
    return f"{loss:.3f}" if loss == 0 or 5e-4 <= abs(loss) < 100 else f"{loss:.1e}"


def _mean(parts: list[np.ndarray], text: Callable[[float], str]) -> str:
    values = np.concatenate(parts) if parts else np.empty(0)
    values = values[np.isfinite(values)]
    return text(float(values.mean())) if len(values) else "–"
