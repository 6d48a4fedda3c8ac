"""Download a file over HTTP, check it, and retry after a pause if it is broken."""

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
"""A download stays in memory until it is checked. The pixels of a tile of 1024 px take 3 MiB."""

_PIECE_BYTES: Final = 2**16
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

Check = Callable[[bytes], None]
"""Raises `BrokenFileError` if the content is not that of the requested file."""


class BrokenFileError(Exception):
    """An attempt failed, but a retry may succeed; the text gives the reason."""

    def __init__(self, reason: str, retry_after: str | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(reason)


class UnreachableError(BrokenFileError):
    """An attempt received nothing, because the server could not be reached."""


class StoppedError(Exception):
    """`Downloader.stop` was called."""


class _RefusedError(FetchError):
    """A response that no retry would change; `status` is the HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a broken download is retried, and after what pauses.

    Attributes:
        retries: attempts for each file after the first.
        pause_s: pause before the second retry; it doubles for each further one. The first retry
            follows at once.
        longest_pause_s: upper limit of a pause, including one that `Retry-After` asks for.
    """

    retries: int = 6
    pause_s: float = 0.5
    longest_pause_s: float = 60.0

    def pause_before(self, retry: int, retry_after: str | None) -> float:
        """Seconds to wait before a retry; retries are counted from 1."""
        pause_s = self.pause_s * 2 ** (retry - 2) if retry > 1 else 0.0
        if retry_after is not None:
            # A header that is neither seconds nor a date is ignored.
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
            # Otherwise a thread that waits for a silent server would wait until the time-out. The
            # thread may be closing the response at this moment.
            with contextlib.suppress(OSError, ValueError, RuntimeError, AttributeError):
                response.raw.shutdown()

    def download(self, path: str, check: Check = lambda _: None) -> bytes:
        """Download a file until it passes a check.

        Args:
            path: path below the mirror's address.
            check: raises an error if the content is wrong.

        Raises:
            BrokenFileError, UnreachableError: no attempt passed the check.
            FetchError: the server refuses the file.
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
        """Yield the body of a response piece by piece."""
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
