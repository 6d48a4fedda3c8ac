"""A proxy before PostgreSQL that cuts the connection during a commit."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

_SOCKET = ".s.PGSQL.5432"
_COMMIT = b"COMMIT"

_PIECE = 65536

When = Literal["before", "during", "after"]


class CuttingProxy:
    """Forwards bytes; once armed, it cuts the first connection that commits.

    Attributes:
        n_cut: connections cut.
    """

    def __init__(self, folder: Path, server_folder: Path) -> None:
        self._server = str(server_folder / _SOCKET)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / _SOCKET))
        self._listener.listen()
        self._folder = folder
        self._armed: When | None = None
        self.n_cut = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self._folder}"

    def arm(self, when: When) -> None:
        """Cut before the server has the commit, while it works on it, or after it is done."""
        self._armed = when

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        # Either end may reset its connection, which then ends here, too.
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            server.connect(self._server)
            while True:
                ready, _, _ = select.select([client, server], [], [])
                if server in ready:
                    client.sendall(answer := server.recv(_PIECE))
                    if not answer:
                        return
                if client in ready:
                    piece = client.recv(_PIECE)
                    if not piece or self._is_cut_at(piece, server):
                        return
                    server.sendall(piece)

    def _is_cut_at(self, piece: bytes, server: socket.socket) -> bool:
        armed = self._armed
        if armed is None or _COMMIT not in piece:
            return False
        self._armed = None
        if armed != "before":
            server.sendall(piece)
        if armed == "after":
            server.recv(_PIECE)  # the server says that it has committed; the client never hears it
        self.n_cut += 1
        return True
