"""Provoke every problem over HTTP: for the examples, and to see what each route can answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fastapi.testclient import TestClient
from pydantic import SecretStr

from app.api.uploads import TILE_FIELD, TILES_FIELD
from app.main import create_app
from app.serving.readiness import LOADING
from app.settings import Settings
from tests.bundles import FakeRuntime, build_bundle, failing, opener_of, saying
from tests.contract.guarded import CALLER_PROVOCATIONS, Guarded, open_guarded
from tests.failing_tiles import FAILING_TILES
from tests.queues import occupy
from tests.records import a_record, embedding_at
from training.data.drawn_tiles import draw_tile, encode_tile

REQUEST_ID: Final = "5b0c6c0d3a5f4a07b0a9fb1ce5e8b9a1"
TOKEN: Final = "a-long-secret-of-tests"
_HEADERS: Final = {"X-Request-ID": REQUEST_ID}
_READY_WITHIN_S: Final = 60.0
_FORM: Final = "multipart/form-data; boundary=b"
TILE: Final = encode_tile(draw_tile("viable_tumor", 512, 0))

Document = dict[str, Any]
"""An answer's JSON."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Services to provoke problems of.

    Attributes:
        client: of a service with the default limits.
        runtime: its model.
        hurried: of a service with time-outs of 0.2 s, and the same model.
        empty: of a service without a model.
        guarded: a service that identifies, limits and records its callers.
    """

    client: TestClient
    runtime: FakeRuntime
    hurried: TestClient
    empty: TestClient
    guarded: Guarded


@contextmanager
def open_stage(folder: Path) -> Iterator[Stage]:
    """Start the services with a fake model that predicts non_tumor; `folder` is empty."""
    runtime = FakeRuntime()
    runtime.embedding = embedding_at(0.1)
    runtime.cam[0, 0, 0] = 3.0  # no evidence for the other labels
    models_dir = folder / "models"
    build_bundle(models_dir, "1", a_record())

    with ExitStack() as stack:

        def start(models_dir: Path, timeout_s: float = 60.0) -> TestClient:
            settings = Settings(
                models_dir=models_dir,
                admin_token=SecretStr(TOKEN),
                request_timeout_s=timeout_s,
                body_timeout_s=timeout_s,
            )
            return stack.enter_context(client_of(settings, opener_of(runtime)))

        client, hurried = start(models_dir), start(models_dir, 0.2)
        guarded = stack.enter_context(open_guarded(models_dir, folder / "guarded", runtime))
        runtime.poison = saying(9.0, 1.0, 0.0)
        yield Stage(client, runtime, hurried, start(folder / "none"), guarded)


@contextmanager
def client_of(settings: Settings, *opener: Any) -> Iterator[TestClient]:
    """A client of a service, after it has loaded its model or failed to."""
    app = create_app(settings, *opener)
    with TestClient(app, raise_server_exceptions=False, headers=_HEADERS) as client:
        deadline = time.monotonic() + _READY_WITHIN_S
        while app.state.service.unready_reason == LOADING and time.monotonic() < deadline:
            time.sleep(0.005)
        yield client


Provocation = Callable[[Stage, str], Document]
"""Sends a request to a path; returns the answer."""


def post(client: TestClient, path: str, content: bytes = TILE, **options: Any) -> Document:
    """Send a tile in the form that a route asks for."""
    field = TILES_FIELD if path.endswith("/batch") else TILE_FIELD
    return document_of(client.post(path, files={field: content}, **options))


def document_of(answer: Any) -> Document:
    """The JSON of an answer; empty if it is a picture."""
    is_json = answer.headers["content-type"].endswith("json")
    document: Document = answer.json() if is_json else {}
    return document


def _failing_tile(code: str) -> Provocation:
    return lambda stage, path: post(stage.client, path, FAILING_TILES[code])


def _failing_model(poison: Callable[..., Any]) -> Provocation:
    def provoke(stage: Stage, path: str) -> Document:
        usual, stage.runtime.poison = stage.runtime.poison, poison
        try:
            return post(stage.client, path)
        finally:
            stage.runtime.poison = usual

    return provoke


def _raising(error: Exception) -> Callable[..., Any]:
    def poison(_logits: object) -> object:
        raise error

    return poison


def _slow_model(stage: Stage, path: str) -> Document:
    stage.runtime.delay_s = 0.5
    try:
        return post(stage.hurried, path)
    finally:
        stage.runtime.delay_s = 0.0


def _raw(content: bytes, **headers: str) -> Provocation:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda stage, path: document_of(stage.client.post(path, content=content, headers=named))


def _several(stage: Stage, path: str) -> Document:
    field = TILES_FIELD if path.endswith("/batch") else TILE_FIELD
    files = [(field, b"1")] * 65
    return document_of(stage.client.post(path, files=files))


def _no_tile(stage: Stage, path: str) -> Document:
    return document_of(stage.client.post(path, files={"other": TILE}))


def _text(stage: Stage, path: str) -> Document:
    field = TILES_FIELD if path.endswith("/batch") else TILE_FIELD
    return document_of(stage.client.post(path, files={field: (None, "tile.jpg")}))


def _full_queue(stage: Stage, path: str) -> Document:
    with occupy(stage.client.app.state.service, 128):  # type: ignore[attr-defined] # FastAPI's
        return post(stage.client, path)


def _full_uploads(stage: Stage, path: str) -> Document:
    with stage.client.app.state.service.track_upload() as take:  # type: ignore[attr-defined] # as above
        take(256 * 1024**2)
        return post(stage.client, path)


def _stalled_upload(stage: Stage, path: str) -> Document:
    body = bytearray()

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(600)
        return {}

    async def send(message: Any) -> None:
        body.extend(message.get("body", b""))

    scope = {
        **{"type": "http", "http_version": "1.1", "method": "POST", "scheme": "http"},
        **{"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""},
        "headers": [
            (b"content-type", _FORM.encode()),
            (b"x-request-id", REQUEST_ID.encode()),
        ],
        **{"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000)},
    }
    assert stage.hurried.portal is not None
    stage.hurried.portal.call(stage.hurried.app, scope, receive, send)
    document: Document = json.loads(bytes(body))
    return document


def _query(**params: str) -> Provocation:
    return lambda stage, path: post(stage.client, path, params=params)


def _of_a_caller(code: str) -> Provocation:
    def provoke(stage: Stage, path: str) -> Document:
        guarded = stage.guarded
        answer = CALLER_PROVOCATIONS[code](
            guarded, lambda headers: post(guarded.client, path, headers=headers)
        )
        assert isinstance(answer, dict)
        return answer

    return provoke


PROVOCATIONS: Final[dict[str, Provocation]] = {
    **{code: _failing_tile(code) for code in FAILING_TILES},
    "malformed-request": _raw(b"--b--", content_type="multipart/form-data"),
    "upload-timeout": _stalled_upload,
    "body-too-large": _raw(b"--b--", content_type=_FORM, content_length="999999999"),
    "too-many-tiles": _several,
    "missing-tile": _no_tile,
    "unsupported-media-type": _raw(b"{}", content_type="application/json"),
    "unsupported-encoding": _raw(b"", content_encoding="br", content_type=_FORM),
    "text-instead-of-file": _text,
    "invalid-request-id": _raw(b"", x_request_id="\t" * 3),
    "queue-full": _full_queue,
    "uploads-full": _full_uploads,
    "not-ready": lambda stage, path: post(stage.empty, path),
    "deadline-exceeded": _slow_model,
    "out-of-memory": _failing_model(_raising(MemoryError())),
    "inference-failed": _failing_model(failing),
    "internal-error": _failing_model(_raising(RuntimeError("unexpected"))),
    "unknown-label": _query(label="osteoma"),
    "explanation-unavailable": _query(label="viable_tumor"),
    "invalid-request": _query(explain="maybe", size_px="large"),
    **{code: _of_a_caller(code) for code in CALLER_PROVOCATIONS},
}
"""A request that is answered with the problem by each route that can answer with it."""
