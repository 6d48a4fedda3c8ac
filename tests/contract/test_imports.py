"""What a command imports, seen in a fresh process."""

from __future__ import annotations

import subprocess
import sys

from app.bundle import find_bundle
from tests.bundles import MODEL_NAME
from tests.conftest import RELEASED_MODELS, REPOSITORY

CLASSIFY = """
import sys
from app.cli.commands import app
app(["classify", sys.argv[1]], standalone_mode=False)
print("imported:", *{name.partition(".")[0] for name in sys.modules})
"""


def test_osteo_classify_imports_no_web_framework() -> None:
    tile = find_bundle(RELEASED_MODELS, MODEL_NAME) / "golden" / "drawn_viable_tumor.png"
    run = subprocess.run(
        [sys.executable, "-c", CLASSIFY, tile],
        cwd=REPOSITORY,
        env={"OSTEO_RUNTIME": "litert", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )
    answer, imported = run.stdout.split("imported:")
    assert "Viable Tumor" in answer
    assert "app" in imported.split()
    assert {"fastapi", "starlette", "uvicorn"}.isdisjoint(imported.split())
