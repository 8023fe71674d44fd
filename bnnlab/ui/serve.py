"""Serving the dashboard: on this machine only, unless there are credentials."""

import ipaddress
import os
import secrets
from pathlib import Path
from typing import Any

from bnnlab import limits

_UNUSED = 20_000  # milliseconds a page may stay without a browser before it is closed
_CHECK = 2_000  # milliseconds between looks for such pages


def settings(
    port: int = 5006,
    address: str = "127.0.0.1",
    *,
    basic_auth: str | None = None,
    cookie_secret: str | None = None,
    origins: list[str] | None = None,
) -> dict[str, Any]:
    """The server's settings, checked.

    Args:
        port: to listen on; 0 for any that is free.
        address: to listen on. One that other machines can reach needs `basic_auth`.
        basic_auth: a password, or a JSON file of users and passwords.
        cookie_secret: signs the cookies that say who logged in; made up when there is none.
        origins: `host:port` of the pages that may connect; by default those of this server alone.

    Raises:
        ValueError: another address without credentials, or an origin that lets anyone in.
    """
    if not _loopback(address) and not basic_auth:
        raise ValueError(
            f"address is {address!r}, which other machines can reach; give basic_auth (a password "
            "or a JSON file of users), or keep to 127.0.0.1"
        )
    if any("*" in origin for origin in origins or []):
        raise ValueError(f"origins is {origins!r}; name each host:port, without '*'")
    names = {address, "localhost"} if _loopback(address) else {address}
    chosen: dict[str, Any] = {
        "port": port,
        "address": address,
        "websocket_origin": origins or [f"{name}:{port}" for name in sorted(names)],
        "websocket_max_message_size": limits.MESSAGE_BYTES,
        "xsrf_cookies": True,
        # The names ending in _milliseconds are the ones that act; shorter ones are ignored.
        "unused_session_lifetime_milliseconds": _UNUSED,
        "check_unused_sessions_milliseconds": _CHECK,
    }
    if basic_auth:
        chosen |= {
            "basic_auth": basic_auth,
            "cookie_secret": cookie_secret or secrets.token_hex(32),
        }
    return chosen


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def server(
    folder: str | os.PathLike | None = None,
    library: str | os.PathLike | None = None,
    *,
    autoplay: bool = True,
    device: str = "cpu",
    **options: Any,
) -> Any:
    """Make the server without starting it: `.start()`, `.port`, `.io_loop`.

    Takes the arguments of `settings` besides its own, and raises what `serve` does.
    """
    import panel as pn

    from bnnlab.training import devices
    from bnnlab.ui.dashboard import dashboard
    from bnnlab.ui.reproductions import reproductions

    chosen = settings(**options)
    devices.get(device)
    if chosen["port"] == 0:
        chosen["port"] = _free_port(chosen["address"])
        chosen["websocket_origin"] = settings(**{**options, "port": chosen["port"]})[
            "websocket_origin"
        ]
    if folder is not None and not (Path(folder) / "comparison.json").is_file():
        raise ValueError(f"{folder} is not a comparison; give a NAME.bnnlab folder")

    def page() -> Any:
        return dashboard(folder, library, autoplay=autoplay, device=device)

    pages = {"/": page, "/reproductions": lambda: reproductions(library)}
    return pn.io.server.get_server(pages, title="bnnlab", start=False, **chosen)


def _free_port(address: str) -> int:
    import socket

    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def serve(
    folder: str | os.PathLike | None = None,
    library: str | os.PathLike | None = None,
    port: int = 5006,
    address: str = "127.0.0.1",
    *,
    show: bool = True,
    autoplay: bool = True,
    device: str = "cpu",
    basic_auth: str | None = None,
    cookie_secret: str | None = None,
    origins: list[str] | None = None,
) -> None:
    """Serve the dashboard until it is interrupted.

    Args:
        folder: a comparison to open; by default each page begins its own.
        library: where comparisons are saved; by default the folder's parent, or `comparisons` in
            the current folder.
        port: to listen on; 0 for any that is free.
        address: to listen on. One that other machines can reach needs `basic_auth`.
        show: open a browser.
        autoplay: whether training begins by itself.
        device: the name of the one to train on, see `bnnlab.training.devices`.
        basic_auth: a password, or a JSON file of users and passwords.
        cookie_secret: signs the cookies that say who logged in; made up when there is none.
        origins: `host:port` of the pages that may connect; by default those of this server alone.

    Raises:
        ValueError: as `settings`, `folder` is not a comparison, or there is no such device.
    """
    if folder is not None and library is None:
        library = Path(folder).resolve().parent
    made = server(
        folder,
        library,
        autoplay=autoplay,
        device=device,
        port=port,
        address=address,
        basic_auth=basic_auth,
        cookie_secret=cookie_secret,
        origins=origins,
    )
    made.start()
    url = f"http://{address}:{made.port}/"
    print(f"bnnlab is at {url} (Ctrl-C stops it)", flush=True)
    if show:
        made.io_loop.add_callback(made.show, "/")
    made.run_until_shutdown()
