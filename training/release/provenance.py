"""Sources and licences of tiles and weights, for the manifest and the model card."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from app.core.manifest import InputContract, sha256_of_file
from app.core.provenance import DataSource, SupplementSource, WeightsSource
from training.config import SourceConfig, TrainingConfig
from training.data.index import Index
from training.features.supplements import Supplements
from training.networks.architecture import System
from training.networks.graphs import KERAS_IMAGENET, UNTRAINED
from training.networks.registry import DEFAULT_SYSTEM
from training.networks.weights_files import UNKNOWN_LICENCE, UNKNOWN_ORIGIN, find_weights_file

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


def describe_supplements(supplements: Supplements) -> tuple[SupplementSource, ...]:
    """Sources of the thumbnails and the table rows that taught; both are the collection's."""
    thumbnails, rows = supplements.thumbnails, supplements.texture_rows
    found: list[tuple[Literal["thumbnails", "feature_table"], str, int, str]] = []
    if thumbnails is not None:
        sha256 = str(supplements.sha256_of_thumbnails)
        found.append(("thumbnails", "low-resolution tiles", len(thumbnails), sha256))
    if rows is not None:
        found.append(("feature_table", "feature table", len(rows.class_indices), rows.sha256))
    return tuple(
        SupplementSource(
            kind=kind,
            name=f"{COLLECTION_SOURCE.name}: {what}",
            url=COLLECTION_SOURCE.url,
            licence=COLLECTION_SOURCE.licence,
            n_items=n_items,
            sha256=sha256,
        )
        for kind, what, n_items, sha256 in found
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
    """The initial weights; a path is reduced to its file name.

    A file is known by its SHA-256 only. Origin and licence of any other file are unknown, because
    its name and its network prove nothing about them.
    """
    if weights == UNTRAINED:
        return WeightsSource(
            name="none: random initial weights", licence="none needed", sha256=None
        )
    if weights == KERAS_IMAGENET:
        name = f"{system.title}, ImageNet (keras.applications)"
        return WeightsSource(name=name, licence=system.licence, sha256=None)
    sha256 = sha256_of_file(Path(weights))
    file = find_weights_file(sha256)
    origin = "ImageNet" if file.has_licence else UNKNOWN_ORIGIN
    name = f"{system.title}, {origin} ({Path(weights).name})"
    return WeightsSource(name=name, licence=file.licence, sha256=sha256)


def has_licence(source: WeightsSource) -> bool:
    """Whether the licence of the initial weights is known, so that a bundle may be published."""
    return source.licence != UNKNOWN_LICENCE


def licence_warning(source: WeightsSource) -> str | None:
    """What the maker of a bundle must know about its initial weights; None if there is nothing."""
    if has_licence(source):
        return None
    return (
        f"The licence of the initial weights is unknown: {source.name}, SHA-256 {source.sha256}. "
        "Manifest and model card say so. Do not publish this bundle; start from weights whose "
        "licence is known."
    )
