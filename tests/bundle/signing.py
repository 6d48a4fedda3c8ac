"""Sign a file as minisign and openssl do, with a key made for the test."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_ID = bytes(range(8))


class Signer:
    """A key pair."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.key = self._private.public_key().public_bytes_raw()

    @property
    def minisign_key(self) -> str:
        return base64.b64encode(b"Ed" + KEY_ID + self.key).decode()

    def sign(self, content: bytes) -> bytes:
        return self._private.sign(content)

    def minisign(self, content: bytes, *, prehashed: bool = True, key_id: bytes = KEY_ID) -> bytes:
        signature = self.sign(hashlib.blake2b(content).digest() if prehashed else content)
        comment = b"timestamp:1767225600"
        return b"\n".join(
            (
                b"untrusted comment: signature",
                base64.b64encode((b"ED" if prehashed else b"Ed") + key_id + signature),
                b"trusted comment: " + comment,
                base64.b64encode(self.sign(signature + comment)),
                b"",
            )
        )
