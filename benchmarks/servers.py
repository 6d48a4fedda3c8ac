"""The servers that are compared: how to start each, and its paths."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.environments import PEERS_DIR, REPOSITORY, WORK_DIR

OURS: Final = "osteo"
OURS_INT8: Final = "osteo-int8"
OURS_SAVEDMODEL: Final = "osteo-savedmodel"
NAIVE: Final = "naive_fastapi"
SAVEDMODEL_FASTAPI: Final = "savedmodel_fastapi"


@dataclass(frozen=True, slots=True)
class Server:
    """A program that classifies tiles over HTTP.

    Attributes:
        name: key in the results; for a peer also its folder in `benchmarks/peers/`.
        title: name in reports.
        command: port -> the command line; a peer's begins with a program of its environment.
        classify_path: accepts a multipart POST with one tile in field `file`.
        ready_path: answers 200 once the server accepts tiles.
        env: environment variables in addition to those of the shell.
        package: the peer's main package, whose locked version is reported; None for our service.
    """

    name: str
    title: str
    command: Callable[[int], list[str]]
    classify_path: str
    ready_path: str
    env: Mapping[str, str] = field(default_factory=dict)
    package: str | None = None

    @property
    def is_peer(self) -> bool:
        """Whether it is a peer, with its own virtual environment."""
        return self.package is not None

    @property
    def cwd(self) -> Path:
        """Working directory of the command."""
        return PEERS_DIR / self.name if self.is_peer else REPOSITORY

    def environ(self, bundle_dir: Path, port: int) -> dict[str, str]:
        """The process environment: the shell's, without the settings that `env` decides."""
        decided = {"OSTEO_PORT", "OSTEO_HOST", "OSTEO_RUNTIME", "OSTEO_PRECISION"}
        inherited = {key: value for key, value in os.environ.items() if key not in decided}
        bench = {"BENCH_BUNDLE": str(bundle_dir), "BENCH_PORT": str(port)}
        return inherited | {"TF_CPP_MIN_LOG_LEVEL": "2"} | bench | dict(self.env)


def serve_command(port: int) -> list[str]:
    """The command line of our service on a port of this machine."""
    return [sys.executable, "-m", "app", "serve", "--host", "127.0.0.1", "--port", str(port)]


def _ours(name: str, title: str, **env: str) -> Server:
    return Server(name, title, serve_command, "/v1/classify", "/readyz", env)


def _peer(name: str, title: str, package: str, ready_path: str) -> Server:
    python = str(WORK_DIR / name / "bin" / "python")
    return Server(
        name, title, lambda _: [python, "server.py"], "/predict", ready_path, package=package
    )


def _bentoml() -> Server:
    program = str(WORK_DIR / "bentoml" / "bin" / "bentoml")
    return Server(
        "bentoml",
        "BentoML, adaptive batching",
        lambda port: [
            *(program, "serve", "server:OsteoTiles"),
            *("--host", "127.0.0.1", "--port", str(port)),
        ],
        "/predict",
        "/readyz",
        # Without its store in the user's home, and without usage statistics.
        {"BENTOML_HOME": str(WORK_DIR / "bentoml-home"), "BENTOML_DO_NOT_TRACK": "True"},
        package="bentoml",
    )


PEERS: Final = (
    _peer(NAIVE, "FastAPI + Pillow + `model.predict`", "keras", "/health"),
    _peer(SAVEDMODEL_FASTAPI, "FastAPI + SavedModel, thread pool", "tensorflow", "/health"),
    _peer("litserve", "LitServe, batching", "litserve", "/health"),
    _bentoml(),
)
OWN: Final = (
    _ours(OURS, "osteo-tiles, LiteRT fp32", OSTEO_RUNTIME="litert"),
    _ours(OURS_INT8, "osteo-tiles, LiteRT int8", OSTEO_RUNTIME="litert", OSTEO_PRECISION="int8"),
    _ours(OURS_SAVEDMODEL, "osteo-tiles, SavedModel", OSTEO_RUNTIME="savedmodel"),
)
SERVERS: Final = {server.name: server for server in (*OWN, *PEERS)}
