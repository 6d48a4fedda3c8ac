"""pip-audit, asking a real server: what is vulnerable is named, and silence is not a pass."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from deploy.release.audit import KNOWN_VULNERABLE, Accepted, audit, read_accepted
from deploy.release.errors import NotAuditedError, ReleaseError, VulnerableError
from deploy.release.locks import Pin
from tests.deploy.release.made_repository import lock, make_repository, run_command
from tests.deploy.release.osv import DOCUMENTED, osv_server

pytestmark = pytest.mark.usefixtures("_forked_pip_audit")
TODAY = datetime.date(2026, 1, 2)
PINS = [
    Pin(name, version, "", ()) for name, version in (("idna", "3.1"), ("six", "1"), ("six", "2"))
]
VULNERABLE = {("six", "2"): "PYSEC-2026-11"}


def accepted(until: datetime.date) -> list[Accepted]:
    return [Accepted("PYSEC-2026-11", "not used", until)]


def test_audit_looks_every_version_up_and_names_what_nobody_accepts_today() -> None:
    yesterday = TODAY - datetime.timedelta(days=1)
    expected = (
        r"vulnerabilities:\n  jinja2 2\.4\.1: PYSEC-2014-8, CVE-2014-8 \(fixed in 9\.9\)\n"
        rf"  six 2: PYSEC-2026-11, CVE-026-11 \(fixed in 9\.9\); it was accepted until {yesterday}$"
    )
    pins = [*PINS, Pin(*KNOWN_VULNERABLE, "", ())]
    with (
        osv_server({**DOCUMENTED, **VULNERABLE}) as (url, asked),
        pytest.raises(VulnerableError, match=expected),
    ):
        audit(pins, accepted(yesterday), today=TODAY, osv_url=url)
    assert set(asked) == {(pin.name, pin.version) for pin in pins}


def test_audit_accepts_until_the_end_of_a_day_and_finds_no_example_that_is_not_locked() -> None:
    with osv_server({**DOCUMENTED, **VULNERABLE}) as (url, asked):
        (found,) = audit(PINS[2:], accepted(TODAY), today=TODAY, osv_url=url)
    assert found.package == "six"
    assert set(asked) == {*DOCUMENTED, *VULNERABLE}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>Please log in</html>", "no usable answer"),
        pytest.param(b"", "no usable answer", marks=pytest.mark.exhaustive),
        (b"{}", r"does not know the published vulnerability of jinja2 2\.4\.1"),
    ],
    ids=["garbage", "silent", "empty"],
)
def test_audit_does_not_pass_when_the_database_gives_no_answer(body: bytes, reason: str) -> None:
    with (
        osv_server(DOCUMENTED, body) as (url, _),
        pytest.raises(NotAuditedError, match=f"not audited: .*{reason}"),
    ):
        audit(PINS[:1], [], today=TODAY, osv_url=url, timeout_s=1)


def test_the_command_looks_up_what_only_developers_install(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "x", **{"requirements/dev.lock": lock("pytest")})
    with osv_server(DOCUMENTED) as (url, asked):
        done = run_command(repository, "audit", "--osv-url", url)
    assert done.returncode == 0, done.stderr
    assert {name for name, _ in asked} == {"jinja2", "idna", "psycopg", "packaging", "pytest"}


def test_the_command_fails_plainly_when_the_database_is_unreachable(tmp_path: Path) -> None:
    with osv_server({}) as (url, _):
        pass
    done = run_command(make_repository(tmp_path / "x"), "audit", "--osv-url", url)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: not audited: no usable answer from http://127.0.0.1:")
    assert "Connection refused" in done.stderr


def test_read_accepted_wants_a_reason_and_a_last_day(tmp_path: Path) -> None:
    path = tmp_path / "accepted.toml"
    path.write_text('[[accepted]]\nid = "CVE-1"\nreason = "not used"\nuntil = 2026-01-02\n')
    assert read_accepted(path) == [Accepted("CVE-1", "not used", TODAY)]
    path.write_text('[[accepted]]\nid = "CVE-1"\nreason = "not used"\n')
    with pytest.raises(ReleaseError, match="needs id, reason and until"):
        read_accepted(path)


def test_the_accepted_vulnerabilities_of_this_repository_are_well_formed() -> None:
    read_accepted()
