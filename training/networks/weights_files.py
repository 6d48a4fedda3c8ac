"""What is known about weights files: where they come from, and under which licence.

A file is recognised by its SHA-256, never by its name. A file that is not listed has an unknown
origin, whatever its name says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from training.networks.architecture import System
from training.networks.graphs import KERAS_IMAGENET, UNTRAINED

UNKNOWN_ORIGIN: Final = "origin unknown"
UNKNOWN_LICENCE: Final = "unknown"


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A weights file.

    Attributes:
        origin: where the file comes from, in words.
        licence: its licence, or `unknown`.
    """

    origin: str
    licence: str

    @property
    def has_licence(self) -> bool:
        """Whether a bundle that starts from this file may say under which licence it is."""
        return self.licence != UNKNOWN_LICENCE


_INFERRED: Final = WeightsFile(
    "origin inferred: ImageNet weights of keras.applications, stored in half precision, found in a "
    "public package that names no clear licence",
    UNKNOWN_LICENCE,
)
_FILES: Final[dict[str, WeightsFile]] = {
    # MobileNetV2, 1.0, 224 px: the released models start from it (NOTICE).
    "a4946cff5afbeed53906935fcf005e74d873add1dd5111574c01da569d1281d1": WeightsFile(
        "ImageNet, dequantised from the TensorFlow authors' mobilenet_v2_1.0_224_quant",
        "Apache-2.0",
    ),
    # Xception and VGG16: the study of docs/study.md was run with them.
    "a3d69f1330a9996d0c47058bbaaa858ad1b44b6810ecfc751ba8836de4bb65c5": _INFERRED,
    "d2b00549f5f107240dd838283aafb613bd6ec1ae8faf25116fd9bed773527162": _INFERRED,
}
_UNKNOWN: Final = WeightsFile(UNKNOWN_ORIGIN, UNKNOWN_LICENCE)


def find_weights_file(sha256: str) -> WeightsFile:
    """What is known about the file with this SHA-256 (64 hexadecimal digits)."""
    return _FILES.get(sha256, _UNKNOWN)


def describe_origin(weights: str, system: System, sha256: str) -> str:
    """Origin and licence of a system's weights, in words.

    Args:
        weights: `imagenet`, `none` or a path.
        system: the system that starts from them.
        sha256: of the file; not read if `weights` is no path.
    """
    if weights == UNTRAINED:
        return "random initial weights"
    if weights == KERAS_IMAGENET:
        return f"ImageNet, downloaded by Keras; {system.licence}"
    file = find_weights_file(sha256)
    licence = file.licence if file.has_licence else "licence unknown"
    return f"{file.origin}; {licence}"
