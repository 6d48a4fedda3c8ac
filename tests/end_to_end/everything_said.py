"""All that a service and its commands say, and the secrets that must not be in it."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.end_to_end.exchanges import connect, request
from tests.server.connections import receive_all
from tests.servers import RunningServer

PREFIX_LENGTH: Final = 12


class Said:
    """What was said, by who said it."""

    def __init__(self) -> None:
        self._texts: list[tuple[str, bytes]] = []

    def add(self, where: str, text: bytes | str) -> None:
        """Note a text."""
        self._texts.append((where, text.encode() if isinstance(text, str) else text))

    def add_files(self, folder: Path) -> None:
        """Note the content of all files of a folder."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.add(file.name, file.read_bytes())

    def find(self, secrets: Mapping[str, str]) -> list[str]:
        """Where a secret, its beginning or an encoded form of it is."""
        return [
            f"{name} as {form!r} in {where}: {text[max(0, text.find(form) - 60) :][:160]!r}"
            for where, text in self._texts
            for name, secret in secrets.items()
            for form in forms_of(secret)
            if form in text
        ]

    def __len__(self) -> int:
        return sum(len(text) for _, text in self._texts)


def forms_of(secret: str) -> Iterator[bytes]:
    """The secret, what it begins with, and what somebody would decode to get it."""
    raw = secret.encode()
    yield raw
    yield raw[:PREFIX_LENGTH]
    yield quote(secret, safe="").encode()
    for skipped in range(3):  # in the middle of base64, a secret has one of three forms
        whole = raw[skipped : skipped + (len(raw) - skipped) // 3 * 3]
        yield base64.b64encode(whole)
        yield base64.urlsafe_b64encode(whole)
    yield raw.hex().encode()


def ask(
    server: RunningServer, said: Said, target: str, *lines: str, method: str = "POST",
    tls: ssl.SSLContext | None = None, body: bytes | None = None,
) -> int:  # fmt: skip
    """Send a request; notes the whole answer and returns its status."""
    sent = request(target, "Connection: close", *lines, method=method, body=body)
    with connect(server, tls) as connection:
        connection.sendall(sent)
        answer = receive_all(connection)
    said.add(f"answer to {method} {target[:40]}", answer)
    return int(answer.split(b" ", 2)[1])
