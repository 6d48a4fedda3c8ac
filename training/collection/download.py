"""One file over HTTP: on from where it broke off, again when it broke, right or not at all.

`NAME` appears by a rename, after the check; until then its bytes are a `PartialFile`.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import requests
import urllib3
from urllib3.util import Retry

from training.collection.mirror import Mirror, why
from training.collection.partial import PartialFile
from training.errors import FetchError

MAX_FILE_BYTES: Final = 256 * 1024**2
"""A tile of 1024 px has 3 MiB of pixels: what is larger than this is not of the collection."""

_PIECE_BYTES: Final = 64 * 1024
_ENOUGH_PROGRESS_BYTES: Final = 256 * 1024
"""An attempt that brought this much, or the end, was no failure to count."""
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

Check = Callable[[Path], str]
"""Raises `BrokenFileError` where a file is not right, returns its SHA-256 where it is."""


class BrokenFileError(Exception):
    """An attempt failed in a way that another may not; its text says how."""

    def __init__(self, reason: str, retry_after: str | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(reason)


class UnreachableError(BrokenFileError):
    """An attempt that brought nothing because the way to the server is broken."""


class StoppedError(Exception):
    """The download was told to stop."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often, and with what pauses, a broken download is tried again.

    Attributes:
        retries: after the first attempt, for each file.
        pause_s: doubled after each failure; the first retry follows at once.
        longest_pause_s: of one pause; a server's `Retry-After` is cut to it too.
    """

    retries: int = 6
    pause_s: float = 0.5
    longest_pause_s: int = 60

    def start(self) -> Retry:
        """The count for one file."""
        return Retry(
            total=self.retries,
            backoff_factor=self.pause_s,
            backoff_max=self.longest_pause_s,
            backoff_jitter=self.pause_s / 4,
            retry_after_max=self.longest_pause_s,
        )


class Downloader:
    """Downloads from one mirror; its methods may be called by many threads at once."""

    def __init__(self, mirror: Mirror, patience: Patience) -> None:
        self._mirror, self._patience = mirror, patience
        self._stopped = threading.Event()
        self._open: set[requests.Response] = set()

    def stop(self) -> None:
        """End all downloads now; their `.part` files stay."""
        self._stopped.set()
        for response in list(self._open):
            # A thread that waits for a server that says nothing would wait until the time-out.
            # It may be closing just now, in its own thread.
            with contextlib.suppress(OSError, ValueError, RuntimeError, AttributeError):
                response.raw.shutdown()

    def download(self, path: str, target: Path, check: Check) -> str:
        """Fetch a file until it is right.

        Args:
            path: below the mirror's address.
            target: where it goes; `target` plus `.part` may hold its beginning.
            check: decides whether the file is right.

        Returns:
            SHA-256 of the file.

        Raises:
            UnreachableError, BrokenFileError: it is not right after all retries.
            FetchError: the server refuses it, so that no retry would help.
            StoppedError: `stop` was called.
            DataError: the disk is full or cannot be written.
        """
        part = PartialFile(target)
        retry = self._patience.start()
        while True:
            before = part.n_bytes
            try:
                self._attempt(path, part)
                sha256 = _checked(part, check)
            except BrokenFileError as error:
                if self._stopped.is_set():
                    raise StoppedError from error
                if part.n_bytes - before >= _ENOUGH_PROGRESS_BYTES:
                    retry = self._patience.start()
                try:
                    retry = retry.increment("GET", path, error=error)
                except urllib3.exceptions.MaxRetryError:
                    raise error from None
                self._pause(retry, error.retry_after)
            else:
                part.finish()
                return sha256

    def read_text(self, path: str) -> str | None:
        """A small text, such as a listing, held in memory; None where there is no such path.

        Raises:
            FetchError: the server cannot be reached or does not answer as it should.
        """
        retry = self._patience.start()
        while True:
            try:
                with self._answer(path, {}) as response:
                    return b"".join(self._pieces(response)).decode("utf-8", "replace")
            except _RefusedError as error:
                if error.status in (403, 404, 410):
                    return None
                raise FetchError(f"{self._mirror.shown}{path}: {error}.") from error
            except BrokenFileError as error:
                try:
                    retry = retry.increment("GET", path, error=error)
                except urllib3.exceptions.MaxRetryError:
                    raise FetchError(f"{self._mirror.shown}{path}: {error}.") from error
                self._pause(retry, error.retry_after)

    def _attempt(self, path: str, part: PartialFile) -> None:
        """Append what is missing of a file, or write all of it."""
        have, version = part.n_bytes, part.version
        headers = {"Range": f"bytes={have}-", "If-Range": version} if have and version else {}
        with self._answer(path, headers) as response:
            if response.status_code == 416:
                if response.headers.get("Content-Range") == f"bytes */{have}":
                    return  # all of it had come, and only the check was missing
                part.discard()
                raise BrokenFileError("the server has less of the file than was fetched before")
            resumed = response.status_code == 206
            total = _total_bytes(response, have if resumed else 0)
            if resumed and total is None:
                part.discard()
                raise BrokenFileError("the server sent another part of the file than was asked for")
            if (total or 0) > MAX_FILE_BYTES:
                raise _RefusedError(200, f"it has {total} bytes, too many for this collection")
            if not resumed:
                part.begin(_version_from(response))
            part.append(self._pieces(response))
        if total is not None and part.n_bytes != total:
            n_bytes = part.n_bytes
            part.discard()
            raise BrokenFileError(f"{n_bytes} bytes came where {total} were announced")

    @contextlib.contextmanager
    def _answer(self, path: str, headers: dict[str, str]) -> Iterator[requests.Response]:
        """An answer that carries bytes of the file; every other way it can go is an error."""
        if self._stopped.is_set():
            raise StoppedError
        try:
            response = self._mirror.get(path, headers)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise UnreachableError(why(error)) from error
        self._open.add(response)
        try:
            with response:
                status = response.status_code
                if status in _TRANSIENT:
                    after = response.headers.get("Retry-After")
                    raise BrokenFileError(_status_line(status), after)
                if status not in (200, 206, 416) or (status != 200 and not headers):
                    raise _RefusedError(status, _status_line(status))
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    raise _RefusedError(status, "the server compresses what must come as it is")
                yield response
        finally:
            self._open.discard(response)

    def _pieces(self, response: requests.Response) -> Iterator[bytes]:
        """The body as it comes, never more than `MAX_FILE_BYTES`."""
        n_bytes = 0
        try:
            # `read1` gives what has come and does not wait for a whole piece, so that little
            # is lost when the connection or this process ends.
            while piece := response.raw.read1(_PIECE_BYTES, decode_content=False):
                n_bytes += len(piece)
                if n_bytes > MAX_FILE_BYTES:
                    raise _RefusedError(200, f"it has more than {MAX_FILE_BYTES} bytes")
                if self._stopped.is_set():
                    raise StoppedError
                yield piece
        except (urllib3.exceptions.HTTPError, OSError) as error:
            kind = BrokenFileError if n_bytes else UnreachableError
            raise kind(why(error)) from error

    def _pause(self, retry: Retry, retry_after: str | None) -> None:
        pause_s = retry.get_backoff_time()
        if retry_after is not None:
            # A header that is neither seconds nor a date is as good as none.
            with contextlib.suppress(urllib3.exceptions.InvalidHeader):
                pause_s = max(pause_s, retry.parse_retry_after(retry_after))
        if self._stopped.wait(pause_s):
            raise StoppedError


class _RefusedError(FetchError):
    """An answer that no retry changes; `status` is HTTP's."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


def _checked(part: PartialFile, check: Check) -> str:
    try:
        return check(part.path)
    except BrokenFileError:
        part.discard()  # what is wrong in it is unknown, so nothing of it is worth keeping
        raise


def _total_bytes(response: requests.Response, have: int) -> int | None:
    """Size of the whole file; None where it is not said, or the answer begins elsewhere."""
    if response.status_code == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        sound = match is not None and int(match[1]) == have and match[2] != "*"
        return int(match[2]) if match and sound else None
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _version_from(response: requests.Response) -> str:
    """A validator that `If-Range` accepts: a strong ETag or a date, else nothing."""
    tag = response.headers.get("ETag", "")
    strong = tag if tag.startswith('"') else ""
    return strong or response.headers.get("Last-Modified", "")


def _status_line(status: int) -> str:
    known = {
        401: "the server wants a login (put it into ~/.netrc)",
        403: "the server forbids it",
        404: "the server does not have it",
    }
    return known.get(status, f"the server answers with status {status}")
