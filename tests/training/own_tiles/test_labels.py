"""`[labels]` of a configuration: what it accepts, and what follows from it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from app.cli.records import CsvWriter
from app.core.label_id import RESERVED_IDS
from app.core.manifest import read_manifest
from app.inference.explanation import PREDICTED
from tests.conftest import RELEASED_MODELS
from training.config import TrainingConfig, read_config
from training.data.label_set import LabelSet
from training.data.labels import COLLECTION_LABELS, label_id_of, labels_of
from training.errors import ConfigError
from training.evaluation.metrics import confusion_matrix, evaluate, tumor_metrics
from training.evaluation.plots import plot_confusion
from training.experiments.study.figures import draw_figure_5
from training.experiments.study.results import tumor_counts
from training.runs.records import Answer, CrossValidation

START = 'model_name = "m"\n[labels]\n'


def config_of(tmp_path: Path, lines: str) -> TrainingConfig:
    path = tmp_path / "c.toml"
    path.write_text(START + lines)
    return read_config(path)


def test_labels_of_a_configuration_keep_the_order_of_the_file(tmp_path: Path) -> None:
    config = config_of(tmp_path, "zebra = {tumor = true}\nant_hill = {tumor = false}\n")
    assert config.labels.ids == ("zebra", "ant_hill")
    assert config.labels.names == ("Zebra", "Ant hill")
    assert config.labels.tumor_classes == (0,)
    swapped = config_of(tmp_path, "ant_hill = {tumor = false}\nzebra = {tumor = true}\n")
    assert swapped != config
    record = TrainingConfig.model_validate_json(config.model_dump_json())
    assert record == config


def test_a_configuration_without_labels_has_those_of_the_collection(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('model_name = "m"\n')
    labels = read_config(path).labels
    assert labels == COLLECTION_LABELS
    assert labels.ids == ("non_tumor", "non_viable_tumor", "viable_tumor")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("a = {tumor = false}\n", r"labels: a model needs at least two labels, not 1"),
        ("a = {}\nb = {tumor = true}\n", r"labels\.a\.tumor: Field required"),
        ("a = 1\nb = {tumor = true}\n", r"labels\.a: Input should be a valid dictionary"),
        ("B = {tumor = true}\nb = {tumor = true}\n", r"labels\.B: String should match"),
        ('a = {tumor = true, colour = "red"}\nb = {tumor = true}\n', r"labels\.a\.colour: "),
        ("a = {tumor = true, tumour = 1}\nb = {tumor = true}\n", r"labels\.a\.tumour: there is no"),
        (
            'a = {tumor = true, aliases = ["B "]}\nb = {tumor = true}\n',
            r"labels: 'b' means both a and b",
        ),
    ],
)
def test_read_config_names_the_label_that_is_wrong(tmp_path: Path, lines: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        config_of(tmp_path, lines)


@pytest.mark.parametrize(
    "n_labels",
    [2, 4, 7, pytest.param(20, marks=pytest.mark.exhaustive)],  # seven names are slanted
)
def test_evaluate_and_plots_take_any_number_of_labels(tmp_path: Path, n_labels: int) -> None:
    labels = LabelSet.model_validate(
        {f"label_{i}": {"tumor": i % 2 == 1, "colour": f"#0000{i:02x}"} for i in range(n_labels)}
    )
    answers = tuple(
        Answer(
            tile=f"{i}",
            slide=None,
            fold="fold 1",
            label=labels.ids[i % n_labels],
            logits=tuple(float(c == (i + (i >= n_labels)) % n_labels) for c in range(n_labels)),
        )
        for i in range(2 * n_labels)
    )
    run = CrossValidation(
        kind="random",
        split_sha256="0" * 64,
        index_sha256="1" * 64,
        config=TrainingConfig(model_name="m", labels=labels),
        answers=answers,
        history={"fold 1": ()},
    )
    metrics = evaluate(run)
    assert metrics.accuracy == 0.5
    assert run.n_correct == n_labels
    assert [entry.label for entry in metrics.classes] == list(labels.ids)
    plot_confusion(tmp_path / "c.png", metrics, labels)
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert draw_figure_5(metrics.confusion, labels, "caption").startswith(b"\x89PNG")


@pytest.mark.parametrize("tumor_classes", [(), (0, 1, 2, 3)])
def test_tumor_metrics_do_not_apply_if_no_label_or_every_label_is_tumour(
    tumor_classes: tuple[int, ...],
) -> None:
    classes = np.array([0, 1, 2, 3])
    confusion = confusion_matrix(classes, classes, 4)
    assert tumor_metrics(confusion, tumor_classes) == (None, None)
    is_tumor = {f"l{i}": {"tumor": i in tumor_classes} for i in range(4)}
    counts = tumor_counts(
        tuple(tuple(int(n) for n in row) for row in confusion), LabelSet.model_validate(is_tumor)
    )
    assert (counts.precision, counts.recall) == (None, None)
    assert counts.n_tumor == len(tumor_classes)


def test_tumor_metrics_merge_the_labels_that_are_tumour() -> None:
    """Classes 1 and 3 are tumour: 3 of 4 tumour tiles are found, and one other is called so."""
    truth, predicted = np.array([0, 0, 1, 1, 3, 3]), np.array([0, 1, 3, 1, 3, 2])
    assert tumor_metrics(confusion_matrix(truth, predicted, 4), (1, 3)) == (3 / 4, 3 / 4)


def test_labels_of_a_released_bundle_are_those_of_the_collection() -> None:
    manifest, _ = read_manifest(RELEASED_MODELS / "osteo-mobilenetv2" / "4" / "manifest.json")
    assert labels_of(manifest) == COLLECTION_LABELS
    assert manifest.labels == COLLECTION_LABELS.for_manifest


@pytest.mark.parametrize("word", ["Viable", "viable tumor", "VIABLE_TUMOR", " Viable\u00a0Tumor "])
def test_label_id_of_finds_id_name_and_alias_in_any_case(word: str) -> None:
    assert label_id_of(word, "exclude") == "viable_tumor"


@pytest.mark.parametrize("label_id", ["predicted", "review", "path"])
def test_id_with_another_meaning_is_refused(tmp_path: Path, label_id: str) -> None:
    with pytest.raises(ConfigError, match="another meaning in answers; choose another id"):
        config_of(tmp_path, f"{label_id} = {{tumor = true}}\nother = {{tumor = false}}\n")


def test_ids_with_another_meaning_are_those_of_the_other_columns_and_the_default_label() -> None:
    stream = io.StringIO()
    CsvWriter(stream, ["a_label"])
    columns = set(stream.getvalue().strip().split(","))
    assert columns - {"a_label"} | {PREDICTED} == RESERVED_IDS
