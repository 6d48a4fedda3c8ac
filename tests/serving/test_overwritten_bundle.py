"""Files that change under a running service do not stop it, whatever is written into them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from app.bundle import find_bundle
from tests.bundles import MODEL_NAME, plain_tile
from tests.conftest import RELEASED_MODELS
from tests.servers import running_server

pytestmark = pytest.mark.slow

TOKEN = "a-long-secret-of-tests"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=pytest.mark.exhaustive)])
def test_service_answers_while_its_bundle_is_overwritten(tmp_path: Path, precision: str) -> None:
    released = find_bundle(RELEASED_MODELS, MODEL_NAME)
    copy = tmp_path / "models" / MODEL_NAME / released.name
    shutil.copytree(released, copy)
    environ = {
        "OSTEO_MODELS_DIR": str(tmp_path / "models"),
        "OSTEO_RUNTIME": "litert",
        "OSTEO_PRECISION": precision,
        "OSTEO_ADMIN_TOKEN": TOKEN,
        "OSTEO_WATCH_MODELS_S": "0.1",
    }
    files = [path for path in copy.rglob("*") if path.is_file()]
    tile = plain_tile((200, 120, 160), 512)
    with running_server(tmp_path, **environ) as server:
        server.wait_until_ready()

        def post(path: str, **options: Any) -> Any:
            return server.client.post(f"{server.url}/v1/{path}", **options)

        expected = post("classify", content=tile).json()["probabilities"]
        for content in (b"", b"\xff" * 20_000_000, b"x"):
            for file in files:
                with file.open("r+b") as stream:  # the same inode, which a mapping would see
                    stream.truncate(0)
                    stream.write(content if file.suffix == ".tflite" else content[:9])
            for _ in range(8):  # more than there are interpreters
                answer = post("classify", content=tile)
                assert answer.json()["probabilities"] == pytest.approx(expected, abs=1e-4)
            refused = post(f"models/{released.name}/activate", headers=ADMIN)
            assert refused.status_code == 409
            assert str(tmp_path) not in refused.text
            assert server.client.get(f"{server.url}/readyz").status_code == 200
