"""What a page does when its browser asks: comparisons, figures and packed networks as files."""

import base64
from typing import TYPE_CHECKING

from bnnlab.ui.actions import Message
from bnnlab.ui.library import Upload
from bnnlab.ui.send import Packed, figure_file, packed_file, zipped

if TYPE_CHECKING:
    from bnnlab.ui.page import Page


def save(page: "Page", message: Message) -> None:
    """Keep the comparison under a name."""
    name = str(message.get("name", "")).strip()
    try:
        if page.session.library.place(name).exists():
            raise ValueError(f"{name} is taken; give another name")
    except ValueError as error:
        page.show_library(message=str(error))
        return
    page.later("Saving", lambda: page.session.save(name), page.began)


def open_(page: "Page", message: Message) -> None:
    """Open a saved comparison."""
    try:
        folder = page.session.library.find(str(message.get("name")))
    except ValueError as error:
        page.show_library(message=str(error))
        return
    page.later("Opening", lambda: page.session.open(folder, message["name"]), page.began)


def compare(page: "Page", message: Message) -> None:
    """Show a saved comparison beside this one, or none."""
    name = message.get("name")
    try:
        folder = None if name is None else page.session.library.find(str(name))
    except ValueError as error:
        page.show_library(message=str(error))
        return
    page.views.compare_with(name if folder else None, folder)
    page.show_views()
    page.show_library()


def download(page: "Page", message: Message) -> None:
    """Hand out the comparison as one zip."""
    log, name = page.session.log, page.session.name or "comparison"
    if log is not None:
        page.later(
            "Zipping",
            lambda: (f"{name}.bnnlab.zip", "application/zip", zipped(log.path, name)),
            lambda made: _deliver(page, *made),
        )


def export(page: "Page", message: Message) -> None:
    """Hand out the open view, or all of them on a sheet, as a file."""
    what, kind = message.get("what"), message.get("kind")
    log, name = page.session.log, page.views.active
    if log is None or what not in ("view", "sheet"):
        return
    title = f"{page.session.name or 'bnnlab'}-{name if what == 'view' else 'sheet'}.{kind}"
    view = (name, page.views.arguments()) if what == "view" else None
    page.later(
        "Exporting",
        lambda: (title, *figure_file(log.path, view, kind)),
        lambda made: _deliver(page, *made),
    )


def pack(page: "Page", message: Message) -> None:
    """Hand out a lane's network as packed bits."""
    log, lane, kind = page.session.log, message.get("lane"), message.get("kind")
    if log is None or lane not in log.lanes:
        return

    def work() -> Packed:
        page.session.save_checkpoints()
        return packed_file(log.path, lane, kind)

    def hand(made: Packed) -> None:
        _deliver(page, f"{page.session.name or 'bnnlab'}-{made.name}", made.kind, made.data)
        page.say(f"{made.name}: {made.said}.")

    page.later("Packing", work, hand)


def upload(page: "Page", message: Message) -> None:
    """Receive a zipped comparison, part by part."""
    try:
        if "begin" in message:
            if page.upload is not None:
                page.upload.forget()
            page.upload = Upload(str(message["begin"])[:128])
        elif page.upload is not None and "data" in message:
            page.upload.take(base64.b64decode(str(message["data"]), validate=True))
        elif page.upload is not None:
            complete, page.upload = page.upload, None
            page.later(
                "Receiving",
                lambda: _receive(page, complete),
                lambda name: page.show_library(received=f"Received as {name}."),
            )
    except ValueError as error:
        page.upload = None
        page.show_library(received=str(error))


def _receive(page: "Page", upload: Upload) -> str:
    try:
        return page.session.library.receive(upload.name, upload.finish())
    finally:
        upload.forget()


def _deliver(page: "Page", name: str, kind: str, data: bytes) -> None:
    page.bench.deliver(name, kind, base64.b64encode(data).decode())


ACTIONS = {
    action.__name__.rstrip("_"): action
    for action in (save, open_, compare, download, export, pack, upload)
}
