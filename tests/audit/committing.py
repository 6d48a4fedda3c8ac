"""A program that commits records until it is killed, and prints each number that was committed."""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count

from app.audit.writer import AuditWriter
from tests.audit.samples import an_answer

N_AT_ONCE = 8


async def commit_forever(writer: AuditWriter, first: int) -> None:
    numbers = count(first)

    async def commit_one_after_the_other() -> None:
        while True:
            number = next(numbers)
            await writer.commit([an_answer(number)])
            os.write(1, f"{number}\n".encode())

    await asyncio.gather(*(commit_one_after_the_other() for _ in range(N_AT_ONCE)))


def main() -> None:
    url, first = sys.argv[1:]
    writer = AuditWriter(url, "replica-1", "required")
    writer.start({})
    asyncio.run(commit_forever(writer, int(first)))


if __name__ == "__main__":
    main()
