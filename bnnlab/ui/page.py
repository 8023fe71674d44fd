"""A page: one session, its settings and its views, drawn by a `Bench`.

Everything that waits (starting and stopping trainers, saving, exporting) happens on a thread of
the page's own, one thing after the other; `tick` hands over what came of it. So the server's loop
is never held up, and nothing touches the page from another thread.
"""

import base64
import queue
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from panel.io import hold

from bnnlab import schemes
from bnnlab.tasks import TaskUnavailable
from bnnlab.training.comparison import Comparison
from bnnlab.training.conductor import Status
from bnnlab.ui.bench import Bench
from bnnlab.ui.cards import card, lead
from bnnlab.ui.library import Library, Upload
from bnnlab.ui.send import export, zipped
from bnnlab.ui.session import Session
from bnnlab.ui.settings import Settings
from bnnlab.ui.views import Views

PERIOD = 100  # milliseconds between looks at the store
_PATIENCE = 1.0  # seconds to wait for a browser to say that it drew a frame
_LOSSES = 10  # training losses that a card's number is the mean of

# What a page opens with: digits, every scheme of the first comparison.
OPENING = (
    "full_precision",
    "binary_connect",
    "bwn",
    "bnn",
    "xnor_net",
    "dorefa",
    "lab",
    "lab2",
)

pages: "weakref.WeakSet[Page]" = weakref.WeakSet()


class Page:
    """What one browser tab or notebook cell sees.

    Args:
        folder: a comparison to open; by default a new one begins.
        comparison: the comparison to begin; by default digits with eight schemes.
        library: where comparisons are saved; by default `comparisons` in the current folder.
        autoplay: whether training begins by itself.
        embedded: whether it is part of another page, a notebook's.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        comparison: Comparison | None = None,
        library: str | Path | None = None,
        autoplay: bool = True,
        embedded: bool = False,
    ):
        self.session = Session(Library(Path(library or "comparisons")))
        self.settings = Settings(comparison or Comparison(schemes=list(OPENING), steps=2000))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bnnlab-page")
        self._drawer = ThreadPoolExecutor(1, thread_name_prefix="bnnlab-draw")
        self._done: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._frame = self._drawn = 0
        self._sent = 0.0
        self._shown = Status("", 0, 0)
        self._measuring = False
        self._stale = True
        self._upload: Upload | None = None
        self._notice: dict = {}
        self._busy: list[str] = []
        # Whether anybody is there to see it; the dashboard knows.
        self.watched: Callable[[], bool] = lambda: True
        itself = weakref.proxy(self)
        self.views = Views(lambda work, then: itself._draw_later(work, then))
        self.bench = Bench(
            lambda message: itself.handle(message), figures=self.views.pane, embedded=embedded
        )
        self._show_settings()
        self._show_library()
        if folder is None:
            begun = comparison or self.settings.comparison()
            self._later("Starting", lambda: self.session.begin(begun, play=autoplay), self._began)
        else:
            place = Path(folder)
            self._later("Opening", lambda: self.session.open(place, place.stem), self._began)
            if autoplay:
                self._later("Opening", self._go_on)
        pages.add(self)

    def close(self) -> None:
        """Stop the trainers, delete what was not saved, let everything go."""
        self.views.close()
        self._thread.submit(self.session.close)
        self._thread.shutdown(wait=False)
        self._drawer.shutdown(wait=False, cancel_futures=True)
        if self._upload is not None:
            self._upload.forget()

    # Things that wait.

    def _later(
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

    def _draw_later(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        def put(drawn: Any) -> None:
            then(drawn)
            self._show_views()

        self._later("Drawing", work, put, on=self._drawer)

    @property
    def _waiting(self) -> bool:
        """Whether trainers are being started or stopped, or something is being written."""
        return any(busy != "Drawing" for busy in self._busy)

    def _take(self, busy: str, done: Any, then: Callable[..., None] | None) -> None:
        self._busy.remove(busy)
        self.bench.busy = f"{self._busy[-1]} …" if self._busy else ""
        error = done.exception()
        if error is not None:
            self._say(str(error) or type(error).__name__, "bad")
            if not isinstance(error, (ValueError, OSError, TaskUnavailable)):
                raise error
        elif then is not None:
            result = done.result()
            then() if result is None else then(result)
        self._stale = True

    def _go_on(self) -> None:
        if self.session.conductor is not None:
            self.session.conductor.play()

    def _began(self) -> None:
        comparison, log = self.session.comparison, self.session.log
        if comparison is None or log is None:
            return
        self.settings.load(comparison)
        if self.session.lr is not None:
            self.settings.set("lr", self.session.lr)
        self._say("")
        self.views.look_at(log)
        self.bench.lanes = [
            {"name": lane, **{k: log.run(lane).description[k] for k in ("color", "dash", "marker")}}
            | {"title": _lane_title(log, lane)}
            for lane in log.lanes
        ]
        self._show_views()
        self.bench.card = {}
        self._show_settings()
        self._show_library()

    # What is drawn.

    def tick(self) -> None:
        """Look at the store and draw what is new, if the last frame has been drawn."""
        while not self._done.empty():
            self._done.get()()
        if not self.watched():
            self._do_pause({})  # the page was closed; its session soon is
            return
        self._watch_measurement()
        now = time.monotonic()
        if self._frame > self._drawn and now - self._sent < _PATIENCE:
            return
        new = self.session.refresh()
        new = self.views.refresh() or new
        if new or self._stale or self.session.status() != self._shown:
            self._stale = False
            with hold():  # one message for all that changed
                self.views.update()
                self._draw()

    def _draw(self) -> None:
        """Draw the numbers of this moment."""
        status = self.session.status()
        if status.state != self._shown.state:
            self._show_state(status)
        self._shown = status
        self._frame += 1
        self._sent = time.monotonic()
        rate = self.session.rate(status)
        self.bench.show(
            {
                "frame": self._frame,
                "state": status.state,
                "step": status.step,
                "steps": status.steps,
                "rate": f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}" if rate else "",
                "lanes": self._lanes(),
            }
        )

    def _show_state(self, status: Status) -> None:
        if status.state == "crashed":
            self._say(
                f"A trainer died: {status.why}. Nothing recorded is lost; it can go on from its "
                "last checkpoint.",
                "bad",
                [["Resume", "resume"]],
            )
        elif self._notice.get("actions"):
            self._say("")
        if status.state == "finished" and self._shown.state == "playing":
            self._do_measure({})  # nothing else wants the machine now

    def _watch_measurement(self) -> None:
        """Tell when a measurement ends, and how."""
        if self._measuring == self.session.measuring:
            return
        self._measuring = self.session.measuring
        failed = self.session.measurement_failed()
        if failed:
            self._say(f"The packed networks could not be measured: {failed}", "bad")
        self._show_views()

    def _show_views(self) -> None:
        self.bench.views = self.views.to_form(measuring=self.session.measuring)

    def _lanes(self) -> list[dict[str, Any]]:
        log = self.session.log
        return [] if log is None else [_lane_now(log, lane) for lane in log.lanes]

    def _say(self, text: str, kind: str = "", actions: list | None = None) -> None:
        self._notice = {"text": text, "kind": kind, "actions": actions or []}
        self.bench.notice = self._notice

    def _show_settings(self) -> None:
        self.bench.form = self.settings.to_form()

    def _show_library(self, **more: str) -> None:
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
        """Act on a message of the browser: `{"do": ..., ...}`. What is not understood is dropped."""
        action = _ACTIONS.get(message["do"])
        if action is not None:
            action(self, message)
            if message["do"] != "drawn":
                self._stale = True
                self._draw()  # the effect of a click does not wait for a frame

    def _do_drawn(self, message: dict) -> None:
        frame = message.get("frame")
        if isinstance(frame, int) and self._drawn < frame <= self._frame:
            self._drawn = frame

    def _do_ready(self, message: dict) -> None:
        self._drawn = self._frame

    def _do_play(self, message: dict) -> None:
        conductor = self.session.conductor
        state = self.session.status().state
        if state in ("stopped", "crashed") and not self._waiting:
            self._later("Starting", self.session.resume)
        elif conductor is not None:
            conductor.play()

    def _do_pause(self, message: dict) -> None:
        if self.session.conductor is not None:
            self.session.conductor.pause()

    def _do_step(self, message: dict) -> None:
        if self.session.conductor is not None:
            self.session.conductor.step()

    def _do_stop(self, message: dict) -> None:
        if not self._waiting:
            self._later("Stopping", self.session.stop)

    def _do_reset(self, message: dict) -> None:
        if not self._waiting:
            playing = self.session.status().state == "playing"
            self._later("Starting", lambda: self.session.restart(play=playing), self._began)

    def _do_speed(self, message: dict) -> None:
        allowed = {"": None, **{str(speed): speed for speed in (1, 2, 5, 10, 20, 50)}}
        if message.get("value") in allowed:
            self.session.set_speed(allowed[message["value"]])

    def _do_set(self, message: dict) -> None:
        key, typed = str(message.get("key")), message.get("value")
        try:
            value = self.settings.set(key, typed)
            if value is not None and self.session.conductor is not None:
                if key == "lr":
                    self.session.conductor.set(lr=value)
                elif key == "steps":
                    self.session.conductor.set(steps=value)
        except ValueError as error:
            self.settings.messages[key] = str(error)
            self.settings.typed[key] = str(typed)
        self._show_settings()

    def _do_scheme(self, message: dict) -> None:
        if message.get("name") in schemes.names():
            self.settings.choose(message["name"], bool(message.get("on")))
        self._show_settings()

    def _do_restart(self, message: dict) -> None:
        if not self._waiting:
            comparison = self.settings.comparison()
            self._later("Starting", lambda: self.session.begin(comparison, play=True), self._began)

    def _do_discard(self, message: dict) -> None:
        if self.session.comparison is not None:
            self.settings.load(self.session.comparison)
        self._show_settings()

    def _do_view(self, message: dict) -> None:
        self.views.open(str(message.get("name")))
        self._show_views()

    def _do_option(self, message: dict) -> None:
        self.views.set(str(message.get("key")), message.get("value"))
        self._show_views()

    def _do_shown(self, message: dict) -> None:
        self.views.shown(message.get("stamp"))

    def _do_theme(self, message: dict) -> None:
        self.views.theme("dark" if message.get("dark") is True else "light")

    def _do_card(self, message: dict) -> None:
        log, lane = self.session.log, message.get("lane")
        if log is None or lane not in log.lanes:
            self.bench.card = {}
            return
        run = log.run(lane)
        kind = schemes.kinds().get(run.scheme)
        self.bench.card = card(run.description, lead(kind) if kind else "")

    def _do_measure(self, message: dict) -> None:
        try:
            self.session.measure()
        except ValueError as error:
            self._say(str(error))

    def _do_save(self, message: dict) -> None:
        name = str(message.get("name", "")).strip()
        try:
            if self.session.library.place(name).exists():
                raise ValueError(f"{name} is taken; give another name")
        except ValueError as error:
            self._show_library(message=str(error))
            return
        self._later("Saving", lambda: self.session.save(name), self._began)

    def _do_open(self, message: dict) -> None:
        try:
            folder = self.session.library.find(str(message.get("name")))
        except ValueError as error:
            self._show_library(message=str(error))
            return
        self._later("Opening", lambda: self.session.open(folder, message["name"]), self._began)

    def _do_compare(self, message: dict) -> None:
        name = message.get("name")
        try:
            folder = None if name is None else self.session.library.find(str(name))
        except ValueError as error:
            self._show_library(message=str(error))
            return
        self.views.compare_with(name if folder else None, folder)
        self._show_views()
        self._show_library()

    def _do_download(self, message: dict) -> None:
        log, name = self.session.log, self.session.name or "comparison"
        if log is not None:
            self._later("Zipping", lambda: (name, zipped(log.path, name)), self._deliver_zip)

    def _deliver_zip(self, made: tuple[str, bytes]) -> None:
        self._deliver(f"{made[0]}.bnnlab.zip", "application/zip", made[1])

    def _do_export(self, message: dict) -> None:
        what, kind = message.get("what"), message.get("kind")
        log, name = self.session.log, self.views.active
        if log is None or what not in ("view", "sheet"):
            return
        title = f"{self.session.name or 'bnnlab'}-{name if what == 'view' else 'sheet'}.{kind}"
        view = (name, self.views.arguments()) if what == "view" else None
        work = lambda: (title, *export(log.path, view, kind))  # noqa: E731
        self._later("Exporting", work, lambda made: self._deliver(*made))

    def _deliver(self, name: str, kind: str, data: bytes) -> None:
        self.bench.deliver(name, kind, base64.b64encode(data).decode())

    def _do_upload(self, message: dict) -> None:
        try:
            if "begin" in message:
                if self._upload is not None:
                    self._upload.forget()
                self._upload = Upload(str(message["begin"])[:128])
            elif self._upload is not None and "data" in message:
                self._upload.take(base64.b64decode(str(message["data"]), validate=True))
            elif self._upload is not None:
                upload, self._upload = self._upload, None
                self._later("Receiving", lambda: self._receive(upload), self._received)
        except ValueError as error:
            self._upload = None
            self._show_library(received=str(error))

    def _receive(self, upload: Upload) -> str:
        try:
            return self.session.library.receive(upload.name, upload.finish())
        finally:
            upload.forget()

    def _received(self, name: str) -> None:
        self._show_library(received=f"Received as {name}.")

    def _do_resume(self, message: dict) -> None:
        if not self._waiting:
            self._later("Resuming", self.session.resume)


_ACTIONS: dict[str, Callable[[Page, dict], None]] = {
    name.removeprefix("_do_"): action
    for name, action in vars(Page).items()
    if name.startswith("_do_")
}


def _lane_title(log: Any, lane: str) -> str:
    title = log.run(lane).description["title"]
    return title + lane.removeprefix(log.run(lane).scheme)


def _lane_now(log: Any, lane: str) -> dict[str, Any]:
    """How a lane does now, over its seeds."""
    runs = [run for run in log.runs if run.lane == lane]
    accuracies = [run.column("validation_accuracy")[1][-1:] for run in runs]
    losses = [run.column("train_loss")[1][-_LOSSES:] for run in runs]
    bad = [run.end for run in runs if run.end and run.end["state"] in ("diverged", "failed")]
    mark = f"{bad[0]['state']} at step {bad[0]['step']:,}" if bad else ""
    return {
        "name": lane,
        "accuracy": _mean(accuracies, lambda x: f"{100 * x:.1f} %"),
        "loss": _mean(losses, lambda x: f"{x:.3f}" if abs(x) < 100 else f"{x:.1e}"),
        "mark": mark,
        "ended": bool(bad) and len(bad) == len(runs),
    }


def _mean(parts: list[np.ndarray], text: Callable[[float], str]) -> str:
    values = np.concatenate(parts) if parts else np.empty(0)
    values = values[np.isfinite(values)]
    return text(float(values.mean())) if len(values) else "–"
