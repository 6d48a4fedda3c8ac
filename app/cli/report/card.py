"""The part of a report about one file: its pictures, its answer, and how far to trust it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from app.cli.report.images import PicturedTile, data_uri
from app.cli.report.reasons import REASONS
from app.cli.table import label_name
from app.core.manifest import Label
from app.core.markup import Html, fill, fill_file, joined
from app.inference.results import Checks, PredictionSet, TileResult

_TEMPLATES = Path(__file__).parent / "templates"

_PICTURE = (
    '<figure><img src="$source" alt="$alt" loading="lazy" decoding="async">'
    "<figcaption>$caption</figcaption></figure>"
)
_BAR = (
    '<tr><th scope="row">$name</th><td class="bar"><i style="width:$percent%"></i></td>'
    '<td class="number">$value</td></tr>'
)
_ROW = '<tr><th scope="row">$name</th><td class="number">$value</td></tr>'


def tile_card(name: str, number: int, pictured: PicturedTile, labels: Sequence[Label]) -> Html:
    """Describe a classified tile.

    Args:
        name: what the page calls the tile.
        number: its row in the CSV, counted from 1.
        pictured: the answer, with its explanation, and the pictures.
        labels: of the model.
    """
    result = pictured.result
    label_names = {label.id: label_name(label) for label in labels}
    classes = f"label-{result.prediction}" + (" needs-review" if result.review.required else "")
    return fill_file(
        _TEMPLATES / "tile.html",
        classes=classes,
        number=number,
        name=name,
        pictures=_pictures(name, pictured, label_names[result.prediction]),
        prediction=label_names[result.prediction],
        probability=f"{result.probabilities[result.prediction]:.2f}",
        priority=f"{result.review.priority:.2f}",
        probabilities=joined(
            bar(label_names[label], value, f"{value:.2f}")
            for label, value in result.probabilities.items()
        ),
        prediction_set=_set_sentence(result.prediction_set, label_names),
        reasons=_reasons(result),
        checks=joined(fill(_ROW, name=name, value=value) for name, value in _facts(result)),
    )


def failure_item(name: str, number: int, error: str) -> Html:
    """Describe a file without an answer."""
    item = '<li id="tile-$number"><strong>$name</strong>: $error</li>\n'
    return fill(item, number=number, name=name, error=error)


def bar(name: str, share: float, value: str) -> Html:
    """A row of a table with a bar; `share` in [0, 1] is its length."""
    return fill(_BAR, name=name, percent=f"{100 * share:.1f}", value=value)


def _pictures(name: str, pictured: PicturedTile, prediction: str) -> Html:
    facts, explanation = pictured.result.tile, pictured.result.explanation
    caption = "Tile" if facts.width_px == facts.height_px else "Centre square of the tile"
    thumbnail = fill(
        _PICTURE, source=data_uri(pictured.thumbnail), alt=f"Tissue of {name}", caption=caption
    )
    if pictured.overlay is None:
        why = (explanation and explanation.reason) or "it is unavailable"
        return joined([thumbnail, fill("<p>No evidence map: $why.</p>", why=why)])
    overlay = fill(
        _PICTURE,
        source=data_uri(pictured.overlay),
        alt=f"Evidence for {prediction} over {name}",
        caption=f"Evidence for {prediction}",
    )
    return joined([thumbnail, overlay])


def _set_sentence(prediction_set: PredictionSet, label_names: dict[str, str]) -> str:
    if prediction_set.labels is None:
        return f"Prediction set: unavailable, because {prediction_set.reason}."
    labels = ", ".join(label_names[label] for label in prediction_set.labels)
    return f"Prediction set (coverage {prediction_set.coverage:g}): {labels or 'no label'}."


def _reasons(result: TileResult) -> Html:
    if not result.review.required:
        return Html("<p>No reason for review.</p>")
    items = joined(
        fill("<li>$why <code>$code</code></li>", why=REASONS[reason], code=reason.value)
        for reason in result.review.reasons
    )
    return fill('<p class="warning">Needs a look:</p><ul class="reasons">$items</ul>', items=items)


def _facts(result: TileResult) -> Iterator[tuple[str, object]]:
    yield from _measurements(result.checks)
    if result.explanation is not None and result.explanation.glass_share is not None:
        yield "Evidence on glass (share)", result.explanation.glass_share
    if result.tumor_probability is not None:
        yield "Probability of any tumour", f"{result.tumor_probability:.2f}"
    tile = result.tile
    yield "File", f"{tile.format}, {tile.width_px} × {tile.height_px} px"  # noqa: RUF001 - the sign of a product
    yield "SHA-256", tile.sha256


def _measurements(checks: Checks) -> Iterator[tuple[str, object]]:
    yield "Tissue (share of pixels)", checks.tissue_share
    yield "Contrast (grey levels)", checks.contrast
    yield "Sharpness (grey levels)", checks.sharpness
    yield "H&E colours (share of tissue)", checks.stain_share
    if checks.distance is not None:
        yield "Distance from the training tiles", checks.distance
    if checks.max_distance is not None:
        yield "Largest distance allowed", checks.max_distance
