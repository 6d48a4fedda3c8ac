"""A public key of an identity provider (JSON Web Key, RFC 7517), and what it may verify."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jwt.types import JWKDict

_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES: Final = {
    "P-256": frozenset({"ES256"}),
    "P-384": frozenset({"ES384"}),
    "P-521": frozenset({"ES512"}),
    "Ed25519": frozenset({"EdDSA"}),
    "Ed448": frozenset({"EdDSA"}),
}
ALGORITHMS: Final = _RSA.union(*_CURVES.values())
"""RFC 7518, section 3.1, and RFC 8037, without what both sides need the same secret for."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key of the provider.

    Attributes:
        kid: names the key in tokens; None if the provider gives it no name.
        algorithms: what it may verify: those of its type, or the only one that the provider states.
        public_key: an object of the package cryptography.
    """

    kid: str | None
    algorithms: frozenset[str]
    public_key: Any


def read_signing_key(document: JWKDict) -> SigningKey | None:
    """Read a member of a JWK Set.

    Args:
        document: a JSON Web Key (RFC 7517).

    Returns:
        None for a key that verifies no tokens: one for encryption, a secret or private one, one of
        an unknown type, or an RSA key of less than 2048 bits.
    """
    from jwt import PyJWK, PyJWTError

    # `key_ops` says nothing: providers publish public keys with the private one's ["sign"].
    is_secret = document.get("kty") == "oct" or "d" in document
    if is_secret or document.get("use", "sig") != "sig":
        return None
    curve = document.get("crv")
    fitting = _RSA if document.get("kty") == "RSA" else _CURVES.get(str(curve), frozenset())
    if stated := document.get("alg"):
        fitting &= {stated} if isinstance(stated, str) else set()
    if not fitting:
        return None
    try:
        key = PyJWK(document, algorithm=min(fitting))
        is_weak = key.Algorithm.check_key_length(key.key) is not None
    except PyJWTError:
        return None
    kid = document.get("kid")
    return None if is_weak else SigningKey(kid if isinstance(kid, str) else None, fitting, key.key)
