"""Requests of a service in `required` mode, and what became of each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import count

from app.audit.opening import make_store
from app.audit.verify import verify
from app.audit.writer import AuditWriter
from app.core.access_errors import AuditUnavailableError
from tests.audit.samples import an_answer, stored

N_AT_ONCE = 8
MAX_REFUSED = 10_000
"""A restart takes a few dozen; a writer that has given up refuses at once, without end."""


class Load:
    """Commits records, several at once.

    Attributes:
        answered: numbers of the records that were committed.
        refused: numbers of those that could not be.
    """

    def __init__(self, writer: AuditWriter) -> None:
        self._writer = writer
        self._numbers = count()
        self.answered: list[int] = []
        self.refused: list[int] = []

    async def run_until(self, is_enough: Callable[[], bool]) -> None:
        async def client() -> None:
            while not is_enough():
                await self.request()

        await asyncio.gather(*(client() for _ in range(N_AT_ONCE)))

    async def request(self) -> None:
        number = next(self._numbers)
        try:
            await self._writer.commit([an_answer(number)])
        except AuditUnavailableError:
            self.refused.append(number)
            assert len(self.refused) < MAX_REFUSED, "nothing is recorded any more"
        else:
            self.answered.append(number)


def require_recorded_once(url: str, answered: list[int]) -> set[int]:
    """Check that what was answered is there exactly once, and that the chains are whole.

    Returns:
        The numbers that are there, answered or not.
    """
    records = [document for document in stored(url) if document["event"] == "answer"]
    times = Counter(int(document["request_id"].removeprefix("request-")) for document in records)
    assert [number for number in answered if times[number] != 1] == []
    assert times.total() == len(times), "a record is there twice"
    store = make_store(url)
    assert verify(store).findings == []
    store.close()
    return set(times)
