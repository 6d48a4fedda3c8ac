"""The GPUs that TensorFlow sees, and why it sees none."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from app.core.errors import RuntimeUnavailableError
from app.runtime.native_output import native_output_dropped

_DEVICES: Final = Path("/dev")
_DEVICE_NODES: Final = ("nvidia[0-9]*", "dxg", "kfd")  # CUDA, CUDA under WSL, ROCm
_DRIVER: Final = "libcuda.so.1"
_ASK_WITHIN_S: Final = 300.0
_ASK: Final = (
    "from app.runtime.gpus import import_tensorflow; "
    "import_tensorflow().config.list_physical_devices('GPU')"
)
# TensorFlow names a missing library only in the detailed messages of this one file.
_ASK_ENVIRONMENT: Final = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "dso_loader=1"}
# `E0000 00:00:1795710772.933673   11988 cuda_platform.cc:52] failed call to cuInit: ...`
_LOG_LINE: Final = re.compile(r"^[IWEF]\d{4}\s\S+\s+\d+\s\S+\]\s(?P<said>.+)$")
# The driver's own library is looked for before TensorFlow is asked.
_MISSING: Final = re.compile(r"Could not load dynamic library '(?P<library>(?!libcuda\.)[^']+)'")
_REASON: Final = re.compile(r"cuInit|driver|CUDA error", re.IGNORECASE)
_GPU_PACKAGES: Final = (
    "Install the packages of requirements/gpu.lock, or name the folders of these libraries in "
    "LD_LIBRARY_PATH"
)
# TensorFlow 2.21 looks for CUDA's libraries in the folders of their wheels, except for this one
# (https://github.com/tensorflow/tensorflow/pull/112973), and uses no GPU if one is missing.
_UNLISTED: Final = ("cusolver", "lib", "libcusolver.so.11")


def has_tensorflow() -> bool:
    """Whether TensorFlow is installed; it is not imported."""
    return find_spec("tensorflow") is not None


def import_tensorflow() -> Any:
    """Import TensorFlow without its start-up messages, unless TF_CPP_MIN_LOG_LEVEL asks for them.

    Raises:
        RuntimeUnavailableError: it is not installed.
    """
    # It prints them to standard error past every logger, and some of them before it reads the
    # level. Real errors are raised.
    is_silent = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3"
    if _has_device_node():
        _load_unlisted_library()
    try:
        with native_output_dropped() if is_silent else nullcontext():
            import tensorflow
    except ImportError as error:
        raise RuntimeUnavailableError(
            "savedmodel", "TensorFlow is not installed; run `pip install 'osteo-tiles[gpu]'`."
        ) from error
    return tensorflow


def visible_gpu_names() -> tuple[str, ...]:
    """List the names of the GPUs that TensorFlow sees; none if it is not installed.

    Importing TensorFlow takes seconds, so it is skipped if there is no device node of a GPU.
    """
    if not has_tensorflow() or not _has_device_node():
        return ()
    tensorflow = import_tensorflow()
    names = []
    for device in tensorflow.config.list_physical_devices("GPU"):
        details = tensorflow.config.experimental.get_device_details(device)
        names.append(str(details.get("device_name", device.name)))
    return tuple(names)


def why_no_gpu() -> str:
    """Say why TensorFlow sees no GPU, if it sees none; takes seconds if there is a device node.

    TensorFlow says it only on standard error and only at a log level that it reads once, so another
    process asks it.
    """
    if not has_tensorflow():
        return "TensorFlow is not installed"
    if not _has_device_node():
        return (
            f"there is no {_DEVICES}/nvidia0: the machine has no NVIDIA driver, or the container "
            "was not given the GPU"
        )
    try:
        ctypes.CDLL(_DRIVER)
    except OSError as error:
        return f"the library of the NVIDIA driver cannot be loaded: {error}"
    try:
        asked = subprocess.run(  # noqa: S603 - this Python and a fixed program
            [sys.executable, "-c", _ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, **_ASK_ENVIRONMENT},
            timeout=_ASK_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"TensorFlow could not be asked for the reason ({type(error).__name__})"
    return _reason_in(asked.stderr) or "TensorFlow does not say why"


def _has_device_node() -> bool:
    return any(any(_DEVICES.glob(name)) for name in _DEVICE_NODES)


def _load_unlisted_library() -> None:
    """Load the library that TensorFlow does not find; the loader then knows it by its name."""
    wheels = find_spec("nvidia")
    for folder in (wheels and wheels.submodule_search_locations) or ():
        with suppress(OSError):  # TensorFlow names it if it is missing
            ctypes.CDLL(str(Path(folder, *_UNLISTED)))


def _reason_in(log: str) -> str | None:
    """Find what TensorFlow says of CUDA's libraries, else of the driver."""
    lines = (_LOG_LINE.match(line) for line in log.splitlines())
    said = [line["said"].strip() for line in lines if line]
    missing = [found["library"] for found in map(_MISSING.match, said) if found]
    if missing:
        names = ", ".join(dict.fromkeys(missing))
        return f"TensorFlow cannot load {names}. {_GPU_PACKAGES}"
    return "; ".join(dict.fromkeys(line for line in said if _REASON.search(line))) or None
