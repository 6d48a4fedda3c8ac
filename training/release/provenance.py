"""Sources and licences of tiles and weights, for the manifest and the model card."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from app.core.manifest import InputContract
from app.core.provenance import DataSource, WeightsSource
from training.config import SourceConfig, TrainingConfig
from training.data.index import Index
from training.networks.architecture import System
from training.networks.graphs import KERAS_IMAGENET, UNTRAINED, weights_sha256
from training.networks.registry import DEFAULT_SYSTEM

_DATA_URL: Final = "https://doi.org/10.7937/tcia.2019.bvhjhdas"
COLLECTION_SOURCE: Final = SourceConfig(
    name="Osteosarcoma data from UT Southwestern/UT Dallas (TCIA)",
    url=_DATA_URL,
    licence="CC BY 3.0",
    citation=(
        "Leavey P. et al. (2019). Osteosarcoma data from UT Southwestern/UT Dallas for Viable and "
        f"Necrotic Tumor Assessment. The Cancer Imaging Archive. {_DATA_URL}"
    ),
    tissue="osteosarcoma",
    objective_power=10.0,
)


def describe_data(index: Index, index_sha256: str, own: SourceConfig | None) -> DataSource:
    """Counts of an index, and the licence of the collection or of one's own tiles."""
    is_collection = index.layout == "collection"
    source = COLLECTION_SOURCE if is_collection else own or SourceConfig()
    slides, cases = ({getattr(t, group) for t in index.tiles} for group in ("slide", "case"))
    return DataSource(
        name=source.name,
        url=source.url,
        licence=source.licence,
        citation=source.citation or source.name,
        n_tiles=len(index.tiles),
        n_slides=len(slides) if index.knows_slides else None,
        n_cases=len(cases) if index.knows_cases else None,
        tiles_by_label={label: index.labels.count(label) for label in index.label_set.ids},
        mixed_tiles=index.mixed_tiles if is_collection else None,
        table_sha256=index.table_sha256,
        index_sha256=index_sha256,
    )


def describe_input(index: Index, config: TrainingConfig) -> InputContract:
    """The network's input, and the side and magnification of the tiles; null if they vary."""
    side_px = config.data.tile_side_px
    own = config.data.source or SourceConfig()
    source = COLLECTION_SOURCE if index.layout == "collection" else own
    return InputContract(
        side_px=config.network.input_side_px,
        tile_side_px=side_px if isinstance(side_px, int) else None,
        objective_power=source.objective_power,
        mpp=source.mpp,
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
