"""The base class of everything that training reads or writes as JSON or TOML."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from training.storage.atomic import write_bytes_whole


class FrozenModel(BaseModel):
    """An immutable model that rejects unknown fields, so that a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def write_json(path: Path, model: FrozenModel) -> str:
    """Write a model, whole or not at all, and return the SHA-256 of the file.

    Raises:
        OSError: the disk is full or not writable.
    """
    content = model.model_dump_json(indent=1).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_whole(path, content)
    return hashlib.sha256(content).hexdigest()
