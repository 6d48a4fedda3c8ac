"""Hostile files cost a real service no more than its settings say, and it stays up."""

from __future__ import annotations

import sys

import pytest

from tests.attacks.conftest import MAX_DECODE_BYTES, MAX_DECODE_S, Cost
from tests.attacks.files import FILES
from tests.attacks.process_cost import PeakWatch, cpu_s
from tests.bundles import plain_tile
from tests.servers import RunningServer

pytestmark = [
    pytest.mark.attack,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

OVERHEAD_S = 1.0
"""Starting a decoder process, reading the upload, the model and its checks."""
_REQUEST_TIMEOUT_S = 60


def post(server: RunningServer, content: bytes) -> tuple[int, str]:
    answer = server.client.post(
        f"{server.url}/v1/classify", content=content, timeout=_REQUEST_TIMEOUT_S
    )
    return answer.status_code, str(answer.json().get("type", "")).rpartition("/")[2]


@pytest.mark.parametrize("name", FILES)
def test_hostile_file_costs_no_more_than_the_settings_say(
    server: RunningServer, costs: list[Cost], name: str
) -> None:
    content = FILES[name]()
    pid = server.process.pid
    post(server, plain_tile((200, 120, 170), 256, "TIFF"))  # a decoder process is running
    before_s = cpu_s(pid)

    with PeakWatch(pid) as watch:
        status, problem = post(server, content)

    spent_s = cpu_s(pid) - before_s
    costs.append(Cost(name, len(content), status, problem, spent_s, watch.peak_bytes))
    assert status in {200, 413, 415, 422}
    assert spent_s <= MAX_DECODE_S + OVERHEAD_S
    assert watch.peak_bytes <= MAX_DECODE_BYTES
    assert post(server, plain_tile((200, 120, 170), 256, "JPEG"))[0] == 200
    assert server.client.get(f"{server.url}/readyz").status_code == 200


def test_batch_of_hostile_files_keeps_none_of_them(server: RunningServer) -> None:
    truncated = FILES["widest_png"]()[:-200]
    tile = plain_tile((200, 120, 170), 256, "JPEG")
    with PeakWatch(server.process.pid) as watch:
        answer = server.client.post(
            f"{server.url}/v1/classify/batch",
            files=[("files", truncated)] * 63 + [("files", tile)],
            timeout=4 * _REQUEST_TIMEOUT_S,
        )

    assert answer.status_code in {200, 503}
    # As many as are decoded at once, however many the batch holds.
    assert watch.peak_bytes <= 2 * MAX_DECODE_BYTES
