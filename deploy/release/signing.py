"""Sign a file with an Ed25519 key, so that `openssl pkeyutl -verify` accepts it."""

from __future__ import annotations

from pathlib import Path

from deploy.release.errors import ReleaseError


def sign(path: Path, key_path: Path) -> Path:
    """Write the 64 bytes of an Ed25519 signature beside a file, as FILE.sig.

    Args:
        path: what is signed.
        key_path: private key, as `openssl genpkey -algorithm ed25519` writes it.

    Raises:
        ReleaseError: the key cannot be read, is encrypted, or is of another kind.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(key_path.read_bytes(), password=None)
    except OSError as error:
        raise ReleaseError(f"{key_path} cannot be read: {error.strerror}") from error
    except TypeError as error:
        raise ReleaseError(
            f"{key_path} is encrypted. Leave out --signing-key, and sign {path.name} with openssl, "
            "which asks for the passphrase: docs/supply-chain.md"
        ) from error
    except ValueError as error:
        raise ReleaseError(f"{key_path} is not a private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ReleaseError(f"{key_path} is not an Ed25519 key: openssl genpkey -algorithm ed25519")
    signed = path.with_name(f"{path.name}.sig")
    signed.write_bytes(key.sign(path.read_bytes()))
    return signed
