"""Uploads to a running server: cut connections, kills, slow and greedy clients, memory."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.servers import RunningServer, running_server, wait_until

TUS: Final = {"Tus-Resumable": "1.0.0"}
CHUNK: Final = {**TUS, "Content-Type": "application/offset+octet-stream"}
MEBIBYTE: Final = 1024**2


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service") / "state"


@pytest.fixture(scope="module")
def server(state_dir: Path) -> Iterator[RunningServer]:
    with running_server(state_dir.parent, OSTEO_STATE_DIR=str(state_dir)) as server:
        server.wait_until_ready()
        yield server


def begin(server: RunningServer, length: int) -> str:
    headers = {**TUS, "Upload-Length": str(length)}
    answer = server.client.post(f"{server.url}/v1/uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.headers["Location"])


def offset_of(server: RunningServer, place: str) -> int:
    return int(server.client.head(server.url + place).headers["Upload-Offset"])


def send_part(server: RunningServer, place: str, total: int, data: bytes) -> socket.socket:
    """Send the head of a PATCH of `total` bytes at the start, and only some of them."""
    connection = server.connect()
    head = (
        f"PATCH {place} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\n"
        f"Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\n"
        f"Content-Length: {total}\r\n\r\n"
    )
    connection.sendall(head.encode() + data)
    return connection


def status_of(connection: socket.socket) -> int:
    """The status of the answer that arrives next."""
    connection.settimeout(60)
    return int(connection.recv(65536).split(b" ", 2)[1])


def resume(server: RunningServer, place: str, content: bytes) -> None:
    offset = offset_of(server, place)
    headers = {**CHUNK, "Upload-Offset": str(offset)}
    answer = server.client.patch(server.url + place, content=content[offset:], headers=headers)
    assert answer.headers["Upload-Offset"] == str(len(content)), answer.text


def stored(state_dir: Path, place: str) -> bytes:
    return (state_dir / "slides" / "incoming" / place.rsplit("/", 1)[-1]).read_bytes()


def test_upload_goes_on_after_its_connection_was_cut(
    server: RunningServer, state_dir: Path
) -> None:
    content = os.urandom(5 * MEBIBYTE)
    place = begin(server, len(content))
    with send_part(server, place, len(content), content[: 2 * MEBIBYTE + 77]):
        pass
    wait_until(lambda: offset_of(server, place) == 2 * MEBIBYTE + 77)
    resume(server, place, content)
    assert stored(state_dir, place) == content


def test_upload_goes_on_after_the_service_was_killed(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    content = os.urandom(5 * MEBIBYTE)
    environ = {"OSTEO_STATE_DIR": str(state_dir)}
    with running_server(tmp_path, **environ) as server:
        server.wait_until_ready()
        place = begin(server, len(content))
        with send_part(server, place, len(content), content[: 3 * MEBIBYTE]):
            wait_until(lambda: offset_of(server, place) >= 2 * MEBIBYTE)
            server.stop(signal.SIGKILL)
    on_disk = len(stored(state_dir, place))
    assert 2 * MEBIBYTE <= on_disk <= 3 * MEBIBYTE
    with running_server(tmp_path, **environ) as server:
        server.wait_until_ready()
        assert offset_of(server, place) == on_disk
        resume(server, place, content)
    assert stored(state_dir, place) == content


def test_second_request_to_an_upload_is_refused_while_the_first_sends(
    server: RunningServer, state_dir: Path
) -> None:
    content = os.urandom(2 * MEBIBYTE)
    place = begin(server, len(content))
    with send_part(server, place, len(content), content[:MEBIBYTE]) as first:
        wait_until(lambda: offset_of(server, place) > 0)
        headers = {**CHUNK, "Upload-Offset": "0"}
        upload = {"upload": place.rsplit("/", 1)[1]}
        answers = [
            server.client.patch(server.url + place, content=content, headers=headers),
            server.client.delete(server.url + place),
            server.client.post(f"{server.url}/v1/slides", json=upload),
        ]
        assert [answer.status_code for answer in answers] == [423, 423, 423]
        first.sendall(content[MEBIBYTE:])
        assert status_of(first) == 204
    assert stored(state_dir, place) == content


def test_upload_that_stalls_is_ended_and_keeps_what_it_sent(tmp_path: Path) -> None:
    environ = {"OSTEO_STATE_DIR": str(tmp_path / "state"), "OSTEO_UPLOAD_GRACE_S": "0.3"}
    with running_server(tmp_path, **environ) as server:
        server.wait_until_ready()
        place = begin(server, 10 * MEBIBYTE)
        with send_part(server, place, 10 * MEBIBYTE, bytes(MEBIBYTE)) as connection:
            assert status_of(connection) == 408
        assert offset_of(server, place) == MEBIBYTE


def test_upload_may_take_longer_than_a_tile(tmp_path: Path) -> None:
    environ = {"OSTEO_STATE_DIR": str(tmp_path / "state"), "OSTEO_BODY_TIMEOUT_S": "0.2"}
    with running_server(tmp_path, **environ) as server:
        server.wait_until_ready()
        place = begin(server, 4 * MEBIBYTE)
        with send_part(server, place, 4 * MEBIBYTE, b"") as connection:
            for _ in range(4):
                connection.sendall(bytes(MEBIBYTE))
                time.sleep(0.1)
            assert status_of(connection) == 204


def test_curl_uploads_by_one_command_and_resumes(
    server: RunningServer, state_dir: Path, tmp_path: Path
) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    file = tmp_path / "DOE_JANE.svs"
    file.write_bytes(os.urandom(3 * MEBIBYTE))

    def curl(*arguments: str) -> str:
        command = ["curl", "--silent", "--fail", "-T", str(file), *arguments]
        done = subprocess.run(command, check=True, capture_output=True, timeout=60)
        return str(json.loads(done.stdout)["id"])

    assert stored(state_dir, curl(f"{server.url}/v1/uploads/")) == file.read_bytes()
    place = begin(server, 3 * MEBIBYTE)
    headers = {**CHUNK, "Upload-Offset": "0"}
    server.client.patch(server.url + place, content=file.read_bytes()[: 10**6], headers=headers)
    curl("-C", "1000000", server.url + place)
    assert stored(state_dir, place) == file.read_bytes()
    assert "DOE" not in str(server.events())


def test_put_that_was_cut_leaves_nothing(server: RunningServer, state_dir: Path) -> None:
    incoming = state_dir / "slides" / "incoming"
    head = "PUT /v1/uploads/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5000001\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(head.encode() + bytes(2 * MEBIBYTE))
        wait_until(lambda: any(incoming.glob("*-5000001")))
    wait_until(lambda: not any(incoming.glob("*-5000001")))


def test_memory_does_not_grow_with_the_upload(server: RunningServer) -> None:
    n_bytes = 256 * MEBIBYTE
    before = peak_bytes(server)
    piece = os.urandom(MEBIBYTE)
    headers = {"Content-Length": str(n_bytes)}
    answer = server.client.put(
        f"{server.url}/v1/uploads/x",
        content=(piece for _ in range(n_bytes // MEBIBYTE)),
        headers=headers,
        timeout=600,
    )
    assert answer.json()["offset"] == n_bytes
    assert peak_bytes(server) - before < 48 * MEBIBYTE


def peak_bytes(server: RunningServer) -> int:
    """Largest resident memory of the server so far."""
    status = Path(f"/proc/{server.process.pid}/status")
    if not status.exists():
        pytest.skip("there is no /proc")
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
