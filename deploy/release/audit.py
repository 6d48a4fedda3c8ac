"""Look the locked packages up in a database of vulnerabilities, with pip-audit.

pip-audit ends with exit code 0 if it skips packages that it could not look up, and a database
that knows nothing answers like one that knows of nothing. So an audit counts only if every package
was looked up, and if the database knows a vulnerability that was published long ago.
"""

from __future__ import annotations

import datetime
import json
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.release.errors import NotAuditedError, ReleaseError, VulnerableError
from deploy.release.locks import Pin
from deploy.release.programs import run

OSV_URL: Final = "https://api.osv.dev/v1/query"
KNOWN_VULNERABLE: Final = ("jinja2", "2.4.1")
"""The example of OSV's documentation; its first vulnerability was published in 2014."""
ACCEPTED_PATH: Final = Path(__file__).with_name("accepted_vulnerabilities.toml")


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """A vulnerability of a locked package, with the versions that do not have it."""

    package: str
    version: str
    identifiers: tuple[str, ...]
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        """One line."""
        fixed = f"fixed in {', '.join(self.fixed_in)}" if self.fixed_in else "no fixed version"
        return f"{self.package} {self.version}: {', '.join(self.identifiers)} ({fixed})"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A vulnerability that a release may have until a day, and why."""

    identifier: str
    reason: str
    until: datetime.date


def read_accepted(path: Path = ACCEPTED_PATH) -> list[Accepted]:
    """Read the list of accepted vulnerabilities.

    Raises:
        ReleaseError: an entry lacks its id, its reason or its last day.
    """
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("accepted", [])
    for entry in entries:
        if not (entry.get("id") and entry.get("reason")) or not isinstance(
            entry.get("until"), datetime.date
        ):
            raise ReleaseError(f"{path.name}: {entry} needs id, reason and until (a date)")
    return [Accepted(entry["id"], entry["reason"], entry["until"]) for entry in entries]


def audit(
    pins: Iterable[Pin],
    accepted: Sequence[Accepted],
    *,
    today: datetime.date,
    osv_url: str = OSV_URL,
    timeout_s: int = 15,
) -> list[Vulnerability]:
    """Look packages up.

    Args:
        pins: of all lock files.
        accepted: vulnerabilities that do not fail the audit.
        today: an entry of `accepted` counts until its day is over.
        osv_url: where the API of OSV answers queries.
        timeout_s: how long the database may be silent.

    Returns:
        The vulnerabilities that were accepted.

    Raises:
        NotAuditedError: the database could not be reached, or its answers cannot be relied on.
        VulnerableError: it knows others.
    """
    locked = {(pin.name, pin.version) for pin in pins}
    found = [
        vulnerability
        for versions in _rounds({KNOWN_VULNERABLE, *locked})
        for vulnerability in _look_up(versions, osv_url, timeout_s)
    ]
    if all((v.package, v.version) != KNOWN_VULNERABLE for v in found):
        raise NotAuditedError(
            f"not audited: {osv_url} does not know the published vulnerability of "
            f"{' '.join(KNOWN_VULNERABLE)}, so its answers say nothing"
        )
    found = [v for v in found if (v.package, v.version) in locked]
    current = {entry.identifier for entry in accepted if entry.until >= today}
    refused = [v for v in found if not current.intersection(v.identifiers)]
    if refused:
        expired = {entry.identifier: entry.until for entry in accepted if entry.until < today}
        lines = [f"  {v}{_expiry(v, expired)}" for v in refused]
        raise VulnerableError("known vulnerabilities:\n" + "\n".join(lines))
    return found


def _expiry(vulnerability: Vulnerability, expired: dict[str, datetime.date]) -> str:
    days = [expired[i] for i in vulnerability.identifiers if i in expired]
    return f"; it was accepted until {days[0]}" if days else ""


def _rounds(packages: set[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Lists that have each package once, because pip-audit refuses two versions of one."""
    rounds: list[dict[str, str]] = []
    for name, version in sorted(packages):
        free = next((one for one in rounds if name not in one), None)
        if free is None:
            free = {}
            rounds.append(free)
        free[name] = version
    return [list(one.items()) for one in rounds]


def _look_up(
    packages: Sequence[tuple[str, str]], osv_url: str, timeout_s: int
) -> list[Vulnerability]:
    with tempfile.TemporaryDirectory() as folder:
        requirements, answer_path = Path(folder, "requirements.txt"), Path(folder, "answers.json")
        requirements.write_text("".join(f"{name}=={version}\n" for name, version in packages))
        said = run(
            "pip-audit",
            *("--requirement", requirements, "--disable-pip", "--no-deps"),
            *("--vulnerability-service", "osv", "--osv-url", osv_url, "--timeout", timeout_s),
            *("--format", "json", "--output", answer_path, "--progress-spinner", "off"),
            accepted=(0, 1),  # 1: vulnerable, or it broke off
            with_errors=True,
        )
        try:
            answers = json.loads(answer_path.read_text(encoding="utf-8"))["dependencies"]
        except (OSError, ValueError, KeyError) as error:
            last_line = said.strip().rpartition("\n")[2]
            raise NotAuditedError(
                f"not audited: no usable answer from {osv_url}, so nothing is known about the "
                f"packages. Audit where the database can be reached, or name a mirror with "
                f"--osv-url. pip-audit: {last_line}"
            ) from error
    looked_up = {(answer["name"], answer.get("version")) for answer in answers}
    missing = [" ".join(package) for package in packages if package not in looked_up]
    if missing:
        raise NotAuditedError(f"not audited: no answer about {', '.join(missing)}")
    return [_vulnerability(answer, one) for answer in answers for one in answer["vulns"]]


def _vulnerability(answer: dict[str, Any], one: dict[str, Any]) -> Vulnerability:
    return Vulnerability(
        package=answer["name"],
        version=answer["version"],
        identifiers=(one["id"], *sorted(one["aliases"])),
        fixed_in=tuple(one["fix_versions"]),
    )
