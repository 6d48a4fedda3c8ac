from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.api.explaining import DRAWN, PHOTOGRAPH, TISSUE, explain
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


def test_overlay_is_the_tile_under_the_heat_beside_a_colour_bar(
    assessed: TestClient,
) -> None:
    image = picture(explain(assessed))
    assert (image.mode, image.height) == ("RGB", 512)
    assert image.width > 512
    drawn = np.asarray(image)[:, :512]
    assert np.array_equal(drawn[256:, 256:], DRAWN[256:, 256:])
    assert (drawn[:40, :40] != DRAWN[:40, :40]).any()


def test_heat_is_a_transparent_layer(assessed: TestClient) -> None:
    image = picture(explain(assessed, format="heat", size_px=128, opacity=1))
    assert (image.mode, image.size) == ("RGBA", (128, 128))
    alpha = np.asarray(image)[..., 3]
    assert (alpha[0, 0], alpha[-1, -1]) == (255, 0)


def test_grid_is_the_answer_of_classify_with_the_map(assessed: TestClient) -> None:
    document = explain(assessed, format="grid").json()
    said = document["explanation"]
    assert (said["status"], said["label"], said["max_logit"]) == ("available", "non_tumor", 3.0)
    expected = np.zeros((7, 7))
    expected[0, 0] = 1
    assert said["grid"] == expected.tolist()
    classified = assessed.post("/v1/classify", content=TISSUE, params={"explain": "true"}).json()
    for answer in (document, classified):
        del answer["request_id"], answer["timing"]
    assert document == classified


def test_evidence_of_a_named_label_is_shown(assessed: TestClient) -> None:
    answer = explain(assessed, label="non_viable_tumor", format="heat")
    alpha = np.asarray(picture(answer))[..., 3]
    assert (alpha[0, 0], alpha[-1, -1]) == (0, alpha.max())
    assert answer.headers["X-Osteo-Explained"] == "non_viable_tumor"
    assert answer.headers["X-Osteo-Prediction"] == "non_tumor"
    document = explain(assessed, label="non_viable_tumor", format="grid").json()
    assert document["explanation"]["label"] == "non_viable_tumor"


def test_picture_says_what_it_shows(assessed: TestClient) -> None:
    headers = explain(assessed).headers
    assert headers["X-Osteo-Prediction"] == headers["X-Osteo-Explained"] == "non_tumor"
    assert headers["X-Osteo-Probability"] == "0.9714"
    assert headers["X-Osteo-Review"] == ""
    assert headers["X-Osteo-Model"] == "osteo-mobilenetv2/2"
    assert headers["X-Request-ID"]
    wide = encode_tile(DRAWN[:230])
    assert explain(assessed, wide).headers["X-Osteo-Review"] == "not_square"
    small = encode_tile(draw_tile("viable_tumor", 320, 0)[:200])
    assert explain(assessed, small).headers["X-Osteo-Review"] == "not_square,too_small"


@pytest.mark.parametrize("form", ["overlay", "heat", "grid"])
@pytest.mark.parametrize("label", ["osteoma", "", "NON_TUMOR", "a\r\nX-Evil: 1", "é", "x" * 2000])
def test_label_that_the_model_lacks_is_refused_and_the_others_named(
    assessed: TestClient, runtime: FakeRuntime, form: str, label: str
) -> None:
    n_before = runtime.n_tiles
    answer = explain(assessed, label=label, format=form)
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
def test_smallest_and_largest_picture(assessed: TestClient, size_px: int) -> None:
    assert picture(explain(assessed, size_px=size_px, opacity=0)).height == size_px


def test_explain_on_classify_is_a_truth(assessed: TestClient) -> None:
    for said, is_there in (("true", True), ("1", True), ("false", False), ("0", False)):
        answer = assessed.post("/v1/classify", content=TISSUE, params={"explain": said}).json()
        assert (answer["explanation"] is not None) == is_there
    answer = assessed.post("/v1/classify", content=TISSUE, params={"explain": "maybe"})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")


@pytest.mark.parametrize(
    ("content", "distance", "label", "said"),
    [
        (TISSUE, 0.1, "viable_tumor", "the tile holds no evidence for viable_tumor"),
        (TISSUE, 0.9, "non_tumor", "does not look like those the model was trained on"),
        (PHOTOGRAPH, 0.1, "non_tumor", "does not look like those the model was trained on"),
        (encode_tile(np.full_like(DRAWN, 255)), 0.1, "non_tumor", "does not look like those"),
    ],
)
def test_where_nothing_can_be_shown_it_is_said(
    assessed: TestClient,
    runtime: FakeRuntime,
    content: bytes,
    distance: float,
    label: str,
    said: str,
) -> None:
    runtime.embedding = embedding_at(distance)
    for form in ("overlay", "heat"):
        answer = explain(assessed, content, label=label, format=form)
        assert (answer.status_code, answer.json()["type"]) == (
            422,
            "/problems/explanation-unavailable",
        )
        assert said in answer.json()["detail"]
        assert answer.json()["label"] == label
    answer = explain(assessed, content, label=label, format="grid")
    assert answer.status_code == 200
    explanation = answer.json()["explanation"]
    assert (explanation["status"], explanation["grid"]) == ("unavailable", None)
    assert said in explanation["reason"]


def test_form_and_raw_body_give_the_same_picture(assessed: TestClient) -> None:
    form = assessed.post("/v1/explain", files={"file": ("name of a patient.png", TISSUE)})
    assert form.content == explain(assessed).content
    assert "patient" not in str(form.headers)


@pytest.mark.parametrize("query", [{}, {"format": "heat", "size_px": 700}, {"format": "grid"}])
def test_model_runs_once(assessed: TestClient, runtime: FakeRuntime, query: dict[str, Any]) -> None:
    n_before = runtime.n_tiles
    assert explain(assessed, **query).status_code == 200
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


def test_model_that_fails_is_a_problem(assessed: TestClient, runtime: FakeRuntime) -> None:
    runtime.poison = failing
    answer = explain(assessed)
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/inference-failed")


def test_explaining_takes_room_and_gives_it_back(
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


def test_deadline_covers_the_drawing(
    make_client: MakeClient, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assessed = make_client(request_timeout_s=0.1)
    runtime.poison = saying(9.0, 1.0, 0.0)

    def draw_slowly(*_arguments: object) -> bytes:
        runtime.delay_s = 0.3
        runtime.infer(np.zeros((1, 2, 2, 3), np.uint8))
        runtime.delay_s = 0.0
        return b""

    monkeypatch.setattr("app.inference.classifier.draw_explanation", draw_slowly)
    answer = explain(assessed)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/deadline-exceeded")
    assert "osteo_tiles_in_flight 0.0" in assessed.get("/metrics").text


"""What an answer held before there were assessments: nothing of it may change."""


def test_nothing_is_explained_before_a_model_is_there(
    make_client: MakeClient, models_dir: Path
) -> None:
    (models_dir / "osteo-mobilenetv2").rename(models_dir / "away")
    answer = explain(make_client(wait=False))
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/not-ready")
