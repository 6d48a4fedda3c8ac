"""The YAML header of a model card, which Hugging Face reads.

Every value is written as JSON, which is YAML too.
"""

from __future__ import annotations

import json
from typing import Any, Final

from app.core.manifest import Manifest, SplitMetrics
from training.console.plural import plural
from training.evaluation.split_tables import SPLIT_TITLES, n_correct
from training.release.provenance import has_licence

_FENCE: Final = "---"
_LICENCE: Final = "apache-2.0"
"""Licence of the weights and of the code (LICENSE). The card names that of the tiles."""
_NO_LICENCE: Final = "unknown"
"""Hugging Face's word, for a bundle whose initial weights have no known licence."""
_TAGS: Final = ("histopathology", "tensorflow", "litert", "research-use-only")
_TAGS_OF_THE_COLLECTION: Final = ("osteosarcoma", "h-and-e")


def card_header(manifest: Manifest) -> str:
    """The header with its fences and an empty line; every result names its split."""
    is_collection = manifest.data.mixed_tiles is not None  # a word of the collection's table
    values: dict[str, Any] = {
        "license": _LICENCE if has_licence(manifest.weights) else _NO_LICENCE,
        "language": ["en"],
        "pipeline_tag": "image-classification",
        "library_name": "litert",
        "tags": [*_TAGS, *(_TAGS_OF_THE_COLLECTION if is_collection else ())],
        "datasets": [url for url in (manifest.data.url,) if url],
        "metrics": ["accuracy", "f1"],
        "model-index": [
            {
                "name": f"{manifest.model_name}, version {manifest.model_version}",
                "results": [_result(manifest, entry) for entry in manifest.metrics],
            }
        ],
    }
    lines = (f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())
    return "\n".join([_FENCE, *lines, _FENCE, "", ""])


def without_header(card: str) -> str:
    """A card without its YAML header, if it has one."""
    if not card.startswith(f"{_FENCE}\n"):
        return card
    _, _, rest = card[len(_FENCE) + 1 :].partition(f"\n{_FENCE}\n")
    return rest.lstrip("\n")


def _result(manifest: Manifest, entry: SplitMetrics) -> dict[str, Any]:
    counts = f"{n_correct(entry)} of {plural(entry.n_tiles, 'tile')}"
    by = f"split by {SPLIT_TITLES[entry.split]}; {plural(entry.n_folds, 'fold')}, {counts}"
    return {
        "task": {"type": "image-classification"},
        "dataset": {"name": manifest.data.name, "type": manifest.data.url, "split": entry.split},
        "metrics": [
            {"type": "accuracy", "value": round(entry.accuracy, 4), "name": f"accuracy ({by})"},
            {"type": "f1", "value": round(entry.macro_f1, 4), "name": f"macro F1 ({by})"},
        ],
    }
