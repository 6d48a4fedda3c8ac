"""Clients that send one request after the other and never try again."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from dataclasses import dataclass
from typing import Final, Self

import httpx2

from tests.conftest import RELEASED_MODELS
from tests.server.ingresses import Ingress
from tests.servers import wait_until

TILE: Final = (RELEASED_MODELS / "osteo-mobilenetv2/4/golden/drawn_non_tumor.png").read_bytes()
_PAUSE_S: Final = 0.05
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answered:
    """One answer: when it was complete, after how long, and by which version of the model."""

    at_s: float
    took_s: float
    model_version: str


class SteadyLoad:
    """Clients with connections that they keep."""

    def __init__(self, proxy: Ingress, n_clients: int = 3) -> None:
        self.answers: list[Answered] = []
        self.failures: list[str] = []
        self._proxy = proxy
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(n_clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        moments = sorted(answer.at_s for answer in self.answers)
        pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
        slowest = max((answer.took_s for answer in self.answers), default=0.0)
        _logger.info(
            "%s: %d answers, %d failures, longest pause between answers %.2f s, slowest %.2f s",
            self._proxy.program,
            len(self.answers),
            len(self.failures),
            max(pauses, default=0.0),
            slowest,
        )

    def next_versions(self, n_answers: int = 8) -> set[str]:
        """Wait for answers to requests that are sent from now on; return who answered them."""
        n_before, now = len(self.answers), time.monotonic()

        def sent_since() -> list[Answered]:
            return [a for a in self.answers[n_before:] if a.at_s - a.took_s >= now]

        wait_until(lambda: len(sent_since()) >= n_answers or bool(self.failures))
        assert not self.failures, self.failures[:3]
        return {answer.model_version for answer in sent_since()}

    def _send(self) -> None:
        with self._proxy.client() as client:
            while not self._is_over.wait(_PAUSE_S):
                began_s = time.monotonic()
                try:
                    answer = client.post("/v1/classify", files={"file": TILE})
                except httpx2.HTTPError as error:
                    self.failures.append(repr(error))
                    continue
                if answer.status_code == 200:
                    now_s = time.monotonic()
                    version = answer.json()["model"]["version"]
                    self.answers.append(Answered(now_s, now_s - began_s, version))
                else:
                    self.failures.append(f"{answer.status_code} {answer.text}")
