"""The command `osteo serve`: a process, a port, signals."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from app.settings import Settings
from tests.bundles import plain_tile
from tests.conftest import RELEASED_MODELS
from tests.server.connections import is_closed_within, receive_until
from tests.servers import RunningServer, freshly_started_server, running_server, wait_until
from training.data.drawn_tiles import draw_tile, encode_tile


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="module")
def lasting_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One with the released bundle, for tests that do not stop their server."""
    folder = tmp_path_factory.mktemp("lasting")
    with running_server(folder, OSTEO_MODELS_DIR=str(RELEASED_MODELS)) as server:
        server.wait_until_ready()
        yield server


def test_released_bundle_answers(lasting_server: RunningServer) -> None:
    server = lasting_server
    answer = server.client.post(
        f"{server.url}/v1/classify", files={"file": plain_tile((210, 120, 170), 1024, "JPEG")}
    )
    assert answer.status_code == 200
    assert sum(answer.json()["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_sigint_ends_the_server_with_exit_code_0(server: RunningServer) -> None:
    """The other tests end it with SIGTERM."""
    assert server.stop(signal.SIGINT) == 0


def test_python_ends_with_exit_code_0(tmp_path: Path) -> None:
    """The other servers are forked, and end without taking Python down."""
    with freshly_started_server(tmp_path, OSTEO_WORKERS="1") as server:
        server.wait_until_ready()
        tile = plain_tile((210, 120, 170))
        assert server.client.post(f"{server.url}/v1/classify", content=tile).status_code == 200
        assert server.stop() == 0


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, marks=pytest.mark.exhaustive), signal.SIGINT]
)
def test_signal_ends_the_server_when_sigint_was_ignored_at_start(
    tmp_path: Path, number: int
) -> None:
    ignored = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    with running_server(tmp_path, before=ignored) as server:  # as under nohup
        server.wait_until_ready()
        assert server.stop(number) == 0


_CLASSIFIES_ONCE_A_FILE_EXISTS = """
import time
from pathlib import Path
from app.inference.classifier import Classifier
classify = Classifier.classify
def wait_and_classify(*arguments):
    while not Path({!r}).exists():
        time.sleep(0.01)
    return classify(*arguments)
Classifier.classify = wait_and_classify
"""


def test_sigterm_finishes_requests_in_flight(tmp_path: Path) -> None:
    batch = [("files", ("t", plain_tile((200, 100, 150), 1024, "JPEG")))] * 5
    go = tmp_path / "go"
    with (
        running_server(tmp_path, before=_CLASSIFIES_ONCE_A_FILE_EXISTS.format(str(go))) as server,
        ThreadPoolExecutor(2) as pool,
    ):
        server.wait_until_ready()
        url = f"{server.url}/v1/classify/batch"
        answers = [pool.submit(server.client.post, url, files=batch, timeout=120) for _ in "ab"]
        wait_until(lambda: server.metric("osteo_tiles_in_flight") == 10)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "draining" in {event["event"] for event in server.events()})
        go.touch()
        assert [answer.result().status_code for answer in answers] == [200, 200]
        assert server.process.wait(timeout=60) == 0


_STUCK_CLASSIFIER = """
import threading
import app.server.run
from app.inference.classifier import Classifier
app.server.run._GRACE_S = 0.2
Classifier.classify = lambda *_arguments: threading.Event().wait()
"""


def test_stuck_thread_does_not_outlive_the_drain(tmp_path: Path) -> None:
    with running_server(
        tmp_path,
        before=_STUCK_CLASSIFIER,
        OSTEO_REQUEST_TIMEOUT_S="0.1",
        OSTEO_DRAIN_TIMEOUT_S="1",
    ) as server:
        server.wait_until_ready()
        answer = server.client.post(
            f"{server.url}/v1/classify", content=plain_tile((9, 9, 9)), timeout=60
        )
        assert answer.status_code == 503
        assert server.stop() == 1, "the process ends all the same, and not as if it had drained"


def test_readiness_is_off_before_the_port_closes(tmp_path: Path) -> None:
    with running_server(tmp_path, OSTEO_DRAIN_DELAY_S="1") as server:
        server.wait_until_ready()
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.client.get(f"{server.url}/readyz").status_code == 503)
        answer = server.client.post(f"{server.url}/v1/classify", content=plain_tile((9, 9, 9)))
        assert answer.status_code == 200
        assert server.process.wait(timeout=60) == 0


def test_log_has_one_line_per_request_and_no_file_name(server: RunningServer) -> None:
    files = {"file": ("Jane-Doe-1970.jpg", plain_tile((210, 120, 170)))}
    headers = {"X-Request-ID": "lab-7"}
    server.client.post(f"{server.url}/v1/classify", files=files, headers=headers)
    server.client.get(f"{server.url}/livez")
    server.stop()
    (line,) = [event for event in server.events() if event["event"] == "request"]
    assert (line["request_id"], line["status"], line["n_tiles"]) == ("lab-7", 200, 1)
    assert {"model_version", "decode_s", "queue_s", "inference_s", "tile_sha256"} <= set(line)
    assert "Jane" not in json.dumps(server.events())


def test_tiles_are_answered_when_connection_limits_are_off(tmp_path: Path) -> None:
    with running_server(tmp_path, OSTEO_CONNECTION_LIMITS="off") as server:
        server.wait_until_ready()
        answer = server.client.post(
            f"{server.url}/v1/classify",
            content=plain_tile((210, 120, 170)),
            headers={"X-Filler": "y" * 100_000},
        )
        assert answer.status_code == 200
        assert server.stop() == 0


_IMPATIENT_UVICORN = """
import functools, uvicorn
uvicorn.Config.__init__ = functools.partialmethod(uvicorn.Config.__init__, timeout_keep_alive=1)
"""


def test_idle_connection_stays_open_for_longer_than_uvicorn_would_keep_it(tmp_path: Path) -> None:
    with running_server(tmp_path, before=_IMPATIENT_UVICORN) as server:
        server.wait_until_ready()
        with server.connect() as idle:
            idle.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            receive_until(idle, b"}")
            assert not is_closed_within(idle, 2)
    assert Settings().keep_alive_s > 60, "nginx closes its idle connections after 60 s"


@pytest.mark.exhaustive
def test_idle_connection_is_closed_after_the_time_of_the_setting(
    lasting_server: RunningServer, tmp_path: Path
) -> None:
    with running_server(tmp_path, OSTEO_KEEP_ALIVE_S="1") as impatient:
        impatient.wait_until_ready()
        with lasting_server.connect() as idle, impatient.connect() as closed:
            for connection in (idle, closed):
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                receive_until(connection, b"}")
            assert is_closed_within(closed, 30)
            # Without the setting, uvicorn closes idle connections after 5 s.
            assert not is_closed_within(idle, 6)


def test_endless_body_is_rejected(lasting_server: RunningServer) -> None:
    server = lasting_server

    def endless() -> Iterator[bytes]:
        for _ in range(100_000):
            yield bytes(65_536)

    try:
        status = server.client.post(
            f"{server.url}/v1/classify", content=endless(), timeout=60
        ).status_code
    except httpx2.TransportError:
        status = 413  # the server closed the connection while the client was sending
    assert status == 413
    assert server.client.get(f"{server.url}/readyz").status_code == 200


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_large_pictures_is_released(tmp_path: Path) -> None:
    def resident_mib(server: RunningServer) -> float:
        pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
        return int(pages) * 4096 / 2**20

    def draw(server: RunningServer) -> int:
        url = f"{server.url}/v1/explain?size_px=2048"
        return server.client.post(url, content=tile, timeout=300).status_code

    tile = encode_tile(draw_tile("viable_tumor", 1024, 0))
    with running_server(
        tmp_path,
        OSTEO_WORKERS="3",
        OSTEO_REVIEW_MAX_DISTANCE="2",
        OSTEO_REQUEST_TIMEOUT_S="300",
        OSTEO_MAX_QUEUE_S="150",
    ) as server:
        server.wait_until_ready()
        before = resident_mib(server)
        with ThreadPoolExecutor(3) as pool:
            assert set(pool.map(draw, [server] * 6)) == {200}
        assert resident_mib(server) - before < 100
