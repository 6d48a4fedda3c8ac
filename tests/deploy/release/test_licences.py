"""What is shipped has a known licence, and none of the GPL or AGPL."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from deploy.release.documents import installed_packages
from deploy.release.errors import LicenceError
from deploy.release.inventory import Distribution
from deploy.release.licences import Rules
from deploy.release.locks import lock_path, read_lock
from deploy.release.notices import third_party_notices
from tests.conftest import REPOSITORY

RULES = Rules.read()


@pytest.fixture(scope="module")
def installed() -> dict[str, Distribution]:
    pins = (read_lock(lock_path(REPOSITORY, name)) for name in ("serve", "gpu"))
    return installed_packages(chain(*pins))


@pytest.mark.parametrize("name", ["serve", "gpu"])
def test_everything_shipped_may_be_shipped(name: str, installed: dict[str, Distribution]) -> None:
    packages = {pin.name for pin in read_lock(lock_path(REPOSITORY, name))}
    notices = third_party_notices(name, "1.2.0", packages, installed, RULES)
    for package in packages:
        assert re.search(rf"^{package} ", notices, re.M), package
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in notices
    assert "LGPL-2.1: shared libraries, unmodified" in notices


@pytest.mark.exhaustive
def test_pip_licenses_finds_no_gpl_either(installed: dict[str, Distribution]) -> None:
    """A second opinion, from a program that reads the metadata in its own way."""
    packages = {pin.name for pin in read_lock(lock_path(REPOSITORY, "serve"))} & installed.keys()
    command = [sys.executable, "-m", "piplicenses", "--format=json", "--from=all", "--with-system"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = {str(canonicalize_name(row["Name"])): row for row in json.loads(done.stdout)}
    assert packages <= found.keys()
    gpl = {
        name
        for name in packages
        if re.search(r"(?<!L)(GPL|Affero)|(?<!Lesser )General Public", str(found[name]))
    }
    # BSD-3-Clause or GPL-2.0, at our choice: a library in it.
    assert gpl <= {"openslide-bin"}


@pytest.mark.parametrize(
    "expression",
    [
        "GPL-3.0-only",
        "AGPL-3.0-or-later",
        "MIT AND GPL-2.0-or-later",
        "GPL-2.0-only WITH Classpath-exception-2.0",
        "LGPL-2.1-only",
        "LicenseRef-Unheard-Of",
    ],
)
def test_check_shipped_refuses(expression: str) -> None:
    with pytest.raises(LicenceError, match="must not be shipped"):
        RULES.check_shipped("a-package", expression)


@pytest.mark.parametrize(
    "expression",
    [
        "MIT",
        "Apache-2.0 AND BSD-3-Clause",
        "GPL-3.0-or-later WITH GCC-exception-3.1",
        "FTL OR GPL-2.0-only",
    ],
)
def test_check_shipped_accepts(expression: str) -> None:
    RULES.check_shipped("a-package", expression)


def test_an_allowed_package_must_not_become_gpl() -> None:
    RULES.check_shipped("psycopg", "LGPL-3.0-only")
    with pytest.raises(LicenceError, match=r"psycopg: GPL-3\.0-only must not be shipped"):
        RULES.check_shipped("psycopg", "GPL-3.0-only")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Distribution("x", "1", licence_expression="MIT-0"), "MIT-0"),
        (Distribution("x", "1", licence_field="BSD-3-Clause"), "BSD-3-Clause"),
        (
            Distribution("x", "1", classifiers=["License :: OSI Approved :: MIT License"]),
            "MIT",
        ),
    ],
)
def test_of_package_reads_metadata(found: Distribution, expected: str) -> None:
    assert RULES.of_package("x", found) == expected


@pytest.mark.parametrize(
    "found",
    [
        None,
        Distribution("x", "1"),
        Distribution("x", "1", licence_field="BSD"),
        Distribution("x", "1", classifiers=["License :: OSI Approved :: BSD License"]),
    ],
)
def test_of_package_does_not_guess(found: Distribution | None) -> None:
    with pytest.raises(LicenceError, match=r"x: no SPDX licence is known"):
        RULES.of_package("x", found)


def test_notices_name_every_problem(installed: dict[str, Distribution]) -> None:
    bad = {
        "a": Distribution("a", "1"),
        "b": Distribution("b", "1", "MIT", libraries={"libz-1.so": ""}),
    }
    with pytest.raises(LicenceError, match=r"(?s)a: no SPDX.*libz-1.so: add the licence of libz"):
        third_party_notices("x", "1", ["a", "b", "idna"], {**installed, **bad}, RULES)


def test_no_entry_of_the_rules_is_unused() -> None:
    names = {
        pin.name for n in ("serve", "gpu", "train") for pin in read_lock(lock_path(REPOSITORY, n))
    }
    for table in (RULES.allowed, RULES.packages):
        for entry in table:
            is_library = entry in RULES.libraries
            assert is_library or any(Path(name).match(entry) for name in names), entry
