"""TLS contexts from the files of the settings; errors name the variable and the file."""

from __future__ import annotations

import ssl
from asyncio import AbstractEventLoop
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, NoReturn, Self

from app.core.errors import SettingsError
from app.server.certificates import expiry_of
from app.server.tls_handshake import ExplainedHandshake
from app.settings import Settings

HANDSHAKE_TIMEOUT_S: Final = 10.0
"""A client that has not finished its handshake by then is disconnected; asyncio allows a minute."""
CLOSE_TIMEOUT_S: Final = 10.0
"""After the server has closed a connection, for the last bytes and the client's own goodbye."""

_CERTIFICATE: Final = "OSTEO_TLS_CERTIFICATE"
_KEY: Final = "OSTEO_TLS_KEY"
_CLIENT_CA: Final = "OSTEO_TLS_CLIENT_CA"


@dataclass(frozen=True)
class TlsFiles:
    """The PEM files of a server."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The files that the settings name; None if TLS is off."""
        if settings.tls_certificate is None or settings.tls_key is None:
            return None
        return cls(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)

    def stamps(self) -> list[tuple[int, ...] | None]:
        """What changes if a file, or the file that a link leads to, is replaced; None: missing."""
        return list(map(_stamp, self._paths()))

    def _paths(self) -> Iterator[Path]:
        yield from (self.certificate, self.key)
        if self.client_ca is not None:
            yield self.client_ca


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


def build_context(files: TlsFiles) -> tuple[ssl.SSLContext, float]:
    """Read the files into a context: TLS 1.2 or newer, the ciphers that Python chooses, HTTP/1.1.

    A client certificate is asked for but not required. Probes have none, other callers have keys
    or tokens, and who has nothing gets an answer that says so (401) instead of a broken handshake.
    One of an authority that is not in the file ends the handshake.

    Returns:
        The context, and when the certificate expires (seconds since 1970).

    Raises:
        SettingsError: a file is missing, unreadable, encrypted or damaged, or the key belongs to
            another certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    context.sslobject_class = ExplainedHandshake
    certificate = _read(_CERTIFICATE, files.certificate)
    if "PRIVATE KEY-----" not in _read(_KEY, files.key):
        raise _unusable(_KEY, files.key, "it contains no PEM private key")
    try:
        expires_at = expiry_of(certificate)
    except ValueError as error:
        raise _unusable(_CERTIFICATE, files.certificate, str(error)) from error
    try:
        context.load_cert_chain(files.certificate, files.key, partial(_refuse_encrypted, files.key))
    except ssl.SSLError as error:
        raise _mismatch(files, error) from error
    if files.client_ca is not None:
        _trust(context, files.client_ca)
    return context, expires_at


def _read(variable: str, path: Path) -> str:
    """The text of a file; what is not ASCII surrounds the PEM blocks, as comments."""
    try:
        return path.read_text("ascii", errors="replace")
    except OSError as error:
        raise _unusable(variable, path, error.strerror or str(error)) from error


def _refuse_encrypted(key: Path) -> NoReturn:
    """Called instead of a question on the terminal."""
    raise _unusable(_KEY, key, "it is encrypted; write the key without a pass phrase")


def _mismatch(files: TlsFiles, error: ssl.SSLError) -> SettingsError:
    reason = error.reason or "OpenSSL cannot read one of them"
    if reason == "KEY_VALUES_MISMATCH":
        reason = "the key belongs to another certificate"
    return SettingsError(
        f"{_CERTIFICATE} ({files.certificate}) cannot be used with {_KEY} ({files.key}): {reason}."
    )


def _trust(context: ssl.SSLContext, client_ca: Path) -> None:
    _read(_CLIENT_CA, client_ca)
    try:
        context.load_verify_locations(client_ca)
    except ssl.SSLError as error:
        reason = "it contains no PEM certificate that can be read"
        raise _unusable(_CLIENT_CA, client_ca, reason) from error
    context.verify_mode = ssl.CERT_OPTIONAL


def _unusable(variable: str, path: Path, reason: str) -> SettingsError:
    return SettingsError(f"{variable} ({path}) cannot be used: {reason}.")


def limit_handshakes(loop: AbstractEventLoop) -> None:
    """Limit the time of handshakes and of closing for servers that this event loop opens.

    uvicorn has no option for either.
    """
    limited = partial(
        loop.create_server,
        ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
        ssl_shutdown_timeout=CLOSE_TIMEOUT_S,
    )
    setattr(loop, "create_server", limited)  # noqa: B010 - mypy allows no other assignment
