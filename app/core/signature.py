"""Ed25519 signatures (RFC 8032) of a file, as minisign or as openssl writes them."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_KEY_ID_BYTES: Final = 8
_DER_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")
"""DER of an Ed25519 SubjectPublicKeyInfo up to the key (RFC 8410)."""
# https://jedisct1.github.io/minisign/#signature-format
_MINISIGN: Final = b"Ed"
_MINISIGN_PREHASHED: Final = b"ED"
_TRUSTED_COMMENT: Final = b"trusted comment: "


class SignatureError(ValueError):
    """A signature is not one of the key over the content, or cannot be checked."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key; `key_id` is None unless it is a minisign key."""

    key: bytes
    key_id: bytes | None = None

    @property
    def suffix(self) -> Literal["minisig", "sig"]:
        """Suffix of the signature's file."""
        return "sig" if self.key_id is None else "minisig"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a minisign key, or a raw key in hexadecimal, in base64 or as openssl prints it.

        Raises:
            ValueError: it is none of these.
        """
        content = _decode(text.strip())
        if content is not None:
            if len(content) == _KEY_BYTES:
                return cls(content)
            if content.startswith(_DER_PREFIX) and len(content) == len(_DER_PREFIX) + _KEY_BYTES:
                return cls(content.removeprefix(_DER_PREFIX))
            head = len(_MINISIGN) + _KEY_ID_BYTES
            if content.startswith(_MINISIGN) and len(content) == head + _KEY_BYTES:
                return cls(content[head:], content[len(_MINISIGN) : head])
        raise ValueError(
            "must be the base64 line of a minisign public key, or a raw Ed25519 public key in "
            "hexadecimal or base64"
        )


def verify_signature(public_key: PublicKey, content: bytes, signature: bytes) -> None:
    """Verify a detached signature.

    Args:
        public_key: the key; says which format the signature has.
        content: what was signed.
        signature: the content of a `.minisig` file, or 64 bytes, raw or in base64.

    Raises:
        SignatureError: it is not a signature of this key over the content, or the package
            `cryptography` is missing.
    """
    verify = _verifier(public_key.key)
    if public_key.key_id is None:
        raw = signature if len(signature) == _SIGNATURE_BYTES else _base64(signature)
        verify(raw, content)
    else:
        _verify_minisign(verify, public_key.key_id, content, signature)


def _verify_minisign(verify: Any, key_id: bytes, content: bytes, signature: bytes) -> None:
    lines = signature.splitlines()
    if len(lines) < 4 or not lines[2].startswith(_TRUSTED_COMMENT):
        raise SignatureError("it is not a minisign signature")
    raw, head = _base64(lines[1]), len(_MINISIGN) + _KEY_ID_BYTES
    algorithm, found_id, own = raw[: len(_MINISIGN)], raw[len(_MINISIGN) : head], raw[head:]
    if algorithm not in (_MINISIGN, _MINISIGN_PREHASHED):
        raise SignatureError("it is not a minisign signature")
    if found_id != key_id:
        # minisign prints the id as a little-endian number.
        found, expected = (i[::-1].hex().upper() for i in (found_id, key_id))
        raise SignatureError(f"it was made with key {found}, not with key {expected}")
    verify(own, content if algorithm == _MINISIGN else hashlib.blake2b(content).digest())
    verify(_base64(lines[3]), own + lines[2].removeprefix(_TRUSTED_COMMENT))


def _verifier(key: bytes) -> Any:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise SignatureError(
            "checking it needs the package cryptography; run `pip install "
            "'osteo-tiles[signatures]'` or unset OSTEO_BUNDLE_PUBLIC_KEY"
        ) from error

    def verify(signature: bytes, content: bytes) -> None:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, content)
        except (InvalidSignature, ValueError) as error:
            raise SignatureError("it is not a signature of this manifest with the key") from error

    return verify


def _decode(text: str) -> bytes | None:
    for decode in (bytes.fromhex, lambda t: base64.b64decode(t, validate=True)):
        try:
            return decode(text)
        except (ValueError, binascii.Error):
            continue
    return None


def _base64(line: bytes) -> bytes:
    try:
        return base64.b64decode(line.strip(), validate=True)
    except binascii.Error as error:
        raise SignatureError("it is not valid base64") from error
