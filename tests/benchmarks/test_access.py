"""The benchmark of access control and audit: its arithmetic, and its loads on a real service."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.access import comparing
from benchmarks.access.__main__ import BENCHMARK, main
from benchmarks.access.clients import Answers, Target, send
from benchmarks.access.comparing import compare
from benchmarks.access.credentials import AUDIENCE, Certificate, bearer, make_api_key, provider
from benchmarks.access.flood import FULL, UNKEYED, measure_refusals
from benchmarks.access.report import render_access
from benchmarks.access.services import Configuration, Service, running
from benchmarks.publish import replace_section
from tests.bundles import plain_tile

TILE = plain_tile((1, 200, 1))
ONE_AT_A_TIME = {"OSTEO_MAX_TILES_IN_FLIGHT": "1", "OSTEO_MAX_REQUEST_TILES": "1"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.create(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def service(
    certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service that knows every kind of caller, and takes one tile at a time."""
    folder = tmp_path_factory.mktemp("service")
    keys = folder / "keys.json"
    headers = make_api_key(keys)
    with provider() as signer:
        env = {
            "OSTEO_KEYS_FILE": str(keys),
            "OSTEO_OIDC_ISSUER": signer.issuer,
            "OSTEO_OIDC_AUDIENCE": AUDIENCE,
            "OSTEO_TLS_CERTIFICATE": str(certificate.file),
            "OSTEO_TLS_KEY": str(certificate.key_file),
            "OSTEO_TLS_CLIENT_CA": str(certificate.file),
        }
        tls = certificate.client(identifies=False)
        configuration = Configuration("every caller", env | ONE_AT_A_TIME, tls, headers)
        with running(configuration, folder / "state") as found:
            answers = send(
                replace(found.target, headers=bearer(signer.token)), [TILE], 1, n_requests=2
            )
            answers.require(200)  # a token that is verified and one that is remembered
            yield found


@pytest.mark.slow
def test_every_kind_of_caller_is_served(service: Service, certificate: Certificate) -> None:
    send(service.target, [TILE], 1, n_requests=2).require(200)
    by_certificate = replace(service.target, tls=certificate.client(identifies=True), headers={})
    send(by_certificate, [TILE], 1, n_requests=2).require(200)
    with pytest.raises(RuntimeError, match=r"with 200 only, got \{401: 1\}"):
        send(replace(service.target, headers={}), [TILE], 1, n_requests=1).require(200)


@pytest.mark.slow
def test_processor_time_of_a_service_is_that_of_its_work(service: Service) -> None:
    before_s = service.cpu_s()
    send(service.target, [TILE], 1, n_requests=5)
    assert service.cpu_s() - before_s > 0.001


@pytest.mark.slow
def test_refusals_are_those_that_are_meant(service: Service, monkeypatch: Any) -> None:
    monkeypatch.setattr("benchmarks.access.flood._IDLE_S", 0.01)
    costs = measure_refusals(service, TILE, n_rounds=1, n_requests=2)
    assert {FULL, UNKEYED} < set(costs)


@pytest.mark.slow
def test_service_that_does_not_start_is_reported_with_its_log(tmp_path: Path) -> None:
    wrong = Configuration("wrong", {"OSTEO_RATE_LIMITS": "nonsense"})
    with pytest.raises(RuntimeError, match="nonsense"), running(wrong, tmp_path / "state"):
        pass


def test_ratios_compare_turns_of_the_same_round(monkeypatch: pytest.MonkeyPatch) -> None:
    # Twice as slow in every second round; the second service always takes 1.5 times as long.
    slowness = {"base": iter([1, 1, 2, 1, 2]), "other": iter([1.5, 1.5, 3, 1.5, 3])}
    clock = {"base": 0.0, "other": 0.0}
    monkeypatch.setattr(Service, "cpu_s", lambda service: clock[service.title])

    def load(service: Service) -> Answers:
        seconds = next(slowness[service.title])
        clock[service.title] += seconds
        return Answers(Counter({200: 10}), [seconds / 10] * 10, seconds)

    services = [Service(title, Target(0), 0) for title in ("base", "other")]
    base, other = compare(services, load, n_rounds=4)
    assert (base.cpu_ratio, base.per_s_ratio, base.added_cpu_us) == (1, 1, 0)
    assert other.cpu_ratio == pytest.approx(1.5)
    assert other.cpu_quartiles == pytest.approx((1.5, 1.5))
    assert other.per_s_ratio == pytest.approx(1 / 1.5)
    assert other.cpu_ms == pytest.approx(225)
    assert (other.p50_ms, other.p99_ms) == pytest.approx((150, 300))


def test_services_take_turns_in_rotating_order(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def take_turn(service: Service, _load: object) -> comparing.Turn:
        order.append(service.title)
        return comparing.Turn(1, 1, (1,))

    monkeypatch.setattr(comparing, "take_turn", take_turn)
    compare([Service(title, Target(0), 0) for title in "abc"], lambda _: Answers(), n_rounds=2)
    assert order == ["c", "a", "b", "a", "b", "c", "b", "c", "a"]


def test_request_says_who_calls_and_how_long_its_tile_is() -> None:
    head, _, body = Target(80, headers=bearer("secret")).request(b"tile").partition(b"\r\n\r\n")
    assert b"Authorization: Bearer secret" in head
    assert b"Content-Length: 4" in head
    assert body == b"tile"
    assert "secret" not in repr(Target(80, headers=bearer("secret")))


def test_page_has_the_report_of_the_results_file() -> None:
    page = BENCHMARK.page.read_text()
    report = render_access(json.loads(BENCHMARK.results_file.read_text()))
    assert replace_section(page, "access", report) == page


@pytest.mark.parametrize(("ratio", "verdict"), [(0.98, "yes"), (0.96, "no")])
def test_goal_of_the_audit_is_judged(ratio: float, verdict: str) -> None:
    results = json.loads(BENCHMARK.results_file.read_text())
    for found in results["audit"]["tiles"]:
        found["per_s_ratio"] = ratio
    (line,) = [row for row in render_access(results).splitlines() if "audit on / off" in row]
    assert [cell.strip() for cell in line.split("|")][2:5] == [f"{ratio}", "at least 0.97", verdict]


def test_help_says_what_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--only audit --rounds 3" in capsys.readouterr().out
