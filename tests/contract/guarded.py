"""Provoke the problems of callers: from a service that identifies, limits and records them."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

from fastapi.testclient import TestClient
from pydantic import SecretStr

from app.access.caller import Scope
from app.access.failed_attempts import FailedAttempts
from app.api import access_control
from app.audit import writer
from app.settings import Settings
from tests.access.keys import bearer, make_key
from tests.bundles import FakeRuntime, opener_of

_CLOSED_PORT: Final = "http://127.0.0.1:9"
_SCOPES: Final = (Scope.CLASSIFY, Scope.EXPLAIN, Scope.MODELS_WRITE, Scope.METRICS)


class Guarded:
    """A service whose callers have keys, and its client."""

    def __init__(self, folder: Path) -> None:
        """Create the keys."""
        self.client: TestClient
        self._audit_file = folder / "audit.sqlite3"
        keys_file = folder / "keys.json"
        self.all_scopes = make_key(keys_file, "all", *_SCOPES)
        self.no_scope = make_key(keys_file, "auditor", Scope.AUDIT_READ)
        self.limited = make_key(keys_file, "limited", *_SCOPES)

    @contextmanager
    def audit_locked(self) -> Iterator[None]:
        """Nobody else can write the audit meanwhile, and an answer waits for it only briefly."""
        connection = sqlite3.connect(self._audit_file, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        try:
            with mock.patch.object(writer, "COMMIT_TIMEOUT_S", 0.1):
                yield
        finally:
            connection.execute("ROLLBACK")
            connection.close()


def guarded_settings(models_dir: Path, folder: Path) -> Settings:
    return Settings(
        models_dir=models_dir,
        keys_file=folder / "keys.json",
        oidc_issuer=_CLOSED_PORT,
        oidc_audience="osteo-tiles",
        rate_limits=",".join(f"{scope}=4/day" for scope in _SCOPES),
        audit="required",
        audit_url=SecretStr(f"sqlite:///{folder / 'audit.sqlite3'}"),
    )


@contextmanager
def open_guarded(models_dir: Path, folder: Path, runtime: FakeRuntime) -> Iterator[Guarded]:
    """Start the service; answers to wrong keys are not delayed."""
    from tests.contract.provoked import client_of

    folder.mkdir()
    guarded = Guarded(folder)
    with (
        mock.patch.object(FailedAttempts, "delay_s", return_value=0.0),
        mock.patch.object(access_control, "RATE_LIMITED_DELAY_S", 0.0),
        mock.patch.object(writer, "COMMIT_TIMEOUT_S", 60.0),
        client_of(guarded_settings(models_dir, folder), opener_of(runtime)) as client,
    ):
        guarded.client = client
        yield guarded


def _unknown_token() -> str:
    """A token whose signing key nobody knows."""
    parts = (b'{"alg":"RS256","kid":"new"}', b"{}", b"x" * 256)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def _used_up(guarded: Guarded, send: Callable[[dict[str, str]], Any]) -> Any:
    answers = [send(guarded.limited) for _ in range(5)]
    return answers[-1]


def _unrecorded(guarded: Guarded, send: Callable[[dict[str, str]], Any]) -> Any:
    with guarded.audit_locked():
        return send(guarded.all_scopes)


CALLER_PROVOCATIONS: Final[dict[str, Callable[[Guarded, Callable[[dict[str, str]], Any]], Any]]] = {
    "credentials-missing": lambda _, send: send({}),
    "credentials-invalid": lambda _, send: send(bearer("osteo_00000000_" + "A" * 43)),
    "scope-missing": lambda guarded, send: send(guarded.no_scope),
    "identity-provider-unavailable": lambda _, send: send(bearer(_unknown_token())),
    "audit-unavailable": _unrecorded,
    "rate-limited": _used_up,
}
"""A request, sent with the headers of a caller, that is answered with the problem."""
