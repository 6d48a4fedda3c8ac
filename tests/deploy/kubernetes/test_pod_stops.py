"""The rendered Deployment, stopped under load by Podman: every request gets its answer."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.conftest import RELEASED_MODELS
from tests.deploy.kubernetes.pod import VERSION, Pod, running_pod
from tests.servers import wait_until

# The first test builds the image, which installs all packages of the service.
pytestmark = pytest.mark.exhaustive

_GOLDEN: Final = RELEASED_MODELS / "osteo-mobilenetv2" / VERSION / "golden"
_TILE: Final = _GOLDEN / "drawn_viable_tumor.png"
_N_CLIENTS: Final = 4


def test_nothing_is_lost_when_it_is_stopped_under_load(tmp_path: Path) -> None:
    tile_bytes = _TILE.read_bytes()
    answered: list[int] = []
    lost: list[Exception] = []
    answered_while_leaving: list[int] = []
    is_leaving = threading.Event()

    def send(pod: Pod, statuses: list[int]) -> None:
        try:
            statuses.append(pod.classify(tile_bytes).status_code)
        except httpx2.TransportError as error:
            lost.append(error)

    def send_until_it_leaves(pod: Pod) -> None:
        while not is_leaving.is_set():
            send(pod, answered)

    def send_while_it_leaves(pod: Pod) -> None:
        """Like a Service, which hears with some delay that a pod is not ready."""
        wait_until(lambda: not pod.is_ready())
        is_leaving.set()
        with ThreadPoolExecutor(_N_CLIENTS) as senders:
            for _ in range(_N_CLIENTS):
                senders.submit(send, pod, answered_while_leaving)

    with running_pod(tmp_path, "cpu") as pod:
        threads = [
            *(threading.Thread(target=send_until_it_leaves, args=[pod]) for _ in range(_N_CLIENTS)),
            threading.Thread(target=send_while_it_leaves, args=[pod]),
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answered) >= 5 * _N_CLIENTS or bool(lost))
        exit_code = pod.stop()
        for thread in threads:
            thread.join()
    assert lost == []
    assert set(answered) == {200}
    assert answered_while_leaving == [200] * _N_CLIENTS
    assert exit_code == 0
