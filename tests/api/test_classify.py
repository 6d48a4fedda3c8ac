from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.core.calibration import probabilities_from_logits
from app.core.tile import decode_tile
from tests.api.conftest import started
from tests.bundles import FakeRuntime, damaged_tile, encode, failing, nan_logits, plain_tile
from tests.conftest import MakeClient
from tests.queues import occupy

RED, GREEN, BLUE = (220, 30, 30), (30, 220, 30), (30, 30, 220)
PREDICTIONS = {RED: "non_tumor", GREEN: "non_viable_tumor", BLUE: "viable_tumor"}


def post_form(client: TestClient, content: bytes, field: str = "file") -> Any:
    return client.post("/v1/classify", files={field: ("tile.jpg", content)})


@pytest.mark.parametrize("colour", PREDICTIONS)
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_classify_answers_a_form(
    client: TestClient, colour: tuple[int, int, int], format_: str
) -> None:
    tile_bytes = plain_tile(colour, 300, format_)
    answer = post_form(client, tile_bytes).json()
    assert answer["prediction"] == PREDICTIONS[colour]
    logits = FakeRuntime().infer(decode_tile(tile_bytes)[np.newaxis]).logits
    expected = probabilities_from_logits(logits, 2.0)[0]
    assert list(answer["probabilities"]) == list(PREDICTIONS.values())
    assert list(answer["probabilities"].values()) == pytest.approx(expected, abs=1e-6)
    assert answer["tumor_probability"] == pytest.approx(expected[1] + expected[2], abs=1e-6)
    assert answer["tile"] == {
        "sha256": hashlib.sha256(tile_bytes).hexdigest(),
        "format": format_,
        "width_px": 300,
        "height_px": 300,
    }
    assert answer["model"]["name"] == "osteo-mobilenetv2"
    assert set(answer["timing"]) == {"decode_s", "queue_s", "inference_s"}


@pytest.mark.parametrize(
    "media_type", ["image/png", "IMAGE/X; q=1", "application/octet-stream", "", None]
)
def test_classify_judges_a_raw_body_by_its_content(
    client: TestClient, media_type: str | None
) -> None:
    headers = {} if media_type is None else {"content-type": media_type}
    answer = client.post("/v1/classify", content=plain_tile(GREEN), headers=headers)
    assert answer.json()["prediction"] == "non_viable_tumor"


def test_form_and_raw_body_give_the_same_answer(client: TestClient) -> None:
    tile_bytes = plain_tile((90, 120, 110), 301, "JPEG")
    raw = client.post("/v1/classify", content=tile_bytes).json()
    form = post_form(client, tile_bytes).json()
    assert raw["probabilities"] == form["probabilities"]
    assert raw["model"] == form["model"]


def test_damaged_tile_is_answered_and_goes_to_review(make_client: MakeClient) -> None:
    client = make_client()
    answer = post_form(client, damaged_tile())
    assert answer.status_code == 200
    assert answer.json()["review"]["required"]
    assert "damaged" in answer.json()["review"]["reasons"]
    assert 'osteo_reviews_total{reason="damaged"} 1.0' in client.get("/metrics").text
    files = [
        ("files", (f"{i}.jpg", tile))
        for i, tile in enumerate((damaged_tile(), plain_tile(RED, 512, "JPEG")))
    ]
    items = client.post("/v1/classify/batch", files=files).json()["items"]
    is_marked = ["damaged" in item["result"]["review"]["reasons"] for item in items]
    assert is_marked == [True, False]


@pytest.mark.parametrize("query", ["", "?explain=false", "?unknown=1"])
def test_classify_gives_the_same_answer_with_and_without_a_query(
    client: TestClient, query: str
) -> None:
    reply = client.post("/v1/classify" + query, files={"file": plain_tile(RED, 300)})
    assert reply.status_code == 200
    assert (reply.json()["prediction"], reply.json()["explanation"]) == (PREDICTIONS[RED], None)


def test_classify_validates_the_query(client: TestClient) -> None:
    reply = client.post("/v1/classify?explain=maybe", files={"file": plain_tile(RED, 300)})
    assert (reply.status_code, reply.headers["content-type"]) == (422, "application/problem+json")


def test_other_fields_of_a_form_are_ignored(client: TestClient) -> None:
    answer = client.post(
        "/v1/classify",
        data={"note": "from the lab system"},
        files={"file": ("a", plain_tile(RED)), "other": ("b", b"whatever")},
    )
    assert answer.status_code == 200


def test_request_id_of_the_client_is_kept(client: TestClient) -> None:
    answer = client.post(
        "/v1/classify", content=plain_tile(RED), headers={"X-Request-ID": "lab-42"}
    )
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"] == "lab-42"


FLOAT = "TIFF with 32-bit floating-point pixels"


def float_tiff() -> bytes:
    buffer = io.BytesIO()
    Image.new("F", (100, 100)).save(buffer, "TIFF")
    return buffer.getvalue()


def animation() -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (100, 100), colour) for colour in ("red", "blue")]
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.fixture(scope="module")
def limited(module_runtime: FakeRuntime, built_models: Path) -> Iterator[TestClient]:
    limits = {"max_tile_pixels": 250_000, "max_tile_bytes": 60_000}
    with started(module_runtime, models_dir=built_models, **limits) as client:
        yield client


@pytest.mark.parametrize(
    ("content", "status", "slug", "extensions"),
    [
        (b"", 422, "empty-tile", {}),
        (b"hello", 415, "unsupported-format", {"formats": ["JPEG", "PNG", "TIFF", "WEBP"]}),
        (plain_tile(RED)[:200], 422, "corrupt-tile", {"format": "PNG"}),
        (plain_tile(RED, 50), 422, "tile-too-small", {"limit_px": 64, "width_px": 50}),
        (plain_tile(RED, 600), 413, "too-many-pixels", {"limit_pixels": 250_000}),
        (encode(np.zeros((99, 99, 3), np.uint8)) + bytes(60_000), 413, "tile-too-large", {}),
        (float_tiff(), 422, "unsupported-pixels", {"mode": FLOAT}),
        (animation(), 422, "too-many-frames", {"content": "an animation"}),
    ],
)
def test_tile_that_cannot_be_classified_is_explained(
    limited: TestClient, content: bytes, status: int, slug: str, extensions: dict[str, Any]
) -> None:
    for answer in (post_form(limited, content), limited.post("/v1/classify", content=content)):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["type"] == f"/problems/{slug}"
        assert problem["request_id"] == answer.headers["X-Request-ID"]
        assert extensions.items() <= problem.items()


def test_form_without_the_field_is_explained(client: TestClient) -> None:
    answer = post_form(client, plain_tile(RED), field="image")
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/missing-tile")
    assert "curl -F file=@" in answer.json()["detail"]


def test_classify_rejects_two_tiles(client: TestClient) -> None:
    files = [("file", ("a", plain_tile(RED))), ("file", ("b", plain_tile(RED)))]
    answer = client.post("/v1/classify", files=files)
    assert (answer.status_code, answer.json()["limit_tiles"]) == (413, 1)


def test_batch_keeps_the_order_and_isolates_failures(make_client: MakeClient) -> None:
    client = make_client(max_tile_bytes=5_000)
    tiles = [plain_tile(BLUE), b"junk", plain_tile(RED), bytes(6_000), plain_tile(GREEN), b""]
    answer = client.post("/v1/classify/batch", files=[("files", ("t", tile)) for tile in tiles])
    assert answer.status_code == 200
    document = answer.json()
    assert (document["n_tiles"], document["n_problems"]) == (6, 3)
    assert [item["index"] for item in document["items"]] == list(range(6))
    seen = [
        item["result"]["prediction"] if item["result"] else item["problem"]["type"]
        for item in document["items"]
    ]
    assert seen == [
        "viable_tumor",
        "/problems/unsupported-format",
        "non_tumor",
        "/problems/tile-too-large",
        "non_viable_tumor",
        "/problems/empty-tile",
    ]


def test_batch_limits_the_tiles_of_a_request(make_client: MakeClient) -> None:
    client = make_client(max_request_tiles=3)
    files = [("files", ("t", plain_tile(RED)))] * 4
    answer = client.post("/v1/classify/batch", files=files)
    assert (answer.status_code, answer.json()["limit_tiles"]) == (413, 3)
    assert client.post("/v1/classify/batch", files=files[:3]).status_code == 200


def test_batch_limits_the_bytes_of_a_request(make_client: MakeClient) -> None:
    client = make_client(max_request_bytes=10_000)
    answer = client.post("/v1/classify/batch", files=[("files", ("t", bytes(20_000)))])
    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/body-too-large")


def test_batch_requires_a_form(client: TestClient) -> None:
    answer = client.post("/v1/classify/batch", content=plain_tile(RED))
    assert (answer.status_code, answer.json()["field"]) == (422, "files")


@pytest.mark.parametrize("route", ["/v1/classify", "/v1/classify/batch"])
def test_tile_is_rejected_when_the_queue_is_full(make_client: MakeClient, route: str) -> None:
    client = make_client(max_tiles_in_flight=2, max_request_tiles=2)
    field = "files" if route.endswith("batch") else "file"
    service = client.app.state.service  # type: ignore[attr-defined] # a FastAPI application
    with occupy(service, 2):
        answer = client.post(route, files={field: ("t", plain_tile(RED))})
    assert (answer.status_code, answer.json()["type"]) == (429, "/problems/queue-full")
    assert int(answer.headers["Retry-After"]) == answer.json()["retry_after_s"] >= 1
    assert client.post(route, files={field: ("t", plain_tile(RED))}).status_code == 200


@pytest.mark.parametrize("poison", [nan_logits, failing])
def test_unusable_answer_of_the_model_is_never_sent(
    client: TestClient, runtime: FakeRuntime, poison: Any
) -> None:
    runtime.poison = poison
    answer = post_form(client, plain_tile(RED))
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/inference-failed")
    assert "nan" not in answer.text.lower()
    runtime.poison = lambda logits: logits
    assert post_form(client, plain_tile(RED)).status_code == 200


def test_unexpected_error_reveals_no_details(client: TestClient, runtime: FakeRuntime) -> None:
    def explode(_logits: Any) -> Any:
        raise RuntimeError("secret path /models")

    runtime.poison = explode
    answer = post_form(client, plain_tile(RED))
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal-error")
    assert "secret" not in answer.text


def test_readiness_turns_off_after_consecutive_failures_and_on_again(
    make_client: MakeClient, runtime: FakeRuntime
) -> None:
    client = make_client()
    runtime.poison = nan_logits
    for _ in range(5):
        assert client.get("/readyz").status_code == 200
        post_form(client, plain_tile(RED))
    assert "failed 5 times in a row" in client.get("/readyz").json()["reason"]
    assert "osteo_inference_failures_total 5.0" in client.get("/metrics").text
    runtime.poison = lambda logits: logits
    assert post_form(client, plain_tile(RED)).status_code == 200
    assert client.get("/readyz").status_code == 200


def test_deadline_cancels_waiting_tiles(make_client: MakeClient, runtime: FakeRuntime) -> None:
    client = make_client(request_timeout_s=0.1, workers=1)
    n_before = runtime.n_tiles
    runtime.delay_s = 0.08
    files = [("files", ("t", plain_tile(RED)))] * 20
    answer = client.post("/v1/classify/batch", files=files)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/deadline-exceeded")
    assert answer.headers["Retry-After"]
    runtime.delay_s = 0.0
    # The worker may still be busy, and a busy machine may need more than 0.1 s for a tile.
    give_up_at = time.monotonic() + 10
    while (status := post_form(client, plain_tile(RED)).status_code) == 503:
        assert time.monotonic() < give_up_at
    assert status == 200
    assert runtime.n_tiles - n_before < 20, "waiting tiles must not be classified"


def test_uploads_share_a_budget(make_client: MakeClient) -> None:
    client = make_client(max_upload_bytes=1_000)
    answer = client.post("/v1/classify", content=bytes(2_000))
    assert (answer.status_code, answer.json()["type"]) == (429, "/problems/uploads-full")
    assert client.post("/v1/classify", content=plain_tile(RED)).status_code == 200
    assert "osteo_upload_bytes 0.0" in client.get("/metrics").text
