"""The command `osteo serve` as an operator meets it: a process, a port, signals."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.bundles import plain_tile
from tests.servers import RunningServer, running_server
from training.data.drawn_tiles import draw_tile, encode_tile


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="module")
def lasting_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """For tests that end none."""
    with running_server(tmp_path_factory.mktemp("lasting")) as server:
        server.wait_until_ready()
        yield server


def test_released_bundle_answers_over_the_wire(lasting_server: RunningServer) -> None:
    server = lasting_server
    answer = httpx2.post(
        f"{server.url}/v1/classify", files={"file": plain_tile((210, 120, 170), 1024, "JPEG")}
    )
    assert answer.status_code == 200
    assert sum(answer.json()["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_server_with_exit_code_0(server: RunningServer, number: int) -> None:
    assert server.stop(number) == 0


def test_requests_in_flight_are_finished_on_sigterm(server: RunningServer) -> None:
    batch = [("files", ("t", plain_tile((200, 100, 150), 1024, "JPEG")))] * 60
    answers: list[int] = []

    def post() -> None:
        answers.append(
            httpx2.post(f"{server.url}/v1/classify/batch", files=batch, timeout=30).status_code
        )

    clients = [threading.Thread(target=post) for _ in range(2)]
    for client in clients:
        client.start()
    deadline = time.monotonic() + 10
    while server.metric("osteo_tiles_in_flight") <= 60:  # until both batches are in
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert server.stop() == 0
    for client in clients:
        client.join()
    assert answers == [200, 200]


def test_readiness_goes_off_before_the_port_closes(tmp_path: Path) -> None:
    with running_server(tmp_path, OSTEO_DRAIN_DELAY_S="1") as server:
        server.wait_until_ready()
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        while (status := httpx2.get(f"{server.url}/readyz").status_code) != 503:
            assert time.monotonic() < deadline
        assert status == 503
        answer = httpx2.post(f"{server.url}/v1/classify", content=plain_tile((9, 9, 9)))
        assert answer.status_code == 200
        assert server.process.wait(timeout=20) == 0


def test_log_has_one_line_a_request_and_no_file_name(server: RunningServer) -> None:
    files = {"file": ("Jane-Doe-1970.jpg", plain_tile((210, 120, 170)))}
    httpx2.post(f"{server.url}/v1/classify", files=files, headers={"X-Request-ID": "lab-7"})
    httpx2.get(f"{server.url}/livez")
    server.stop()
    (line,) = [event for event in server.events() if event["event"] == "request"]
    assert (line["request_id"], line["status"], line["n_tiles"]) == ("lab-7", 200, 1)
    assert {"model_version", "decode_s", "queue_s", "inference_s", "tile_sha256"} <= set(line)
    assert "Jane" not in json.dumps(server.events())


def test_taken_port_is_an_error(lasting_server: RunningServer, tmp_path: Path) -> None:
    port = lasting_server.url.rsplit(":", 1)[1]
    second = subprocess.run(
        [sys.executable, "-m", "app", "serve", "--port", port],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=tmp_path,
    )
    assert second.returncode != 0
    assert "address already in use" in second.stderr


def test_misspelt_setting_keeps_the_server_from_starting(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "app", "serve"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={"OSTEO_PROT": "9000"},
        cwd=tmp_path,
    )
    assert run.returncode == 2
    assert re.search(r"OSTEO_PROT is not a setting\. Did you mean OSTEO_PORT", run.stderr)


def test_body_without_end_is_cut_off(lasting_server: RunningServer) -> None:
    server = lasting_server

    def endless() -> Iterator[bytes]:
        for _ in range(100_000):
            yield bytes(65_536)

    try:
        status = httpx2.post(f"{server.url}/v1/classify", content=endless(), timeout=20).status_code
    except httpx2.TransportError:
        status = 413  # the connection was closed under the sender, after the answer
    assert status == 413
    assert httpx2.get(f"{server.url}/readyz").status_code == 200


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_large_pictures_goes_back(tmp_path: Path) -> None:
    def resident_mib(server: RunningServer) -> float:
        pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
        return int(pages) * 4096 / 2**20

    def draw(server: RunningServer) -> int:
        url = f"{server.url}/v1/explain?size_px=2048"
        return httpx2.post(url, content=tile, timeout=60).status_code

    tile = encode_tile(draw_tile("viable_tumor", 1024, 0))
    with running_server(tmp_path, OSTEO_REVIEW_MAX_DISTANCE="2") as server:
        server.wait_until_ready()
        before = resident_mib(server)
        with ThreadPoolExecutor(6) as pool:
            assert set(pool.map(draw, [server] * 12)) == {200}
        assert resident_mib(server) - before < 100
