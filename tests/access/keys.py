"""A file of API keys for tests, made with the functions behind `osteo keys`."""

from __future__ import annotations

from pathlib import Path

from app.access.caller import OPEN_SCOPES, Scope
from app.access.key_changes import create_key


def make_key(path: Path, name: str, *scopes: Scope) -> dict[str, str]:
    """Create a key, with `OPEN_SCOPES` if none is given; the headers that send it."""
    created = create_key(path, name, scopes or OPEN_SCOPES, None)
    return bearer(created.key)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}
