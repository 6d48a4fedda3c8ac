"""The image `gpu` up to the driver of NVIDIA: no GPU is needed to test it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import httpx2
import pytest

from tests.conftest import RELEASED_MODELS
from tests.deploy.images import build_image
from tests.deploy.podman import CACHE, podman
from tests.servers import free_port, wait_until

# The first test downloads and installs 7 GB of packages, which took 12 minutes on two busy cores.
pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(2400)]

_FREE_GB: Final = 40
_BUNDLE: Final = RELEASED_MODELS / "osteo-mobilenetv2" / "4"
_START_WITHIN_S: Final = 300.0
# What TensorFlow loads as soon as there is a GPU, by the names that it asks the loader for.
_LOAD_CUDA: Final = """
import ctypes
for name in ("cudart.so.12", "cublas.so.12", "cublasLt.so.12", "cudnn.so.9", "cufft.so.11",
             "curand.so.10", "cusolver.so.11", "cusparse.so.12", "nccl.so.2", "nvrtc.so.12"):
    ctypes.CDLL(f"lib{name}")
"""


@pytest.fixture(scope="module")
def image() -> str:
    """The image, where there is space for it; it stays in the storage of the tests."""
    CACHE.mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(CACHE).free / 1e9
    if free_gb < _FREE_GB:
        pytest.skip(
            f"building the image takes 28 GB; {CACHE} has {free_gb:.0f} GB, of {_FREE_GB} asked for"
        )
    return build_image("gpu")


def run_once(image: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
    """What a command in the image writes to standard output."""
    hardened = ("--rm", "--network=none", "--read-only", "--tmpfs=/tmp")
    return podman("run", *hardened, *options, image, *arguments)


@contextmanager
def running_service(image: str, **settings: str) -> Iterator[tuple[httpx2.Client, str]]:
    """A client of the service in the image, once it is ready, and the name of its container."""
    port = free_port()
    given = {"OSTEO_HOST": "127.0.0.1", "OSTEO_PORT": str(port), "OSTEO_AUTH": "none", **settings}
    environ = [f"--env={name}={value}" for name, value in given.items()]
    name = podman("run", "--detach", "--network=host", *environ, image).strip()
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:

            def is_ready() -> bool:
                with suppress(httpx2.TransportError):
                    return client.get("/readyz").status_code == 200
                return False

            wait_until(is_ready, _START_WITHIN_S)
            yield client, name
    finally:
        podman("rm", "--force", "--time", "0", name)


def events(container: str) -> dict[str, dict[str, Any]]:
    """The latest log line of each event; TensorFlow adds none of its own."""
    lines = [json.loads(line) for line in podman("logs", container).splitlines()]
    return {line["event"]: line for line in lines}


def test_the_loader_finds_every_library_of_cuda(image: str) -> None:
    """Without `LD_LIBRARY_PATH`, which the image does not set."""
    run_once(image, "-c", _LOAD_CUDA, options=("--entrypoint=python",))


def test_it_contains_no_installer(image: str) -> None:
    find = "import importlib.util, sys; sys.exit(importlib.util.find_spec('pip') is not None)"
    run_once(image, "-c", find, options=("--entrypoint=python",))


def test_doctor_runs_tensorflow_and_says_why_there_is_no_gpu(image: str) -> None:
    said = run_once(image, "doctor")
    assert "there is no /dev/nvidia0: the machine has no NVIDIA driver" in said
    assert "ok   litert: golden tiles" in said
    assert "ok   savedmodel: golden tiles" in said


def test_doctor_says_that_the_driver_is_missing(image: str) -> None:
    said = run_once(image, "doctor", options=("--device=/dev/null:/dev/nvidia0",))
    assert "the library of the NVIDIA driver cannot be loaded: libcuda.so.1" in said


@pytest.mark.parametrize(
    ("runtime", "used"), [("auto", "LiteRT"), ("savedmodel", "TensorFlow")], ids=str
)
def test_service_answers_on_the_cpu_and_says_so(image: str, runtime: str, used: str) -> None:
    labels = [each["id"] for each in json.loads((_BUNDLE / "manifest.json").read_text())["labels"]]
    expected = json.loads((_BUNDLE / "golden" / "expected.json").read_text())["logits"]
    with running_service(image, OSTEO_RUNTIME=runtime) as (client, container):
        logged = events(container)
        assert f"Using {used} on the CPU." in logged["gpu_not_used"]["reason"]
        assert "there is no /dev/nvidia0" in logged["gpu_not_used"]["reason"]
        assert logged["model_ready"]["device"] == "cpu"
        for name, logits in expected.items():
            file = (name, (_BUNDLE / "golden" / name).read_bytes(), "image/png")
            answer = client.post("/v1/classify", files={"file": file}).json()
            assert answer["prediction"] == labels[logits.index(max(logits))]
