"""Handshakes that tell the client, and the log, why they failed."""

from __future__ import annotations

import logging
import ssl
from typing import Any, Final

from app.api.answer_headers import PLAIN_HEADERS
from app.telemetry.logs import LOGGER_NAME

_HINT: Final = b"This port answers HTTPS only; use a URL that begins with https.\n"
_HEADERS: Final = {
    **PLAIN_HEADERS,
    "Content-Type": "text/plain",
    "Content-Length": str(len(_HINT)),
    "Connection": "close",
}
_PLAIN_ANSWER: Final = b"HTTP/1.1 400 Bad Request\r\n%b\r\n%b" % (
    "".join(f"{name}: {value}\r\n" for name, value in _HEADERS.items()).encode(),
    _HINT,
)
_logger = logging.getLogger(LOGGER_NAME)


class ExplainedHandshake(ssl.SSLObject):
    """asyncio and uvloop close a connection whose handshake failed before they send TLS's alert.

    The client would see an unexplained end of the connection, whether its certificate is of a
    wrong authority, has expired, or its version of TLS is too old.
    """

    outgoing: ssl.MemoryBIO
    _failure: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        """Take the next step; called by the event loop whenever data has come.

        Raises:
            ssl.SSLWantReadError: more data is needed; what waits to be sent is sent.
            ssl.SSLError: the handshake has failed, and the client has been told.
        """
        if self._failure is not None:
            raise self._failure
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            reason = error.reason or "not TLS"
            detail = getattr(error, "verify_message", "")
            _logger.info("tls_handshake_failed", extra={"reason": reason, "detail": detail})
            if reason == "HTTP_REQUEST":
                self.outgoing.write(_PLAIN_ANSWER)
            if not self.outgoing.pending:
                raise
            self._failure = error
            # Has the alert sent. The client then closes the connection, or its time runs out.
            raise ssl.SSLWantReadError from error


class RenewableContext(ssl.SSLContext):
    """The context of a listener; each handshake uses the newest of the contexts behind it.

    A listener keeps its context. Reading files into that one would exchange the certificate, but
    would only add authorities, and clients could resume sessions that a removed one vouched for.
    """

    newest: ssl.SSLContext

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **kwargs: Any
    ) -> ssl.SSLObject:
        """Begin a handshake; called by the event loop."""
        handshake = self.newest.wrap_bio(incoming, outgoing, *args, **kwargs)
        if isinstance(handshake, ExplainedHandshake):
            handshake.outgoing = outgoing
        return handshake
