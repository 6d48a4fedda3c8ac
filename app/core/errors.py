"""Every error this project raises on purpose.

OsteoError
├── TileError                    the uploaded tile cannot be classified
│   ├── EmptyTileError           no bytes at all
│   ├── TileTooLargeError        more bytes than `limit_bytes`
│   ├── TooManyPixelsError       more pixels than `limit_pixels`; nothing was decoded
│   ├── TileTooSmallError        a side shorter than `limit_px`
│   ├── TooManyFramesError       an animation, a pyramid or a multi-page file
│   ├── TileFormatError          not one of `formats`
│   ├── TooManyScansError        a progressive JPEG made to take minutes to decode
│   ├── PixelFormatError         a pixel layout (`mode`) with no agreed meaning as colour
│   └── CorruptTileError         the file claims a format and does not keep to it
├── RequestError                 the request around the tiles is wrong
│   ├── MalformedRequestError    a body that cannot be parsed
│   ├── MissingTileError         no tile where one is expected
│   ├── TooManyTilesError        more tiles than `limit_tiles`
│   ├── BodyTooLargeError        more bytes than `limit_bytes`
│   ├── UnknownLabelError        the model has no such label; `labels` are those it has
│   └── UploadTimeoutError       the body did not arrive within `limit_s`
├── UnavailableError             the service cannot answer now
│   ├── NotReadyError            no model is loaded, or the service is draining
│   ├── QueueFullError           `limit_tiles` are being worked on
│   ├── UploadsFullError         uploads hold `limit_bytes` of memory
│   └── DeadlineError            not classified within `limit_s`
├── ExplanationUnavailableError  the map of this tile carries nothing that could be drawn
├── AdminDeniedError             the request may not change which model is served
├── ModelNotFoundError           no such model or version
├── ActivationError              another version was not taken into service; the old one serves on
├── InferenceError               the model answered something that is no answer (NaN, infinity)
├── BundleError                  a model bundle cannot be trusted
│   ├── BundleNotFoundError      no bundle where one was looked for
│   ├── ManifestError            manifest.json does not follow its schema
│   ├── ChecksumError            a file is not the one that was released
│   └── GoldenTileError          the model does not answer its golden tiles as it did at release
├── RuntimeUnavailableError      the runtime that was asked for is not installed or has no device
├── SettingsError                a setting is misspelt or out of range
└── TrainingError                training input or configuration is wrong (see `training`)

Errors carry data, not only a sentence, so that callers need not parse text. HTTP is unknown here:
`app.api.problems` maps each class to a status.
"""

from __future__ import annotations

from collections.abc import Sequence


class OsteoError(Exception):
    """Root of all errors raised on purpose; `str()` of one is safe to show to a client."""

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle text and data: the constructors take other arguments than the text."""
        return _rebuild, (type(self), str(self), vars(self))


def _rebuild(cls: type[OsteoError], text: str, data: dict[str, object]) -> OsteoError:
    error = cls.__new__(cls, text)
    error.args = (text,)
    vars(error).update(data)
    return error


class TileError(OsteoError):
    """The uploaded tile cannot be classified."""


class EmptyTileError(TileError):
    def __init__(self) -> None:
        super().__init__("The tile is empty: 0 bytes were received.")


class TileTooLargeError(TileError):
    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        super().__init__(f"The tile is larger than {limit_bytes} bytes.")


class TooManyPixelsError(TileError):
    def __init__(self, limit_pixels: int) -> None:
        self.limit_pixels = limit_pixels
        super().__init__(
            f"The image has more than {limit_pixels} pixels. Send one tile, not a whole slide."
        )


class TileTooSmallError(TileError):
    def __init__(self, width_px: int, height_px: int, limit_px: int) -> None:
        self.width_px, self.height_px, self.limit_px = width_px, height_px, limit_px
        super().__init__(
            f"The image is {width_px} x {height_px} px; each side must be at least {limit_px} px."
        )


class TooManyFramesError(TileError):
    def __init__(self, limit_frames: int) -> None:
        self.limit_frames = limit_frames
        super().__init__(
            f"The file holds more than {limit_frames} image(s). Send a single tile, "
            "not an animation, a pyramid or a multi-page file."
        )


class TileFormatError(TileError):
    def __init__(self, formats: Sequence[str]) -> None:
        self.formats = tuple(formats)
        super().__init__(f"The content is not an image in one of {', '.join(self.formats)}.")


class PixelFormatError(TileError):
    def __init__(self, mode: str) -> None:
        self.mode = mode
        super().__init__(
            f"Pixels of mode {mode!r} have no agreed meaning as colour. Send 8 or 16 bit "
            "RGB, grey, palette or CMYK."
        )


class TooManyScansError(TileError):
    def __init__(self, limit_scans: int) -> None:
        self.limit_scans = limit_scans
        super().__init__(
            f"The JPEG has more than {limit_scans} scans, each of which is a pass over the image. "
            "Save it again, as an ordinary JPEG."
        )


class TooManySegmentsError(TileError):
    def __init__(self, format_: str, limit_segments: int) -> None:
        self.format, self.limit_segments = format_, limit_segments
        super().__init__(
            f"The {format_} is made of more than {limit_segments} pieces. Save it again as an "
            "ordinary JPEG or PNG."
        )


class DecodeBudgetError(TileError):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"The image costs too much to decode: {reason}. Save it again as an ordinary JPEG or "
            "PNG."
        )


class CorruptTileError(TileError):
    def __init__(self, format_: str | None = None) -> None:
        self.format = format_
        what = f"{format_} image" if format_ else "image"
        super().__init__(f"The {what} is damaged or incomplete and cannot be decoded.")


class RequestError(OsteoError):
    """The request around the tiles is wrong."""


class MalformedRequestError(RequestError):
    """A body that cannot be parsed."""


class MissingTileError(RequestError):
    def __init__(self, field: str) -> None:
        self.field = field
        super().__init__(
            f"No tile was sent. Send one as multipart field {field!r} (curl -F {field}=@tile.jpg)."
        )


class TooManyTilesError(RequestError):
    def __init__(self, limit_tiles: int) -> None:
        self.limit_tiles = limit_tiles
        super().__init__(f"More than {limit_tiles} tile(s) were sent in one request.")


class BodyTooLargeError(RequestError):
    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        super().__init__(f"The request body is larger than {limit_bytes} bytes.")


class UnknownLabelError(RequestError):
    def __init__(self, label: str, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        super().__init__(f"The model has no label {label!r}; it has {', '.join(self.labels)}.")


class UploadTimeoutError(RequestError):
    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        super().__init__(f"The request body did not arrive within {limit_s:g} s.")


class UnavailableError(OsteoError):
    """The service cannot answer now; the same request may succeed later."""


class NotReadyError(UnavailableError):
    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The service is not ready: {reason.rstrip('.')}.")


class QueueFullError(UnavailableError):
    def __init__(self, limit_tiles: int, retry_after_s: int) -> None:
        self.limit_tiles, self.retry_after_s = limit_tiles, retry_after_s
        super().__init__(
            f"{limit_tiles} tiles are being worked on already. Try again in {retry_after_s} s."
        )


class UploadsFullError(UnavailableError):
    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self.retry_after_s = limit_bytes, 1
        super().__init__(
            f"Uploads hold {limit_bytes} bytes already. Try again in {self.retry_after_s} s."
        )


class DeadlineError(UnavailableError):
    def __init__(self, limit_s: float) -> None:
        self.limit_s, self.retry_after_s = limit_s, 1
        super().__init__(f"The tiles were not classified within {limit_s:g} s; work on them ended.")


class ExplanationUnavailableError(OsteoError):
    def __init__(self, label: str, reason: str) -> None:
        self.label, self.reason = label, reason
        super().__init__(f"There is no explanation to draw: {reason}.")


class AdminDeniedError(OsteoError):
    """The request may not change which model is served."""


class ActivationError(OsteoError):
    def __init__(self, model_version: str, reason: str) -> None:
        self.model_version, self.reason = model_version, reason
        super().__init__(f"Version {model_version} was not taken into service: {reason}")


class ModelNotFoundError(OsteoError):
    def __init__(self, model_name: str, model_version: str | None = None) -> None:
        self.model_name, self.model_version = model_name, model_version
        version = f" version {model_version!r}" if model_version is not None else ""
        super().__init__(f"There is no model {model_name!r}{version} here.")


class InferenceError(OsteoError):
    """The model answered something that is no answer."""


class BundleError(OsteoError):
    """A model bundle cannot be trusted."""


class BundleNotFoundError(BundleError):
    def __init__(self, path: str, hint: str) -> None:
        self.path = path
        super().__init__(f"No model bundle at {path}. {hint}")


class ManifestError(BundleError):
    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        super().__init__(f"{path} is not a valid manifest: {reason}")


class ChecksumError(BundleError):
    def __init__(self, path: str, expected: str, found: str | None) -> None:
        self.path, self.expected, self.found = path, expected, found
        reason = "is missing" if found is None else f"has SHA-256 {found}, released was {expected}"
        super().__init__(f"{path} {reason}. Restore the bundle from its release.")


class GoldenTileError(BundleError):
    def __init__(self, name: str, difference: float, limit: float) -> None:
        self.name, self.difference, self.limit = name, difference, limit
        super().__init__(
            f"Golden tile {name}: logits differ from the released ones by {difference:.2g}, "
            f"more than {limit:.2g}. This runtime does not reproduce the released model."
        )


class RuntimeUnavailableError(OsteoError):
    def __init__(self, runtime: str, reason: str) -> None:
        self.runtime = runtime
        super().__init__(f"Runtime {runtime!r} cannot be used: {reason}")


class SettingsError(OsteoError):
    """A setting is misspelt or out of range."""


class TrainingError(OsteoError):
    """Training input or configuration is wrong; raised before hours are spent."""
