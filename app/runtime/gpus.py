"""The GPUs that TensorFlow sees, and why it sees none."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from app.core.errors import RuntimeUnavailableError

_DEVICES: Final = Path("/dev")
_DEVICE_NODES: Final = ("nvidia[0-9]*", "dxg", "kfd")  # CUDA, CUDA under WSL, ROCm
_DRIVER: Final = "libcuda.so.1"
_ASK_WITHIN_S: Final = 300.0
_ASK: Final = "import tensorflow; tensorflow.config.list_physical_devices('GPU')"
# `E0000 00:00:1795710772.933673   11988 cuda_platform.cc:52] failed call to cuInit: ...`
_LOG_LINE: Final = re.compile(r"^[WEF]\d{4}\s\S+\s+\d+\s\S+\]\s(?P<said>.+)$")
_REASON: Final = re.compile(r"dlopen|dynamic library|cuInit|driver|CUDA error", re.IGNORECASE)


def has_tensorflow() -> bool:
    """Whether TensorFlow is installed; it is not imported."""
    return find_spec("tensorflow") is not None


def import_tensorflow() -> Any:
    """Import TensorFlow with its start-up messages turned off.

    Raises:
        RuntimeUnavailableError: it is not installed.
    """
    # It prints start-up messages to standard error past every logger; real errors are raised.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
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
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    try:
        asked = subprocess.run(  # noqa: S603 - this Python and a fixed program
            [sys.executable, "-c", _ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=_ASK_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"TensorFlow could not be asked for the reason ({type(error).__name__})"
    return _reason_in(asked.stderr) or "TensorFlow does not say why"


def _has_device_node() -> bool:
    return any(any(_DEVICES.glob(name)) for name in _DEVICE_NODES)


def _reason_in(log: str) -> str | None:
    """Find what TensorFlow says of the driver and of CUDA's libraries."""
    found = (_LOG_LINE.match(line) for line in log.splitlines())
    said = [line["said"].strip() for line in found if line and _REASON.search(line["said"])]
    return "; ".join(dict.fromkeys(said)) or None
