from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.api.explaining import DRAWN, PHOTOGRAPH, TISSUE, explain, explain_grid
from tests.bundles import FakeRuntime, failing, saying
from tests.conftest import MakeClient
from tests.queues import occupy
from tests.records import embedding_at
from training.data.drawn_tiles import draw_tile, encode_tile


def picture(answer: Any) -> Image.Image:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    image = Image.open(io.BytesIO(answer.content))
    assert image.format == "PNG"
    return image


def test_overlay_shows_heat_map_tile_and_colour_bar(
    assessed: TestClient,
) -> None:
    image = picture(explain(assessed))
    assert image.mode == "RGB"
    assert (image.width > 512, image.height > 512) == (True, True)
    drawn = np.asarray(image)[:512, :512]
    assert np.array_equal(drawn[256:, 256:], DRAWN[256:, 256:])
    assert (drawn[:40, :40] != DRAWN[:40, :40]).any()


def test_plain_tile_is_beside_the_overlay(assessed: TestClient) -> None:
    both = np.asarray(picture(explain(assessed, format="side-by-side")))
    assert both.shape[1] > 1024
    assert np.array_equal(both[:512, :512], DRAWN)
    overlay = np.asarray(picture(explain(assessed)))[:512]
    assert np.array_equal(both[:512, -overlay.shape[1] :], overlay)


def test_heat_is_a_transparent_layer(assessed: TestClient) -> None:
    image = picture(explain(assessed, format="heat", size_px=128, opacity=1))
    assert (image.mode, image.size) == ("RGBA", (128, 128))
    alpha = np.asarray(image)[..., 3]
    assert (alpha[0, 0], alpha[-1, -1]) == (255, 0)


def test_grid_equals_the_answer_of_classify_with_the_map(assessed: TestClient) -> None:
    document = explain_grid(assessed).json()
    explanation = document["explanation"]
    assert (explanation["status"], explanation["label"]) == ("available", "non_tumor")
    assert explanation["max_logit"] == 3.0
    expected = np.zeros((7, 7))
    expected[0, 0] = 1
    assert explanation["grid"] == expected.tolist()
    classified = assessed.post("/v1/classify", content=TISSUE, params={"explain": "true"}).json()
    for answer in (document, classified):
        del answer["request_id"], answer["timing"]
    assert document == classified


def test_requested_label_is_explained(assessed: TestClient) -> None:
    answer = explain(assessed, label="non_viable_tumor", format="heat")
    alpha = np.asarray(picture(answer))[..., 3]
    assert (alpha[0, 0], alpha[-1, -1]) == (0, alpha.max())
    assert answer.headers["X-Osteo-Explained"] == "non_viable_tumor"
    assert answer.headers["X-Osteo-Prediction"] == "non_tumor"
    document = explain_grid(assessed, label="non_viable_tumor").json()
    assert document["explanation"]["label"] == "non_viable_tumor"


def test_headers_describe_the_picture(assessed: TestClient) -> None:
    headers = explain(assessed).headers
    assert headers["X-Osteo-Prediction"] == headers["X-Osteo-Explained"] == "non_tumor"
    assert headers["X-Osteo-Probability"] == "0.9714"
    assert headers["X-Osteo-Review"] == ""
    answer = explain_grid(assessed).json()
    assert headers["X-Osteo-Review-Priority"] == f"{answer['review']['priority']:.4f}" == "0.1354"
    assert headers["X-Osteo-Glass-Share"] == f"{answer['explanation']['glass_share']:.4f}"
    assert headers["X-Osteo-Model"] == "osteo-mobilenetv2/2"
    assert headers["X-Request-ID"]
    wide = encode_tile(DRAWN[:230])
    assert explain(assessed, wide).headers["X-Osteo-Review"] == "not_square"
    small = encode_tile(draw_tile("viable_tumor", 320, 0)[:200])
    assert explain(assessed, small).headers["X-Osteo-Review"] == "not_square,too_small"


@pytest.mark.parametrize("ask", [explain, explain_grid])
@pytest.mark.parametrize("label", ["osteoma", "", "NON_TUMOR", "a\r\nX-Evil: 1", "é", "x" * 2000])
def test_unknown_label_is_rejected_with_the_known_ones(
    assessed: TestClient, runtime: FakeRuntime, ask: Callable[..., Any], label: str
) -> None:
    n_before = runtime.n_tiles
    answer = ask(assessed, label=label)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unknown-label")
    assert answer.json()["labels"] == ["non_tumor", "non_viable_tumor", "viable_tumor"]
    assert "X-Evil" not in answer.headers
    assert runtime.n_tiles == n_before


@pytest.mark.parametrize(
    "query",
    [
        {"size_px": 63},
        {"size_px": 2049},
        {"size_px": "large"},
        {"size_px": 10**30},
        {"opacity": -0.01},
        {"opacity": 1.01},
        {"opacity": "nan"},
        {"opacity": "inf"},
        {"format": "jpeg"},
        {"format": ""},
    ],
)
def test_parameters_have_limits(assessed: TestClient, query: dict[str, Any]) -> None:
    answer = explain(assessed, **query)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")
    (error,) = answer.json()["errors"]
    assert error["where"] == f"query.{next(iter(query))}"


@pytest.mark.parametrize("size_px", [64, 2048])
def test_smallest_and_largest_picture_can_be_drawn(assessed: TestClient, size_px: int) -> None:
    heat = picture(explain(assessed, size_px=size_px, opacity=0, format="heat"))
    assert heat.size == (size_px, size_px)
    assert picture(explain(assessed, size_px=size_px, opacity=0)).height > size_px


def test_explain_parameter_of_classify_is_a_boolean(assessed: TestClient) -> None:
    for value, expected in (("true", True), ("1", True), ("false", False), ("0", False)):
        answer = assessed.post("/v1/classify", content=TISSUE, params={"explain": value}).json()
        assert (answer["explanation"] is not None) == expected
    answer = assessed.post("/v1/classify", content=TISSUE, params={"explain": "maybe"})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")


@pytest.mark.parametrize(
    ("content", "distance", "label", "reason"),
    [
        (TISSUE, 0.1, "viable_tumor", "the tile holds no evidence for viable_tumor"),
        (TISSUE, 0.9, "non_tumor", "does not look like those the model was trained on"),
        (PHOTOGRAPH, 0.1, "non_tumor", "does not look like those the model was trained on"),
        (encode_tile(np.full_like(DRAWN, 255)), 0.1, "non_tumor", "does not look like those"),
    ],
)
def test_unavailable_explanation_has_a_reason(
    assessed: TestClient,
    runtime: FakeRuntime,
    content: bytes,
    distance: float,
    label: str,
    reason: str,
) -> None:
    runtime.embedding = embedding_at(distance)
    for form in ("overlay", "side-by-side", "heat"):
        answer = explain(assessed, content, label=label, format=form)
        assert (answer.status_code, answer.json()["type"]) == (
            422,
            "/problems/explanation-unavailable",
        )
        assert reason in answer.json()["detail"]
        assert answer.json()["label"] == label
    answer = explain_grid(assessed, content, label=label)
    assert answer.status_code == 200
    explanation = answer.json()["explanation"]
    assert (explanation["status"], explanation["grid"]) == ("unavailable", None)
    assert reason in explanation["reason"]


def test_evidence_on_glass_is_no_explanation(assessed: TestClient) -> None:
    tile = DRAWN.copy()
    tile[:80, :80] = 255  # all evidence lies in the upper left cell
    content = encode_tile(tile)
    explanation = explain_grid(assessed, content).json()["explanation"]
    assert (explanation["status"], explanation["grid"]) == ("unavailable", None)
    assert explanation["glass_share"] > 0.9
    answer = explain(assessed, content)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/explanation-unavailable")
    assert "100% of the evidence for non_tumor lies on glass" in answer.json()["detail"]


def test_form_and_raw_body_give_the_same_picture(assessed: TestClient) -> None:
    form = assessed.post("/v1/explain", files={"file": ("name of a patient.png", TISSUE)})
    assert form.content == explain(assessed).content
    assert "patient" not in str(form.headers)


def test_grid_has_a_route_of_its_own(assessed: TestClient) -> None:
    answer = explain(assessed, format="grid")
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")
    assert answer.json()["errors"] == [
        {"where": "query.format", "what": "the grid has its own route: POST /v1/explain/grid"}
    ]


@pytest.mark.parametrize(
    "ask", [explain, partial(explain, format="heat", size_px=700), explain_grid]
)
def test_model_runs_once(
    assessed: TestClient, runtime: FakeRuntime, ask: Callable[..., Any]
) -> None:
    n_before = runtime.n_tiles
    assert ask(assessed).status_code == 200
    assert assessed.post("/v1/classify", content=TISSUE, params={"explain": "1"}).status_code == 200
    assert runtime.n_tiles == n_before + 2


@pytest.mark.parametrize(
    ("content", "status", "slug"),
    [
        (b"", 422, "empty-tile"),
        (b"hello", 415, "unsupported-format"),
        (TISSUE[:300], 422, "corrupt-tile"),
        (bytes(21 * 1024**2), 413, "tile-too-large"),
    ],
)
def test_tile_that_cannot_be_read_is_explained(
    assessed: TestClient, content: bytes, status: int, slug: str
) -> None:
    answer = explain(assessed, content)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{slug}")


def test_failing_model_is_a_problem(assessed: TestClient, runtime: FakeRuntime) -> None:
    runtime.poison = failing
    answer = explain(assessed)
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/inference-failed")


def test_explain_holds_a_place_in_the_queue_and_releases_it(
    make_client: MakeClient, runtime: FakeRuntime
) -> None:
    assessed = make_client(max_tiles_in_flight=1, max_request_tiles=1)
    service = assessed.app.state.service  # type: ignore[attr-defined] # a FastAPI application
    with occupy(service, 1):
        answer = explain(assessed)
        assert (answer.status_code, answer.json()["type"]) == (429, "/problems/queue-full")
    runtime.poison = saying(9.0, 1.0, 0.0)
    for _ in range(3):
        assert explain(assessed).status_code == 200
        assert explain(assessed, label="viable_tumor").status_code == 422
    text = assessed.get("/metrics").text
    for gauge in ("osteo_tiles_in_flight", "osteo_tiles_waiting", "osteo_upload_bytes"):
        assert f"{gauge} 0.0" in text
    assert 'osteo_request_problems_total{problem="explanation-unavailable"} 3.0' in text


def test_deadline_includes_drawing(
    make_client: MakeClient, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assessed = make_client(request_timeout_s=0.1)
    runtime.poison = saying(9.0, 1.0, 0.0)

    def draw_slowly(*_arguments: object, **_options: object) -> bytes:
        runtime.delay_s = 0.3
        runtime.infer(np.zeros((1, 2, 2, 3), np.uint8))
        runtime.delay_s = 0.0
        return b""

    monkeypatch.setattr("app.inference.classifier.draw_overlay", draw_slowly)
    answer = explain(assessed)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/deadline-exceeded")
    assert "osteo_tiles_in_flight 0.0" in assessed.get("/metrics").text


def test_explain_is_not_ready_without_a_model(make_client: MakeClient, models_dir: Path) -> None:
    (models_dir / "osteo-mobilenetv2").rename(models_dir / "away")
    answer = explain(make_client(wait=False))
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/not-ready")
