"""A caller, and what it may do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal


class Scope(StrEnum):
    """What a caller may do; keys, tokens and certificates carry a set of these."""

    CLASSIFY = "classify"
    EXPLAIN = "explain"
    SLIDES = "slides"
    MODELS_WRITE = "models:write"
    METRICS = "metrics"
    AUDIT_READ = "audit:read"


CallerKind = Literal["key", "token", "certificate", "anonymous"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request.

    Attributes:
        name: a key's name, a token's subject or a certificate's subject; it may appear in logs.
        kind: how the caller was identified.
        scopes: what it may do.
    """

    name: str
    kind: CallerKind
    scopes: frozenset[Scope]


OPEN_SCOPES: Final = frozenset({Scope.CLASSIFY, Scope.EXPLAIN, Scope.SLIDES, Scope.METRICS})
"""What everybody may do on a service without access control, and the scopes of a first key."""

ANONYMOUS: Final = Caller("anonymous", "anonymous", OPEN_SCOPES)


def parse_scopes(text: str | Iterable[object]) -> frozenset[Scope]:
    """The known scopes among those that a claim or a setting lists; others are ignored.

    Args:
        text: scopes separated by blanks, or a list of them.
    """
    names = text.split() if isinstance(text, str) else [str(name) for name in text]
    return frozenset(scope for scope in Scope if scope in names)
