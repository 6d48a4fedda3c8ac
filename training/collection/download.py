"""Download one file over HTTP: whole and checked, or again after a pause."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import requests
import urllib3
from urllib3.util import Retry

from training.collection.mirror import Mirror, why
from training.errors import FetchError

MAX_FILE_BYTES: Final = 32 * 2**20
"""A tile of 1024 px has 3 MiB of pixels; a download is held in memory until it is checked."""

_PIECE_BYTES: Final = 2**16
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

Check = Callable[[bytes], None]
"""Raises `BrokenFileError` if the content is not that of the file."""


class BrokenFileError(Exception):
    """An attempt failed in a way that another may not; the text says how."""

    def __init__(self, reason: str, retry_after: str | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(reason)


class UnreachableError(BrokenFileError):
    """An attempt brought nothing, because the way to the server is broken."""


class StoppedError(Exception):
    """The download was told to stop."""


class _RefusedError(FetchError):
    """An answer that no retry changes; `status` is HTTP's."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often, and after what pauses, a broken download is tried again.

    Attributes:
        retries: for each file, after the first attempt.
        pause_s: before the second retry, doubled for each one after it; the first follows at once.
        longest_pause_s: limits a pause, also one that the server asks for by `Retry-After`.
    """

    retries: int = 6
    pause_s: float = 0.5
    longest_pause_s: float = 60.0

    def pause_before(self, retry: int, retry_after: str | None) -> float:
        """Seconds to wait before a retry; retries are counted from 1."""
        pause_s = self.pause_s * 2 ** (retry - 2) if retry > 1 else 0.0
        if retry_after is not None:
            # A header that is neither seconds nor a date counts as none.
            with contextlib.suppress(urllib3.exceptions.InvalidHeader):
                pause_s = max(pause_s, Retry().parse_retry_after(retry_after))
        return min(pause_s, self.longest_pause_s)


class Downloader:
    """Downloads from one mirror; many threads may call its methods at once."""

    def __init__(self, mirror: Mirror, patience: Patience) -> None:
        self._mirror, self._patience = mirror, patience
        self._stopped = threading.Event()
        self._open: set[requests.Response] = set()

    def stop(self) -> None:
        """End all downloads now."""
        self._stopped.set()
        for response in list(self._open):
            # Without this a thread that waits for a silent server waits until the time-out. The
            # thread may be closing the response at this moment.
            with contextlib.suppress(OSError, ValueError, RuntimeError, AttributeError):
                response.raw.shutdown()

    def download(self, path: str, check: Check = lambda _: None) -> bytes:
        """Download a file until it passes a check.

        Args:
            path: below the mirror's address.
            check: decides whether the content is right.

        Raises:
            BrokenFileError, UnreachableError: no attempt passed the check.
            FetchError: the server refuses the file, so no retry would help.
            StoppedError: `stop` was called.
        """
        retry = 0
        while True:
            try:
                content = b"".join(self._pieces(path))
                check(content)
            except BrokenFileError as error:
                retry += 1
                if retry > self._patience.retries:
                    raise
                if self._stopped.wait(self._patience.pause_before(retry, error.retry_after)):
                    raise StoppedError from error
            else:
                return content

    def read_text(self, path: str) -> str | None:
        """Download a small text, such as a listing; None if there is no such path.

        Raises:
            FetchError: the server cannot be reached or refuses.
        """
        try:
            return self.download(path).decode("utf-8", "replace")
        except _RefusedError as error:
            if error.status in (403, 404, 410):
                return None
            raise FetchError(f"{self._mirror.shown}{path}: {error}.") from error
        except BrokenFileError as error:
            raise FetchError(f"{self._mirror.shown}{path}: {error}.") from error

    def _pieces(self, path: str) -> Iterator[bytes]:
        """The body of an answer as it comes."""
        n_bytes = 0
        try:
            with self._mirror.get(path) as response:
                self._open.add(response)
                try:
                    _require_file(response)
                    for piece in response.iter_content(_PIECE_BYTES):
                        n_bytes += len(piece)
                        self._require_more(n_bytes)
                        yield piece
                finally:
                    self._open.discard(response)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if self._stopped.is_set():
                raise StoppedError from error
            kind = BrokenFileError if n_bytes else UnreachableError
            raise kind(why(error)) from error

    def _require_more(self, n_bytes: int) -> None:
        if n_bytes > MAX_FILE_BYTES:
            limit = f"{MAX_FILE_BYTES} bytes"
            raise _RefusedError(200, f"it has more than {limit}, too many for this collection")
        if self._stopped.is_set():
            raise StoppedError


def _require_file(response: requests.Response) -> None:
    status = response.status_code
    if status in _TRANSIENT:
        reason = f"the server answers with status {status}"
        raise BrokenFileError(reason, response.headers.get("Retry-After"))
    if status != requests.codes.ok:
        known = {
            401: "the server wants a login (put it into ~/.netrc)",
            403: "the server forbids it",
            404: "the server does not have it",
        }
        raise _RefusedError(status, known.get(status, f"the server answers with status {status}"))
