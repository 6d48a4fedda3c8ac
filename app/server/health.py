"""Ask the server on this machine whether it is ready: `python -m app.server.health`.

The container runs it every few seconds, so it imports only the standard library and reads two
settings itself; reading all of them takes longer than the question.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from pathlib import Path
from typing import Final

_TIMEOUT_S: Final = 2.0
_SECRETS_DIR: Final = Path("/run/secrets")  # as app.settings.reading


def ask_readiness() -> str | None:
    """Ask `/readyz` on the loopback address, over TLS if that is on.

    The certificate is not verified: it names the host that clients use, and nobody else answers on
    the loopback address of a container.

    Returns:
        None if the server is ready, else why it is not.
    """
    port = int(_setting("OSTEO_PORT") or 8000)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    if _setting("OSTEO_TLS_CERTIFICATE"):
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=_TIMEOUT_S, context=unverified
        )
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"port {port}: {str(error) or type(error).__name__}"
    finally:
        connection.close()
    return None if status == http.client.OK else f"/readyz answers {status}"


def _setting(variable: str) -> str:
    """A variable, or the file of that name among the secrets; empty if not set."""
    value = os.environ.get(variable, "")
    file = _SECRETS_DIR / variable.lower()
    return value or (file.read_text().strip() if file.is_file() else "")


if __name__ == "__main__":
    sys.exit(ask_readiness())  # a text is printed, and the exit code is 1
