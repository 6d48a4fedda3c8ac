"""How well the texture measures reproduce the collection's table, and what a head makes of them.

    python -m benchmarks.texture --table ML_Features_1125.csv --data-dir ../shared/tcia-sample

The table is the collection's feature table (doi:10.7937/tcia.2019.bvhjhdas, CC BY 3.0). Of the
tiles that it lists, those in the data directory are measured. docs/texture.md holds the results.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.core.tile import decode_tile
from training.console.markdown import markdown_table
from training.data.tile_names import file_stem_of, parse_tile_name
from training.features.haralick import haralick_measures
from training.networks.texture_definition import (
    MEASURES,
    PREPARATIONS,
    STEPS,
    TABLE_COLUMNS,
    TABLE_SIDE_PX,
    offset_px,
)
from training.release.quantize import SIGNATURE, lite_converter

SIDES_PX: Final = (1024, 512, 448, 256, 224)
FIRST_THRESHOLDED: Final = 547
"""From this value of the column `X_x` on, the rows of the table are thresholded."""
CLASSES: Final = ("Non-Tumor", "Non-Viable-Tumor", "Viable")
N_RUNS: Final = 30

Measures = NDArray[np.float64]
"""`[tiles, 52]` in the order of `TABLE_COLUMNS`."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of the table, without the mixed tiles.

    Attributes:
        stems: of the tiles' files.
        measures: as the table states them.
        labels: position in `CLASSES`.
        cases: the patient.
        is_thresholded: which preparation the row holds.
    """

    stems: NDArray[np.str_]
    measures: Measures
    labels: NDArray[np.int64]
    cases: NDArray[np.str_]
    is_thresholded: NDArray[np.bool_]

    def of(self, chosen: NDArray[Any]) -> Rows:
        """Some of the rows."""
        parts = (self.stems, self.measures, self.labels, self.cases, self.is_thresholded)
        return Rows(*(part[chosen] for part in parts))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.texture", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--table", type=Path, required=True, help="the table of 1,125 rows")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with tiles")
    parser.add_argument("--no-times", action="store_true", help="leave out the milliseconds")
    options = parser.parse_args(arguments)
    rows = read_rows(options.table)
    files = {path.stem: path for path in sorted(options.data_dir.rglob("*.jpg"))}
    at_hand = rows.of(np.array([stem in files for stem in rows.stems]))
    measured = {
        side_px: measure([files[stem] for stem in at_hand.stems], side_px) for side_px in SIDES_PX
    }
    full = measured[TABLE_SIDE_PX]
    own = np.where(at_hand.is_thresholded[:, None], full[1], full[0])
    difference = np.abs(own - at_hand.measures).max()
    _print(f"{len(own)} tiles at {TABLE_SIDE_PX} px: largest difference {difference:.1e}")
    _print(scales_table(measured))
    _print(whole_table(rows))
    _print(tiles_table(rows, at_hand, measured))
    if not options.no_times:
        _print(times_table())
    return 0


def read_rows(path: Path) -> Rows:
    """Read the table."""
    with path.open(newline="") as stream:
        found = [row for row in csv.DictReader(stream) if row["classification"] in CLASSES]
    names = [row["image.name"] for row in found]
    return Rows(
        stems=np.array([file_stem_of(name) for name in names]),
        measures=np.array([[float(row[column]) for column in TABLE_COLUMNS] for row in found]),
        labels=np.array([CLASSES.index(row["classification"]) for row in found]),
        cases=np.array([parse_tile_name(name).case for name in names]),
        is_thresholded=np.array([int(row["X_x"]) >= FIRST_THRESHOLDED for row in found]),
    )


def measure(files: Sequence[Path], side_px: int) -> tuple[Measures, Measures]:
    """Both preparations of each tile."""
    tiles = [decode_tile(file.read_bytes(), side_px=side_px) for file in files]
    plain, thresholded = (
        np.stack([haralick_measures(tile, kind) for tile in tiles]) for kind in PREPARATIONS
    )
    return plain, thresholded


def scales_table(measured: dict[int, tuple[Measures, Measures]]) -> str:
    """Agreement of smaller tiles with full size: the worst direction and preparation of each."""
    sides = [side_px for side_px in measured if side_px != TABLE_SIDE_PX]
    header = ["measure", *(f"{side_px} px, offset {offset_px(side_px)}" for side_px in sides)]
    rows = []
    for position, name in enumerate(MEASURES):
        columns = slice(position * len(STEPS), (position + 1) * len(STEPS))
        rows.append([name])
        for side_px in sides:
            pairs = zip(measured[side_px], measured[TABLE_SIDE_PX], strict=True)
            parts = [_agreement(one[:, columns], full[:, columns]) for one, full in pairs]
            pearson, spearman, _ = np.min(parts, axis=0)
            shift = max((part[2] for part in parts), key=abs)
            rows[-1].append(f"{pearson:.3f} / {spearman:.3f} / {shift:+.2f}")
    return markdown_table(header, rows)


def _agreement(found: Measures, full: Measures) -> tuple[float, float, float]:
    """The lowest Pearson and Spearman correlation, and the mean shift in standard deviations."""
    from scipy.stats import pearsonr, spearmanr

    pairs = list(zip(found.T, full.T, strict=True))
    shifts = [(one - other).mean() / other.std() for one, other in pairs]
    return (
        min(float(pearsonr(*pair).statistic) for pair in pairs),
        min(float(spearmanr(*pair).statistic) for pair in pairs),
        float(np.mean(shifts)),
    )


def heads() -> dict[str, Any]:
    """Unfitted scikit-learn models that are compared."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import QuantileTransformer, StandardScaler
    from sklearn.svm import SVC

    def linear(strength: float) -> Any:
        return LogisticRegression(C=strength, class_weight="balanced", max_iter=5000)

    quantiles = QuantileTransformer(n_quantiles=200, output_distribution="normal")
    return {
        **{f"linear, C = {c}": make_pipeline(StandardScaler(), linear(c)) for c in (0.003, 0.01)},
        "linear, C = 0.1": make_pipeline(StandardScaler(), linear(0.1)),
        "linear on quantiles, C = 0.01": make_pipeline(quantiles, linear(0.01)),
        "SVM": make_pipeline(StandardScaler(), SVC(class_weight="balanced")),
        "SVM on quantiles": make_pipeline(
            QuantileTransformer(n_quantiles=200), SVC(class_weight="balanced")
        ),
    }


def whole_table(rows: Rows) -> str:
    """Leave one case out on the table's own values."""
    result = []
    for name, head in heads().items():
        cells = [name]
        for is_split in (False, True):
            predicted = np.zeros_like(rows.labels)
            kinds = (rows.is_thresholded, ~rows.is_thresholded)
            for case in np.unique(rows.cases):
                for kind in kinds if is_split else (np.ones_like(rows.is_thresholded),):
                    train, test = kind & (rows.cases != case), kind & (rows.cases == case)
                    head.fit(rows.measures[train], rows.labels[train])
                    predicted[test] = head.predict(rows.measures[test])
            cells.append(_score(rows.labels, predicted))
        result.append(cells)
    header = [f"{len(rows.labels):,} rows, cases left out", "one head", "a head per preparation"]
    return markdown_table(header, result)


def tiles_table(rows: Rows, tiles: Rows, measured: dict[int, tuple[Measures, Measures]]) -> str:
    """Heads that were fitted to other cases' rows, on the measures of pixels."""
    header = [f"{len(tiles.labels)} tiles, cases left out", "table's values"]
    header += [f"{TABLE_SIDE_PX} px"]
    header += [f"{side_px} px{kind}" for side_px in SIDES_PX[1:] for kind in ("", ", aligned")]
    full = measured[TABLE_SIDE_PX]
    result = []
    for name, head in heads().items():
        predicted: dict[str, list[int]] = {title: [] for title in header[1:]}
        order = np.concatenate([np.flatnonzero(tiles.cases == c) for c in np.unique(tiles.cases)])
        for case in np.unique(tiles.cases):
            test = tiles.cases == case
            scorers = [_fitted(head, rows, rows.cases != case, kind) for kind in (False, True)]
            by_kind = np.stack([scorer(tiles.measures[test]) for scorer in scorers])
            of_own = by_kind[tiles.is_thresholded[test].astype(int), np.arange(test.sum())]
            predicted[header[1]] += of_own.argmax(axis=1).tolist()
            for side_px, found in measured.items():
                pairs = list(zip(scorers, found, strict=True))
                scores = sum(scorer(one[test]) for scorer, one in pairs)
                predicted[f"{side_px} px"] += scores.argmax(axis=1).tolist()
                if side_px != TABLE_SIDE_PX:
                    aligned = [
                        _align(one, to, ~test)[test] for one, to in zip(found, full, strict=True)
                    ]
                    scores = sum(scorer(one) for scorer, one in zip(scorers, aligned, strict=True))
                    predicted[f"{side_px} px, aligned"] += scores.argmax(axis=1).tolist()
        truth = tiles.labels[order]
        result.append([name, *(_score(truth, np.array(of)) for of in predicted.values())])
    return markdown_table(header, result)


def _fitted(head: Any, rows: Rows, train: NDArray[np.bool_], is_thresholded: bool) -> Any:
    """Scores of the three classes by a head that saw one preparation of the training rows."""
    from sklearn.base import clone

    chosen = train & (rows.is_thresholded == is_thresholded)
    fitted = clone(head).fit(rows.measures[chosen], rows.labels[chosen])
    return getattr(fitted, "predict_proba", fitted.decision_function)


def _align(found: Measures, full: Measures, fitted_on: NDArray[np.bool_]) -> Measures:
    """Each measure as a line of itself that comes nearest to full size on some of the tiles."""
    lines = [
        np.polyfit(found[fitted_on, column], full[fitted_on, column], 1)
        for column in range(found.shape[1])
    ]
    slope, intercept = np.array(lines).T
    aligned: Measures = found * slope + intercept
    return aligned


def _score(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> str:
    from sklearn.metrics import f1_score

    return f"{(truth == predicted).mean():.3f} / {f1_score(truth, predicted, average='macro'):.3f}"


def times_table() -> str:
    """CPU time of one tile in LiteRT, which other programs on the machine hardly change."""
    rows = [
        [f"{side_px} px, {' and '.join(preparations)}", _cpu_ms(side_px, preparations)]
        for side_px in (224, 448)
        for preparations in (PREPARATIONS[:1], PREPARATIONS)
    ]
    return markdown_table(["LiteRT, one thread", "ms of CPU"], rows)


def _cpu_ms(side_px: int, preparations: Sequence[Any]) -> str:
    import keras
    from ai_edge_litert.interpreter import Interpreter

    from training.networks.texture import Texture

    tiles = keras.Input((side_px, side_px, 3), dtype="uint8", batch_size=1, name="tiles")
    model = keras.Model(tiles, Texture(preparations)(tiles))
    with tempfile.TemporaryDirectory() as folder:
        archive = keras.export.ExportArchive()
        archive.add_endpoint(SIGNATURE, model.call, input_signature=[model.input])
        archive.write_out(folder, verbose=False)
        content = lite_converter(Path(folder)).convert()
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    noise = np.random.default_rng(0).integers(0, 256, (1, side_px, side_px, 3), dtype=np.uint8)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], noise)
    times = []
    for _ in range(N_RUNS):
        start = time.thread_time()
        interpreter.invoke()
        times.append(time.thread_time() - start)
    return f"{1000 * float(np.median(times)):.1f}"


def _print(text: str) -> None:
    sys.stdout.write(text + "\n\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
