"""Why the database of the audit cannot be used; callers turn these into errors of their own."""

from __future__ import annotations


class StoreError(Exception):
    """The database cannot be read or written now.

    Attributes:
        is_in_doubt: the connection was lost while the database committed, so that the rows may
            be there or may still arrive.
    """

    def __init__(self, reason: str, *, is_in_doubt: bool = False) -> None:
        self.is_in_doubt = is_in_doubt
        super().__init__(reason)


class ChainTakenError(Exception):
    """Another process writes to the same chain.

    Attributes:
        chain: name of the chain.
    """

    def __init__(self, chain: str, seq: int) -> None:
        self.chain = chain
        super().__init__(
            f"Record {seq} of the audit's chain {chain!r} was written by another process. Each "
            "service needs a chain of its own: set OSTEO_REPLICA to a name that no other has."
        )
