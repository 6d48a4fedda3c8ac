"""Bearer tokens of an identity provider: JSON Web Tokens (RFC 7519, RFC 9068), verified here."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from app.access.caller import Caller
from app.access.identity_provider import IdentityProvider
from app.access.json_web_key import ALGORITHMS, SigningKey
from app.access.signing_keys import REFRESH_S, SigningKeys
from app.access.token_claims import caller_of, check_times, refuse
from app.core.errors import SettingsError

MAX_TOKEN_BYTES: Final = 8192
_MAX_VERIFIED: Final = 4096
_TYPES: Final = frozenset({"at+jwt", "application/at+jwt", "jwt"})
_REASONS: Final = {
    "InvalidIssuerError": "issuer",
    "InvalidAudienceError": "audience",
    "InvalidSubjectError": "claims",
    "InvalidJTIError": "claims",
}
"""By the names of PyJWT's errors, which are imported only if tokens are accepted; whatever else it
raises after the signature has been verified is about the form."""


@dataclass(frozen=True, slots=True)
class _Header:
    kid: str | None
    algorithm: str


@dataclass(frozen=True, slots=True)
class _Verified:
    caller: Caller
    expires_at: float


class TokenVerifier:
    """Tells who sends a bearer token.

    Belongs to the thread of one event loop. Messages, logs and errors hold nothing of a token.

    Args:
        issuer: URL of the provider, exactly as in the claim `iss`.
        audience: what the claim `aud` must contain.
        scopes_claim: claim that lists the scopes, as a list or separated by blanks.
        timeout_s: time in which the provider must answer.
        clock: seconds since 1970, for `exp`, `nbf` and `iat`.
        refresh_s: how often the provider's keys are fetched in the background.

    Raises:
        SettingsError: the package PyJWT is missing, or the issuer is not reached through HTTPS.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        scopes_claim: str,
        timeout_s: float,
        clock: Callable[[], float] = time.time,
        refresh_s: float = REFRESH_S,
    ) -> None:
        try:
            import cryptography  # noqa: F401 - PyJWT can be installed without it
            from jwt import PyJWT
        except ImportError as error:
            raise SettingsError(
                "OSTEO_OIDC_ISSUER needs the packages PyJWT and cryptography; run "
                "`pip install 'osteo-tiles[access]'` or unset it."
            ) from error
        # PyJWT has no clock that could be set, so times are checked here.
        self._jwt = PyJWT({"verify_exp": False, "verify_nbf": False, "verify_iat": False})
        self._issuer, self._audience, self._scopes_claim = issuer, audience, scopes_claim
        self._clock = clock
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        provider = IdentityProvider(issuer, timeout_s)
        # The verified tokens of a key that the provider has removed are forgotten with it.
        self._keys = SigningKeys(provider, timeout_s, self._verified.clear, refresh_s)

    @property
    def n_fetches(self) -> int:
        """Fetches of the provider's keys, for whatever reason."""
        return self._keys.n_fetches

    @property
    def n_failed_fetches(self) -> int:
        """Those among them that brought no keys."""
        return self._keys.n_failed_fetches

    @property
    def last_fetch_age_s(self) -> float | None:
        """Seconds since the provider's keys were last fetched; None if they never were."""
        return self._keys.age_s

    async def start(self) -> None:
        """Begin to fetch keys in the background; neither waits for the provider nor fails."""
        await self._keys.start()

    async def close(self) -> None:
        """Stop fetching keys."""
        await self._keys.close()

    async def verify(self, token: str) -> Caller:
        """Tell who sends a token; fetches the provider's keys if the token's key is unknown.

        Raises:
            CredentialsInvalidError: as `verify_cached`, or with the reason `unknown-key`.
            IdentityProviderError: the key is unknown and the provider does not answer.
        """
        caller = self.verify_cached(token)
        if caller is None:
            await self._keys.fetch_for(_read_header(token).kid)
            caller = self.verify_cached(token)
        return caller or refuse("unknown-key")

    def verify_cached(self, token: str) -> Caller | None:
        """Tell who sends a token, without any input or output.

        Returns:
            None if the token's key is unknown, so that `verify` has to fetch it.

        Raises:
            CredentialsInvalidError: the token is refused; `reason` is `malformed`, `algorithm`,
                `signature`, `expired`, `not-yet-valid`, `issuer`, `audience` or `claims`. It is
                `unknown-key` for a token that names no key where several could have signed it.
        """
        if len(token) > MAX_TOKEN_BYTES or token.count(".") != 2 or not token.isascii():
            refuse("malformed")
        digest = hashlib.sha256(token.encode()).digest()
        if verified := self._verified.get(digest):
            if self._clock() >= verified.expires_at:
                del self._verified[digest]
                refuse("expired")
            self._verified.move_to_end(digest)
            return verified.caller
        header = _read_header(token)
        key = self._key_of(header)
        if key is None:
            return None
        verified = self._verify_with(key, header.algorithm, token)
        self._verified[digest] = verified
        if len(self._verified) > _MAX_VERIFIED:
            self._verified.popitem(last=False)
        return verified.caller

    def _key_of(self, header: _Header) -> SigningKey | None:
        keys = self._keys.find(header.kid)
        fitting = [key for key in keys if header.algorithm in key.algorithms]
        if keys and not fitting:
            refuse("algorithm")
        if len(fitting) > 1:
            refuse("unknown-key")
        return fitting[0] if fitting else None

    def _verify_with(self, key: SigningKey, algorithm: str, token: str) -> _Verified:
        from jwt import PyJWTError

        if not _is_signed(token, key, algorithm):
            refuse("signature")
        claims: dict[str, Any] = {}
        reason = None
        try:
            claims = self._jwt.decode(
                token,
                key.public_key,
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
            )
        except PyJWTError as error:  # its message may quote the token
            reason = _reason_of(error)
        if reason is not None:
            refuse(reason)
        return _Verified(caller_of(claims, self._scopes_claim), check_times(claims, self._clock()))


def _is_signed(token: str, key: SigningKey, algorithm: str) -> bool:
    """Whether the signature is the key's.

    PyJWT verifies it again, but only after it has looked at every character. A token of 8 kB from
    somebody who knows nothing but the name of a key would cost 0.9 ms.
    """
    from jwt import get_algorithm_by_name

    signed, _, text = token.rpartition(".")
    try:
        signature = _decode(text)
    except ValueError:
        return False
    return get_algorithm_by_name(algorithm).verify(signed.encode(), key.public_key, signature)


def _reason_of(error: Exception) -> str:
    """PyJWT's error in this module's words."""
    claim = getattr(error, "claim", None)  # of its MissingRequiredClaimError
    if claim is not None:
        return {"iss": "issuer", "aud": "audience"}.get(claim, "claims")
    return _REASONS.get(type(error).__name__, "malformed")


def _read_header(token: str) -> _Header:
    """Read the header only, since most wrong tokens are refused for it; PyJWT checks the rest."""
    head = token.partition(".")[0]
    header: object = None
    with contextlib.suppress(ValueError, RecursionError):  # their messages quote the token
        header = json.loads(_decode(head))
    if not isinstance(header, dict):
        refuse("malformed")
    kid, kind = header.get("kid"), header.get("typ", "JWT")
    if not isinstance(kid, str | None) or not isinstance(kind, str) or kind.lower() not in _TYPES:
        refuse("malformed")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        refuse("algorithm")
    return _Header(kid, algorithm)


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
