"""The text of an API key: `osteo_ID_SECRET`, such as a secret scanner can recognise."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Container
from typing import Final

KEY_ID_PATTERN: Final = r"^[a-z0-9]{8}$"
_ID_CHARACTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID_LENGTH: Final = 8
_SECRET_BYTES: Final = 32  # 256 bits: SHA-256 without salt or stretching protects a random key
_KEY: Final = re.compile(r"osteo_([a-z0-9]{8})_[A-Za-z0-9_-]{43}")
_KEY_LIKE: Final = re.compile(r"(osteo_[a-z0-9]{8}_)[A-Za-z0-9_-]+")


def new_key(taken_ids: Container[str] = ()) -> tuple[str, str]:
    """Make a random key.

    Args:
        taken_ids: ids of other keys, which this one must not have.

    Returns:
        The key's public id, 8 characters, and the whole key, 58 characters: `osteo_`, the id, `_`
        and 256 random bits in base64url without padding (RFC 4648, section 5).
    """
    key_id = _new_id()
    while key_id in taken_ids:
        key_id = _new_id()
    secret = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).rstrip(b"=").decode()
    return key_id, f"osteo_{key_id}_{secret}"


def key_id_of(key: str) -> str | None:
    """The public id inside a key; None if the text does not have the form of our keys."""
    match = _KEY.fullmatch(key)
    return match[1] if match else None


def mask_keys(text: str) -> str:
    """The text with the secret of each key in it left out, for logs and errors."""
    return _KEY_LIKE.sub(r"\1...", text)


def sha256_of(key: str) -> bytes:
    """The SHA-256 of a key's UTF-8 text, 32 bytes; any text has one, lone surrogates included."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _new_id() -> str:
    return "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_LENGTH))
