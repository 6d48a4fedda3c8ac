"""The identity of a run: hashes of everything that decides its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from training.config import TrainingConfig
from training.data.synthetic import SyntheticTiles
from training.features.supplements import Supplements
from training.networks.graphs import UNTRAINED, weights_sha256
from training.networks.table_systems import find_table_system
from training.runs.code_identity import code_sha256
from training.storage.frozen_model import FrozenModel


class RunIdentity(FrozenModel):
    """SHA-256 of everything that decides the result.

    Attributes:
        configuration: hash of the resolved configuration, as the run records it.
        index: hash of the index file, which lists the SHA-256 of every tile.
        split: hash of the split file; None for a fit on all tiles.
        weights: hash of the weights file, or `imagenet` or `none`; a table system has `none`.
        synthetic: hash of the synthetic tiles; None if there are none.
        supplements: hash of the thumbnails and table rows; None if there are none.
        code: see `training.runs.code_identity`.
    """

    configuration: str
    index: str
    split: str | None
    weights: str
    synthetic: str | None
    supplements: str | None = None
    code: str

    @property
    def digest(self) -> str:
        """One SHA-256 of all of them."""
        return _sha256(self.model_dump_json())

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Names of the attributes that differ from another identity's."""
        return [name for name, value in self.model_dump().items() if other.get(name) != value]


def identify(
    config: TrainingConfig,
    index_sha256: str,
    split_sha256: str | None,
    synthetic: SyntheticTiles | None = None,
    supplements: Supplements | None = None,
) -> RunIdentity:
    """The identity of a run over a split, or on all tiles (`split_sha256` is None)."""
    weights = UNTRAINED if find_table_system(config.network.system) else config.network.weights
    return RunIdentity(
        configuration=_sha256(config.model_dump_json()),
        index=index_sha256,
        split=split_sha256,
        weights=weights_sha256(weights) or weights,
        synthetic=None if synthetic is None else _sha256(" ".join(synthetic.sha256s)),
        supplements=None if supplements is None else supplements.digest,
        code=code_sha256(),
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
