"""Generated clients classify a tile and fetch its overlay from a running service."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from tests.clients.tools import Tools, run
from tests.conftest import RELEASED_MODELS
from tests.servers import RunningServer

PROGRAMS: Final = Path(__file__).parent / "programs"
CONFIGURATIONS: Final = Path(__file__).parent / "configurations"
TILE: Final = RELEASED_MODELS / "osteo-mobilenetv2/4/golden/drawn_non_viable_tumor.png"
JARS: Final = [
    Path("/usr/share/java") / name for name in ("httpmime.jar", "jakarta-annotation-api.jar")
]
JAVA_OPTIONS: Final = (
    "library=native,openApiNullable=false,useJakartaEe=true,"
    "invokerPackage=osteo,apiPackage=osteo.api,modelPackage=osteo.model"
)


def require_equal_answers(server: RunningServer, printed: str, picture: Path) -> None:
    """Compare what a client printed and stored with the answers of the service."""
    url, content = f"{server.url}/v1", TILE.read_bytes()
    answer: dict[str, Any] = server.client.post(f"{url}/classify", content=content).json()
    assert json.loads(printed) == {
        "review_required": answer["review"]["required"],
        "prediction": answer["prediction"],
        "probabilities": pytest.approx(answer["probabilities"], abs=1e-6),
        "has_explanation": False,
        "problem": "/problems/unknown-label",
    }
    query: dict[str, str | int] = {"format": "overlay", "size_px": 256}
    overlay = server.client.post(f"{url}/explain", content=content, params=query).content
    assert picture.read_bytes() == overlay
    assert Image.open(io.BytesIO(overlay)).height > 256, "the tile and its caption"


def test_client_of_openapi_python_client(
    tools: Tools, server: RunningServer, document: Path, tmp_path: Path
) -> None:
    output = tools.run(
        *("openapi-python-client", "generate", "--path", document, "--meta", "none"),
        *("--config", CONFIGURATIONS / "openapi-python-client.yaml", "--output-path", "client"),
        cwd=tmp_path,
    )
    assert "Warning" not in output
    shutil.copy(PROGRAMS / "classify.py", tmp_path)
    picture = tmp_path / "overlay.png"
    printed = tools.run("python", "classify.py", server.url, TILE, picture, cwd=tmp_path)
    require_equal_answers(server, printed, picture)


@pytest.mark.exhaustive
def test_client_of_hey_api(
    tools: Tools, server: RunningServer, document: Path, tmp_path: Path
) -> None:
    tools.run("openapi-ts", "-i", document, "-o", "client", "--no-log-file", cwd=tmp_path)
    shutil.copy(PROGRAMS / "classify.ts", tmp_path)
    shutil.copy(CONFIGURATIONS / "tsconfig.json", tmp_path)
    (tmp_path / "node_modules").symlink_to(tools.folder / "node_modules")
    tools.run("tsc", "--project", ".", cwd=tmp_path)
    picture = tmp_path / "overlay.png"
    printed = tools.run("node", "program/classify.js", server.url, TILE, picture, cwd=tmp_path)
    require_equal_answers(server, printed, picture)


@pytest.mark.exhaustive
def test_java_client_of_openapi_generator(
    tools: Tools, server: RunningServer, document: Path, tmp_path: Path
) -> None:
    missing = [str(jar) for jar in JARS if not jar.exists()]
    if not shutil.which("javac") or missing:
        pytest.skip(
            "no Java compiler or libraries: apt-get install default-jdk-headless libhttpmime-java "
            "libjakarta-annotation-api-java"
        )
    tools.run(
        *("openapi-generator-cli", "generate", "-g", "java", "-i", document, "-o", "client"),
        *("--additional-properties", JAVA_OPTIONS),
        cwd=tmp_path,
    )
    class_path = ":".join(str(jar) for jar in (tools.generator_jar, *JARS))
    sources = ["-sourcepath", "client/src/main/java", PROGRAMS / "Classify.java"]
    run(["javac", "-proc:none", "-d", "classes", "-cp", class_path, *sources], tmp_path)
    picture = tmp_path / "overlay.png"
    java = ["java", "-cp", f"classes:{class_path}", "Classify"]
    printed = run([*java, server.url, TILE, picture], tmp_path)
    require_equal_answers(server, printed, picture)
