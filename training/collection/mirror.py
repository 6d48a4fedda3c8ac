"""A mirror of the collection: its folders under one address, served by any web server.

`SHA256SUMS` lists the files of a mirror. Without it, they are found by the directory listings of
nginx, Apache or `python -m http.server`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

import requests
import urllib3

from training.collection.checksums import SUMS_NAME, parse_sums
from training.errors import DataError, FetchError

TIMEOUTS_S: Final = (10.0, 30.0)
"""Seconds to connect, and between two pieces of a response."""
MAX_PAGES: Final = 2000
"""Limit on directory listings that are followed; the collection has about twenty folders."""

_TABLE: Final = re.compile(r"[^/\\]+\.csv", re.I)
_TILE: Final = re.compile(r"Training-Set-[^/\\]+/set[^/\\]+/[^/\\]+\.jpe?g", re.I)
_FOLDER: Final = re.compile(r"Training-Set-[^/\\]+/(?:set[^/\\]+/)?", re.I)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of the mirror: its relative path, with `/`, and its SHA-256 if the mirror lists it."""

    path: str
    sha256: str | None = None

    @property
    def is_table(self) -> bool:
        """Whether it is a CSV file beside the folders; all others are tiles."""
        return _TABLE.fullmatch(self.path) is not None

    @property
    def stem(self) -> str:
        """The file's name without its extension."""
        return PurePosixPath(self.path).stem


class Mirror:
    """A mirror's address, with one HTTP session for each thread."""

    def __init__(self, address: str) -> None:
        """Check the address; nothing is fetched yet.

        Args:
            address: HTTP address of the folder with `Training-Set-*` and the table.

        Raises:
            DataError: it is not an HTTP address.
        """
        try:
            parts = urlsplit(address)
            sound = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            sound = False
        if not sound:
            raise DataError(
                f"{address!r} is not an address such as https://mirror.example/osteosarcoma/. "
                "Set OSTEO_DATA_URL or give --url."
            )
        self._base = parts._replace(path=parts.path.rstrip("/") + "/", query="", fragment="")
        # An address may contain a name and a password; a message must not.
        host = parts.netloc.rpartition("@")[2]
        self.shown = self._base._replace(netloc=host).geturl()
        self._local = threading.local()

    def get(self, path: str) -> requests.Response:
        """Request a file or a listing, without reading the body.

        Raises:
            requests.RequestException: there was no response.
        """
        session = getattr(self._local, "session", None)
        if session is None:
            # requests does not promise that threads can share a session. Proxies, .netrc and
            # REQUESTS_CA_BUNDLE come from the environment, as a hospital sets them.
            session = self._local.session = requests.Session()
            session.headers["User-Agent"] = "osteo-train"
        address = urljoin(self._base.geturl(), quote(path))
        answer: requests.Response = session.get(address, stream=True, timeout=TIMEOUTS_S)
        return answer

    def path_of(self, link: str, page: str) -> str | None:
        """The path that a link on a page leads to, below the base; None if it leads elsewhere."""
        base = self._base.geturl()
        target = urldefrag(urljoin(urljoin(base, quote(page)), link)).url
        return unquote(target[len(base) :]) if target.startswith(base) else None


def list_files(mirror: Mirror, read: Callable[[str], str | None]) -> tuple[RemoteFile, ...]:
    """All tables and tiles of a mirror, sorted by path.

    Args:
        mirror: the mirror.
        read: returns the text at a path, with retries; None if the mirror has no such path.

    Raises:
        DataError: the hash list is damaged.
        FetchError: the mirror lists no tile or no table.
    """
    text = read(SUMS_NAME)
    if text is not None and not looks_like_a_page(text.encode()):
        sums = parse_sums(text, f"{mirror.shown}{SUMS_NAME}")
        files = [RemoteFile(path, sha256) for path, sha256 in sums.items() if is_wanted(path)]
    else:
        files = [RemoteFile(path) for path in _crawl(mirror, read)]
    if not any(not file.is_table for file in files):
        raise FetchError(
            f"{mirror.shown} lists no Training-Set-*/set*/NAME.jpg, neither in {SUMS_NAME} nor as "
            "directory listings. Give the address of the folder that holds Training-Set-1."
        )
    if not any(file.is_table for file in files):
        raise FetchError(f"{mirror.shown} lists tiles but no table (a CSV file beside them).")
    return tuple(sorted(files, key=lambda file: file.path))


def is_wanted(path: str) -> bool:
    """Whether a path fits the collection's layout and does not lead out of the folder."""
    fits = _TABLE.fullmatch(path) or _TILE.fullmatch(path)
    safe = not _CONTROL.search(path) and ".." not in path.split("/")
    return fits is not None and safe


def looks_like_a_page(start: bytes) -> bool:
    """Whether the content is HTML: a login or error page instead of the file."""
    return start.lstrip(b"\xef\xbb\xbf \t\r\n")[:9].lower().startswith((b"<!doctype", b"<html"))


def why(error: Exception) -> str:
    """Describe a connection error in a few words, without addresses or objects."""
    causes = (error, *error.args)  # requests wraps a time-out in the middle of a body
    if any(isinstance(c, requests.Timeout | urllib3.exceptions.TimeoutError) for c in causes):
        return "the server did not answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not trusted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy did not let it through"
    if isinstance(error, requests.TooManyRedirects):
        return "the server redirects in a circle"
    if isinstance(error, requests.ConnectionError):
        return "the server cannot be reached, or closed the connection"
    return "the connection ended before the file did"


def _crawl(mirror: Mirror, read: Callable[[str], str | None]) -> set[str]:
    """Tables and tiles, found by following the directory listings of the collection's folders."""
    found: set[str] = set()
    seen, ahead = {""}, [""]
    while ahead:
        page = ahead.pop()
        links = _Links()
        links.feed(read(page) or "")
        for path in filter(None, (mirror.path_of(link, page) for link in links.found)):
            if is_wanted(path):
                found.add(path)
            elif _FOLDER.fullmatch(path) and path not in seen and ".." not in path.split("/"):
                seen.add(path)
                ahead.append(path)
        if len(seen) > MAX_PAGES:
            raise FetchError(f"{mirror.shown} lists more than {MAX_PAGES} folders.")
    return found


class _Links(HTMLParser):
    """Every `href` of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]
