"""What the audit of a real service holds after a day: who did what, and no name of a file."""

from __future__ import annotations

import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.access.caller import Scope
from tests.access.keys import bearer, make_key
from tests.conftest import RELEASED_MODELS
from tests.end_to_end.exchanges import TILE, exchange, request
from tests.end_to_end.services import audited, ready_service, require_whole_audit, run_osteo
from tests.servers import RunningServer, wait_until

PATIENT = "Mueller_Anna_1961-04-02.jpg"
WRONG = bearer("osteo_00000000_" + "A" * 43)
N_GUESSES = 30
MODEL = "osteo-mobilenetv2"


@dataclass(frozen=True)
class Day:
    """What is left of a service that was stopped: its audit, log and files."""

    records: list[dict[str, Any]]
    folder: Path
    key: str

    def of(self, event: str, **members: object) -> list[dict[str, Any]]:
        """The records of an event that have these members."""
        return [
            record
            for record in self.records
            if record["event"] == event
            and all(record.get(name) == value for name, value in members.items())
        ]


def send(server: RunningServer, path: str, headers: dict[str, str], request_id: str) -> int:
    sent = request(path, headers, {"X-Request-ID": request_id})
    return exchange(server, sent).status


def work(server: RunningServer, lis: dict[str, str], admin: dict[str, str]) -> None:
    """A day of a service, with faults of its callers."""
    files = [("files", (PATIENT, content, "image/jpeg")) for content in (TILE, b"no tile")]
    headers = lis | {"X-Request-ID": "batch"}
    answer = server.client.post(f"{server.url}/v1/classify/batch", files=files, headers=headers)
    assert answer.status_code == 200
    for path in ("/v1/classify", "/v1/explain/grid"):
        one = {"file": (PATIENT, TILE, "image/jpeg")}
        server.client.post(f"{server.url}{path}", files=one, headers=lis).raise_for_status()
    refused = {"file": (PATIENT, b"no tile", "image/jpeg")}
    headers = lis | {"X-Request-ID": "refused-tile"}
    answer = server.client.post(f"{server.url}/v1/classify", files=refused, headers=headers)
    assert answer.status_code == 415
    assert send(server, "/v1/explain", lis, "picture") == 200
    assert send(server, "/v1/classify", {}, "nobody") == 401
    assert send(server, "/v1/classify", WRONG, "wrong") == 401
    assert send(server, "/v1/classify", admin, "no-scope") == 403
    assert {send(server, "/v1/explain", WRONG, f"guess-{n}") for n in range(N_GUESSES)} == {401}
    statuses = [send(server, "/v1/explain/grid", lis, f"limited-{n}") for n in range(2)]
    assert statuses[-1] == 429
    assert send(server, "/v1/models/1/activate", admin, "to-1") == 200
    assert send(server, "/v1/models/rollback", admin, "back") == 200
    assert send(server, "/v1/models/1/activate", lis, "not-allowed") == 403
    assert send(server, "/v1/models/77/activate", admin, "no-version") == 404


@pytest.fixture(
    scope="module", params=["on", pytest.param("required", marks=pytest.mark.exhaustive)]
)
def day(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Day:
    folder = tmp_path_factory.mktemp("day")
    models = folder / "models" / MODEL
    for version in ("1", "2"):
        shutil.copytree(RELEASED_MODELS / MODEL / version, models / version)
    keys = folder / "state" / "keys.json"
    lis = make_key(keys, "lis")
    admin = make_key(keys, "admin", Scope.MODELS_WRITE)
    environ = {"OSTEO_AUDIT": request.param, "OSTEO_RATE_LIMITS": "explain=3/day"}
    environ |= {"OSTEO_MODELS_DIR": str(folder / "models"), "OSTEO_WATCH_MODELS_S": "0.2"}
    with ready_service(folder, **environ) as server:
        work(server, lis, admin)
        shutil.copytree(RELEASED_MODELS / MODEL / "3", models / "3")
        url = f"{server.url}/v1/models"
        wait_until(
            lambda: server.client.get(url, headers=lis).json()["models"][0]["version"] == "3"
        )
        key = run_osteo(folder, "keys", "create", "late", "--scope", "classify", **environ)
        assert run_osteo(folder, "keys", "revoke", "late", **environ).returncode == 0
        assert server.stop(signal.SIGTERM) == 0
    require_whole_audit(folder, **environ)
    return Day(audited(folder, **environ), folder, key.stdout.strip())


def test_batch_is_one_record_a_tile(day: Day) -> None:
    (answer,) = day.of("answer", request_id="batch")
    assert (answer["index"], answer["caller"], answer["route"]) == (0, "lis", "/v1/classify/batch")
    (refusal,) = day.of("refusal", request_id="batch")
    assert (refusal["index"], refusal["reason"], refusal["status"]) == (
        1,
        "unsupported-format",
        415,
    )


def test_evidence_and_its_picture_are_recorded_like_answers(day: Day) -> None:
    (picture,) = day.of("answer", request_id="picture")
    assert picture["route"] == "/v1/explain"
    assert len(day.of("answer", route="/v1/explain/grid")) == 2
    for record in day.of("answer"):
        assert set(record) >= {"tile_sha256", "probabilities", "prediction", "bundle_sha256"}
        assert set(record) >= {"model_version", "precision", "runtime", "review_reasons"}


def test_refusals_have_their_reason(day: Day) -> None:
    (tile,) = day.of("refusal", request_id="refused-tile")
    assert (tile["reason"], tile["caller"]) == ("unsupported-format", "lis")
    found = {
        (record["reason"], record.get("caller"), record["route"], record["status"])
        for record in day.of("refusal")
    }
    assert found >= {
        ("credentials-missing", None, "/v1/classify", 401),
        ("credentials-invalid", None, "/v1/classify", 401),
        ("scope-missing", "admin", "/v1/classify", 403),
        ("rate-limited", "lis", "/v1/explain/grid", 429),
        ("model-not-found", "admin", "/v1/models/{version}/activate", 404),
    }


def test_refusals_that_the_route_never_saw_name_their_caller(day: Day) -> None:
    (refusal,) = day.of("refusal", request_id="not-allowed")
    assert (refusal["caller"], refusal["reason"]) == ("lis", "scope-missing")


def test_guesses_are_summed_and_none_is_lost(day: Day) -> None:
    guesses = day.of("refusal", reason="credentials-invalid", route="/v1/explain")
    assert sum(record.get("count", 1) for record in guesses) == N_GUESSES


def test_switches_have_their_caller_and_both_versions(day: Day) -> None:
    (to_1,) = day.of("activation", request_id="to-1")
    assert (to_1["caller"], to_1["model_version"]) == ("admin", "1")
    assert to_1["details"]["from"]["version"] == "2"
    (back,) = day.of("rollback")
    assert (back["caller"], back["request_id"]) == ("admin", "back")
    assert (back["details"]["from"]["version"], back["model_version"]) == ("1", "2")


def test_service_switches_by_itself(day: Day) -> None:
    by_itself = day.of("activation", caller="service", caller_kind="service")
    assert [record["model_version"] for record in by_itself] == ["2", "3"]
    assert by_itself[1]["details"]["from"]["version"] == "2"


def test_start_and_stop_are_recorded(day: Day) -> None:
    (start,) = day.of("start")
    assert start["details"]["callers"] == "identified"
    assert len(day.of("stop")) == 1


def test_key_changes_of_commands_are_recorded_without_the_key(day: Day) -> None:
    changes = day.of("key-change")
    assert [change["details"]["action"] for change in changes] == ["create", "revoke"]
    assert {change["details"]["key_name"] for change in changes} == {"late"}
    assert {change["caller_kind"] for change in changes} == {"command"}
    assert day.key.split("_", 2)[2] not in str(day.records)


def test_no_file_name_is_kept(day: Day) -> None:
    for file in (*(day.folder / "state").iterdir(), day.folder / "serve.log"):
        content = file.read_bytes()
        assert b"Mueller" not in content, file
        assert b"1961-04-02" not in content, file
