from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.access.caller import Scope
from app.access.failed_attempts import FailedAttempts
from app.access.key_changes import revoke_key
from app.api import access_control
from app.api.access_control import API_KEY_HEADER
from app.api.route_scopes import ALWAYS_OPEN
from tests.access.keys import bearer, make_key
from tests.api.conftest import started
from tests.api.routes import every_route
from tests.bundles import FakeRuntime, plain_tile
from tests.conftest import MakeClient

TILE = plain_tile((1, 200, 1))
IMAGE = {"Content-Type": "image/png"}
WRONG = bearer("osteo_00000000_" + "A" * 43)


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def key(keys_file: Path) -> dict[str, str]:
    return make_key(keys_file, "lis")


@pytest.fixture(scope="module")
def shared(
    module_runtime: FakeRuntime, built_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TestClient, dict[str, str]]]:
    """A client of a service that identifies callers, and the headers of one."""
    keys_file = tmp_path_factory.mktemp("keys") / "keys.json"
    key = make_key(keys_file, "lis")
    with started(module_runtime, models_dir=built_models, keys_file=keys_file) as client:
        yield client, key


@pytest.fixture
def closed(
    shared: tuple[TestClient, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> TestClient:
    """The client; refusals are not delayed."""
    monkeypatch.setattr(FailedAttempts, "delay_s", lambda *_: 0.0)
    return shared[0]


@pytest.fixture
def caller(shared: tuple[TestClient, dict[str, str]]) -> dict[str, str]:
    return shared[1]


def test_every_route_needs_a_caller_but_the_probes(closed: TestClient) -> None:
    routes = every_route(closed)
    assert len(routes) > 10
    for method, path in [*routes, ("GET", "/static-offline-docs/swagger-ui.css"), ("GET", "/x")]:
        answer = closed.request(method, path, content=TILE, headers=IMAGE)
        if path in ALWAYS_OPEN:
            assert answer.status_code == 200, path
            continue
        assert answer.status_code == 401, path
        assert answer.json()["type"] == "/problems/credentials-missing"
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="osteo-tiles"'


def test_head_and_queries_need_a_caller_too(closed: TestClient) -> None:
    assert closed.head("/v1/models").status_code == 401
    assert closed.head("/readyz").status_code == 200
    assert closed.post("/v1/classify?explain=1", content=TILE, headers=IMAGE).status_code == 401
    assert closed.post("/v1/classify/", content=TILE, headers=IMAGE).status_code == 401


def test_key_is_taken_from_either_header(closed: TestClient, caller: dict[str, str]) -> None:
    secret = caller["Authorization"].removeprefix("Bearer ")
    for headers in (caller, {API_KEY_HEADER: secret}, {"Authorization": f"bearer  {secret} "}):
        answer = closed.post("/v1/classify", content=TILE, headers=IMAGE | headers)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "headers",
    [
        WRONG,
        bearer("x"),
        bearer("a.b.c"),
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": "Bearer"},
        {API_KEY_HEADER: "x"},
        {"Authorization": "Bearer x", API_KEY_HEADER: "x"},
    ],
    ids=str,
)
def test_wrong_credentials_are_refused(closed: TestClient, headers: dict[str, str]) -> None:
    answer = closed.get("/v1/models", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["type"] == "/problems/credentials-invalid"
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_revoked_key_is_refused_once_the_file_is_read_again(
    make_client: MakeClient, keys_file: Path, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.access.api_keys.LOOK_EVERY_S", 0.0)
    client = make_client(keys_file=keys_file)
    assert client.get("/v1/models", headers=key).status_code == 200
    revoke_key(keys_file, "lis")
    answer = client.get("/v1/models", headers=key)
    assert (answer.status_code, answer.json()["reason"]) == (401, "revoked")


def test_scope_decides_what_a_key_may_do(
    make_client: MakeClient, keys_file: Path, key: dict[str, str]
) -> None:
    classify_only = make_key(keys_file, "classifier", Scope.CLASSIFY)
    admin = make_key(keys_file, "admin", Scope.MODELS_WRITE)
    client = make_client(keys_file=keys_file)

    def status(method: str, path: str, headers: dict[str, str]) -> int:
        answer = client.request(method, path, content=TILE, headers=IMAGE | headers)
        if answer.status_code == 403:
            assert answer.json()["type"] == "/problems/scope-missing"
            assert f'scope="{answer.json()["scope"]}"' in answer.headers["WWW-Authenticate"]
        return answer.status_code

    assert status("POST", "/v1/classify", classify_only) == 200
    assert status("POST", "/v1/classify?explain=false", classify_only) == 200
    assert status("POST", "/v1/classify?explain=true", classify_only) == 403
    assert status("POST", "/v1/explain/grid", classify_only) == 403
    assert status("GET", "/metrics", classify_only) == 403
    assert status("GET", "/v1/models", classify_only) == 200
    assert status("POST", "/v1/models/1/activate", key) == 403
    assert status("POST", "/v1/models/1/activate", admin) == 200
    assert status("POST", "/v1/classify", admin) == 403


@pytest.mark.usefixtures("key")
def test_settings_open_metrics_and_documents(make_client: MakeClient, keys_file: Path) -> None:
    pages = ["/", "/docs", "/openapi.json", "/problems/queue-full"]
    docs = make_client(keys_file=keys_file, docs_open=True)
    assert {docs.get(page).status_code for page in pages} == {200}
    assert docs.get("/metrics").status_code == 401
    metrics = make_client(keys_file=keys_file, metrics_open=True)
    assert metrics.get("/metrics").status_code == 200
    assert {metrics.get(page).status_code for page in pages} == {401}


def test_service_without_callers_is_open_but_for_its_model(client: TestClient) -> None:
    assert client.post("/v1/classify", content=TILE, headers=IMAGE | WRONG).status_code == 200
    assert client.get("/metrics").status_code == 200
    assert client.post("/v1/models/rollback").status_code == 401
    assert client.post("/v1/models/rollback", headers=WRONG).status_code == 401
    assert "osteo_access_open 1.0" in client.get("/metrics").text


def test_admin_token_is_a_key_that_may_only_change_the_model(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        client = make_client(admin_token="a-long-secret-of-tests")
    token = bearer("a-long-secret-of-tests")
    assert client.post("/v1/models/1/activate", headers=token).status_code == 200
    assert client.post("/v1/classify", content=TILE, headers=IMAGE).status_code == 200
    [warned] = [record for record in caplog.records if record.message == "deprecated_setting"]
    assert vars(warned)["setting"] == "OSTEO_ADMIN_TOKEN"


def test_given_key_closes_the_service(make_client: MakeClient) -> None:
    client = make_client(api_key="a-long-secret-of-tests")
    assert client.get("/v1/models").status_code == 401
    assert client.get("/v1/models", headers=bearer("a-long-secret-of-tests")).status_code == 200


def test_answers_to_guesses_are_delayed_but_never_those_to_a_right_key(
    make_client: MakeClient,
    keys_file: Path,
    key: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = make_client(keys_file=keys_file)
    delays_s = []

    async def note(delay_s: float) -> None:
        delays_s.append(delay_s)

    monkeypatch.setattr(asyncio, "sleep", note)
    for _ in range(8):
        assert client.get("/v1/models", headers=WRONG).status_code == 401
    assert delays_s == [0, 0, 0, 0, 0, 0.1, 0.2, 0.4]
    assert client.get("/v1/models", headers=key).status_code == 200
    assert len(delays_s) == 8


def test_refusals_are_counted_by_reason(
    make_client: MakeClient, keys_file: Path, key: dict[str, str]
) -> None:
    client = make_client(keys_file=keys_file)
    client.get("/v1/models")
    client.get("/v1/models", headers=WRONG)
    client.post("/v1/models/1/activate", headers=key)
    metrics = client.get("/metrics", headers=key).text
    for reason in ("missing", "unknown", "scope-missing"):
        assert f'osteo_access_refusals_total{{reason="{reason}"}} 1.0' in metrics
    assert "osteo_access_open 0.0" in metrics


def test_each_caller_has_its_own_rate_limit(
    make_client: MakeClient,
    keys_file: Path,
    key: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = make_key(keys_file, "other")
    monkeypatch.setattr(access_control, "RATE_LIMITED_DELAY_S", 0.01)
    client = make_client(keys_file=keys_file, rate_limits="classify=2/hour")

    def classify(headers: dict[str, str]) -> tuple[int, str]:
        answer = client.post("/v1/classify", content=TILE, headers=IMAGE | headers)
        assert answer.headers["RateLimit-Policy"] == '"classify";q=2;w=3600'
        if answer.status_code == 429:
            assert answer.json()["type"] == "/problems/rate-limited"
            assert int(answer.headers["Retry-After"]) > 0
        return answer.status_code, answer.headers["RateLimit"].partition(";t=")[0]

    assert classify(key) == (200, '"classify";r=1')
    assert classify(key) == (200, '"classify";r=0')
    assert classify(key) == (429, '"classify";r=0')
    assert classify(other) == (200, '"classify";r=1')
    grid = client.post("/v1/explain/grid", content=TILE, headers=IMAGE | key)
    assert grid.status_code == 200
    assert "RateLimit" not in grid.headers


def test_caller_and_route_are_named_in_the_log(
    closed: TestClient, caller: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        closed.get("/v1/models", headers=caller)
        closed.get("/v1/models", headers=WRONG)
        closed.post("/v1/models/7/activate", headers=caller)
        closed.get("/v1/nothing", headers=WRONG)
    lines = [vars(record) for record in caplog.records if record.message == "request"]
    assert [(line["caller"], line.get("refused"), line["route"]) for line in lines] == [
        ("lis", None, "/v1/models"),
        (None, "unknown", "/v1/models"),
        ("lis", "scope-missing", "/v1/models/{version}/activate"),
        (None, "unknown", "unmatched"),
    ]


@pytest.mark.usefixtures("key")
def test_browser_asks_without_a_key_and_is_told_that_keys_are_allowed(
    make_client: MakeClient, keys_file: Path
) -> None:
    client = make_client(keys_file=keys_file, cors_origins="https://viewer.example.org")
    answer = client.options(
        "/v1/classify",
        headers={
            "Origin": "https://viewer.example.org",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": API_KEY_HEADER,
        },
    )
    assert answer.status_code == 204
    assert API_KEY_HEADER in answer.headers["Access-Control-Allow-Headers"]


def test_only_a_caller_is_told_which_routes_exist(
    closed: TestClient, caller: dict[str, str]
) -> None:
    assert closed.get("/v1/nothing").status_code == 401
    assert closed.get("/v1/nothing", headers=caller).status_code == 404


def test_header_of_a_proxy_does_not_matter_where_everybody_may_call(client: TestClient) -> None:
    basic = {"Authorization": "Basic dXNlcjpwYXNz"}
    assert client.post("/v1/classify", content=TILE, headers=IMAGE | basic).status_code == 200
    assert client.post("/v1/models/rollback", headers=basic).status_code == 401


def test_given_key_may_look_like_a_token(make_client: MakeClient) -> None:
    key = "a.long.secret-of-tests"
    client = make_client(
        api_key=key, oidc_issuer="http://127.0.0.1:9", oidc_audience="osteo", oidc_timeout_s=0.1
    )
    assert client.get("/v1/models", headers=bearer(key)).status_code == 200
    assert client.get("/v1/models", headers=bearer(f"{key}x")).json()["reason"] == "malformed"
