"""Which licence a package has, and whether the images may contain it: `licences.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Self

import license_expression  # type: ignore[import-untyped] # it ships no types

from deploy.release.errors import LicenceError
from deploy.release.inventory import Distribution

RULES_PATH: Final = Path(__file__).with_name("licences.toml")
_SPDX: Final = license_expression.get_spdx_licensing()
_OF_CLASSIFIER: Final = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
"""The trove classifiers that name one licence; "BSD License", for example, names several."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The content of `licences.toml`, whose comments describe each part."""

    permissive: frozenset[str]
    exceptions: frozenset[str]
    allowed: Mapping[str, str]
    packages: Mapping[str, str]
    libraries: Mapping[str, str]

    @classmethod
    def read(cls, path: Path = RULES_PATH) -> Self:
        """Read the file."""
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(
            permissive=frozenset(content["permissive"]),
            exceptions=frozenset(content["exceptions"]),
            allowed=content["allowed"],
            packages=content["packages"],
            libraries=content["libraries"],
        )

    def of_package(self, name: str, installed: Distribution | None) -> str:
        """SPDX expression of a package.

        Args:
            name: canonical.
            installed: what is installed under this name; None if nothing is.

        Raises:
            LicenceError: neither its metadata nor `licences.toml` has one.
        """
        if installed and installed.licence_expression:
            return installed.licence_expression
        reviewed = _lookup(self.packages, name)
        if reviewed:
            return reviewed
        if installed and _is_spdx(installed.licence_field):
            return installed.licence_field
        named = [_OF_CLASSIFIER.get(c) for c in installed.classifiers] if installed else []
        if len(named) == 1 and named[0]:
            return named[0]
        where = "the metadata of the package" if installed else "the package is not installed here"
        raise LicenceError(
            f"{name}: no SPDX licence is known ({where}); read its licence file and add it to "
            f"[packages] of deploy/release/{RULES_PATH.name}"
        )

    def of_library(self, file_name: str) -> str:
        """SPDX expression of a shared library that a wheel bundles.

        Raises:
            LicenceError: `licences.toml` does not have it.
        """
        stem = library_name(file_name)
        if stem not in self.libraries:
            raise LicenceError(
                f"{file_name}: add the licence of {stem} to [libraries] of "
                f"deploy/release/{RULES_PATH.name}"
            )
        return self.libraries[stem]

    def reason_allowed(self, name: str) -> str | None:
        """Why a package or library of another than a permissive licence may be shipped."""
        return _lookup(self.allowed, name)

    def is_permissive(self, expression: str) -> bool:
        """Whether a licence lets a work be passed on with its text and notices alone.

        The choice of an `OR` is ours; every part of an `AND` counts.
        """
        return self._is_permissive(_SPDX.parse(expression))

    def _is_permissive(self, parsed: Any) -> bool:
        if isinstance(parsed, _SPDX.OR):
            return any(map(self._is_permissive, parsed.args))
        if isinstance(parsed, _SPDX.AND):
            return all(map(self._is_permissive, parsed.args))
        if isinstance(parsed, license_expression.LicenseWithExceptionSymbol):
            return parsed.exception_symbol.key in self.exceptions
        return parsed.key in self.permissive

    def check_shipped(self, name: str, expression: str) -> None:
        """Check that the images may contain a package or library.

        Raises:
            LicenceError: its licence is a strong copyleft one (GPL, AGPL), or one that is neither
                permissive nor allowed for it by name.
        """
        if self.is_permissive(expression):
            return
        if self.reason_allowed(name) and not _needs_gpl(_SPDX.parse(expression)):
            return
        raise LicenceError(
            f"{name}: {expression} must not be shipped; replace it, or if its terms allow it, add "
            f"the reason to [allowed] of deploy/release/{RULES_PATH.name}"
        )


def library_name(file_name: str) -> str:
    """`libssl` of libssl-6a9b88ec.so.3: what comes before the hash that auditwheel adds."""
    return re.sub(r"-.*|\.so.*", "", file_name)


def _needs_gpl(parsed: Any) -> bool:
    """Whether there is no choice but the GPL or the AGPL."""
    if isinstance(parsed, _SPDX.OR):
        return all(map(_needs_gpl, parsed.args))
    if isinstance(parsed, _SPDX.AND):
        return any(map(_needs_gpl, parsed.args))
    return str(parsed.key).startswith(("GPL-", "AGPL-"))


def _is_spdx(text: str) -> bool:
    return bool(text) and not _SPDX.validate(text).errors


def _lookup(table: Mapping[str, str], name: str) -> str | None:
    return next((value for key, value in table.items() if fnmatchcase(name, key)), None)
