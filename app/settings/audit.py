"""Settings of the audit: what is recorded of every answer, and where."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, SecretStr
from pydantic_settings import BaseSettings


class AuditSettings(BaseSettings):
    """The append-only record of answers, refusals and changes."""

    audit: Literal["off", "on", "required"] | None = Field(
        default=None,
        description="`on` records every answer without delaying it; `required` answers only after "
        "the record is committed, else with 503; `off` records nothing. If not set: `off` on a "
        "loopback address, `on` elsewhere.",
    )
    audit_url: SecretStr | None = Field(
        default=None,
        description="SQLAlchemy URL of the database of the audit, such as "
        "`postgresql+psycopg://osteo@db/osteo`; the SQLite file `audit.sqlite3` in "
        "`OSTEO_STATE_DIR` if not set.",
    )
    audit_queue_records: PositiveInt = Field(
        default=10_000,
        description="Records that may wait to be written. With `on`, further ones are dropped, "
        "counted and logged; with `required`, further requests get 503.",
    )
    audit_head_every: PositiveInt = Field(
        default=1000,
        description="Records after which the head of the hash chain is logged again.",
    )
    replica: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,128}$",
        description="Name of this replica, and of its hash chain in the audit; the host's name if "
        "not set.",
    )
