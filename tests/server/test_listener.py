from __future__ import annotations

import socket
from pathlib import Path

import httpx2
import pytest

from app.server.listener import EXIT_NOT_STARTED, open_listeners, url_of
from tests.servers import running_server

needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104 - nothing listens there
        ("::", "http://[::1]:8000"),
        ("0:0::0", "http://[::1]:8000"),
        ("::1", "http://[::1]:8000"),
        ("2001:db8::7", "http://[2001:db8::7]:8000"),
        ("fe80::1%eth0", "http://[fe80::1%25eth0]:8000"),
        ("tiles.example", "http://tiles.example:8000"),
    ],
)
def test_url_can_be_opened_on_this_machine(host: str, url: str) -> None:
    assert url_of(host, 8000) == url


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "localhost"])  # noqa: S104 - as above
def test_uvicorn_opens_other_addresses(host: str) -> None:
    assert open_listeners(host, 0) is None


def test_missing_dual_stack_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    assert open_listeners("::", 0) is None
    assert [line.message for line in caplog.records] == ["listening_without_ipv4"]


@needs_ipv6
def test_taken_port_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit) as exited:
        open_listeners("::", taken.getsockname()[1])
    assert exited.value.code == EXIT_NOT_STARTED == 1
    assert "in use" in caplog.records[-1].__dict__["reason"]


@needs_ipv6
def test_every_address_means_ipv6_and_ipv4(tmp_path: Path) -> None:
    with running_server(tmp_path, OSTEO_HOST="::", OSTEO_AUTH="none", OSTEO_AUDIT="off") as server:
        server.wait_until_ready()  # over IPv4
        assert httpx2.get(server.url.replace("127.0.0.1", "[::1]") + "/livez").status_code == 200
        assert server.stop() == 0
    (line,) = [event for event in server.events() if event["event"] == "listening"]
    assert line["url"] == server.url.replace("127.0.0.1", "[::1]")
