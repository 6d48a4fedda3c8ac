"""Pages of other origins: nothing by default, and only those that the setting lists."""

from __future__ import annotations

from fastapi.testclient import TestClient

from app.api.cross_origin import EXPOSED_HEADERS
from tests.api.explaining import explain
from tests.bundles import FakeRuntime, plain_tile
from tests.conftest import MakeClient
from tests.queues import occupy

VIEWER = "https://viewer.example.org"
OTHER = "https://other.example.org"
TILE = plain_tile((1, 200, 1))
ALLOW = "access-control-allow-origin"


def preflight(client: TestClient, origin: str, path: str = "/v1/classify") -> dict[str, str]:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-request-id",
    }
    answer = client.options(path, headers=asked)
    return {"status": str(answer.status_code), **answer.headers}


def test_no_page_may_use_the_service_by_default(client: TestClient) -> None:
    answer = client.options(
        "/v1/classify", headers={"Origin": VIEWER, "Access-Control-Request-Method": "POST"}
    )
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert "Set OSTEO_CORS_ORIGINS" in answer.json()["detail"]
    answers = [answer, client.get("/livez", headers={"Origin": VIEWER})]
    assert not any(name.startswith("access-control") for a in answers for name in a.headers)
    assert not any("vary" in a.headers for a in answers)


def test_preflight_of_an_allowed_origin_lists_what_it_may_send(make_client: MakeClient) -> None:
    client = make_client(cors_origins=f"{VIEWER},http://localhost:3000")
    for path in ("/v1/classify", "/v1/classify/batch/", "/v1/models/2/activate"):
        for origin in (VIEWER, "http://localhost:3000"):
            answer = preflight(client, origin, path)
            assert (answer["status"], answer[ALLOW], answer["vary"]) == ("204", origin, "Origin")
            assert "POST" in answer["access-control-allow-methods"]
            allowed = answer["access-control-allow-headers"].lower().split(", ")
            assert {"authorization", "content-type", "x-request-id"} <= set(allowed)
            assert "access-control-allow-credentials" not in answer
            assert answer["x-request-id"]


def test_preflight_of_another_origin_is_refused(make_client: MakeClient) -> None:
    client = make_client(cors_origins=VIEWER)
    for origin in (OTHER, "null", f"{VIEWER}:8443", f"{VIEWER}.evil.example", VIEWER.upper(), ""):
        answer = preflight(client, origin)
        assert (answer["status"], answer["content-type"]) == ("403", "application/problem+json")
        assert not any(name.startswith("access-control") for name in answer), origin


def test_other_options_reach_the_routes(make_client: MakeClient) -> None:
    client = make_client(cors_origins=VIEWER)
    assert client.options("/livez").headers["Allow"] == "GET, HEAD"
    assert client.options("/livez", headers={"Origin": VIEWER}).status_code == 405


def test_every_answer_can_be_read_by_an_allowed_origin_only(
    make_client: MakeClient, runtime: FakeRuntime
) -> None:
    client = make_client(cors_origins=VIEWER, max_tiles_in_flight=1, max_request_tiles=1)
    for origin, allowed in ((VIEWER, VIEWER), (OTHER, None), (None, None)):
        headers = {} if origin is None else {"Origin": origin}
        answers = [
            client.post("/v1/classify", content=TILE, headers=headers),
            client.post("/v1/classify", content=b"junk", headers=headers),
            client.get("/nowhere", headers=headers),
            client.get("/livez", headers={**headers, "X-Request-ID": ""}),
        ]
        with occupy(client.app.state.service, 1):  # type: ignore[attr-defined] # FastAPI
            answers.append(client.post("/v1/classify", content=TILE, headers=headers))
        runtime.poison = lambda logits: logits[0, 0, 0, 0]  # an unexpected error
        answers.append(client.post("/v1/classify", content=TILE, headers=headers))
        runtime.poison = lambda logits: logits
        assert [answer.status_code for answer in answers] == [200, 415, 404, 400, 429, 500]
        for answer in answers:
            assert answer.headers.get(ALLOW) == allowed
            assert answer.headers["Vary"] == "Origin"
            assert "access-control-allow-credentials" not in answer.headers
            exposed = answer.headers.get("access-control-expose-headers", "").split(", ")
            assert exposed == (list(EXPOSED_HEADERS) if allowed else [""])


def test_any_origin_means_every_page_without_credentials(make_client: MakeClient) -> None:
    client = make_client(cors_origins="*")
    for answer in (
        preflight(client, OTHER),
        client.get("/livez", headers={"Origin": "null"}).headers,
    ):
        assert answer[ALLOW] == "*"
        assert "vary" not in answer
        assert "access-control-allow-credentials" not in answer


def test_headers_of_a_picture_are_exposed(assessed: TestClient) -> None:
    picture = explain(assessed)
    assert picture.status_code == 200
    own = {name for name in picture.headers if name.startswith(("x-osteo", "x-request", "retry-"))}
    assert own <= {name.lower() for name in EXPOSED_HEADERS}
    assert len(own) > 1
