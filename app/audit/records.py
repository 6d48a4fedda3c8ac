"""What is recorded of an answer, a refusal or a change: no names of files, no pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final, Literal

Event = Literal[
    "answer",
    "refusal",
    "activation",
    "rollback",
    "key-change",
    "slide-added",
    "slide-deleted",
    "slide-answer",
    "job-submitted",
    "job-cancelled",
    "job-deleted",
    "start",
    "stop",
    "interruption",
    "prune",
    "seal",
]
"""`interruption`: records could not be written for a while. `prune`: old records were removed.
`seal`: stands in the place of removed records."""


def utc_now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One record. What does not apply is None and is left out of the stored document.

    Attributes:
        event: what happened.
        at: when, with a time zone; stored in UTC with microseconds.
        caller: name of a key, subject of a token or a certificate.
        caller_kind: how the caller was identified.
        request_id: of the request, as in its log line.
        route: template of the route, such as `/v1/classify`; not the path that was sent.
        status: HTTP status of the reply.
        index: position of the tile in a request with several, from 0.
        tile_sha256: SHA-256 of the encoded tile, as it was received.
        model_name: name of the bundle that answered or was activated.
        model_version: its version.
        bundle_sha256: SHA-256 of its manifest.
        runtime: `litert` or `savedmodel`.
        precision: `fp32` or `int8`.
        probabilities: in [0, 1], by label.
        prediction: the most probable label.
        prediction_set: labels, most probable first; None if there is no set.
        review_reasons: why a person should look at the tile; empty if for no reason.
        reason: of a refusal, the code of its problem.
        count: number of equal refusals that the record stands for, or of records that were lost.
        details: of a change, what it went from and to; of a slide or its job, its SHA-256 and the
            necrosis ratio; plain JSON.
    """

    event: Event
    at: datetime = field(default_factory=utc_now)
    caller: str | None = None
    caller_kind: str | None = None
    request_id: str | None = None
    route: str | None = None
    status: int | None = None
    index: int | None = None
    tile_sha256: str | None = None
    model_name: str | None = None
    model_version: str | None = None
    bundle_sha256: str | None = None
    runtime: str | None = None
    precision: str | None = None
    probabilities: Mapping[str, float] | None = None
    prediction: str | None = None
    prediction_set: Sequence[str] | None = None
    review_reasons: Sequence[str] | None = None
    reason: str | None = None
    count: int | None = None
    details: Mapping[str, Any] | None = None


FIELD_NAMES: Final = tuple(field.name for field in fields(AuditRecord))


def format_time(at: datetime) -> str:
    """A time in UTC such as `2026-11-26T06:14:35.000000Z`; text of this form sorts by time."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def members_of(record: AuditRecord) -> dict[str, Any]:
    """The members of the JSON document of a record, without those that do not apply."""
    members = {name: value for name in FIELD_NAMES if (value := getattr(record, name)) is not None}
    members["at"] = format_time(record.at)
    for name in ("probabilities", "details"):
        if name in members:
            members[name] = dict(members[name])
    for name in ("prediction_set", "review_reasons"):
        if name in members:
            members[name] = list(members[name])
    return members
