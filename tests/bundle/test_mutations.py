"""A bundle with any change of its JSON either loads and works, or is refused with one error."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.bundle import check_golden_tiles, open_bundle
from app.core.bundle_errors import BundleError
from app.core.errors import InferenceError
from app.core.manifest import GOLDEN_NAME, MANIFEST_NAME, sha256_of_file
from app.inference.drift import QUANTITIES, DriftWatch
from app.serving.loading import open_classifier
from app.settings import Settings
from app.telemetry.metrics import Metrics
from tests.bundle.sealing import complete_golden_record
from tests.bundle.test_golden_tiles import infer
from tests.bundles import FakeRuntime, build_bundle, opener_of, plain_tile
from tests.records import a_record

EXTREMES: list[Any] = [
    *(None, True, "", "\0", "x" * 5000, "../x", "NaN", [], {}, [[]], {"": None}, [None] * 2000),
    *(0, -1, 1, 10**400, -(10**18), 2**31, 2**63, 0.0, -0.0, 5e-324, 1e-6, 1e308, -1e308),
    *(float("nan"), float("inf"), float("-inf")),
]
VALUES = st.sampled_from(EXTREMES) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = build_bundle(tmp_path_factory.mktemp("models"), record=a_record())
    complete_golden_record(root)
    document = json.loads((root / MANIFEST_NAME).read_text())
    document["assessment"] = a_record().model_dump(mode="json")
    (root / MANIFEST_NAME).write_text(json.dumps(document))
    open_bundle(root)
    return root


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths_of(part, (*path, key))


def mutate(data: st.DataObject, document: Any) -> None:
    """Replace, remove, repeat or exchange a value, or add one."""
    path = data.draw(st.sampled_from(sorted(paths_of(document), key=str)), label="path")
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    match data.draw(st.sampled_from(["replace", "remove", "repeat", "exchange", "add"])):
        case "replace":
            parent[path[-1]] = copy.deepcopy(data.draw(VALUES))
        case "remove":
            del parent[path[-1]]
        case "repeat" if isinstance(parent, list):
            parent.append(copy.deepcopy(parent[path[-1]]))
        case "exchange":
            other = data.draw(
                st.sampled_from(
                    list(parent) if isinstance(parent, dict) else list(range(len(parent)))
                )
            )
            parent[path[-1]], parent[other] = parent[other], parent[path[-1]]
        case _ if isinstance(parent, dict):
            parent[data.draw(st.text(max_size=8))] = copy.deepcopy(data.draw(VALUES))


def mutate_file(data: st.DataObject, file: Path) -> None:
    document = json.loads(file.read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        mutate(data, document)
    file.write_text(json.dumps(document))


def copy_of(root: Path, folder: Path) -> Path:
    """A fresh copy of a bundle; every example changes the same one."""
    copied = folder / root.parent.name / root.name
    shutil.rmtree(copied, ignore_errors=True)
    shutil.copytree(root, copied)
    return copied


def use(root: Path) -> None:
    """Load the bundle as the service does, and use what it loaded."""
    runtime = FakeRuntime()
    classifier = open_classifier(
        Settings(models_dir=root.parents[1]), Metrics(), opener_of(runtime)
    )
    result = classifier.classify(plain_tile((200, 120, 160)))
    json.dumps(result.model_dump(mode="json"), allow_nan=False)
    manifest = classifier.bundle.manifest
    json.dumps(manifest.model_dump(mode="json"), allow_nan=False).encode()
    if manifest.assessment is not None:
        drift = DriftWatch(manifest.assessment.drift, manifest.label_ids, 100)
        for _ in range(100):
            drift.observe(result.prediction, 0.5, 0.1)
        assert [drift.index(quantity) for quantity in QUANTITIES]
    classifier.close()


def refusal(work: Callable[[], object]) -> Exception | None:
    """The error of a refused bundle; any other error fails the test."""
    try:
        work()
    except (BundleError, InferenceError) as error:
        return error
    return None


@settings(
    max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_mutated_manifest_works_or_is_refused(
    root: Path, tmp_path: Path, data: st.DataObject
) -> None:
    copied = copy_of(root, tmp_path)
    mutate_file(data, copied / MANIFEST_NAME)
    refused = refusal(lambda: use(copied))
    assert str(tmp_path) not in str(refused)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_mutated_golden_record_works_or_is_refused(
    root: Path, tmp_path: Path, data: st.DataObject
) -> None:
    copied = copy_of(root, tmp_path)
    record_file = copied / GOLDEN_NAME / "expected.json"
    mutate_file(data, record_file)
    manifest = json.loads((root / MANIFEST_NAME).read_text())
    manifest["files"]["golden/expected.json"] = {
        "sha256": sha256_of_file(record_file),
        "n_bytes": record_file.stat().st_size,
    }
    (copied / MANIFEST_NAME).write_text(json.dumps(manifest))
    refused = refusal(lambda: check_golden_tiles(open_bundle(copied), infer))
    assert str(tmp_path) not in str(refused)
