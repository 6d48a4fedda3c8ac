"""Why TensorFlow sees no GPU, up to the driver, on a machine that may have none."""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from app.bundle import Bundle, check_golden_tiles, find_bundle, open_bundle
from app.runtime import gpus
from app.runtime.gpus import visible_gpu_names, why_no_gpu
from app.serving.loading import open_configured_runtime
from app.settings import Settings
from app.telemetry.metrics import Metrics
from tests.bundles import MODEL_NAME
from tests.conftest import RELEASED_MODELS, REPOSITORY


@pytest.fixture
def device_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `/dev` with the node of an NVIDIA GPU, which CUDA may not use."""
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(gpus, "_DEVICES", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    return tmp_path


@pytest.fixture
def any_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that every Linux has stands in for the driver's."""
    monkeypatch.setattr(gpus, "_DRIVER", "libc.so.6")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(find_bundle(RELEASED_MODELS, MODEL_NAME))


def test_missing_tensorflow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "find_spec", lambda _name: None)
    assert why_no_gpu() == "TensorFlow is not installed"
    assert visible_gpu_names() == ()


WRITES = "import os; os.write(2, os.environ['TF_CPP_MIN_LOG_LEVEL'].encode())"


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(WRITES, id="stand-in"),
        pytest.param(None, id="TensorFlow", marks=(pytest.mark.tensorflow, pytest.mark.exhaustive)),
    ],
)
@pytest.mark.parametrize(("level", "is_silent"), [(None, True), ("0", False)])
def test_tensorflow_writes_nothing_of_its_own_unless_asked(
    tmp_path: Path, module: str | None, level: str | None, is_silent: bool
) -> None:
    """A module of its name that only writes stands in, since importing all of it takes seconds."""
    environment = {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    if module is not None:
        (tmp_path / "tensorflow.py").write_text(module)
    if level is not None:
        environment["TF_CPP_MIN_LOG_LEVEL"] = level
    program = "from app.runtime.gpus import import_tensorflow; import_tensorflow()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, env=environment, check=True
    )
    assert (done.stderr == b"") == is_silent, done.stderr


@pytest.mark.tensorflow
def test_missing_device_node_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_DEVICES", tmp_path)
    assert f"there is no {tmp_path}/nvidia0" in why_no_gpu()


@pytest.mark.tensorflow
@pytest.mark.usefixtures("device_nodes")
def test_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_DRIVER", "libabsent.so.1")
    assert "driver cannot be loaded: libabsent.so.1" in why_no_gpu()


@pytest.mark.exhaustive
@pytest.mark.tensorflow
@pytest.mark.usefixtures("device_nodes", "any_library")
def test_tensorflow_is_asked_for_the_reason() -> None:
    assert "cuInit" in why_no_gpu()


STAND_IN = "libnss_files.so.2"  # of glibc; its name is as long as that of CUDA's solver
# TensorFlow's own function, which it calls if there is a GPU; 1 is the status of success. Only its
# library is loaded, since importing all of TensorFlow takes seconds.
LOAD_AS_TENSORFLOW = """
import ctypes, os, sys, types
from importlib.util import find_spec
from pathlib import Path
from app.runtime import gpus

def load(name):
    name = f"Get{name}DsoHandle"
    result = (ctypes.c_uint64 * 4)()
    framework[f"_ZN3tsl8internal9DsoLoader{len(name)}{name}Ev"](ctypes.byref(result))
    return result[0] == 1

(folder,) = find_spec("tensorflow").submodule_search_locations
framework = ctypes.CDLL(f"{folder}/libtensorflow_framework.so.2")
before = load("Cusolver")
gpus._DEVICES = Path(os.environ["DEVICES"])
sys.modules["tensorflow"] = types.ModuleType("tensorflow")
gpus.import_tensorflow()
print(before, load("Cusolver"))
"""


@pytest.mark.tensorflow
def test_library_that_tensorflow_does_not_find_is_loaded_first(device_nodes: Path) -> None:
    """A small library renamed in place stands in for NVIDIA's, which has 150 MB."""
    if find_spec("nvidia") is not None:
        pytest.skip("NVIDIA's packages are installed here, and the stand-in would hide them")
    name = b"libcusolver.so.11"
    assert len(STAND_IN) == len(name)
    ctypes.CDLL(STAND_IN)
    maps = Path("/proc/self/maps").read_text().splitlines()
    library = next(Path(line.split()[-1]) for line in maps if line.endswith(STAND_IN))
    folder = device_nodes / "nvidia" / "cusolver" / "lib"
    folder.mkdir(parents=True)
    (folder / name.decode()).write_bytes(library.read_bytes().replace(STAND_IN.encode(), name))
    paths = {"DEVICES": str(device_nodes), "PYTHONPATH": f"{device_nodes}:{REPOSITORY}"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD_AS_TENSORFLOW],
        capture_output=True,
        env={**os.environ, **paths},
        check=True,
    )
    assert done.stdout.split() == [b"False", b"True"]


@pytest.mark.tensorflow
@pytest.mark.usefixtures("any_library")
def test_missing_library_is_named(device_nodes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("nvidia") is not None:
        pytest.skip("NVIDIA's packages are installed here, so no library is missing")
    monkeypatch.setattr(gpus, "_ASK", LOAD_AS_TENSORFLOW)
    monkeypatch.setenv("DEVICES", str(device_nodes))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    reason = why_no_gpu()
    assert reason.startswith("TensorFlow cannot load libcusolver.so.11. ")
    assert "LD_LIBRARY_PATH" in reason


@pytest.mark.tensorflow
@pytest.mark.usefixtures("device_nodes")
@pytest.mark.parametrize(
    ("choice", "name", "used"),
    [("auto", "litert", "LiteRT"), ("savedmodel", "savedmodel", "TensorFlow")],
)
def test_missing_gpu_is_logged_and_the_cpu_used(
    choice: str,
    name: str,
    used: str,
    bundle: Bundle,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpus, "_DRIVER", "libabsent.so.1")
    settings = Settings(runtime=choice, max_batch_tiles=1)
    with caplog.at_level(logging.INFO, "osteo"):
        runtime = open_configured_runtime(bundle, settings, Metrics())
    try:
        assert (runtime.name, runtime.device) == (name, "cpu")
        (record,) = (record for record in caplog.records if record.message == "gpu_not_used")
        reason = str(record.__dict__["reason"])
        assert reason.startswith("No GPU is visible to TensorFlow: ")
        assert reason.endswith(
            f"libabsent.so.1: cannot open shared object file: No such file or "
            f"directory. Using {used} on the CPU."
        )
        check_golden_tiles(bundle, lambda tiles: runtime.infer(tiles).logits, "fp32")
    finally:
        runtime.close()


def test_chosen_cpu_is_not_reported(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "osteo"):
        runtime = open_configured_runtime(bundle, Settings(runtime="litert"), Metrics())
    runtime.infer(np.zeros((1, 224, 224, 3), np.uint8))
    runtime.close()
    assert not [record for record in caplog.records if record.message == "gpu_not_used"]
