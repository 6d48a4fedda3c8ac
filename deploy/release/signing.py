"""Sign a file with an Ed25519 key, so that `openssl pkeyutl -verify` accepts it."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from deploy.release.errors import ReleaseError


def read_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key, as `openssl genpkey -algorithm ed25519` writes it.

    Raises:
        ReleaseError: it cannot be read, is encrypted, or is of another kind.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error.strerror}") from error
    except TypeError as error:
        raise ReleaseError(
            f"{path} is encrypted. Leave out --signing-key, and sign SHA256SUMS with openssl, "
            "which asks for the passphrase: docs/supply-chain.md"
        ) from error
    except ValueError as error:
        raise ReleaseError(f"{path} is not a private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ReleaseError(f"{path} is not an Ed25519 key: openssl genpkey -algorithm ed25519")
    return key


def sign(path: Path, key: Ed25519PrivateKey) -> Path:
    """Write the 64 bytes of a signature beside a file, as FILE.sig.

    Raises:
        ReleaseError: it cannot be written; the file is removed then, because it is unsigned.
    """
    signed = path.with_name(f"{path.name}.sig")
    try:
        signed.write_bytes(key.sign(path.read_bytes()))
    except OSError as error:
        path.unlink()
        raise ReleaseError(f"{signed} cannot be written: {error.strerror}") from error
    return signed
