"""`osteo keys`: create, list, rotate and revoke the API keys of a service."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from app.access.caller import Scope
from app.access.key_changes import (
    SAME_LIFETIME,
    KeyChange,
    NewKey,
    create_key,
    revoke_key,
    rotate_key,
)
from app.access.key_file import KeyEntry, keys_path, read_key_file
from app.access.key_text import mask_keys
from app.audit.command_records import record_key_change
from app.cli.durations import parse_duration, parse_expiry
from app.cli.endings import plain_errors, say
from app.cli.names import one_line, shown
from app.core.errors import SettingsError
from app.settings import read_settings

DEFAULT_LIFE: Final = "365d"
DEFAULT_OVERLAP: Final = "7d"
_SCOPES: Final = ", ".join(Scope)
_OPEN_UNTIL_RESTART: Final = (
    "A service that started open, without keys, tokens or certificates, stays open until it is "
    "restarted."
)

keys = typer.Typer(
    help="Create, list, rotate and revoke the API keys of the service.",
    epilog="A service that checks keys reads the file again within a second, without a restart. "
    + _OPEN_UNTIL_RESTART,
    no_args_is_help=True,
    rich_markup_mode="rich",
)

_File = Annotated[
    Path | None,
    typer.Option(
        "--file", help="File of the keys [OSTEO_KEYS_FILE, else keys.json in OSTEO_STATE_DIR]."
    ),
]
_Name = Annotated[str, typer.Argument(help="Name of the key.")]
_Expires = Annotated[
    str,
    typer.Option(help="When it ends: 90d, 12h, 2w, a date such as 2027-03-01 (UTC), or never."),
]


def record_change(change: KeyChange) -> None:
    """Record the change of a key, if an audit is kept here; the change is made afterwards.

    Raises:
        SettingsError: it cannot be recorded.
    """
    try:
        record_key_change(read_settings(), change)
    except SettingsError as error:
        raise SettingsError(
            f"Nothing was changed: a change of the key {change.key_name} ({change.action}) must be "
            f"recorded first. {error}"
        ) from error


@keys.command()
def create(
    name: Annotated[
        str, typer.Argument(help="Who will use it, such as scanner-2; logs show the name.")
    ],
    scope: Annotated[
        list[str] | None, typer.Option(help=f"What it may do; repeat it for several: {_SCOPES}.")
    ] = None,
    expires: _Expires = DEFAULT_LIFE,
    subject: Annotated[
        str | None,
        typer.Option(help="Subject of a client certificate that identifies the same caller."),
    ] = None,
    file: _File = None,
) -> None:
    """Create a key and print it, once. The service keeps its SHA-256 only.

    The key alone goes to standard output, what is said about it to standard error:

    KEY=$(osteo keys create scanner-2 --scope classify --scope explain)

    curl -H "Authorization: Bearer $KEY" -F file=@tile.jpg http://127.0.0.1:8000/v1/classify

    Exit code 0: the key is valid. 2: nothing was changed.
    """
    with plain_errors():
        scopes = _scopes(scope or [])
        expires_at = parse_expiry(expires, _now())
        path = _path(file)
        new = create_key(path, name, scopes, expires_at, subject, record_change)
        may = ", ".join(chosen for chosen in Scope if chosen in scopes)
        note = f" {_OPEN_UNTIL_RESTART}" if new.is_only else ""
        _hand_over(new, path, f"Created the key {name} with {may}.", note)


@keys.command(name="list")
def list_keys(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list of JSON objects instead of a table.")
    ] = False,
    file: _File = None,
) -> None:
    """List the keys: names, scopes, states and times in UTC; never a secret.

    osteo keys list

    A key is valid, rotating (the old secret and the new one are valid), expired or revoked.
    """
    with plain_errors():
        path = _path(file)
        content, _ = read_key_file(path)
        rows = [_row(entry, _now()) for entry in content.keys]
    if as_json:
        sys.stdout.write(f"{json.dumps(rows, indent=2)}\n")
    elif rows:
        sys.stdout.write(_table(rows))
    else:
        say(f"There are no keys in {shown(path)}. Create one with `osteo keys create`.")


@keys.command()
def rotate(
    name: _Name,
    overlap: Annotated[
        str, typer.Option(help="How long the old secret stays valid, such as 12h; 0h for a leak.")
    ] = DEFAULT_OVERLAP,
    expires: Annotated[
        str | None,
        typer.Option(
            help="When the new secret ends, as for create; if not given, it lives as long as the "
            "old one was made for."
        ),
    ] = None,
    file: _File = None,
) -> None:
    """Give a key a new secret and print it, once; the old one stays valid for a while.

    KEY=$(osteo keys rotate scanner-2 --overlap 7d)

    Name and scopes stay. If the old secret has leaked, end it at once with --overlap 0h.

    Exit code 0: the new secret is valid. 2: nothing was changed.
    """
    with plain_errors():
        now = _now()
        path = _path(file)
        duration = parse_duration(overlap, "--overlap")
        expires_at = SAME_LIFETIME if expires is None else parse_expiry(expires, now)
        new = rotate_key(path, name, duration, expires_at, record_change)
        old_until = new.change.old_until
        ended = old_until is None or old_until <= now
        old = "is no longer valid" if ended else _ends(old_until)
        _hand_over(new, path, f"The key {name} has a new secret; the old one {old}.")


@keys.command()
def revoke(name: _Name, file: _File = None) -> None:
    """Refuse a key from now on. It cannot be undone, and the name cannot be used again.

    osteo keys revoke scanner-2

    Exit code 0: the key is revoked. 2: nothing was changed.
    """
    with plain_errors():
        path = _path(file)
        revoke_key(path, name, record_change)
        say(f"Revoked the key {name}. A running service refuses it within a second.")


def _hand_over(new: NewKey, path: Path, sentence: str, note: str = "") -> None:
    """Print a new key alone on standard output, and the rest on standard error."""
    say(
        f"{sentence} This one {_ends(new.change.expires_at)}. Keep it: it is shown only now, and "
        f"{shown(path)} has only its SHA-256.{note}"
    )
    sys.stdout.write(f"{new.key}\n")


def _path(file: Path | None) -> Path:
    return file if file is not None else keys_path(read_settings())


def _scopes(names: Sequence[str]) -> frozenset[Scope]:
    unknown = [name for name in names if name not in list(Scope)]
    if unknown:
        raise SettingsError(
            f"{mask_keys(unknown[0])[:80]!r} is not a scope. The scopes are {_SCOPES}."
        )
    return frozenset(map(Scope, names))


def _row(entry: KeyEntry, now: datetime) -> dict[str, Any]:
    """A key as `list --json` prints it."""
    valid = [one for one in entry.secrets if one.expires_at is None or one.expires_at > now]
    state = "rotating" if len(valid) > 1 else "valid" if valid else "expired"
    return {
        "name": entry.name,
        "scopes": list(entry.scopes),
        "state": "revoked" if entry.revoked_at else state,
        "created_at": _iso(entry.created_at),
        "expires_at": _iso(entry.expires_at),
        "revoked_at": _iso(entry.revoked_at),
        "subject": entry.subject,
        "key_ids": [secret.id for secret in entry.secrets],
    }


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """Columns as wide as their longest cell; a terminal folds the lines, a pipe does not."""
    header = ("NAME", "SCOPES", "STATE", "CREATED", "EXPIRES", "SUBJECT")
    cells = [
        (
            row["name"],
            " ".join(row["scopes"]),
            row["state"],
            row["created_at"][:10],
            (row["expires_at"] or "never")[:10],
            one_line(row["subject"] or ""),
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (header, *cells)
    )
    return "".join(f"{line}\n" for line in lines)


def _ends(time: datetime | None) -> str:
    if time is None:
        return "never expires"
    return f"expires on {time.astimezone(UTC):%Y-%m-%d at %H:%M} UTC"


def _iso(time: datetime | None) -> str | None:
    return None if time is None else f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
