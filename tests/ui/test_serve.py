"""What the server really listens to and how much it takes."""

import pytest

from bnnlab import limits
from bnnlab.ui import serve


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_another_address_needs_credentials(address):
    with pytest.raises(ValueError, match="basic_auth"):
        serve.settings(address=address)
    chosen = serve.settings(address=address, basic_auth="secret")
    assert chosen["basic_auth"] == "secret" and len(chosen["cookie_secret"]) == 64
    assert chosen["websocket_origin"] == [f"{address}:5006"]


def test_anyone_as_origin_is_refused():
    with pytest.raises(ValueError, match="without '\\*'"):
        serve.settings(origins=["*"])


def test_the_server_has_the_settings():
    made = serve.server(port=0)
    try:
        assert made.address == "127.0.0.1"
        tornado = made._tornado
        assert tornado.websocket_origins == {f"127.0.0.1:{made.port}", f"localhost:{made.port}"}
        assert tornado.settings["websocket_max_message_size"] == limits.MESSAGE_BYTES
        assert tornado._unused_session_lifetime_milliseconds == 20_000
        assert tornado._check_unused_sessions_milliseconds == 2_000
        assert tornado.settings["xsrf_cookies"] is True
    finally:
        made.stop()


def test_a_folder_that_is_no_comparison_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not a comparison"):
        serve.server(tmp_path)
