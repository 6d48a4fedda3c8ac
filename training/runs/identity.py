"""What decides a run's result, as hashes: with the same identity the same weights are fitted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

import app.core
import training
from training.config import TrainingConfig
from training.data.synthetic import SyntheticTiles
from training.networks.graphs import weights_sha256

_LIBRARIES: Final = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "pillow", "scikit-learn")


class RunIdentity(BaseModel):
    """SHA-256 of each thing that decides.

    Attributes:
        configuration: resolved, as the run records it.
        index: of the file; it names the SHA-256 of every tile.
        split: of the file; None for a fit on all tiles.
        weights: of the file, or the name that stands for them.
        synthetic: of the synthetic tiles; None without.
        code: of this package's source, and the versions of the libraries that compute.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    configuration: str
    index: str
    split: str | None
    weights: str
    synthetic: str | None
    code: str

    @property
    def digest(self) -> str:
        """All of it in one."""
        return _sha256(self.model_dump_json())

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Names of what is different in another one."""
        return [name for name, value in self.model_dump().items() if other.get(name) != value]


def identify(
    config: TrainingConfig,
    index_sha256: str,
    split_sha256: str | None,
    synthetic: SyntheticTiles | None = None,
) -> RunIdentity:
    """The identity of a run over a split, or on all tiles (`split_sha256` is None)."""
    return RunIdentity(
        configuration=_sha256(config.model_dump_json()),
        index=index_sha256,
        split=split_sha256,
        weights=weights_sha256(config.network.weights) or config.network.weights,
        synthetic=None if synthetic is None else _sha256(" ".join(synthetic.sha256s)),
        code=_code_sha256(),
    )


def _code_sha256() -> str:
    digest = hashlib.sha256()
    for package in (training, app.core):
        top = Path(package.__path__[0])
        for path in sorted(top.rglob("*.py")):
            digest.update(f"{path.relative_to(top)} {path.stat().st_size} ".encode())
            digest.update(path.read_bytes())
    for name in _LIBRARIES:
        try:
            digest.update(f"{name} {metadata.version(name)} ".encode())
        except metadata.PackageNotFoundError:
            continue
    return digest.hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
