"""Sources and licences of tiles and weights, for the manifest and the model card."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from app.core.provenance import DataSource, WeightsSource
from training.data.index import Index
from training.data.labels import LABEL_IDS
from training.networks.architecture import System
from training.networks.graphs import KERAS_IMAGENET, UNTRAINED, weights_sha256
from training.networks.registry import DEFAULT_SYSTEM

_DATA_NAME: Final = "Osteosarcoma data from UT Southwestern/UT Dallas (TCIA)"
_DATA_URL: Final = "https://doi.org/10.7937/tcia.2019.bvhjhdas"
_DATA_LICENCE: Final = "CC BY 3.0"
_CITATION: Final = (
    "Leavey P. et al. (2019). Osteosarcoma data from UT Southwestern/UT Dallas for Viable and "
    "Necrotic Tumor Assessment. The Cancer Imaging Archive. "
    f"{_DATA_URL}"
)


def describe_data(index: Index, index_sha256: str) -> DataSource:
    """Counts of an index and the licence of the collection."""
    return DataSource(
        name=_DATA_NAME,
        url=_DATA_URL,
        licence=_DATA_LICENCE,
        citation=_CITATION,
        n_tiles=len(index.tiles),
        n_slides=len({tile.slide for tile in index.tiles}),
        n_cases=len({tile.case for tile in index.tiles}),
        tiles_by_label={label: index.labels.count(label) for label in LABEL_IDS},
        mixed_tiles=index.mixed_tiles,
        table_sha256=index.table_sha256,
        index_sha256=index_sha256,
    )


def describe_weights(weights: str, system: System = DEFAULT_SYSTEM) -> WeightsSource:
    """The initial weights; a path is reduced to its file name."""
    if weights == UNTRAINED:
        name = "none: random initial weights"
    elif weights == KERAS_IMAGENET:
        name = f"{system.title}, ImageNet (keras.applications)"
    else:
        name = f"{system.title}, ImageNet ({Path(weights).name})"
    licence = "none needed" if weights == UNTRAINED else system.licence
    return WeightsSource(name=name, licence=licence, sha256=weights_sha256(weights))
