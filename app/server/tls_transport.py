"""Writing over TLS such that the server sees what a client has not taken yet."""

from __future__ import annotations

from asyncio import Transport
from collections import deque
from typing import Any, Final

_PIECE_BYTES: Final = 64 * 1024
"""As much as the transport below TLS holds before it asks for a pause."""


class TlsTransport(Transport):
    """A TLS transport that is given the next piece only after it has passed on the one before.

    TLS encrypts all it is given at once and hands that down, where nobody sees it: an answer that
    its client does not take looked like one that has been sent. So it was never given up, and a
    slow client lost the end of its answer to the time limit for closing.
    """

    def __init__(self, tls: Transport) -> None:
        """Wrap the transport of a connection."""
        super().__init__()
        self._tls = tls
        self._waiting: deque[memoryview] = deque()
        self._n_waiting_bytes = 0
        self._is_paused = False
        self._is_closing = False
        # TLS asks for a pause as soon as a piece waits, but not for what ends the handshake.
        tls.set_write_buffer_limits(high=_PIECE_BYTES, low=0)

    def pause(self) -> None:
        """Note that TLS asks for a pause."""
        self._is_paused = True

    def resume(self) -> bool:
        """Note the end of a pause, and write on.

        Returns:
            Whether everything is written.
        """
        self._is_paused = False
        self._write_waiting()
        return not self._is_paused

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write now or later; nothing after `close`."""
        if self._is_closing:
            return
        if len(data) <= _PIECE_BYTES and not self._is_paused:
            self._tls.write(data)
            return
        self._waiting.append(memoryview(data))
        self._n_waiting_bytes += len(data)
        self._write_waiting()

    def _write_waiting(self) -> None:
        while self._waiting and not self._is_paused:
            data = self._waiting.popleft()
            if len(data) > _PIECE_BYTES:
                self._waiting.appendleft(data[_PIECE_BYTES:])
            piece = data[:_PIECE_BYTES]
            self._n_waiting_bytes -= len(piece)
            self._tls.write(piece)
        if self._is_closing and not self._is_paused:
            self._tls.close()

    def get_write_buffer_size(self) -> int:
        """Bytes that have not been passed on."""
        return self._n_waiting_bytes + self._tls.get_write_buffer_size()

    def close(self) -> None:
        """Read no more, and close after all has been written."""
        if self._is_closing:
            return
        self._is_closing = True
        if self._is_paused:
            self._tls.pause_reading()
        else:
            self._tls.close()

    def abort(self) -> None:
        """Close at once."""
        self._is_closing = True
        self._waiting.clear()
        self._n_waiting_bytes = 0
        self._tls.abort()

    def is_closing(self) -> bool:
        """Whether it is closed or about to close."""
        return self._is_closing or self._tls.is_closing()

    def pause_reading(self) -> None:
        """Receive nothing for a while."""
        self._tls.pause_reading()

    def resume_reading(self) -> None:
        """Receive again, unless it is about to close."""
        if not self._is_closing:
            self._tls.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Such as `peercert`; see asyncio."""
        return self._tls.get_extra_info(name, default)
