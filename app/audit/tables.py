"""The tables of the audit. Only `store` imports this module: SQLAlchemy is an optional extra."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

SCHEMA_VERSION: Final = 1

METADATA: Final = MetaData()

# Times and hashes are text, because they stand in the hashed document in the same form.
AUDIT: Final = Table(
    "audit",
    METADATA,
    Column("chain", String, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", String, nullable=False),
    Column("event", String, nullable=False),
    Column("tile_sha256", String),
    Column("request_id", String),
    Column("record", Text, nullable=False),
    Column("hash", String, nullable=False),
    Index("audit_at", "at", "chain", "seq"),
    Index("audit_tile_sha256", "tile_sha256"),
    Index("audit_request_id", "request_id"),
)

SCHEMA: Final = Table(
    "audit_schema",
    METADATA,
    # A fixed key, so that two processes that create the table at once add one row.
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)
