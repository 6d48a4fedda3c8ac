"""Record the examples of the OpenAPI document: `python -m tests.contract.real_answers`.

The tiles are answered by the newest released bundle. The problems are provoked, those of a failing
service with a fake model.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from app.api.openapi import EXAMPLES_FILE
from app.core.manifest import LITERT_NAME
from app.settings import Settings
from tests.bundles import build_bundle
from tests.conftest import RELEASED_MODELS
from tests.contract.provoked import (
    PROVOCATIONS,
    TILE,
    TOKEN,
    Document,
    client_of,
    document_of,
    open_stage,
)
from tests.contract.provoked_slides import SLIDE_PROVOCATIONS, open_slide_stage

_ADMIN: Final = {"Authorization": f"Bearer {TOKEN}"}


def answers_of_the_release() -> dict[str, Document]:
    """The answers of the newest released bundle, by operation."""
    settings = Settings(models_dir=RELEASED_MODELS, admin_token=SecretStr(TOKEN))
    tiles = [("files", ("tile.png", TILE)), ("files", ("notes.txt", b"not an image"))]
    with client_of(settings) as client:
        answers = {
            "livez": client.get("/livez"),
            "readyz": client.get("/readyz"),
            "classify": client.post("/v1/classify", files={"file": TILE}),
            "classify_batch": client.post("/v1/classify/batch", files=tiles),
            "explain_grid": client.post("/v1/explain/grid", files={"file": TILE}),
            "list_models": client.get("/v1/models"),
            "activate_version": client.post("/v1/models/2/activate", headers=_ADMIN),
            "roll_back": client.post("/v1/models/rollback", headers=_ADMIN),
        }
    return {name: document_of(answer) for name, answer in answers.items()}


def provoked_problems(folder: Path) -> dict[str, Document]:
    """One answer for each problem that a route can answer with; `folder` is empty."""
    with open_stage(folder) as stage:
        client = stage.client
        damaged = build_bundle(folder / "models", "7") / LITERT_NAME
        damaged.write_bytes(damaged.read_bytes()[::-1])
        return {
            **{code: provoke(stage, "/v1/explain") for code, provoke in PROVOCATIONS.items()},
            "model-not-found": document_of(client.post("/v1/models/8/activate", headers=_ADMIN)),
            "activation-refused": document_of(client.post("/v1/models/7/activate", headers=_ADMIN)),
        }


def answers_about_slides(folder: Path) -> dict[str, Document]:
    """The answers of the routes of whole slides, and their problems; `folder` is empty."""
    with open_slide_stage(folder, TOKEN) as stage:
        problems = {code: provoke(stage) for code, provoke in SLIDE_PROVOCATIONS.items()}
        return stage.answers | {code: document_of(answer) for code, answer in problems.items()}


def record(folder: Path) -> dict[str, Document]:
    """All examples, by the id of the operation or the code of the problem."""
    places = folder / "tiles", folder / "slides"
    for place in places:
        place.mkdir()
    return answers_of_the_release() | provoked_problems(places[0]) | answers_about_slides(places[1])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        examples = record(Path(folder))
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in examples.items()]
    EXAMPLES_FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
