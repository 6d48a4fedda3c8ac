"""Errors of the release commands.

ReleaseError             a step failed; the message says what to do
├── NotAuditedError      the vulnerability database gave no usable answer
├── VulnerableError      the database knows vulnerabilities of locked packages
└── LicenceError         a licence is unknown, or must not be shipped
"""

from __future__ import annotations


class ReleaseError(Exception):
    """A step of a release failed."""


class NotAuditedError(ReleaseError):
    """The packages were not audited, so nothing is known about them."""


class VulnerableError(ReleaseError):
    """A locked package has a known vulnerability that is not on the list of accepted ones."""


class LicenceError(ReleaseError):
    """A package has no known licence, or one that must not be shipped."""
